//! Speaks to a Signet server's API as any AWS client would: HTTP, signed with Signature Version 4.

use std::{fmt, path::Path, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header, response::Parts};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use signet_policies::time::Clock;

/// The service that App Mesh's clients sign for.
const SERVICE: &str = "appmesh";
/// Longest answer read, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// Longest of an answer that is no JSON.
const MAX_FETCH: usize = 4 << 30;
const TIMEOUT: Duration = Duration::from_secs(30);

/// How to reach a server, and as whom.
#[derive(Clone)]
pub struct Client {
    endpoint: Uri,
    region: String,
    keys: KeyPair,
    clock: Clock,
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

/// An access key and its secret.
#[derive(Clone)]
pub struct KeyPair {
    /// The public half.
    pub access_key_id: String,
    /// The secret half; never printed.
    pub secret_access_key: String,
}

/// The server's own refusal, as App Mesh's clients see it.
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The exception's name.
    pub code: String,
    /// What the server said.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server refused: {} ({}): {}", self.code, self.status.as_u16(), self.message)
    }
}

impl std::error::Error for Refusal {}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl KeyPair {
    /// Reads a profile of a file in the AWS shared-credentials format.
    ///
    /// # Errors
    /// The file cannot be read, or has no such profile with both keys.
    pub fn from_file(path: &Path, profile: &str) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!(
                "cannot read the credentials in {}; name the server's with --credentials, as \
                 <data-dir>/credentials",
                path.display()
            )
        })?;
        Self::from_text(&text, profile)
            .ok_or_else(|| anyhow!("{} has no profile [{profile}] with both keys", path.display()))
    }

    /// As [`KeyPair::from_file`], from its text.
    pub(crate) fn from_text(text: &str, profile: &str) -> Option<Self> {
        let header = format!("[{profile}]");
        let lines = text.lines().map(str::trim);
        let section =
            lines.skip_while(|line| *line != header).skip(1).take_while(|line| !line.starts_with('['));
        let (mut id, mut secret) = (None, None);
        for (key, value) in section.filter_map(|line| line.split_once('=')) {
            match key.trim() {
                "aws_access_key_id" => id = Some(value.trim().to_owned()),
                "aws_secret_access_key" => secret = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        Some(Self { access_key_id: id?, secret_access_key: secret? })
    }
}

impl KeyPair {
    /// The profile's lines in a file of that format.
    #[must_use]
    pub fn profile(&self, profile: &str) -> String {
        let Self { access_key_id, secret_access_key } = self;
        format!(
            "[{profile}]\naws_access_key_id = {access_key_id}\naws_secret_access_key = {secret_access_key}\n"
        )
    }
}

impl Client {
    /// A client of the server at `endpoint`, such as `http://127.0.0.1:7080`.
    ///
    /// # Errors
    /// The endpoint is no `http` address.
    pub fn new(endpoint: &str, region: &str, keys: KeyPair, clock: Clock) -> Result<Self> {
        let endpoint: Uri = endpoint.parse().with_context(|| format!("{endpoint:?} is no URL"))?;
        if endpoint.scheme_str() != Some("http") || endpoint.authority().is_none() {
            bail!("{endpoint} is no endpoint; it has the form http://HOST:PORT");
        }
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        Ok(Self { endpoint, region: region.to_owned(), keys, clock, http })
    }

    /// Fetches what a path holds, whatever it is.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn fetch(&self, path: &str) -> Result<Bytes> {
        let (head, bytes) = self.exchange(self.signed(Method::GET, path, None, None)?, MAX_FETCH).await?;
        match head.status.is_success() {
            true => Ok(bytes),
            false => Err(refusal(&head, &bytes).into()),
        }
    }

    /// Sends one signed request and returns the JSON of the answer, `Null` where it has none.
    ///
    /// # Errors
    /// A [`Refusal`] where the server said no; else what kept it from answering.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        self.call_at(method, path, body, None).await
    }

    /// As [`Client::call`], of a resource that must be at a version.
    ///
    /// # Errors
    /// As [`Client::call`]; a [`Refusal`] of `ConflictException` where it is at another one.
    pub async fn call_at(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        version: Option<u64>,
    ) -> Result<Value> {
        let (head, bytes) = self.exchange(self.signed(method, path, body, version)?, MAX_ANSWER).await?;
        let json = if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&bytes) };
        if head.status.is_success() {
            return json.context("the server's answer is no JSON; is this the API address?");
        }
        Err(refusal(&head, &bytes).into())
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, longest: usize) -> Result<(Parts, Bytes)> {
        let asked = tokio::time::timeout(TIMEOUT, self.http.request(request)).await;
        let answer = asked
            .map_err(|_| anyhow!("no answer within {} s", TIMEOUT.as_secs()))
            .and_then(|answer| Ok(answer?))
            .with_context(|| {
                let at = &self.endpoint;
                format!("cannot reach the server at {at}; is it running? --endpoint or SIGNET_ENDPOINT names another")
            })?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, longest).collect().await;
        let bytes = body.map_err(|error| anyhow!("the answer broke off: {error}"))?.to_bytes();
        Ok((head, bytes))
    }

    fn signed(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        version: Option<u64>,
    ) -> Result<Request<Full<Bytes>>> {
        let authority = self.endpoint.authority().context("the endpoint has no host")?;
        let uri = format!("http://{authority}{path}");
        let bytes = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let credentials =
            Credentials::new(&self.keys.access_key_id, &self.keys.secret_access_key, None, None, "signet");
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time((self.clock)())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let mut request =
            Request::builder().method(method).uri(&uri).header(header::HOST, authority.as_str());
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(version) = version {
            request = request.header(header::IF_MATCH, format!("\"{version}\""));
        }
        let mut request = request.body(())?;
        let headers =
            request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable =
            SignableRequest::new(request.method().as_str(), &uri, headers, SignableBody::Bytes(&bytes))?;
        let (instructions, _signature) = sign(signable, &params)?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request.map(|()| Full::new(bytes.into())))
    }
}

fn refusal(head: &Parts, bytes: &Bytes) -> Refusal {
    let json: Option<Value> = serde_json::from_slice(bytes).ok();
    let header = head.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let message = json.and_then(|json| json.get("message")?.as_str().map(str::to_owned));
    Refusal {
        status: head.status,
        code: header.unwrap_or("UnknownError").to_owned(),
        message: message.unwrap_or_else(|| String::from_utf8_lossy(bytes).chars().take(500).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_profile_of_a_credentials_file_is_read() {
        let text = "[other]\naws_access_key_id = A\n\n[default]\naws_access_key_id=B\naws_secret_access_key = s=c\n[x]\n";
        let keys = KeyPair::from_text(text, "default").unwrap();
        assert_eq!((&*keys.access_key_id, &*keys.secret_access_key), ("B", "s=c"));
        assert!(KeyPair::from_text(text, "other").is_none(), "half a pair is none");
        assert!(KeyPair::from_text(text, "absent").is_none());
    }

    #[test]
    fn the_secret_is_not_in_the_debug_text() {
        let keys = KeyPair { access_key_id: "AKID".into(), secret_access_key: "hush".into() };
        assert!(!format!("{keys:?}").contains("hush"));
    }
}

//! What a request says of its signature: who made it, when, and what it covers.

use std::collections::BTreeMap;

use http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use signet_policies::time::Timestamp;
use time::{PrimitiveDateTime, macros::format_description};

use super::{ALGORITHM, Refused, TOLERANCE, canonical};

/// The last part of every credential scope.
pub(super) const TERMINATOR: &str = "aws4_request";
const DATE: &str = "x-amz-date";
const BODY_HASH: &str = "x-amz-content-sha256";
/// What temporary credentials carry along.
const SESSION_TOKEN: &str = "x-amz-security-token";
const UNSIGNED: &[u8] = b"UNSIGNED-PAYLOAD";
/// Longest life of a signature in a query, in seconds: seven days, as at AWS.
const MAX_EXPIRY: i64 = 7 * 24 * 60 * 60;

#[derive(Debug)]
pub(super) struct Claim {
    pub(super) access_key_id: String,
    /// `YYYYMMDD`, as the scope has it.
    pub(super) date: String,
    pub(super) region: String,
    pub(super) service: String,
    /// Lower case, as the claim has them.
    pub(super) signed_headers: Vec<String>,
    pub(super) signature: [u8; 32],
    /// `YYYYMMDDTHHMMSSZ`.
    pub(super) time_text: String,
    time: Timestamp,
    /// Seconds for which a signature in a query holds.
    expiry: Option<i64>,
}

/// The texts of a claim, wherever they stood.
struct Raw {
    credential: String,
    signed_headers: String,
    signature: String,
    time: String,
    expiry: Option<String>,
}

fn incomplete(why: impl Into<String>) -> Refused {
    Refused::Incomplete(why.into())
}

impl Claim {
    pub(super) fn parse(parts: &Parts) -> Result<Self, Refused> {
        let query = Query::new(parts.uri.query().unwrap_or_default());
        let is_in_query =
            query.find("X-Amz-Algorithm")?.is_some() || query.find("X-Amz-Signature")?.is_some();
        if parts.headers.contains_key(SESSION_TOKEN) || query.find("X-Amz-Security-Token")?.is_some() {
            return Err(Refused::SessionToken);
        }
        match (parts.headers.contains_key(AUTHORIZATION), is_in_query) {
            (true, true) => {
                Err(incomplete("a request is signed in its headers or in its query, not in both"))
            }
            (true, false) => Self::from_raw(Raw::from_headers(&parts.headers)?, &["host", DATE]),
            (false, true) => Self::from_raw(Raw::from_query(&query)?, &["host"]),
            (false, false) => Err(Refused::Missing),
        }
    }

    fn from_raw(raw: Raw, must_sign: &[&str]) -> Result<Self, Refused> {
        let scope: Vec<&str> = raw.credential.split('/').collect();
        let [access_key_id, date, region, service, TERMINATOR] = scope.as_slice() else {
            return Err(incomplete("Credential must be KEY/DATE/REGION/SERVICE/aws4_request"));
        };
        let signed_headers: Vec<String> = raw.signed_headers.split(';').map(str::to_owned).collect();
        if signed_headers.iter().any(|name| name.is_empty() || name.chars().any(|c| c.is_ascii_uppercase())) {
            return Err(incomplete("SignedHeaders must be lower-case names between semicolons"));
        }
        if !signed_headers.is_sorted_by(|one, next| one < next) {
            return Err(incomplete("SignedHeaders must be sorted, each name once"));
        }
        if let Some(missing) = must_sign.iter().find(|must| !signed_headers.iter().any(|name| name == *must))
        {
            return Err(incomplete(format!("SignedHeaders must include {missing}")));
        }
        let mut signature = [0; 32];
        hex::decode_to_slice(&raw.signature, &mut signature)
            .map_err(|_| incomplete("Signature must be 64 hexadecimal digits"))?;
        let form = format_description!("[year][month][day]T[hour][minute][second]Z");
        let time = PrimitiveDateTime::parse(&raw.time, &form)
            .map_err(|_| incomplete("X-Amz-Date must have the form YYYYMMDDTHHMMSSZ"))?;
        Ok(Self {
            access_key_id: (*access_key_id).to_owned(),
            date: (*date).to_owned(),
            region: (*region).to_owned(),
            service: (*service).to_owned(),
            signed_headers,
            signature,
            time: Timestamp::from_unix(time.assume_utc().unix_timestamp()),
            time_text: raw.time,
            expiry: raw.expiry.map(|text| parse_expiry(&text)).transpose()?,
        })
    }

    /// The credential scope.
    pub(super) fn scope(&self) -> String {
        format!("{}/{}/{}/{TERMINATOR}", self.date, self.region, self.service)
    }

    pub(super) fn check_scope(&self, region: &str, service: &str) -> Result<(), Refused> {
        let day = self.time_text.get(..8).unwrap_or_default();
        let parts = [
            ("date", day, &self.date),
            ("region", region, &self.region),
            ("service", service, &self.service),
        ];
        match parts.into_iter().find(|(_, expected, found)| expected != found) {
            Some((part, expected, found)) => {
                Err(Refused::Scope { part, expected: expected.to_owned(), found: found.clone() })
            }
            None => Ok(()),
        }
    }

    pub(super) fn check_time(&self, now: Timestamp) -> Result<(), Refused> {
        let age = now.unix().saturating_sub(self.time.unix());
        let longest = self.expiry.unwrap_or(TOLERANCE);
        let texts = || (self.time_text.clone(), basic_form(now));
        match age {
            age if age > longest => {
                let (signed, now) = texts();
                Err(Refused::Expired { signed, now, seconds: longest })
            }
            age if age < -TOLERANCE => {
                let (signed, now) = texts();
                Err(Refused::NotYet { signed, now })
            }
            _ => Ok(()),
        }
    }
}

/// `YYYYMMDDTHHMMSSZ`, as AWS's messages have it.
fn basic_form(time: Timestamp) -> String {
    let form = format_description!("[year][month][day]T[hour][minute][second]Z");
    let date = time::OffsetDateTime::from_unix_timestamp(time.unix()).ok();
    date.and_then(|date| date.format(&form).ok()).unwrap_or_else(|| time.unix().to_string())
}

/// The pairs of a query, each name asked for once.
struct Query(Vec<(Vec<u8>, Vec<u8>)>);

impl Query {
    fn new(query: &str) -> Self {
        Self(canonical::decode_query(query))
    }

    fn find(&self, name: &str) -> Result<Option<String>, Refused> {
        let mut values = self.0.iter().filter(|(key, _)| key == name.as_bytes()).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err(incomplete(format!("the query has {name} twice"))),
            (value, _) => Ok(value.map(|value| String::from_utf8_lossy(value).into_owned())),
        }
    }

    fn must(&self, name: &str) -> Result<String, Refused> {
        self.find(name)?.ok_or_else(|| incomplete(format!("the query has no {name}")))
    }
}

impl Raw {
    fn from_headers(headers: &HeaderMap) -> Result<Self, Refused> {
        let authorization = only(headers, AUTHORIZATION.as_str())?;
        let (algorithm, rest) = authorization.split_once(' ').unwrap_or((authorization, ""));
        if algorithm != ALGORITHM {
            return Err(incomplete(format!("the authorization must be {ALGORITHM}")));
        }
        let mut members = BTreeMap::new();
        for (name, text) in rest.split(',').filter_map(|member| member.trim().split_once('=')) {
            if members.insert(name, text).is_some() {
                return Err(incomplete(format!("the authorization has {name} twice")));
            }
        }
        let member = |name: &str| {
            let found = members.get(name).map(|text| (*text).to_owned());
            found.ok_or_else(|| incomplete(format!("the authorization has no {name}")))
        };
        Ok(Self {
            credential: member("Credential")?,
            signed_headers: member("SignedHeaders")?,
            signature: member("Signature")?,
            time: only(headers, DATE)?.to_owned(),
            expiry: None,
        })
    }

    fn from_query(query: &Query) -> Result<Self, Refused> {
        if query.must("X-Amz-Algorithm")? != ALGORITHM {
            return Err(incomplete(format!("X-Amz-Algorithm must be {ALGORITHM}")));
        }
        Ok(Self {
            credential: query.must("X-Amz-Credential")?,
            signed_headers: query.must("X-Amz-SignedHeaders")?,
            signature: query.must("X-Amz-Signature")?,
            time: query.must("X-Amz-Date")?,
            expiry: Some(query.must("X-Amz-Expires")?),
        })
    }
}

fn parse_expiry(text: &str) -> Result<i64, Refused> {
    let seconds = text.parse().ok().filter(|seconds| (1..=MAX_EXPIRY).contains(seconds));
    seconds.ok_or_else(|| incomplete(format!("X-Amz-Expires must be 1 to {MAX_EXPIRY}")))
}

/// The one value of a header; two would leave open which was meant.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refused> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        (None, _) => Err(incomplete(format!("the header {name} is missing"))),
        (Some(_), _) => Err(incomplete(format!("the header {name} must be there once, and be text"))),
    }
}

/// Compares the hash that a client sent along, as some do, with the body's.
pub(super) fn check_body_hash(parts: &Parts, found: &str) -> Result<(), Refused> {
    let mut claimed = parts.headers.get_all(BODY_HASH).iter().map(http::HeaderValue::as_bytes);
    match claimed.find(|claimed| *claimed != found.as_bytes()) {
        None => Ok(()),
        Some(UNSIGNED) => Err(Refused::UnsignedBody),
        Some(_) => Err(Refused::Body),
    }
}

//! Envoy's admin interface: what is really in force.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// One Envoy's admin interface.
#[derive(Clone, Debug)]
pub struct Admin {
    address: SocketAddr,
    http: Client<HttpConnector, Empty<Bytes>>,
}

impl Admin {
    /// The interface at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, http: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// The text of a page, such as `/stats`.
    ///
    /// # Errors
    /// Envoy does not answer, or not with 200.
    pub async fn text(&self, path: &str) -> Result<String> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(format!("http://{}{path}", self.address))
            .body(Empty::new())?;
        let answer =
            self.http.request(request).await.with_context(|| format!("Envoy's admin at {}", self.address))?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        ensure!(status.is_success(), "Envoy's {path} answered {status}: {text}");
        Ok(text)
    }

    /// A page that is JSON, such as `/config_dump`.
    ///
    /// # Errors
    /// As [`Admin::text`], or it is no JSON.
    pub async fn json(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.text(path).await?)?)
    }

    /// The value of one counter or gauge.
    ///
    /// # Errors
    /// As [`Admin::text`], or Envoy has none of that name.
    pub async fn counter(&self, name: &str) -> Result<u64> {
        let stats = self.text("/stats").await?;
        let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = value.with_context(|| format!("Envoy has no {name}"))?;
        value.parse().with_context(|| format!("{name} is {value:?}"))
    }

    /// Serial numbers of the certificates that Envoy holds and presents, lower-case hex, sorted.
    ///
    /// # Errors
    /// As [`Admin::text`].
    pub async fn serials(&self) -> Result<Vec<String>> {
        let certs = self.json("/certs").await?;
        let entries = certs["certificates"].as_array().cloned().unwrap_or_default();
        let chains = entries.iter().filter_map(|entry| entry["cert_chain"].as_array()).flatten();
        let serials = chains.filter_map(|certificate| certificate["serial_number"].as_str());
        let mut serials: Vec<String> =
            serials.map(|serial| serial.trim_start_matches('0').to_ascii_lowercase()).collect();
        serials.sort_unstable();
        serials.dedup();
        Ok(serials)
    }
}

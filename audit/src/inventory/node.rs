//! A proxy as its agent reports it.

use serde::{Deserialize, Serialize};

use super::Der;

/// One instance of a workload: an agent and its Envoy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Whose it is, as `mesh/M/virtualNode/N`.
    pub workload: String,
    /// Which of them.
    pub instance: String,
    /// Whether its agent is connected now.
    pub is_connected: bool,
    /// When it last reported; absent where it never did.
    #[serde(default)]
    pub reported_at: Option<i64>,
    /// Where its agent calls from: an IP address.
    #[serde(default)]
    pub address: Option<String>,
    /// Another agent that says it is the same instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rival: Option<Rival>,
    /// How far its clock is ahead of the server's, in milliseconds.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
    /// The version of the bundle that it trusts.
    #[serde(default)]
    pub trust_version: Option<String>,
    /// What its Envoy was sent over SDS, and took.
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// What its listeners present in a handshake.
    #[serde(default)]
    pub presented: Vec<Presented>,
    /// What its Envoy says it has loaded.
    #[serde(default)]
    pub loaded: Vec<Loaded>,
    /// How its renewals go.
    #[serde(default)]
    pub renewal: Option<Renewal>,
    /// What its listeners accept.
    #[serde(default)]
    pub listeners: Vec<Listener>,
}

/// An agent that was away until its certificate had ended, and cannot renew. Of its Envoy nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lapsed {
    /// Whose it is, as `mesh/M/virtualNode/N`.
    pub workload: String,
    /// Which of them.
    pub instance: String,
    /// When its certificate ended.
    pub ended: i64,
    /// That certificate, in lower-case hexadecimal; absent where it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// When it last reported.
    pub reported_at: i64,
    /// Where it called from: an IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// One secret on one SDS stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// Its name, such as `default`.
    pub name: String,
    /// The version sent last.
    pub sent_version: String,
    /// The version taken last; empty where none was.
    pub accepted_version: String,
    /// The version refused last; empty where none was.
    pub rejected_version: String,
    /// Why it was refused, in Envoy's words.
    pub reason: String,
    /// When that came about.
    pub at: i64,
}

/// What one listener presented.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presented {
    /// Where it listens: `IP:PORT`.
    pub address: String,
    /// The certificate; absent where the handshake failed.
    #[serde(default)]
    pub leaf: Option<Der>,
    /// What it sent beside the certificate.
    #[serde(default)]
    pub chain: Vec<Der>,
    /// Why there is none; empty where there is.
    #[serde(default)]
    pub error: String,
    /// The protocol version that was agreed on, as `TLSv1.3`.
    #[serde(default)]
    pub protocol: Option<String>,
    /// When.
    pub at: i64,
    /// What came of a call with a certificate that is revoked; absent where none was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_probe: Option<Probe>,
}

/// A certificate that an Envoy has loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Loaded {
    /// Its serial number, in lower-case hexadecimal.
    pub serial: String,
}

/// How an agent's renewals go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Renewal {
    /// When it will try next.
    pub next: i64,
    /// When it last got one.
    pub last_success: i64,
    /// How often it failed since.
    pub failures: u32,
    /// Why it failed last; empty where it did not.
    pub last_error: String,
}

/// What a live listener accepts, by Envoy's own configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// The application's port that it stands for.
    pub port: u16,
    /// Whether a filter chain takes connections without TLS.
    pub takes_plaintext: bool,
    /// Whether a filter chain takes TLS.
    pub takes_tls: bool,
    /// Whether every filter chain with TLS requires a client's certificate.
    pub requires_client_certificate: bool,
    /// The lowest protocol version, as `TLSv1.2`; absent where Envoy's default is in force, which is 1.2.
    #[serde(default)]
    pub lowest_protocol: Option<String>,
    /// The cipher suites; empty where Envoy's default is in force.
    #[serde(default)]
    pub cipher_suites: Vec<String>,
    /// What came of a connection without TLS.
    #[serde(default)]
    pub plaintext_probe: Option<Probe>,
    /// With what its session tickets are sealed; absent where the agent does not say.
    #[serde(default)]
    pub tickets: Option<Tickets>,
}

/// With what session tickets are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tickets {
    /// There are none.
    None,
    /// Keys that the proxy makes for itself.
    OwnKeys,
    /// Keys of its configuration.
    GivenKeys,
}

/// An agent that takes another's place, which takes it back: both say that they are one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rival {
    /// Where the one calls from whose place was taken last.
    pub address: String,
    /// How often one took the other's place.
    pub turns: u32,
    /// When it happened last.
    pub at: i64,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// It was refused.
    Refused,
    /// It was served.
    Accepted,
}

impl Node {
    /// Its name in messages: `workload/instance`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.workload, self.instance)
    }
}

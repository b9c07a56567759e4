//! Proxies as `signet proxies` shows them.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use signet_xds::{Rejection, ResourceType};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::Entry;

/// One connected proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyView {
    /// `mesh/<mesh>/virtualNode/<name>`.
    pub workload: String,
    /// Where it serves the node's listeners.
    pub ingress_address: String,
    /// The version that it says it is, such as `1.40.0`.
    pub envoy: Option<String>,
    /// Which of its workload's proxies it is; `None` where its agent does not say.
    #[serde(default)]
    pub instance: Option<String>,
    /// RFC 3339, in UTC.
    pub connected_since: String,
    /// All in all.
    pub status: ProxyState,
    /// Since when it does not run what it should: RFC 3339, in UTC. Absent where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_since: Option<String>,
    /// What it refuses; empty unless the status is rejected.
    pub rejections: Vec<RejectionView>,
}

/// A proxy whose stream has ended, and that is given the time to come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GoneView {
    /// `mesh/<mesh>/virtualNode/<name>`.
    pub workload: String,
    /// Where it serves the node's listeners.
    pub ingress_address: String,
    /// For how many seconds.
    pub gone_for_seconds: u64,
}

/// In whole seconds, in UTC.
pub(super) fn rfc3339(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    // Fails only beyond the year 9999.
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
}

/// Whether a proxy runs what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyState {
    /// It accepted everything.
    Synced,
    /// It has not answered yet.
    Pending,
    /// It refused something, and runs what it had before.
    Rejected,
}

/// A resource that a proxy refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectionView {
    /// `cluster`, `listener`, `route`.
    pub kind: String,
    /// The resource's name.
    pub name: String,
    /// The version that was refused.
    pub version: String,
    /// The proxy's own words, bounded and without key material.
    pub reason: String,
    /// The proxy did not say which resource it meant: this one may be innocent.
    pub suspected: bool,
    /// The revision of the model since which this proxy is to hold this version: that of the change that brought
    /// it, or of the moment when the proxy first connected. `None` when another version is wanted by now.
    pub revision: Option<u64>,
}

impl RejectionView {
    pub(super) fn of(entry: &Entry, kind: ResourceType, name: &str, rejection: &Rejection) -> Self {
        Self {
            kind: kind.to_string(),
            name: name.to_owned(),
            version: rejection.version.to_string(),
            reason: rejection.reason.to_string(),
            suspected: rejection.suspected,
            revision: entry.origins.revision(kind, name, &rejection.version),
        }
    }
}

impl ProxyView {
    pub(super) fn of(entry: &Entry) -> Self {
        let rejections = entry.status.rejections();
        let rejections: Vec<_> = rejections
            .map(|(kind, name, rejection)| RejectionView::of(entry, kind, name, rejection))
            .collect();
        let status = match (rejections.is_empty(), entry.is_synced()) {
            (false, _) => ProxyState::Rejected,
            (true, true) => ProxyState::Synced,
            (true, false) => ProxyState::Pending,
        };
        Self {
            workload: entry.proxy.workload.to_string(),
            ingress_address: entry.proxy.ingress_address.to_string(),
            envoy: entry.envoy.clone(),
            instance: entry.instance.clone(),
            connected_since: rfc3339(entry.since),
            status,
            stale_since: entry.stale_since.map(rfc3339),
            rejections,
        }
    }
}

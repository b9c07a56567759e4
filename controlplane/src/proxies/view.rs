//! Proxies as `signet proxies` shows them.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use signet_policies::time::Timestamp;
use signet_xds::{Rejection, ResourceType};

use super::{Entry, origins::Cause};
use crate::model::{Author, Written};

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
    /// The change that brought it, the newest first where several came together and each may have been the one.
    /// Empty where that is not known any more: the server remembers its last 64 writes, and a refusal for longer.
    #[serde(default)]
    pub changes: Vec<ChangeView>,
}

/// A write to the mesh, as the cause of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeView {
    /// The revision that it made.
    pub revision: u64,
    /// The operation of the API: `UpdateVirtualNode`.
    pub operation: String,
    /// What was written: `mesh/<mesh>/virtualNode/<name>`.
    pub resource: String,
    /// The key pair that signed it; absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// The name that the key pair was made under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When: RFC 3339, in UTC.
    pub at: String,
}

/// In words: `UpdateVirtualNode mesh/m/virtualNode/a by alice (AKIA…), 2026-11-26T15:00:00Z, revision 7`.
impl fmt::Display for ChangeView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { revision, operation, resource, access_key_id, user, at } = self;
        write!(f, "{operation} {resource}")?;
        match (user, access_key_id) {
            (Some(user), Some(key)) => write!(f, " by {user} ({key})")?,
            (Some(by), None) | (None, Some(by)) => write!(f, " by {by}")?,
            (None, None) => {}
        }
        write!(f, ", {at}, revision {revision}")
    }
}

impl ChangeView {
    fn of(write: &Written) -> Self {
        let text = |of: fn(&Author) -> &str| write.by.as_ref().map(|by| of(by).to_owned());
        Self {
            revision: write.revision,
            operation: write.operation(),
            resource: write.key.to_string(),
            access_key_id: text(|by| &by.access_key_id),
            user: text(|by| &by.user),
            at: Timestamp::from(UNIX_EPOCH + Duration::from_millis(write.at)).to_string(),
        }
    }

    pub(super) fn all(cause: &Cause) -> Vec<Self> {
        cause.changes.iter().map(|write| Self::of(write)).collect()
    }
}

impl RejectionView {
    pub(super) fn of(entry: &Entry, kind: ResourceType, name: &str, rejection: &Rejection) -> Self {
        let cause = entry.origins.cause(kind, name, &rejection.version);
        Self {
            kind: kind.to_string(),
            name: name.to_owned(),
            version: rejection.version.to_string(),
            reason: rejection.reason.to_string(),
            suspected: rejection.suspected,
            revision: cause.map(|cause| cause.revision),
            changes: cause.map(|cause| ChangeView::all(cause)).unwrap_or_default(),
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
            connected_since: Timestamp::from(entry.since).to_string(),
            status,
            stale_since: entry.stale_since.map(|since| Timestamp::from(since).to_string()),
            rejections,
        }
    }
}

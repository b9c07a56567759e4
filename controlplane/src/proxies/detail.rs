//! One proxy, resource by resource.

use std::collections::BTreeSet;

use prost::Message as _;
use serde::{Deserialize, Serialize};
use signet_xds::{
    Resource, ResourceStatus, ResourceType, Snapshot, json,
    pb::envoy::config::{
        core::v3::{address::Address, socket_address::PortSpecifier},
        endpoint::v3::{ClusterLoadAssignment, lb_endpoint::HostIdentifier},
    },
};

use super::{ChangeView, Entry, ProxyView};

/// A proxy and everything that it is to hold, or still holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyDetail {
    /// All in all.
    #[serde(flatten)]
    pub proxy: ProxyView,
    /// By kind, in the order in which they are pushed, and name.
    pub resources: Vec<ResourceView>,
}

/// One resource at one proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceView {
    /// `cluster`, `endpoint`, `listener`, `route`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The version that the proxy is to hold: a hash of the content. Absent where it is to hold none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// The version that was sent last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// The version that the proxy took last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// How it stands.
    pub state: ResourceState,
    /// Since which revision of the model it is wanted as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The change that brought it; see [`RejectionView::changes`](super::RejectionView::changes).
    #[serde(default)]
    pub changes: Vec<ChangeView>,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The resource that it is to hold, as Envoy's `/config_dump` writes it; where it was asked for. Secrets are not
    /// shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<serde_json::Value>,
    /// Of endpoints: where calls go, as `address:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<BTreeSet<String>>,
}

/// How a resource stands at a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceState {
    /// The proxy took what it is to hold.
    Acked,
    /// It was sent, or waits to be, and is not answered.
    Pending,
    /// The proxy refuses it, and runs what it had before.
    Rejected,
    /// The proxy has not asked for it: nothing that it runs names it.
    Unasked,
    /// It is to go, and the proxy has not said that it did.
    Leaving,
}

impl ProxyDetail {
    pub(super) fn of(entry: &Entry) -> Self {
        let resources = ResourceType::ALL.into_iter().flat_map(|kind| {
            let wanted =
                entry.wanted.iter().flat_map(move |wanted| wanted.resources(kind)).map(Resource::name);
            let names: BTreeSet<&str> = wanted.chain(entry.status.known(kind)).collect();
            names.into_iter().map(move |name| ResourceView::of(entry, kind, name))
        });
        Self { proxy: ProxyView::of(entry), resources: resources.collect() }
    }
}

impl ProxyDetail {
    /// Fills in what the proxy is to hold of each resource.
    pub(super) fn show_config(&mut self, wanted: &Snapshot) {
        for kind in ResourceType::ALL {
            let of_kind = kind.to_string();
            for view in self.resources.iter_mut().filter(|view| view.kind == of_kind) {
                let resource = wanted.get(kind, &view.name);
                view.config = resource.and_then(|resource| json::shown(resource).ok());
            }
        }
    }
}

impl ResourceView {
    fn of(entry: &Entry, kind: ResourceType, name: &str) -> Self {
        let wanted = entry.wanted.as_ref().and_then(|wanted| wanted.get(kind, name));
        let known = entry.status.resource(kind, name);
        let is_known = known.is_some();
        let ResourceStatus { sent, accepted, rejected } = known.unwrap_or_default();
        let version = wanted.map(Resource::version);
        let cause = version.and_then(|version| entry.origins.cause(kind, name, version));
        let state = match (version, &rejected) {
            (Some(version), Some(refused)) if *refused.version == *version => ResourceState::Rejected,
            (None, _) => ResourceState::Leaving,
            (Some(version), _) if accepted.as_deref() == Some(version) => ResourceState::Acked,
            (Some(_), _) if !entry.status.is_subscribed(kind) || !(is_known || is_pushed(kind)) => {
                ResourceState::Unasked
            }
            (Some(_), _) => ResourceState::Pending,
        };
        Self {
            kind: kind.to_string(),
            name: name.to_owned(),
            wanted: version.map(str::to_owned),
            sent: sent.as_deref().map(str::to_owned),
            accepted: accepted.as_deref().map(str::to_owned),
            state,
            revision: cause.map(|cause| cause.revision),
            changes: cause.map(|cause| ChangeView::all(cause)).unwrap_or_default(),
            reason: rejected.map(|refused| refused.reason.to_string()),
            config: None,
            hosts: wanted.filter(|_| kind == ResourceType::Endpoint).map(hosts),
        }
    }
}

/// Whether a proxy asks for all of a kind.
fn is_pushed(kind: ResourceType) -> bool {
    match kind {
        ResourceType::Cluster | ResourceType::Listener => true,
        ResourceType::Endpoint | ResourceType::Route | ResourceType::Secret => false,
    }
}

fn hosts(endpoints: &Resource) -> BTreeSet<String> {
    let assignment = ClusterLoadAssignment::decode(endpoints.value().clone()).unwrap_or_default();
    let endpoints = assignment.endpoints.into_iter().flat_map(|locality| locality.lb_endpoints);
    let host = |identifier: HostIdentifier| match identifier {
        HostIdentifier::Endpoint(endpoint) => match endpoint.address?.address? {
            Address::SocketAddress(socket) => match socket.port_specifier? {
                PortSpecifier::PortValue(port) if socket.address.contains(':') => {
                    Some(format!("[{}]:{port}", socket.address))
                }
                PortSpecifier::PortValue(port) => Some(format!("{}:{port}", socket.address)),
                PortSpecifier::NamedPort(_) => None,
            },
            Address::Pipe(_) | Address::EnvoyInternalAddress(_) => None,
        },
        HostIdentifier::EndpointName(_) => None,
    };
    endpoints.filter_map(|endpoint| host(endpoint.host_identifier?)).collect()
}

//! What a client may say, in one shape for both variants, and the bounds on it.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::{
    pb::{
        envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
        google::rpc::Status,
    },
    resource::ResourceType,
};

/// How many names a client may subscribe to per kind, or bring along when it reconnects. Whoever was given more
/// than this could never come back.
pub const MAX_NAMES: usize = 32_768;

/// How many secrets a client may ask for on one stream: Envoy asks for one on each, and nobody has many.
pub const MAX_SECRETS: usize = 100;

/// The longest name, version or node id, in bytes.
pub const MAX_NAME: usize = 2048;

/// A discovery request of either variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The node's id, on the first request at least.
    pub node: Option<String>,
    /// The type that it is about; may be empty where a service has only one.
    pub type_url: String,
    /// The nonce of the response that it answers, or empty.
    pub nonce: String,
    /// The text of a NACK; its presence is what makes the request one.
    pub rejection: Option<String>,
    /// What it subscribes to.
    pub ask: Ask,
}

/// The subscription part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// SotW: every name that the client wants from now on.
    Names(Vec<String>),
    /// Delta: what changes.
    Changes {
        /// Names added, or asked for again.
        subscribe: Vec<String>,
        /// Names given up.
        unsubscribe: Vec<String>,
        /// Name and version of everything held, on the first request of a kind after a reconnect.
        initial: BTreeMap<String, String>,
    },
}

/// Why a stream cannot go on; the texts may go to the peer and quote nothing that it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// ADS serves a node's own configuration, so it must know which node.
    #[error("the first request must carry a node with an id")]
    MissingNode,
    /// The node's id is over [`MAX_NAME`].
    #[error("the node id is longer than {MAX_NAME} bytes")]
    LongNode,
    /// A stream belongs to one node.
    #[error("the node id differs from that of the stream's first request")]
    OtherNode,
    /// ADS has no default type.
    #[error("the request has no type URL")]
    MissingType,
    /// A service for one kind was asked for another.
    #[error("the request is for another type than this service's, {}", .0.type_url())]
    OtherType(ResourceType),
    /// More names than [`MAX_NAMES`], or of secrets than [`MAX_SECRETS`].
    #[error("more than {0} resource names")]
    TooManyNames(usize),
    /// A name (or a version) that no resource can have.
    #[error("a resource name or version {0}")]
    BadName(&'static str),
    /// The client goes on asking and never answers.
    #[error("too many responses wait for an acknowledgement")]
    Unacknowledged,
    /// A delta request on a SotW stream or the reverse; the generated services rule it out.
    #[error("the request is of the other protocol variant")]
    OtherVariant,
}

impl Ask {
    /// Checks every bound on a request for this kind before anything is kept.
    pub(super) fn check(&self, kind: ResourceType) -> Result<(), ProtocolError> {
        match self {
            Self::Names(names) => check_names(kind, names.len(), names),
            Self::Changes { subscribe, unsubscribe, initial } => {
                check_names(kind, subscribe.len(), subscribe)?;
                check_names(kind, unsubscribe.len(), unsubscribe)?;
                check_names(kind, initial.len(), initial.keys())?;
                check_names(kind, initial.len(), initial.values().filter(|version| !version.is_empty()))
            }
        }
    }
}

/// How many names of a kind a client may ask for.
pub(super) const fn most_names(kind: ResourceType) -> usize {
    match kind {
        ResourceType::Secret => MAX_SECRETS,
        ResourceType::Cluster | ResourceType::Endpoint | ResourceType::Listener | ResourceType::Route => {
            MAX_NAMES
        }
    }
}

fn check_names<'a>(
    kind: ResourceType,
    count: usize,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<(), ProtocolError> {
    let most = most_names(kind);
    if count > most {
        return Err(ProtocolError::TooManyNames(most));
    }
    names.into_iter().try_for_each(|name| match name.as_str() {
        // Dropping it instead would turn a list of one empty name into a wildcard.
        "" => Err(ProtocolError::BadName("is empty")),
        name if name.len() > MAX_NAME => Err(ProtocolError::BadName("is too long")),
        name if name.contains('\0') => Err(ProtocolError::BadName("contains NUL")),
        _ => Ok(()),
    })
}

impl From<DiscoveryRequest> for Request {
    fn from(request: DiscoveryRequest) -> Self {
        Self {
            node: request.node.map(|node| node.id),
            type_url: request.type_url,
            nonce: request.response_nonce,
            rejection: request.error_detail.map(text),
            ask: Ask::Names(request.resource_names),
        }
    }
}

impl From<DeltaDiscoveryRequest> for Request {
    fn from(request: DeltaDiscoveryRequest) -> Self {
        Self {
            node: request.node.map(|node| node.id),
            type_url: request.type_url,
            nonce: request.response_nonce,
            rejection: request.error_detail.map(text),
            ask: Ask::Changes {
                subscribe: request.resource_names_subscribe,
                unsubscribe: request.resource_names_unsubscribe,
                initial: request.initial_resource_versions.into_iter().collect(),
            },
        }
    }
}

fn text(detail: Status) -> String {
    detail.message
}

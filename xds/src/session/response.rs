//! What the server says, in one shape for both variants.

use std::sync::Arc;

use crate::{
    pb::{
        envoy::service::discovery::v3::{self, DeltaDiscoveryResponse, DiscoveryResponse},
        google::protobuf::Any,
    },
    resource::{Resource, ResourceType},
};

/// A discovery response of either variant. Until it is converted its resources share their bytes with the
/// snapshot; the generated messages own theirs, so conversion copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// What it is about.
    pub kind: ResourceType,
    /// Unique among all responses of the process.
    pub nonce: String,
    /// SotW: a digest of everything that the client holds of this kind after this response. Delta: empty.
    pub version: String,
    /// Added or changed resources; for SotW clusters and listeners the whole set.
    pub resources: Vec<Resource>,
    /// Delta only: names of what is gone or does not exist.
    pub removed: Vec<Arc<str>>,
}

impl From<Response> for DiscoveryResponse {
    fn from(response: Response) -> Self {
        Self {
            version_info: response.version,
            resources: response.resources.iter().map(any).collect(),
            type_url: response.kind.type_url().to_owned(),
            nonce: response.nonce,
            ..Self::default()
        }
    }
}

impl From<Response> for DeltaDiscoveryResponse {
    fn from(response: Response) -> Self {
        Self {
            resources: response.resources.iter().map(versioned).collect(),
            type_url: response.kind.type_url().to_owned(),
            removed_resources: response.removed.iter().map(ToString::to_string).collect(),
            nonce: response.nonce,
            ..Self::default()
        }
    }
}

fn any(resource: &Resource) -> Any {
    Any { type_url: resource.kind().type_url().to_owned(), value: resource.value().to_vec() }
}

fn versioned(resource: &Resource) -> v3::Resource {
    v3::Resource {
        name: resource.name().to_owned(),
        version: resource.version().to_owned(),
        resource: Some(any(resource)),
        ..Default::default()
    }
}

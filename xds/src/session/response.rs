//! What the server says, in one shape for both variants.

use std::sync::Arc;

use crate::{batch::Resources, resource::ResourceType};

/// A discovery response of either variant. Its resources share their bytes with the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// What it is about.
    pub kind: ResourceType,
    /// Unique among all responses of the process.
    pub nonce: String,
    /// SotW: a digest of everything that the client holds of this kind after this response. Delta has none.
    pub version: Option<Arc<str>>,
    /// Added or changed resources; for SotW clusters and listeners the whole set.
    pub resources: Resources,
    /// Delta only: names of what is gone or does not exist.
    pub removed: Vec<Arc<str>>,
}

//! What exists in the meshes, and what is asked of it.

use serde::{Deserialize, Serialize};

/// A virtual node or gateway that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// `mesh/M/virtualNode/N` or `mesh/M/virtualGateway/N`.
    pub workload: String,
    /// The DNS names that it may hold.
    pub dns_names: Vec<String>,
    /// The SPIFFE IDs that it may hold, the canonical one among them.
    pub spiffe_ids: Vec<String>,
    /// When its spec last changed.
    pub changed_at: i64,
    /// How many instances are registered; absent where nobody counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
}

/// A port, by what is declared and what proxies are fed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Whose it is.
    pub workload: String,
    /// The application's port.
    pub port: u16,
    /// What its spec and the policies over it come to.
    pub declared: Mode,
    /// What proxies are fed; differs from that while a change is under way.
    pub in_force: Mode,
    /// What is asked of a client.
    pub peer: Peer,
}

/// A TLS mode, as App Mesh spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    /// Plaintext only.
    Disabled,
    /// TLS and plaintext.
    Permissive,
    /// TLS only.
    Strict,
}

/// What is asked of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// No certificate.
    None,
    /// A certificate that is verified where it is sent.
    Optional,
    /// A certificate of the mesh.
    Required,
}

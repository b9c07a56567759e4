//! What an audit looks at: a copy of what the server holds, taken at one moment.
//!
//! Texts are kept as they were found, so that what is wrong with them can be shown; nothing here is believed.

mod authority;
mod der;
mod node;
mod record;
mod registry;

use serde::{Deserialize, Serialize};

pub use self::{
    authority::{Authority, Bundle, Place, Standing},
    der::Der,
    node::{Lapsed, Listener, Loaded, Node, Presented, Probe, Renewal, Rival, Secret, Tickets},
    record::{Log, Record, Revoked},
    registry::{Mode, Peer, Port, Registered},
};

/// Everything that the checks are given. Moments are in seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// When it was taken, by the server's clock.
    pub taken_at: i64,
    /// The trust domain that the server issues for.
    pub trust_domain: String,
    /// What certificates may be like.
    pub terms: Terms,
    /// Twelve digits that stand in ARNs.
    pub account_id: String,
    /// The region that stands in ARNs.
    pub region: String,
    /// What was issued, in any order.
    pub certificates: Vec<Record>,
    /// The log that the records were read from; absent where it has no proofs.
    #[serde(default)]
    pub log: Option<Log>,
    /// Roots and issuers, those that were retired too.
    pub authorities: Vec<Authority>,
    /// The trust bundles that nodes may hold, by version.
    #[serde(default)]
    pub bundles: Vec<Bundle>,
    /// The virtual nodes and gateways that exist.
    pub workloads: Vec<Registered>,
    /// What each of their ports is declared to speak, and does.
    pub ports: Vec<Port>,
    /// The proxies, as their agents report them.
    pub nodes: Vec<Node>,
    /// Those whose certificates ended while they were away, for as long as the server shows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lapsed: Vec<Lapsed>,
    /// Since when deliveries have been watched; nothing is known of earlier ones.
    #[serde(default)]
    pub watched_since: Option<i64>,
    /// What could not be found out.
    #[serde(default)]
    pub gaps: Vec<Gap>,
}

impl Inventory {
    /// Whether anything in it is of that mesh.
    #[must_use]
    pub fn knows(&self, mesh: &str) -> bool {
        let (issuer, below) = (format!("mesh/{mesh}"), format!("mesh/{mesh}/"));
        let is_below = |workload: &str| workload.starts_with(&below);
        self.authorities.iter().any(|authority| authority.name == issuer)
            || self.workloads.iter().any(|known| is_below(&known.workload))
            || self.certificates.iter().any(|record| record.workload.as_deref().is_some_and(is_below))
    }
}

/// What the server lets certificates be like. All in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// The shortest life that may be asked for.
    pub shortest_life: i64,
    /// The life of a leaf that asks for none.
    pub default_life: i64,
    /// The longest life that may be asked for.
    pub longest_life: i64,
    /// How far a certificate's start lies before its issue.
    pub backdate: i64,
}

/// What a check must know to say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// The records of what was issued.
    Records,
    /// The certificates themselves, DER.
    Der,
    /// The log's hashes and its checkpoint.
    Log,
    /// Who asked for each certificate, and what decided.
    Decisions,
    /// What was revoked.
    Revocations,
    /// The certificates of root and issuers.
    Authorities,
    /// How far each authority is in its life.
    Rotation,
    /// Which workloads exist, and what they may hold.
    Registry,
    /// What each port is declared to speak.
    Modes,
    /// The reports of the nodes.
    Nodes,
    /// What nodes present in a handshake.
    Presented,
    /// What Envoys have loaded.
    Loaded,
    /// Which bundle each node trusts.
    Trust,
    /// Which certificate was delivered when.
    Deliveries,
    /// What live listeners accept.
    Listeners,
    /// How the agents' renewals go.
    Renewal,
    /// The nodes' clocks.
    Clocks,
    /// What came of calls with a revoked certificate, where they were asked for.
    Probes,
}

/// Something that could not be found out. An audit with a gap is incomplete, never clean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// What is missing.
    pub need: Need,
    /// Of which node alone, as `workload` or `workload/instance`; absent where nobody's is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why.
    pub reason: String,
}

impl Need {
    /// Its name, as the inventory spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Der => "der",
            Self::Log => "log",
            Self::Decisions => "decisions",
            Self::Revocations => "revocations",
            Self::Authorities => "authorities",
            Self::Rotation => "rotation",
            Self::Registry => "registry",
            Self::Modes => "modes",
            Self::Nodes => "nodes",
            Self::Presented => "presented",
            Self::Loaded => "loaded",
            Self::Trust => "trust",
            Self::Deliveries => "deliveries",
            Self::Listeners => "listeners",
            Self::Renewal => "renewal",
            Self::Clocks => "clocks",
            Self::Probes => "probes",
        }
    }
}

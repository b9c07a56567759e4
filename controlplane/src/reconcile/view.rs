//! Ports as an operator sees them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::task::Tracked;
use crate::translate::{Dial, PortId};

/// How every port stands now.
pub type Ports = BTreeMap<PortId, PortView>;

/// How a port stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortView {
    /// `mesh/<mesh>/virtualNode/<name>:<port>`.
    pub port: String,
    /// The server was told to take plaintext.
    pub accepts_plaintext: bool,
    /// The server was told to take TLS.
    pub accepts_tls: bool,
    /// Clients were told to speak TLS.
    pub clients_speak_tls: bool,
    /// It stands as the model asks, and every proxy said so.
    pub settled: bool,
    /// The proxies without whose answer it does not move on.
    pub waiting_for: Vec<String>,
}

impl PortView {
    pub(super) fn of(id: &PortId, tracked: &Tracked) -> Self {
        let standing = &tracked.port.standing;
        let laggards = tracked.servers.laggards.iter().chain(&tracked.clients.laggards);
        let all: BTreeSet<&String> = laggards.chain(&tracked.held_by).collect();
        Self {
            port: id.to_string(),
            accepts_plaintext: standing.offer.plaintext,
            accepts_tls: standing.offer.tls.is_some(),
            clients_speak_tls: standing.dial != Dial::Plaintext,
            settled: tracked.is_settled(),
            waiting_for: all.into_iter().cloned().collect(),
        }
    }
}

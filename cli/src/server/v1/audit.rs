//! `/v1/audit`: what a certificate audit looks at. The audit itself runs with whoever asks for it, so that nothing has to
//! be believed that the server says of itself, and a look costs the server little.

mod nodes;
mod registry;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use signet_audit::{
    Inventory,
    inventory::{Authority, Der, Gap, Mode, Need, Node, Place, Port, Standing, Terms},
};
use signet_ca::{BACKDATE, Issuing, Rank};
use signet_controlplane::{api::ApiError, store::Store};
use signet_policies::{
    issuance::{MAX_LEAF_LIFE, MIN_LEAF_LIFE},
    time::Timestamp,
};
use tracing::warn;

use super::{
    super::{bundles::Bundles, deliveries::Deliveries},
    V1,
};

/// Most entries of the ledger on a page, and how many there are if nobody says.
const PAGE: usize = 1000;

/// What an audit is made of, beside what the other routes have.
#[derive(Clone)]
pub(in crate::server) struct Source {
    /// What agents are told to trust, and were.
    pub(in crate::server) bundles: Bundles,
    /// What reached proxies.
    pub(in crate::server) deliveries: Deliveries,
    /// When specs changed.
    pub(in crate::server) store: Arc<dyn Store>,
    /// What stands in ARNs.
    pub(in crate::server) account_id: String,
    /// Likewise.
    pub(in crate::server) region: String,
    /// Life of a leaf that asks for none, in seconds.
    pub(in crate::server) default_life: u64,
}

pub(super) fn router() -> Router<V1> {
    Router::new().route("/v1/audit", get(state)).route("/v1/audit/entries", get(entries))
}

/// All but the ledger's entries.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateAnswer {
    /// With no certificates and no log.
    pub(crate) inventory: Inventory,
    /// When certificates were first seen at a proxy, by serial.
    pub(crate) delivered: BTreeMap<String, i64>,
    /// The newest checkpoint, a signed note.
    pub(crate) checkpoint: String,
    /// When it was made, or still held.
    pub(crate) checkpoint_at: i64,
    /// The verifier key that the server names for it.
    pub(crate) verifier: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EntriesRequest {
    from: Option<u64>,
    limit: Option<usize>,
}

/// A page of the ledger.
#[derive(Serialize, Deserialize)]
pub(crate) struct EntriesAnswer {
    pub(crate) entries: Vec<EntryView>,
}

/// An entry as it is stored.
#[derive(Serialize, Deserialize)]
pub(crate) struct EntryView {
    pub(crate) position: u64,
    /// Its bytes, base64.
    pub(crate) text: String,
}

async fn state(State(v1): State<V1>) -> Result<Json<StateAnswer>, ApiError> {
    let source = &v1.audit;
    let unavailable = |error: &dyn std::fmt::Display| {
        warn!(%error, "cannot tell of the ledger");
        ApiError::unavailable("the ledger cannot be read; the server's log says why")
    };
    // First, so that whatever it states is in the pages that are asked for later.
    let checkpoint = v1.notary.checkpoint().await.map_err(|error| unavailable(&error))?;
    let taken_at = Timestamp::from((v1.clock)()).unix();
    let (workloads, ports) = registry::collect(&v1).await;
    let (nodes, mut gaps) = nodes::collect(&v1);
    gaps.extend(unseen(&nodes, &ports));
    let inventory = Inventory {
        taken_at,
        trust_domain: v1.trust_domain.to_string(),
        terms: terms(source.default_life),
        account_id: source.account_id.clone(),
        region: source.region.clone(),
        certificates: Vec::new(),
        log: None,
        authorities: authorities(&v1.issuing),
        bundles: source.bundles.list(|version| is_held(&nodes, version)),
        workloads,
        ports,
        nodes,
        lapsed: nodes::lapsed(&v1),
        watched_since: Some(source.deliveries.since()),
        gaps,
    };
    Ok(Json(StateAnswer {
        inventory,
        delivered: source.deliveries.held(),
        checkpoint: checkpoint.note().to_owned(),
        checkpoint_at: taken_at,
        verifier: v1.notary.verifier().to_string(),
    }))
}

async fn entries(
    State(v1): State<V1>,
    request: Result<Query<EntriesRequest>, QueryRejection>,
) -> Result<Json<EntriesAnswer>, ApiError> {
    let Query(request) = request.map_err(|refused| ApiError::bad_request(refused.body_text()))?;
    let limit = request.limit.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit must be within 1 and {PAGE}")));
    }
    let read = v1.issuing.ledger().read(request.from.unwrap_or(0), limit).await;
    let read = read.map_err(|error| {
        warn!(%error, "cannot read the ledger for an audit");
        ApiError::unavailable("the ledger cannot be read; the server's log says why")
    })?;
    let view = |entry: signet_ca::ledger::RawEntry| EntryView {
        position: entry.position,
        text: STANDARD.encode(&entry.text),
    };
    Ok(Json(EntriesAnswer { entries: read.into_iter().map(view).collect() }))
}

/// Whether an Envoy took what has this version.
fn is_held(nodes: &[Node], version: &str) -> bool {
    nodes.iter().flat_map(|node| &node.secrets).any(|secret| secret.accepted_version == version)
}

fn terms(default_life: u64) -> Terms {
    let seconds = |span: u64| i64::try_from(span).unwrap_or(i64::MAX);
    Terms {
        shortest_life: seconds(MIN_LEAF_LIFE.as_secs()),
        default_life: seconds(default_life),
        longest_life: seconds(MAX_LEAF_LIFE.as_secs()),
        backdate: seconds(BACKDATE.as_secs()),
    }
}

fn authorities(issuing: &Issuing) -> Vec<Authority> {
    let certificates = issuing.authority().certificates();
    let authority = |found: signet_ca::AuthorityCertificate| Authority {
        name: found.name,
        place: match found.rank {
            Rank::Root => Place::Root,
            Rank::Intermediate => Place::Intermediate,
            Rank::Issuer => Place::Issuer,
        },
        standing: Standing::Active,
        since: 0,
        der: Der(found.der.to_vec()),
        revoked: None,
    };
    certificates.into_iter().map(authority).collect()
}

/// Nodes with TLS whose agents, being older, do not say what their listeners accept.
fn unseen(nodes: &[Node], ports: &[Port]) -> Vec<Gap> {
    let has_tls = |node: &&Node| {
        ports.iter().any(|port| port.workload == node.workload && port.in_force != Mode::Disabled)
    };
    let silent = nodes.iter().filter(|node| node.is_connected && node.listeners.is_empty());
    let reason = "its agent does not report what its listeners accept";
    let gap = |node: &Node| Gap { need: Need::Listeners, node: Some(node.name()), reason: reason.to_owned() };
    silent.filter(has_tls).map(gap).collect()
}

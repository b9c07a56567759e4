//! Routes on the wire: which requests they take, where to, how often and for how long, through real Envoys.
//!
//! The applications stand alone: what is on trial is the caller's Envoy, or the gateway's.

mod bounds;
mod gateway_spec;
mod gateway_tls;
mod gateways;
mod grpc;
mod kinds;
mod matchers;
mod ordering;
mod resets;
mod splits;

use anyhow::Result;
use serde_json::{Value, json};
use signet_tests::bed::{Bed, app::App, listening};

/// An application that is a virtual node of its name, without a proxy.
async fn standing_alone(bed: &Bed, mesh: &str, name: &str, protocol: &str) -> Result<App> {
    let app = App::http(name).await?;
    bed.virtual_node(mesh, name, listening("127.0.0.1", app.port, protocol)).await?;
    Ok(app)
}

/// All to one node.
fn to(node: &str) -> Value {
    json!({"weightedTargets": [{"virtualNode": node, "weight": 1}]})
}

/// `httpRoute` with a match, to a node.
fn http_route(matched: Value, node: &str) -> Value {
    json!({"httpRoute": {"match": matched, "action": to(node)}})
}

fn duration(millis: u64) -> Value {
    json!({"unit": "ms", "value": millis})
}

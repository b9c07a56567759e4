//! Specs of all seven kinds against the model that App Mesh's own clients carry.
//!
//! botocore's `service-2.json` is read from the installed package and walked: every member that a spec can have is
//! sent and comes back, every bound is tried on both sides, and a part of the model that the walk does not know how
//! to try makes it fail. The same shapes make the random specs of the property tests.

mod crowd;
mod envoy;
mod legal;
mod mend;
mod properties;
mod sample;
mod shapes;
mod walk;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use signet_controlplane::model::{
    Document,
    key::InvalidKey,
    shape::{Invalid, Rule},
};

/// A key of each kind, and the shape of its spec.
const KINDS: [(&str, &str); 7] = [
    ("mesh/m", "MeshSpec"),
    ("mesh/m/virtualNode/a", "VirtualNodeSpec"),
    ("mesh/m/virtualService/s", "VirtualServiceSpec"),
    ("mesh/m/virtualRouter/r", "VirtualRouterSpec"),
    ("mesh/m/virtualRouter/r/route/x", "RouteSpec"),
    ("mesh/m/virtualGateway/g", "VirtualGatewaySpec"),
    ("mesh/m/virtualGateway/g/gatewayRoute/x", "GatewayRouteSpec"),
];

/// Parses a spec as the API does.
fn parse(key: &str, spec: Value) -> Result<Document, Invalid> {
    let no_key = |error: InvalidKey| Invalid { path: String::new(), rule: Rule::Other(error.to_string()) };
    Document::parse(key.parse().map_err(no_key)?, spec)
}

/// What a caller is shown of a spec that was taken: what was sent, but for App Mesh's two exceptions.
fn shown(root: &str, mut spec: Value) -> Value {
    if root == "VirtualNodeSpec" && spec["backends"].is_null() {
        spec["backends"] = Value::Array(Vec::new());
    }
    for listener in spec.get_mut("listeners").and_then(Value::as_array_mut).into_iter().flatten() {
        let port = listener["portMapping"]["port"].clone();
        if let Some(check) = listener.get_mut("healthCheck").filter(|check| check.is_object())
            && check["port"].is_null()
        {
            check["port"] = port;
        }
    }
    spec
}

/// Checks that a spec is taken, comes back as it was sent, and means the same when it is read again.
fn check_taken(key: &str, root: &str, spec: &Value) -> Result<()> {
    let document = parse(key, spec.clone()).map_err(|error| anyhow!("refused: {error}"))?;
    let text = document.text().get();
    let back: Value = serde_json::from_str(text).context("its text is no JSON")?;
    ensure!(back == shown(root, spec.clone()), "it comes back as {text}");
    let again = parse(key, back).map_err(|error| anyhow!("its text is refused: {error}"))?;
    ensure!(again.text().get() == text, "read again, it comes back as {}", again.text().get());
    ensure!(again.spec() == document.spec(), "read again, it means {:?}", again.spec());
    Ok(())
}

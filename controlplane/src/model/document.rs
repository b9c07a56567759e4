//! A spec that was read: its text as it is stored and shown, and what it means.

use std::sync::Arc;

use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use signet_policies::identity::TrustDomain;

use super::{
    GatewayRoute, MeshSettings, Route, VirtualGateway, VirtualNode, VirtualRouter, VirtualService, key::Key,
    parse, shape::Invalid,
};
use crate::model::{key::Kind, shape::Rule};

/// Most lists and objects inside each other. A record that is nested deeper than 128 could not be read again.
const MAX_DEPTH: usize = 100;

/// What a spec means.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// A mesh's.
    Mesh(MeshSettings),
    /// A virtual node's.
    VirtualNode(Arc<VirtualNode>),
    /// A virtual service's.
    VirtualService(Arc<VirtualService>),
    /// A virtual router's; its routes are documents of their own, so it has none.
    VirtualRouter(Arc<VirtualRouter>),
    /// A route's.
    Route(Arc<Route>),
    /// A virtual gateway's; its routes are documents of their own, so it has none.
    VirtualGateway(Arc<VirtualGateway>),
    /// A gateway route's.
    GatewayRoute(Arc<GatewayRoute>),
}

/// A resource's spec, legal by itself. There is no way to have one that never was checked.
#[derive(Clone, Debug)]
pub struct Document {
    key: Key,
    text: Arc<RawValue>,
    spec: Spec,
}

impl Document {
    /// Reads a spec that a caller sent.
    ///
    /// It is kept as it came, with two exceptions, which are App Mesh's own: a virtual node without backends has an
    /// empty list of them, and a health check without port has its listener's.
    ///
    /// # Errors
    /// The first member that breaks a rule, by its path from `spec`.
    pub fn parse(key: Key, value: Value) -> Result<Self, Invalid> {
        Self::parse_within(key, value, None)
    }

    /// As [`Document::parse`], for a server of this trust domain: a secret of another one would never come.
    ///
    /// # Errors
    /// As for [`Document::parse`].
    pub fn parse_within(
        key: Key,
        mut value: Value,
        trust_domain: Option<&TrustDomain>,
    ) -> Result<Self, Invalid> {
        if !is_within(&value, MAX_DEPTH) {
            let rule = format!("must not be nested deeper than {MAX_DEPTH} levels");
            return Err(Invalid { path: "spec".into(), rule: Rule::Other(rule) });
        }
        let spec = parse::spec(&key, &value, trust_domain)?;
        complete(key.kind(), &mut value);
        let unwritable =
            |error: serde_json::Error| Invalid { path: "spec".into(), rule: Rule::Other(error.to_string()) };
        let text = to_raw_value(&value).map_err(unwritable)?;
        Ok(Self { key, text: text.into(), spec })
    }

    /// Reads a spec that [`Document::text`] gave earlier. This version may know rules that an earlier one did not;
    /// they hold for what is written from now on, and what is there is served as it was.
    ///
    /// # Errors
    /// The first member that the model cannot hold.
    pub(crate) fn restore(key: Key, text: Box<RawValue>) -> Result<Self, Invalid> {
        let unreadable =
            |error: serde_json::Error| Invalid { path: "spec".into(), rule: Rule::Other(error.to_string()) };
        let value: Value = serde_json::from_str(text.get()).map_err(unreadable)?;
        let spec = parse::held(&key, &value)?;
        Ok(Self { key, text: text.into(), spec })
    }

    /// Whose spec it is.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The JSON, in the order it came in.
    #[must_use]
    pub fn text(&self) -> &RawValue {
        &self.text
    }

    /// What it means.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }
}

/// Writes down what App Mesh wrote down.
fn complete(kind: Kind, spec: &mut Value) {
    let Some(members) = spec.as_object_mut() else {
        return;
    };
    if kind == Kind::VirtualNode {
        let backends = members.entry("backends").or_insert(Value::Null);
        if backends.is_null() {
            *backends = Value::Array(Vec::new());
        }
    }
    if matches!(kind, Kind::VirtualNode | Kind::VirtualGateway) {
        for listener in members.get_mut("listeners").and_then(Value::as_array_mut).into_iter().flatten() {
            let port = listener.pointer("/portMapping/port").cloned().unwrap_or_default();
            if let Some(check) = listener.get_mut("healthCheck").and_then(Value::as_object_mut) {
                let found = check.entry("port").or_insert(Value::Null);
                if found.is_null() {
                    *found = port;
                }
            }
        }
    }
}

/// Whether a value has no more than `depth` lists and objects inside each other.
fn is_within(value: &Value, depth: usize) -> bool {
    let Some(left) = depth.checked_sub(1) else {
        return !value.is_array() && !value.is_object();
    };
    match value {
        Value::Array(items) => items.iter().all(|item| is_within(item, left)),
        Value::Object(members) => members.values().all(|member| is_within(member, left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

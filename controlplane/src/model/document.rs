//! A spec that was read: its text as it is stored and shown, and what it means.

use std::sync::Arc;

use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use super::{
    GatewayRoute, MeshSettings, Route, VirtualGateway, VirtualNode, VirtualRouter, VirtualService, key::Key,
    parse, shape::Invalid,
};
use crate::model::{key::Kind, shape::Rule};

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

/// A resource's spec, legal by itself. There is no way to have one that was not checked.
#[derive(Clone, Debug)]
pub struct Document {
    key: Key,
    text: Arc<RawValue>,
    spec: Spec,
}

impl Document {
    /// Reads a spec that a caller sent.
    ///
    /// It is kept as it came, but for a virtual node without backends, which App Mesh showed with an empty list.
    ///
    /// # Errors
    /// The first member that breaks a rule, by its path from `spec`.
    pub fn parse(key: Key, mut value: Value) -> Result<Self, Invalid> {
        let spec = parse::spec(key.kind(), &value)?;
        if let (Kind::VirtualNode, Value::Object(members)) = (key.kind(), &mut value) {
            let backends = members.entry("backends").or_insert(Value::Null);
            if backends.is_null() {
                *backends = Value::Array(Vec::new());
            }
        }
        let unwritable =
            |error: serde_json::Error| Invalid { path: "spec".into(), rule: Rule::Other(error.to_string()) };
        let text = to_raw_value(&value).map_err(unwritable)?;
        Ok(Self { key, text: text.into(), spec })
    }

    /// Reads a spec that [`Document::text`] gave earlier.
    ///
    /// # Errors
    /// As for [`Document::parse`]: this version may know rules that an earlier one did not.
    pub(crate) fn restore(key: Key, text: Box<RawValue>) -> Result<Self, Invalid> {
        let unreadable =
            |error: serde_json::Error| Invalid { path: "spec".into(), rule: Rule::Other(error.to_string()) };
        let value: Value = serde_json::from_str(text.get()).map_err(unreadable)?;
        let spec = parse::spec(key.kind(), &value)?;
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

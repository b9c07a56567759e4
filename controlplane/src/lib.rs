//! The App Mesh API, its model and store, and the translation to Envoy.

pub mod access;
pub mod api;
pub mod credentials;
pub mod discovery;
mod json;
pub mod model;
pub mod proxies;
pub mod quotas;
pub mod reconcile;
pub mod server;
pub mod store;
pub mod translate;

//! The App Mesh API, its model and store, and the translation to Envoy.

pub mod api;
pub mod discovery;
pub mod model;
pub mod proxies;
pub mod reconcile;
pub mod server;
pub mod store;
pub mod translate;

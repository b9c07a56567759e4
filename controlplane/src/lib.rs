//! The App Mesh API, its model and store, and the translation to Envoy.

pub mod model;

//! Nodes on the wire: every field of a virtual node seen at work in a real Envoy.

mod bounds;
mod discovery;
mod families;
mod goldens;
mod health;
mod logs;
mod redirected;
mod served;
mod tls;
mod traced;
mod vended;

pub(super) use goldens::bootstrap;

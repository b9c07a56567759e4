//! Redirection of a host's, task's or pod's TCP traffic to Envoy, by iptables, as App Mesh's init container did it.
//!
//! ```text
//!  others ──▶ PREROUTING ──▶ APPMESH_INGRESS ── application's ports ──▶ Envoy, 15000
//!  application ──▶ OUTPUT ──▶ APPMESH_EGRESS ── but for who and what is ignored ──▶ Envoy, 15001
//! ```
//!
//! What a host calls on itself, other ports, and UDP stay as they are. `rules` says what is wanted, `found` what is
//! there, `apply` makes one of the other.

mod apply;
mod found;
mod rules;

pub use self::{
    apply::{Applied, InterceptionError, apply, remove},
    rules::{Family, InvalidRules, Network, Rules},
};

//! The xDS protocol as a state machine, and the one shell that serves it.
//!
//! ```text
//!               Source::open(peer, node) ─▶ Feed ── watch of Arc<Snapshot> ──┐
//!                                                                            ▼
//!  Envoy ══ ADS or SDS, SotW or delta ══▶ server ── Request ──▶ Session ── next(&Snapshot)
//!           (tonic stream, its owner)  ◀═════════ Response ◀──────┘ │
//!                                                                   └─▶ Status ──▶ Observer
//! ```
//!
//! `pb` is the one door to Envoy's protobufs, `ordered` writes those of its messages that have maps, `json` shows them as Envoy does, `resource` and `snapshot` are what is to be served, `session`
//! decides what a stream says next, `status` is what the client made of it, `server` moves the bytes.
//!
//! Invariants:
//! - `session` has no I/O, no clock and no randomness; the same calls give the same replies.
//! - Nothing that a peer sends ends more than its own stream, and nothing that it sends is believed: names,
//!   counts and texts are bounded, and a rejection's text is cleaned before anyone may see it.
//! - Sent is not accepted: only an ACK (or a version that a reconnecting client brings along) counts.
//! - What a client rejected is not sent to it again on that stream until it changes.
//! - Make before break: clusters and endpoints, then listeners and routes, then removals, each step after the
//!   ACK of the one before.

mod batch;
mod by_kind;
mod interest;
pub mod json;
mod layer;
pub mod ordered;
pub mod pb;
mod pool;
pub mod resource;
pub mod server;
pub mod session;
pub mod snapshot;
pub mod status;

pub use batch::Resources;
pub use pool::Pool;
pub use resource::{Resource, ResourceType};
pub use session::Session;
pub use snapshot::{Replacements, Snapshot};
pub use status::{Rejection, ResourceStatus, Status};

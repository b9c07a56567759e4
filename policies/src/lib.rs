//! What Signet decides, as pure functions: who somebody is, what they may hold, and what a port speaks.
//!
//! ```text
//!  identity   trust domain ── SPIFFE ID ── workload        parse, don't validate
//!  time       timestamp ── validity ── renewal moment      whole seconds, as X.509 has no more
//!  issuance   decide(caller, requested, registration) ──▶ Grant
//!  mtls       spec mode + policies ──▶ effective mode, with its provenance
//! ```
//!
//! Invariants: no I/O, no clock, no randomness. `now` and random draws are arguments.

pub mod identity;
pub mod issuance;
pub mod mtls;
pub mod time;

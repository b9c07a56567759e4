//! The node side of Signet: joins, serves secrets over SDS, and runs Envoy.
//!
//! ```text
//!  environment ─▶ AgentConfig
//!                     │                  ┌──────── Signet server ────────┐
//!                     ▼           join: token, then the certificate      │ ADS, with the workload's
//!  state ◀──▶ run ── sds::rotator ══════TLS══════▶ Node service          │ own certificate
//!  (a file)     │        └─ sds::server ══ Unix socket ══▶ Envoy ════════┘
//!               ├─ bootstrap ─▶ envoy: start, or adopt what an earlier agent started
//!               └─ evidence ─▶ watch ═══TLS═══▶ Node service: what the proxy holds; back comes what to trust
//! ```
//!
//! Invariants:
//! - Keys are made here and leave only by the SDS socket; on disk they are in one file of mode 0600.
//! - The server is known by the operator's roots and its one SPIFFE ID, never by its host name alone.
//! - An agent that is killed takes nothing down: Envoy goes on, and the next agent adopts it.
//! - Nothing here reads the environment, the arguments or the system's clock: they are passed in.

mod admin;
pub mod bootstrap;
pub mod environment;
pub mod envoy;
mod evidence;
mod further;
pub mod interception;
pub mod join;
mod ports;
pub mod run;
pub mod server_addr;
pub mod state;
#[cfg(test)]
mod testing;
pub mod tracer;
pub mod trust;
mod watch;

pub use environment::{Environment, LogLevel};
pub use envoy::EnvoyCommand;
pub use run::{AgentCommand, AgentConfig, AgentError, Controls, Outcome, Ready, run};
pub use server_addr::ServerAddr;

//! A whole mesh on this machine, made of the real parts: what the demo shows and the suites test.
//!
//! ```text
//!   load ──▶ Envoy of the caller ──▶ Envoys of the service ──▶ small applications
//!                  ▲                        ▲        ◀── probes
//!                agent                   agents
//!                  └────────▶ server ◀──────┘             every arrow is a socket on loopback
//! ```
//!
//! Server and agents are processes of this very program; Envoys are the agents' children. Each Envoy has a
//! loopback address of its own, so that applications and listeners may share port numbers.

pub mod admin;
pub mod app;
pub mod envoy;
pub mod load;
pub mod mesh;
pub mod probe;
pub mod process;

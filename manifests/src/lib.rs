//! App Mesh resources as people keep them in files, and what it takes to make a server hold them.
//!
//! ```text
//!  text ─▶ node ─┬─ cloudformation ─┐
//!                ├─ kubernetes ─────┼─▶ Bundle ──┐
//!                └─ cli_input ──────┘            ├─▶ Plan ─▶ carry_out ─▶ Api
//!                         Api ─▶ State ──────────┘
//!                                  └─▶ export
//! ```
//!
//! Invariants:
//! - A resource of a [`Bundle`] was judged by the API's own parser, so what is wrong with it is known, by file and
//!   line, before anything is sent.
//! - The steps of a [`Plan`] were tried on the server's own rules, in their order, before anything is sent.
//! - There is no I/O here: texts come in, and an [`Api`] is asked.

pub mod apply;
mod cli_input;
mod cloudformation;
pub mod compare;
pub mod export;
mod input;
mod kubernetes;
mod node;
mod place;
pub mod plan;
mod resource;
pub mod server;
mod shape;
mod spell;

pub use self::{
    input::{Settings, Source, read},
    place::{Fault, Faults, Note, Place},
    plan::Plan,
    resource::{Bundle, Resource, Tags},
    server::{Api, State},
};

//! What a key pair may do: policies in IAM's language, decided as IAM decides.
//!
//! ```text
//!  policy (JSON) ─▶ Policy ─┐
//!  action, resource ────────┴─▶ Verdict: allowed · denied by a statement · not allowed by any
//! ```
//!
//! Invariants:
//! - What no statement allows is not allowed, and a statement that denies wins over all that allow.
//! - A policy whose meaning is not whole understood (conditions, variables, unknown members) is refused when
//!   it is made, never read as something else.
//! - Deciding takes time in proportion to the policy and the names, whatever the wildcards.

mod action;
mod pattern;
mod policy;
mod statement;
#[cfg(test)]
mod tests;

pub use self::{
    action::{LIST_TAGS, SIGNET_ACTIONS, TAG, UNTAG, Verb, operation},
    policy::{Policy, Verdict},
};

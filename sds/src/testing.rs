//! A small certificate authority and a signer that can be told what to do wrong. For tests only.
#![expect(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "test support fails loudly")]

mod authority;
mod signer;

pub use authority::{MiniCa, Order};
pub use signer::{Answer, FakeSigner};

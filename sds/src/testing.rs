//! A small certificate authority, a signer that can be told what to do wrong, and a clock that can be paused. For
//! tests only.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "test support fails loudly")]
#![expect(clippy::wildcard_enum_match_arm, reason = "most answers differ from a good one in one place only")]
#![expect(missing_docs, reason = "names of variants and fields say it")]

mod authority;
mod clock;
mod signer;

pub use authority::{MiniCa, Order};
pub use clock::anchored;
pub use signer::{Answer, FakeSigner};

//! Fuzzes the bodies that the API reads:
//!
//! ```sh
//! cargo install cargo-fuzz
//! mkdir -p fuzz/corpus/bodies
//! cargo +nightly fuzz run bodies fuzz/corpus/bodies fuzz/seeds/bodies -- -max_len=8192 -max_total_time=600
//! ```
//!
//! The target itself is part of the ordinary suite, `cargo test -p signet-controlplane --test bodies`. A body that
//! breaks something becomes a seed there.

#![no_main]

#[path = "../../controlplane/tests/bodies/target.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    target::check(body);
});

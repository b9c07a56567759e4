//! The one binary of Signet.
fn main() {}

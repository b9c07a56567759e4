//! C. Cryptography.

pub(super) mod algorithms;
pub(super) mod reuse;
pub(super) mod weak;

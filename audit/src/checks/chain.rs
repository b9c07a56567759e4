//! B. Chain and trust.

pub(super) mod bundle;
pub(super) mod constraints;
pub(super) mod expiry;
pub(super) mod names;
pub(super) mod rotation;

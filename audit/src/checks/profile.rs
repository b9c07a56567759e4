//! D. Identity and profile.

pub(super) mod holders;
pub(super) mod identity;
pub(super) mod shape;

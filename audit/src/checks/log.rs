//! A. The issuance log and the signer.

pub(super) mod chain;
pub(super) mod decision;
pub(super) mod delivery;
pub(super) mod rate;
pub(super) mod serial;
pub(super) mod signature;
pub(super) mod stored;

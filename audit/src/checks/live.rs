//! E. Live Envoys.

pub(super) mod adoption;
pub(super) mod listeners;
pub(super) mod renewal;
pub(super) mod served;

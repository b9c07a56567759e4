//! The CA asks the mesh who a workload is.

use std::sync::Arc;

use signet_ca::Registry;
use signet_controlplane::model::Model;
use signet_policies::{identity::Workload, issuance::Registration};
use tokio::sync::watch;

/// A node's own spec is its registration.
pub(super) struct MeshRegistry(pub watch::Receiver<Arc<Model>>);

impl Registry for MeshRegistry {
    fn registration(&self, workload: &Workload) -> Option<Registration> {
        self.0.borrow().registration(workload)
    }
}

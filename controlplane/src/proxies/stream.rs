//! What a stream says of its proxy, until it ends.

use std::sync::Arc;

use signet_xds::{Status, server::Observer};
use tokio::time::Instant;
use tracing::warn;

use super::{Key, Proxies, RejectionView};
use crate::translate::Proxy;

/// A stream's hand on its entry.
pub(super) struct Stream {
    pub(super) key: Key,
    pub(super) proxies: Arc<Proxies>,
}

impl Observer for Stream {
    /// The proxy has said nothing, so nobody who waits for its word is woken.
    fn sent(&mut self, status: &Status) {
        let now = (self.proxies.clock)();
        self.proxies.lock().hear(self.key, status, now);
    }

    fn changed(&mut self, status: &Status) {
        let now = (self.proxies.clock)();
        let heard = self.proxies.lock().hear(self.key, status, now);
        // A log line may take its time.
        if let Some((Proxy { workload, ingress_address, .. }, rejections)) = heard {
            for RejectionView { kind, name, version, suspected, revision, changes, .. } in rejections {
                let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
                warn!(
                    %workload, %ingress_address, kind, name, version, suspected, revision, ?changes,
                    "a proxy refuses a resource"
                );
            }
        }
        self.proxies.touch();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let at = (self.proxies.clock)();
        let mut entries = self.proxies.lock();
        if let Some(entry) = entries.by_key.get_mut(&self.key) {
            let now = Instant::now();
            (entry.gone, entry.feed) = (Some(now), None);
            entries.gone.insert((now, self.key));
        }
        entries.refusals.note(self.key, ("", ""), &[], |_| false, at);
        drop(entries);
        self.proxies.touch();
    }
}

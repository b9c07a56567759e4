//! A server that has nothing to do but push what is ready, in a process of its own: as many streams again as this one
//! has would be too many for one.

use std::{
    future::pending,
    io::BufRead as _,
    sync::{Arc, atomic::AtomicUsize},
};

use http::Extensions;
use signet_xds::{
    Resource, ResourceType, Snapshot,
    pb::envoy::config::{cluster::v3::Cluster, core::v3::Node},
    server::{Feed, Source},
};
use tokio::{sync::watch, task::block_in_place};
use tonic::Status as Refusal;

use super::fleet::{Count, Fleet};

/// Is that process: says when its streams are open, then pushes once for each line, and says how many seconds that took.
pub(super) async fn serve(streams: usize) {
    let mut ready = Ready::start(streams).await;
    println!("ready");
    let mut lines = std::io::stdin().lock().lines();
    while block_in_place(|| lines.next()).is_some() {
        println!("{}", ready.push().await);
    }
}

/// Feeds every stream the same.
struct Same {
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    heard: Arc<AtomicUsize>,
}

impl Source for Same {
    fn open(&self, _: &Extensions, _: Option<&Node>) -> Result<Feed, Refusal> {
        let observer = Box::new(Count { heard: Arc::clone(&self.heard), inner: None });
        Ok(Feed { snapshots: self.snapshots.clone(), observer, end: Box::pin(pending()) })
    }
}

/// A server that pushes what is ready.
struct Ready {
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    fleet: Fleet,
    round: usize,
}

/// About as large as the cluster of a node that is called.
fn snapshot(round: usize) -> Option<Arc<Snapshot>> {
    let name = "cds_egress_m_server_http_8080".to_owned();
    let message =
        Cluster { name: name.clone(), alt_stat_name: format!("{round:0400}"), ..Default::default() };
    Some(Arc::new([Resource::new(ResourceType::Cluster, name, &message)].into_iter().collect()))
}

impl Ready {
    async fn start(streams: usize) -> Self {
        let (snapshots, receiver) = watch::channel(snapshot(0));
        let heard = Arc::<AtomicUsize>::default();
        let source = Same { snapshots: receiver, heard: Arc::clone(&heard) };
        Self { snapshots, fleet: Fleet::start(Arc::new(source), streams, heard).await, round: 0 }
    }

    /// A change to everybody, in seconds until everybody has it.
    async fn push(&mut self) -> f64 {
        self.round += 1;
        let (snapshots, next) = (&self.snapshots, snapshot(self.round));
        self.fleet.receive(async { drop(snapshots.send_replace(next)) }).await
    }
}

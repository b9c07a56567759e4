//! Serves what is held over SDS, to peers that the kernel vouches for.

mod connection;
mod gather;
mod http2;
mod publish;
mod source;

use std::{future::pending, sync::Arc, time::Duration};

use signet_xds::server::sds;
use tokio::{net::UnixListener, sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{attest::AllowedUsers, deliveries::Deliveries, secret::Secrets};
use connection::Gate;
use publish::Published;
use source::Own;

/// How long connections may take to end once they are told to.
pub const DRAIN: Duration = Duration::from_secs(5);
/// How often it is looked whether a connected process still runs as a user who is served.
pub const RECHECK: Duration = Duration::from_secs(5);

/// What is served, to whom, and who is told of it.
#[derive(Debug)]
pub struct Serving {
    /// The workload's own certificate and what it trusts.
    pub own: watch::Receiver<Option<Arc<Secrets>>>,
    /// Certificates of further identities of the workload, in the order in which they came.
    pub further: watch::Receiver<Vec<Arc<Secrets>>>,
    /// Whose processes may ask.
    pub users: AllowedUsers,
    /// What a client gets that names nothing.
    pub empty_list: EmptyList,
    /// How often to look again at who is connected; [`RECHECK`], but for tests.
    pub recheck: Duration,
    /// Told what becomes of every secret.
    pub deliveries: Deliveries,
}

/// What the first request of a stream asks for that lists no name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptyList {
    /// Nothing: to xDS, secrets have no wildcard.
    #[default]
    Nothing,
    /// Every certificate and the roots, each once under its SPIFFE ID, as SPIRE's agent has it. `*` asks for the same.
    Everything,
}

/// Serves on `listener` until `shutdown`, then ends within [`DRAIN`].
///
/// Each new value is sent to whoever asked for one of its names; a name that nobody knows stays asked for and
/// unanswered, and so does every name before there is something to serve. When the own certificate has expired, the
/// roots are still served. Nothing that a peer says of itself is believed: its user, as the kernel tells it, is checked
/// before a byte is read, and again for as long as it is connected.
/// What goes wrong with one connection ends that connection.
pub async fn run(listener: UnixListener, serving: Serving, shutdown: CancellationToken) {
    let Serving { own, further, users, empty_list, recheck, deliveries } = serving;
    let (publisher, published) = Published::channel();
    let source = Own::new(published, empty_list, deliveries.clone());
    let service = sds(Arc::new(source), shutdown.clone());
    let publish = async {
        publisher.run(own, further, deliveries).await;
        pending().await
    };
    let serve = http2::serve_all(Gate::new(listener, users, recheck), service, shutdown.clone());
    tokio::select! {
        () = serve => {}
        () = publish => {}
        () = async { shutdown.cancelled().await; sleep(DRAIN).await } => {}
    }
}

#[cfg(test)]
mod tests;

//! Serves what is held over SDS, to peers that the kernel vouches for.

mod connection;
mod publish;
mod source;

use std::{future::pending, sync::Arc, time::Duration};

use signet_xds::server::sds;
use thiserror::Error;
use tokio::{net::UnixListener, sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::{attest::AllowedUsers, deliveries::Deliveries, secret::Secrets};
use connection::admitted;
use publish::Published;
use source::Own;

/// How long connections may take to end once they are told to.
pub const DRAIN: Duration = Duration::from_secs(5);
/// How often it is looked whether a connected process still runs as a user who is served.
pub const RECHECK: Duration = Duration::from_secs(5);
/// HTTP/2 streams that one connection may have open: Envoy opens one for each secret.
const MAX_STREAMS: u32 = 1024;

/// What is served, to whom, and who is told of it.
#[derive(Debug)]
pub struct Serving {
    /// The workload's own certificate and what it trusts.
    pub own: watch::Receiver<Option<Arc<Secrets>>>,
    /// Certificates of further identities of the workload, in the order in which they came.
    pub further: watch::Receiver<Vec<Arc<Secrets>>>,
    /// Whose processes may ask.
    pub users: AllowedUsers,
    /// How often to look again at who is connected; [`RECHECK`], but for tests.
    pub recheck: Duration,
    /// Told what becomes of every secret.
    pub deliveries: Deliveries,
}

/// Why serving ended.
#[derive(Debug, Error)]
#[error("the SDS server failed")]
pub struct ServeError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Serves on `listener` until `shutdown`, then ends within [`DRAIN`].
///
/// Each new value is sent to whoever asked for one of its names; a name that nobody knows stays asked for and
/// unanswered, and so does every name before there is something to serve. When the own certificate has expired, the
/// roots are still served. Nothing that a peer says of itself is believed: its user, as the kernel tells it, is checked
/// before a byte is read, and again for as long as it is connected.
///
/// # Errors
/// The transport failed as a whole; what goes wrong with one connection ends that connection.
pub async fn run(
    listener: UnixListener,
    serving: Serving,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let Serving { own, further, users, recheck, deliveries } = serving;
    let (publisher, published) = Published::channel();
    let source = Own::new(published, deliveries.clone());
    let service = sds(Arc::new(source), shutdown.clone());
    let serve = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .add_service(service)
        .serve_with_incoming_shutdown(admitted(listener, users, recheck), shutdown.clone().cancelled_owned());
    tokio::select! {
        served = serve => served.map_err(|error| ServeError(error.into())),
        () = publisher.run(own, further, deliveries) => pending().await,
        () = async { shutdown.cancelled().await; sleep(DRAIN).await } => Ok(()),
    }
}

#[cfg(test)]
mod tests;

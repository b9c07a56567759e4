//! Serves what is held over SDS, to peers that the kernel vouches for.

use std::{
    future::pending,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, stream};
use http::Extensions;
use signet_xds::{
    ResourceType, Snapshot, Status,
    pb::envoy::config::core::v3::Node,
    server::{Feed, Observer, Source, sds},
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::watch,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::Connected};
use tracing::{debug, warn};

use crate::{
    attest::{AllowedUsers, Peer},
    secret::Secrets,
    translate::translate,
};

/// How long connections may take to end once they are told to.
pub const DRAIN: Duration = Duration::from_secs(5);
/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// HTTP/2 streams that one connection may have open: Envoy opens one for each secret.
const MAX_STREAMS: u32 = 1024;

/// Why serving ended.
#[derive(Debug, Error)]
#[error("the SDS server failed")]
pub struct ServeError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Serves `secrets` on `listener` until `shutdown`, then ends within [`DRAIN`].
///
/// Each new value is sent to whoever asked for one of its names; a name that nobody knows stays asked for and
/// unanswered, and so does every name while there is nothing to serve. Nothing that a peer says of itself is
/// believed: its user, as the kernel tells it, is checked before a byte is read.
///
/// # Errors
/// The transport failed as a whole; what goes wrong with one connection ends that connection.
pub async fn run(
    listener: UnixListener,
    secrets: watch::Receiver<Option<Arc<Secrets>>>,
    users: AllowedUsers,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let (publisher, snapshots) = watch::channel(None);
    let service = sds(Arc::new(Own { snapshots }), shutdown.clone());
    let serve = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .add_service(service)
        .serve_with_incoming_shutdown(admitted(listener, users), shutdown.clone().cancelled_owned());
    tokio::select! {
        served = serve => served.map_err(|error| ServeError(error.into())),
        () = publish(secrets, publisher) => pending().await,
        () = async { shutdown.cancelled().await; sleep(DRAIN).await } => Ok(()),
    }
}

/// Turns what is held into snapshots. When the rotator is gone, so is `publisher`, and streams end.
async fn publish(
    mut secrets: watch::Receiver<Option<Arc<Secrets>>>,
    publisher: watch::Sender<Option<Arc<Snapshot>>>,
) {
    loop {
        let held = secrets.borrow_and_update().clone();
        publisher.send_replace(held.map(|held| Arc::new(translate(&held))));
        if secrets.changed().await.is_err() {
            return;
        }
    }
}

/// Feeds every admitted peer the same: this socket is one workload's.
struct Own {
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
}

impl Source for Own {
    fn open(&self, extensions: &Extensions, _node: Option<&Node>) -> Result<Feed, tonic::Status> {
        let peer = extensions.get::<Peer>().copied();
        let peer =
            peer.ok_or_else(|| tonic::Status::unauthenticated("the kernel did not vouch for the peer"))?;
        let observer = Box::new(Log { peer, told: Vec::new() });
        // Who was admitted once is served for as long as there is something to serve.
        Ok(Feed { snapshots: self.snapshots.clone(), observer, end: Box::pin(pending()) })
    }
}

/// Says once which version a peer refuses. Its own words may quote what it was sent, so they are not logged.
struct Log {
    peer: Peer,
    told: Vec<(String, Arc<str>)>,
}

impl Observer for Log {
    fn changed(&mut self, status: &Status) {
        for (kind, name, rejection) in status.rejections() {
            let seen = (name.to_owned(), Arc::clone(&rejection.version));
            if kind == ResourceType::Secret && !self.told.contains(&seen) {
                let Peer { uid, pid, .. } = self.peer;
                warn!(uid, pid, secret = name, version = %rejection.version, "the proxy refuses a secret");
                self.told.push(seen);
            }
        }
    }
}

/// The connections of peers that are served; the others are closed here, unread.
fn admitted(listener: UnixListener, users: AllowedUsers) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold((listener, users), |(listener, users)| async {
        let connection = next_admitted(&listener, &users).await;
        Some((Ok(connection), (listener, users)))
    })
}

async fn next_admitted(listener: &UnixListener, users: &AllowedUsers) -> Connection {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, say: it passes, and asking again at once would not let it.
                warn!(%error, "cannot accept a connection on the SDS socket");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match users.admit(&stream) {
            Ok(peer) => {
                debug!(uid = peer.uid, pid = peer.pid, "a proxy connected");
                return Connection { stream, peer };
            }
            Err(refused) => warn!(reason = %refused, "a process was turned away from the SDS socket"),
        }
    }
}

/// A connection that remembers whose it is.
struct Connection {
    stream: UnixStream,
    peer: Peer,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;

//! The HTTP shell around [`Session`](crate::Session): one for ADS and the single-kind services, SotW and delta.
//!
//! ```text
//!  HTTP body ─▶ messages ─▶ stream (Shell, Session) ─▶ body ─▶ splice ─▶ frames of shared bytes
//! ```
//!
//! A stream is one future that its connection polls: it reads a request only when it has nothing to send and
//! looks at the newest snapshot only when the client takes the response, so a client that does not read costs
//! one response and delays nobody.

mod bell;
mod body;
pub mod connection;
mod ends;
mod fetch;
mod messages;
mod service;
mod splice;
mod stream;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use http::Extensions;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status as Refusal;
use tracing::info;

use crate::{pb::envoy::config::core::v3::Node, session::ProtocolError, snapshot::Snapshot, status::Status};

pub use body::Body;
pub use service::{Aggregated, Api, Clusters, Discovery, Endpoints, Listeners, Routes, Secrets};
pub use splice::Piece;

/// How long a stream may stay open without a first request, and a fetch without an answer.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The largest request that is decoded, in bytes. Envoy's first message is about 61 KB.
pub const MAX_REQUEST: usize = 4 << 20;

/// Decides who is at the other end of a stream, and what it is fed.
pub trait Source: Send + Sync + 'static {
    /// Called once per stream with its first request, before any resource is computed. `extensions` are those
    /// of the HTTP request, where the transport has put the peer's identity; `node` is what the peer says of
    /// itself (always with an id on ADS, perhaps absent on SDS), which proves nothing.
    ///
    /// # Errors
    /// The status with which the stream ends.
    fn open(&self, extensions: &Extensions, node: Option<&Node>) -> Result<Feed, Refusal>;

    /// Whether who names no secret gets all of them: [`Session::with_unnamed_secrets`].
    ///
    /// [`Session::with_unnamed_secrets`]: crate::Session::with_unnamed_secrets
    fn gives_unnamed_secrets(&self) -> bool {
        false
    }
}

/// What one stream is fed with, and who watches it.
pub struct Feed {
    /// The newest snapshot. While it is `None` requests are held; when the sender is gone the stream ends with
    /// UNAVAILABLE.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Told what the client makes of it.
    pub observer: Box<dyn Observer>,
    /// Gives the status with which the stream must end, if that moment comes: its client may no longer be served.
    pub end: End,
}

/// The moment when a stream must end, and its status.
pub type End = Pin<Box<dyn Future<Output = Refusal> + Send>>;

/// Follows one stream; dropped when the stream ends.
pub trait Observer: Send {
    /// Called after every request: an ACK, a NACK or a change of subscription. It runs on the stream's own task, so it
    /// must neither block nor wait.
    fn changed(&mut self, status: &Status);

    /// Called after every response; the same is demanded of it. What the client accepts and refuses is as it was, but for
    /// what is gone.
    fn sent(&mut self, status: &Status) {
        self.changed(status);
    }

    /// Whether anything of this snapshot may be sent now. What may not is held until there is another snapshot.
    ///
    /// It is asked at the last moment before a response is made, so that what has a time to live can end at it.
    fn may_send(&self, snapshot: &Snapshot) -> bool {
        let _ = snapshot;
        true
    }
}

/// The aggregated discovery service, SotW and delta, for every kind of resource.
///
/// When `shutdown` is cancelled its streams end with UNAVAILABLE.
pub fn ads<S: Source>(source: Arc<S>, shutdown: CancellationToken) -> Discovery<Aggregated, S> {
    Discovery::new(source, shutdown)
}

/// The secret discovery service: SotW, delta and one-shot fetch, for [`ResourceType::Secret`] only.
///
/// When `shutdown` is cancelled its streams end with UNAVAILABLE.
///
/// [`ResourceType::Secret`]: crate::ResourceType::Secret
pub fn sds<S: Source>(source: Arc<S>, shutdown: CancellationToken) -> Discovery<Secrets, S> {
    Discovery::new(source, shutdown)
}

/// The one place where a protocol error becomes a gRPC status.
fn refuse(error: ProtocolError) -> Refusal {
    info!(%error, "request refused");
    Refusal::invalid_argument(error.to_string())
}

fn log_refusal(refusal: &Refusal) {
    info!(code = ?refusal.code(), reason = refusal.message(), "stream refused");
}

fn shutting_down() -> Refusal {
    Refusal::unavailable("the server is shutting down")
}

fn end_of_feed() -> Refusal {
    Refusal::unavailable("the source of configuration has ended")
}

#[cfg(test)]
mod tests;

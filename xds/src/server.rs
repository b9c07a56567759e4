//! The tonic shell around [`Session`]: one for ADS and SDS, SotW and delta.
//!
//! A stream is one future that its connection polls: it reads a request only when it has nothing to send and
//! looks at the newest snapshot only when the client takes the response, so a client that does not read costs
//! one response and delays nobody.

mod stream;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::Stream;
use http::Extensions;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status as Refusal, Streaming, async_trait};
use tracing::{info, info_span};

use crate::{
    pb::envoy::{
        config::core::v3::Node,
        service::{
            discovery::v3::{
                DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
                aggregated_discovery_service_server::{
                    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
                },
            },
            secret::v3::secret_discovery_service_server::{
                SecretDiscoveryService, SecretDiscoveryServiceServer,
            },
        },
    },
    resource::ResourceType,
    session::{ProtocolError, Service, Session, Variant},
    snapshot::Snapshot,
    status::Status,
};
use stream::Shell;

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
}

/// What one stream is fed with, and who watches it.
pub struct Feed {
    /// The newest snapshot. While it is `None` requests are held; when the sender is gone the stream ends with
    /// UNAVAILABLE.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Told what the client makes of it.
    pub observer: Box<dyn Observer>,
}

/// Follows one stream; dropped when the stream ends.
pub trait Observer: Send {
    /// Called after every request (ACK, NACK or change of subscription) and every response. It runs on the
    /// stream's own task, so it must neither block nor wait.
    fn changed(&mut self, status: &Status);
}

/// The aggregated discovery service, SotW and delta, for every kind of resource.
///
/// When `shutdown` is cancelled its streams end with UNAVAILABLE.
pub fn ads<S: Source>(
    source: Arc<S>,
    shutdown: CancellationToken,
) -> AggregatedDiscoveryServiceServer<Ads<S>> {
    AggregatedDiscoveryServiceServer::new(Ads(Streams::new(source, shutdown)))
        .max_decoding_message_size(MAX_REQUEST)
}

/// The secret discovery service: SotW, delta and one-shot fetch, for [`ResourceType::Secret`] only.
///
/// When `shutdown` is cancelled its streams end with UNAVAILABLE.
pub fn sds<S: Source>(source: Arc<S>, shutdown: CancellationToken) -> SecretDiscoveryServiceServer<Sds<S>> {
    SecretDiscoveryServiceServer::new(Sds(Streams::new(source, shutdown)))
        .max_decoding_message_size(MAX_REQUEST)
}

/// [`ads`]'s implementation of the service.
pub struct Ads<S>(Streams<S>);

/// [`sds`]'s implementation of the service.
pub struct Sds<S>(Streams<S>);

/// The responses of one stream, in the protocol's own message.
pub type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Refusal>> + Send>>;

/// What the streams of one service have in common.
struct Streams<S> {
    source: Arc<S>,
    shutdown: CancellationToken,
    opened: AtomicU64,
}

impl<S: Source> Streams<S> {
    const fn new(source: Arc<S>, shutdown: CancellationToken) -> Self {
        Self { source, shutdown, opened: AtomicU64::new(0) }
    }

    fn session(&self, variant: Variant, service: Service) -> Session {
        Session::new(variant, service, self.opened.fetch_add(1, Ordering::Relaxed))
    }

    fn stream<I, O>(
        &self,
        variant: Variant,
        service: Service,
        request: Request<Streaming<I>>,
    ) -> Response<Responses<O>>
    where
        I: stream::Incoming,
        O: From<crate::session::Response> + Send + 'static,
    {
        let (_, extensions, requests) = request.into_parts();
        let session = self.session(variant, service);
        let span = info_span!("xds_stream", %service, ?variant, node = tracing::field::Empty);
        let shell =
            Shell::new(Arc::clone(&self.source), extensions, requests, session, self.shutdown.clone());
        Response::new(Box::pin(shell.into_stream(span)))
    }
}

#[async_trait]
impl<S: Source> AggregatedDiscoveryService for Ads<S> {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Refusal> {
        Ok(self.0.stream(Variant::Sotw, Service::Aggregated, request))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Refusal> {
        Ok(self.0.stream(Variant::Delta, Service::Aggregated, request))
    }
}

#[async_trait]
impl<S: Source> SecretDiscoveryService for Sds<S> {
    type StreamSecretsStream = Responses<DiscoveryResponse>;
    type DeltaSecretsStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Refusal> {
        Ok(self.0.stream(Variant::Sotw, Service::Only(ResourceType::Secret), request))
    }

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Refusal> {
        Ok(self.0.stream(Variant::Delta, Service::Only(ResourceType::Secret), request))
    }

    async fn fetch_secrets(
        &self,
        request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Refusal> {
        let (_, extensions, message) = request.into_parts();
        let mut session = self.0.session(Variant::Sotw, Service::Only(ResourceType::Secret));
        let node = message.node.clone();
        session.on_request(message.into()).map_err(refuse)?;
        let mut feed = self.0.source.open(&extensions, node.as_ref()).inspect_err(log_refusal)?;
        let snapshot = tokio::select! {
            biased;
            () = self.0.shutdown.cancelled() => return Err(shutting_down()),
            ready = feed.snapshots.wait_for(Option::is_some) => ready.map_err(|_| end_of_feed())?.clone(),
            () = tokio::time::sleep(PATIENCE) => return Err(Refusal::deadline_exceeded("no secret is ready yet")),
        };
        let response = session.next_response(&snapshot.unwrap_or_default());
        feed.observer.changed(session.status());
        let response =
            response.ok_or_else(|| Refusal::not_found("none of the secrets asked for is known"))?;
        Ok(Response::new(response.into()))
    }
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

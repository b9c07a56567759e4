//! Envoy's discovery services as HTTP services: which path is which method of which variant.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::{Ready, ready},
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderValue, header};
use http_body::Body as HttpBody;
use tokio_util::sync::CancellationToken;
use tonic::{Status as Refusal, body::Body as TonicBody, server::NamedService};
use tower::Service as HttpService;
use tracing::info_span;

use super::{
    Source,
    body::{Body, Joined, Responses},
    fetch::fetch,
    messages::Messages,
    stream::{Incoming, Shell},
};
use crate::{
    pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
    resource::ResourceType,
    session::{Service, Session, Variant},
};

/// One of Envoy's discovery services: its name, what it is about, and its methods.
pub trait Api: Send + Sync + 'static {
    /// The name in its protobuf file.
    const NAME: &'static str;
    /// One kind or all of them.
    const SERVICE: Service;
    /// The bidirectional method in state of the world.
    const SOTW: &'static str;
    /// The bidirectional method in differences.
    const DELTA: &'static str;
    /// The method for one answer; ADS has none.
    const FETCH: Option<&'static str>;
}

macro_rules! apis {
    ($($(#[$doc:meta])* $name:ident: $service:expr, $path:literal, $sotw:literal, $delta:literal, $fetch:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl Api for $name {
            const NAME: &'static str = $path;
            const SERVICE: Service = $service;
            const SOTW: &'static str = $sotw;
            const DELTA: &'static str = $delta;
            const FETCH: Option<&'static str> = $fetch;
        }
    )*};
}

apis! {
    /// ADS: every kind on one stream, in order.
    Aggregated: Service::Aggregated, "envoy.service.discovery.v3.AggregatedDiscoveryService",
        "StreamAggregatedResources", "DeltaAggregatedResources", None;
    /// CDS.
    Clusters: Service::Only(ResourceType::Cluster), "envoy.service.cluster.v3.ClusterDiscoveryService",
        "StreamClusters", "DeltaClusters", Some("FetchClusters");
    /// EDS.
    Endpoints: Service::Only(ResourceType::Endpoint), "envoy.service.endpoint.v3.EndpointDiscoveryService",
        "StreamEndpoints", "DeltaEndpoints", Some("FetchEndpoints");
    /// LDS.
    Listeners: Service::Only(ResourceType::Listener), "envoy.service.listener.v3.ListenerDiscoveryService",
        "StreamListeners", "DeltaListeners", Some("FetchListeners");
    /// RDS.
    Routes: Service::Only(ResourceType::Route), "envoy.service.route.v3.RouteDiscoveryService",
        "StreamRoutes", "DeltaRoutes", Some("FetchRoutes");
    /// SDS.
    Secrets: Service::Only(ResourceType::Secret), "envoy.service.secret.v3.SecretDiscoveryService",
        "StreamSecrets", "DeltaSecrets", Some("FetchSecrets");
}

/// One discovery service, fed by a [`Source`]; add it to a tonic router, or have it [`answer`](Self::answer).
pub struct Discovery<A, S> {
    streams: Arc<Streams<S>>,
    api: PhantomData<fn() -> A>,
}

/// What the streams of one service have in common.
struct Streams<S> {
    source: Arc<S>,
    shutdown: CancellationToken,
    opened: AtomicU64,
}

impl<A: Api, S: Source> Discovery<A, S> {
    /// When `shutdown` is cancelled its streams end with UNAVAILABLE.
    pub fn new(source: Arc<S>, shutdown: CancellationToken) -> Self {
        let streams = Arc::new(Streams { source, shutdown, opened: AtomicU64::new(0) });
        Self { streams, api: PhantomData }
    }

    /// Begins the answer to a call. The peer's identity is in the extensions of the request, where [`Source::open`] looks
    /// for it. A call of another service or of no method ends with UNIMPLEMENTED.
    pub fn answer<B>(&self, request: http::Request<B>) -> http::Response<Body>
    where
        B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.respond(request).map_or_else(Refusal::into_http, |body| {
            let mut response = http::Response::new(body);
            let grpc = HeaderValue::from_static("application/grpc");
            response.headers_mut().insert(header::CONTENT_TYPE, grpc);
            response
        })
    }

    fn shell<B, I>(&self, request: http::Request<B>, variant: Variant) -> Shell<S, Messages<B, I>>
    where
        B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
        I: Incoming,
    {
        let (parts, body) = request.into_parts();
        let Streams { source, shutdown, opened } = &*self.streams;
        let mut session = Session::new(variant, A::SERVICE, opened.fetch_add(1, Ordering::Relaxed));
        if source.gives_unnamed_secrets() {
            session = session.with_unnamed_secrets();
        }
        Shell::new(Arc::clone(source), parts.extensions, Messages::new(body), session, shutdown.clone())
    }

    fn respond<B>(&self, request: http::Request<B>) -> Result<Body, Refusal>
    where
        B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let encoding = request.headers().get("grpc-encoding");
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return Err(Refusal::unimplemented("compressed requests are not understood"));
        }
        let Some((_, method)) = request.uri().path().split_once(A::NAME).filter(|(before, _)| *before == "/")
        else {
            return Err(Refusal::unimplemented("this service is not served here"));
        };
        let method = method.strip_prefix('/').unwrap_or_default();
        let span = |variant: Variant| {
            let service = A::SERVICE;
            info_span!("xds_stream", %service, ?variant, node = tracing::field::Empty)
        };
        let (responses, variant): (Responses, _) = if method == A::SOTW {
            let shell = self.shell::<_, DiscoveryRequest>(request, Variant::Sotw);
            (Box::pin(shell.into_stream(span(Variant::Sotw))), Variant::Sotw)
        } else if method == A::DELTA {
            let shell = self.shell::<_, DeltaDiscoveryRequest>(request, Variant::Delta);
            (Box::pin(shell.into_stream(span(Variant::Delta))), Variant::Delta)
        } else if A::FETCH == Some(method) {
            let shell = self.shell::<_, DiscoveryRequest>(request, Variant::Sotw);
            (stream::once(fetch(shell)).boxed(), Variant::Sotw)
        } else {
            return Err(Refusal::unimplemented("this discovery service has no such method"));
        };
        Ok(Body::new(responses, variant))
    }
}

impl<A: Api, S: Source, B> HttpService<http::Request<B>> for Discovery<A, S>
where
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Response = http::Response<TonicBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        ready(Ok(self.answer(request).map(|body| TonicBody::new(Joined(body)))))
    }
}

impl<A: Api, S> NamedService for Discovery<A, S> {
    const NAME: &'static str = A::NAME;
}

impl<A, S> Clone for Discovery<A, S> {
    fn clone(&self) -> Self {
        Self { streams: Arc::clone(&self.streams), api: PhantomData }
    }
}

impl<A: Api, S> fmt::Debug for Discovery<A, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Discovery").field(&A::NAME).finish()
    }
}

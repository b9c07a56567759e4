//! A small application: says who it is and what it was sent, in HTTP/1.1, h2c, gRPC and WebSocket, or echoes TCP.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde_json::{Map, Value, json};
use signet::local::app::NAME_HEADER;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// What is asked for by HTTP health checks; not counted as a request.
pub const HEALTH: &str = "/health";
const GRPC_HEALTH: &str = "/grpc.health.v1.Health/Check";

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// How it answers the next requests.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// How many of the next requests fail; `u64::MAX` for all.
    pub failures: u64,
    /// The HTTP status of those, or the gRPC status where the request is gRPC.
    pub status: u16,
    /// Before each answer.
    pub delay: Duration,
}

/// A running application. It ends when dropped.
#[derive(Debug)]
pub struct App {
    /// Where it listens.
    pub port: u16,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    name: String,
    manner: Mutex<Manner>,
    healthy: AtomicBool,
    requests: AtomicU64,
    checks: AtomicU64,
    checks_by_h2: AtomicU64,
    last: Mutex<Value>,
}

impl App {
    /// Starts an HTTP application on a free port of loopback.
    ///
    /// # Errors
    /// There is none.
    pub async fn http(name: &str) -> Result<Self> {
        Self::on(name, Self::bind(0).await?, Kind::Http)
    }

    /// Starts one that echoes TCP. With `greets`, it speaks first: its name, and a line feed.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn tcp(name: &str, greets: bool) -> Result<Self> {
        Self::on(name, Self::bind(0).await?, Kind::Tcp { greets })
    }

    /// A listener on a port of loopback; 0 takes a free one.
    ///
    /// # Errors
    /// It is taken.
    pub async fn bind(port: u16) -> Result<TcpListener> {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        // As many as a busy machine lets wait: Envoy gives an application beside it a quarter of a second.
        let listen = || {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(4096)
        };
        listen().with_context(|| format!("cannot listen on {address}"))
    }

    /// Starts one on a listener, such as one of another network namespace.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn on(name: &str, listener: TcpListener, kind: Kind) -> Result<Self> {
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            name: name.to_owned(),
            manner: Mutex::default(),
            healthy: AtomicBool::new(true),
            requests: AtomicU64::new(0),
            checks: AtomicU64::new(0),
            checks_by_h2: AtomicU64::new(0),
            last: Mutex::new(Value::Null),
        });
        let mut tasks = JoinSet::new();
        let shared = state.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // Else the trailers of every answer would wait 40 ms for the caller to acknowledge the headers.
                drop(stream.set_nodelay(true));
                let state = shared.clone();
                connections.spawn(async move {
                    match kind {
                        Kind::Http => serve_http(state, stream).await,
                        Kind::Tcp { greets } => serve_tcp(&state, stream, greets).await,
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { port, state, _tasks: tasks })
    }

    /// From now on it answers so.
    pub fn behave(&self, manner: Manner) {
        *lock(&self.state.manner) = manner;
    }

    /// The next `count` requests fail with `status`.
    pub fn fail(&self, count: u64, status: u16) {
        self.behave(Manner { failures: count, status, delay: Duration::ZERO });
    }

    /// From now on every answer takes that long.
    pub fn delay(&self, delay: Duration) {
        self.behave(Manner { delay, ..Manner::default() });
    }

    /// What it answers to health checks.
    pub fn set_healthy(&self, healthy: bool) {
        self.state.healthy.store(healthy, Ordering::SeqCst);
    }

    /// Requests so far that nobody has taken.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Requests, or TCP connections, since it was last asked.
    pub fn take_requests(&self) -> u64 {
        self.state.requests.swap(0, Ordering::SeqCst)
    }

    /// Health checks since it was last asked.
    #[must_use]
    pub fn take_checks(&self) -> u64 {
        self.state.checks.swap(0, Ordering::SeqCst)
    }

    /// How many of the health checks since this was last asked came by HTTP/2.
    #[must_use]
    pub fn take_checks_by_h2(&self) -> u64 {
        self.state.checks_by_h2.swap(0, Ordering::SeqCst)
    }

    /// What it was sent last; see [`super::call::Answer::json`].
    #[must_use]
    pub fn last(&self) -> Value {
        lock(&self.state.last).clone()
    }
}

/// What an application speaks.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// HTTP/1.1, h2c and gRPC, by what the client speaks.
    Http,
    /// Any bytes.
    Tcp {
        /// It speaks first.
        greets: bool,
    },
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve_tcp(state: &State, mut stream: TcpStream, greets: bool) {
    state.requests.fetch_add(1, Ordering::SeqCst);
    let exchange = async {
        if greets {
            stream.write_all(format!("{}\n", state.name).as_bytes()).await?;
        }
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await
    };
    // The other side may hang up at any time.
    drop(exchange.await);
}

async fn serve_http(state: Arc<State>, stream: TcpStream) {
    let service = tower::service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(answer(&state, request).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let served =
        builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    drop(served.await);
}

async fn answer(state: &State, request: Request<Incoming>) -> Response<Body> {
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    match request.uri().path() {
        HEALTH | GRPC_HEALTH => {
            state.checks.fetch_add(1, Ordering::SeqCst);
            state.checks_by_h2.fetch_add(u64::from(request.version() == Version::HTTP_2), Ordering::SeqCst);
            return health(state.healthy.load(Ordering::SeqCst), is_grpc);
        }
        _ => {}
    }
    state.requests.fetch_add(1, Ordering::SeqCst);
    let told = told(&state.name, &request);
    *lock(&state.last) = told.clone();
    let (delay, failure) = {
        let mut manner = lock(&state.manner);
        let fails = manner.failures > 0;
        if fails && manner.failures != u64::MAX {
            manner.failures -= 1;
        }
        (manner.delay, fails.then_some(manner.status))
    };
    if !delay.is_zero() {
        sleep(delay).await;
    }
    if is_grpc {
        // Half-closed streams are answered when they are over, as a unary server does.
        drop(request.into_body().collect().await);
        return grpc(&told.to_string(), failure.unwrap_or(0));
    }
    if request.headers().get(header::UPGRADE).is_some_and(|upgrade| upgrade == "websocket") {
        return upgrade(request);
    }
    let mut response = Response::new(full(told.to_string()));
    if let Some(status) = failure {
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    }
    if let Ok(name) = HeaderValue::from_str(&state.name) {
        response.headers_mut().insert(NAME_HEADER, name);
    }
    response
}

fn told(name: &str, request: &Request<Incoming>) -> Value {
    let headers: Map<String, Value> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned().into())
        })
        .collect();
    let authority = request.uri().authority().map(|authority| authority.to_string());
    let host = headers.get("host").and_then(Value::as_str).map(str::to_owned).or(authority);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let version = if request.version() == Version::HTTP_2 { "2" } else { "1.1" };
    json!({
        "app": name, "method": request.method().as_str(), "path": path, "host": host, "version": version,
        "headers": headers
    })
}

fn full(text: String) -> Body {
    Full::new(Bytes::from(text)).boxed_unsync()
}

fn health(healthy: bool, is_grpc: bool) -> Response<Body> {
    if is_grpc {
        // HealthCheckResponse.status: SERVING or NOT_SERVING.
        return grpc_bytes(&[8, if healthy { 1 } else { 2 }], 0);
    }
    let mut response = Response::new(full(String::new()));
    if !healthy {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

fn grpc(text: &str, status: u16) -> Response<Body> {
    grpc_bytes(text.as_bytes(), status)
}

/// One message and the status, or the status alone where it is an error.
fn grpc_bytes(message: &[u8], status: u16) -> Response<Body> {
    let mut response = Response::new(full(String::new()));
    let kind = HeaderValue::from_static("application/grpc");
    if status != 0 {
        response.headers_mut().insert("grpc-status", status.into());
    } else {
        let mut framed = BytesMut::from(&[0][..]);
        framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or_default().to_be_bytes());
        framed.extend_from_slice(message);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", 0.into());
        let body = Full::new(framed.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
        *response.body_mut() = body.boxed_unsync();
    }
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Agrees to any WebSocket, and echoes the bytes that come over it, whatever their framing.
fn upgrade(request: Request<Incoming>) -> Response<Body> {
    #[expect(clippy::disallowed_methods, reason = "the task is the connection, and ends with it")]
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let mut stream = TokioIo::new(upgraded);
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            let Some(bytes) = buffer.get(..read) else { return };
            if stream.write_all(bytes).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(full(String::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
}

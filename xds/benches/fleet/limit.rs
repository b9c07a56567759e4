//! What nobody can do better than: sockets that are written ready-made bytes, a bare stream of tonic's that is
//! given them, and the handshakes of rustls in memory. The first two are each served by a process of its own.

use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    io::BufRead as _,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::{Mutex, watch},
    task::{JoinSet, block_in_place},
};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::WatchStream;
use tonic::{Status as Refusal, body::Body, server::NamedService, transport::Server};
use tower::Service;

use super::{
    meter::{Meter, Start},
    process::Process,
    server::Served,
    tls,
};

/// What is held to be the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sockets that are written.
    Raw,
    /// A bare stream of tonic's.
    Bare,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Bare => "bare",
        })
    }
}

/// The process that serves the limit.
pub(super) struct Limit {
    process: Process,
    /// Of all streams together, in bytes.
    pub(super) idle_memory: f64,
}

impl Limit {
    /// Its streams are open, and idle.
    pub(super) fn start(kind: Kind, streams: usize, security: &str) -> Self {
        let mut process = Process::start(&["--limit", &kind.to_string(), &streams.to_string(), security]);
        let idle_memory = process.hear().parse().unwrap();
        Self { process, idle_memory }
    }

    /// A message of so many bytes to each.
    pub(super) fn push(&mut self, bytes: usize) -> Meter {
        self.process.say(&bytes.to_string());
        let answer = self.process.hear();
        let (seconds, cpu_us) = answer.split_once(' ').unwrap();
        Meter { seconds: seconds.parse().unwrap(), cpu_us: cpu_us.parse().unwrap() }
    }
}

/// Is that process: says how many bytes of memory its streams take, then pushes as many bytes as each line says, and
/// says how many seconds and microseconds of CPU time that took.
pub(super) async fn serve(is_raw: bool, streams: usize, mutual_tls: bool) {
    // What the first stream costs once is no part of what one more costs.
    let _first = Bare::start(2, mutual_tls).await;
    let (mut raw, mut bare) = match is_raw {
        true => (Some(Raw::start(streams, mutual_tls).await), None),
        false => (None, Some(Bare::start(streams, mutual_tls).await)),
    };
    println!("{}", bare.as_ref().map_or(0.0, |bare| bare.idle_memory));
    let mut lines = std::io::stdin().lock().lines();
    while let Some(Ok(line)) = block_in_place(|| lines.next()) {
        let message = message(line.parse().unwrap());
        let meter = match (&mut raw, &mut bare) {
            (Some(raw), _) => raw.push(&message).await,
            (_, Some(bare)) => bare.push(&message).await,
            (None, None) => return,
        };
        println!("{} {}", meter.seconds, meter.cpu_us);
    }
}

/// A gRPC message of so many bytes in all.
fn message(bytes: usize) -> Bytes {
    let length = u32::try_from(bytes - 5).unwrap().to_be_bytes();
    [&[0], &length[..], &vec![0; bytes - 5]].concat().into()
}

/// One of the sockets of the limit.
enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// As many sockets as there are streams, and nothing else.
struct Raw {
    clients: Process,
    sockets: Vec<Arc<Mutex<Socket>>>,
}

impl Raw {
    async fn start(streams: usize, mutual_tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut clients = Process::clients();
        let port = listener.local_addr().unwrap().port();
        let security = if mutual_tls { "tls" } else { "plain" };
        clients.say(&format!("open {port} {streams} raw {security}"));
        let mut handshakes = JoinSet::new();
        for _ in 0..streams {
            let (tcp, _) = listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            handshakes.spawn(async move {
                match mutual_tls {
                    false => Socket::Plain(tcp),
                    true => Socket::Tls(Box::new(tls::acceptor().accept(tcp).await.unwrap())),
                }
            });
        }
        let sockets =
            handshakes.join_all().await.into_iter().map(|socket| Arc::new(Mutex::new(socket))).collect();
        clients.seconds();
        Self { clients, sockets }
    }

    /// Writes a message to each.
    async fn push(&mut self, message: &[u8]) -> Meter {
        let frame = |payload: &[u8]| {
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            [&length[1..], &[0, 0, 0, 0, 0, 1], payload].concat()
        };
        let frames: Arc<[u8]> = message.chunks(16 << 10).flat_map(frame).collect();
        self.clients.expect_one();
        let start = Start::now();
        let mut writes = JoinSet::new();
        for socket in &self.sockets {
            let (socket, frames) = (Arc::clone(socket), Arc::clone(&frames));
            writes.spawn(async move {
                match &mut *socket.lock().await {
                    Socket::Plain(socket) => socket.write_all(&frames).await.unwrap(),
                    Socket::Tls(socket) => {
                        socket.write_all(&frames).await.unwrap();
                        socket.flush().await.unwrap();
                    }
                }
            });
        }
        writes.join_all().await;
        let seconds = self.clients.seconds();
        start.end(seconds)
    }
}

/// Answers every call with whatever there is to be pushed.
#[derive(Clone)]
struct Echo(watch::Receiver<Bytes>);

impl NamedService for Echo {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let frames = WatchStream::new(self.0.clone()).map(move |bytes| {
            // A stream without its requests would be reset.
            let _requests = &request;
            Ok::<_, Refusal>(Frame::data(bytes))
        });
        let mut response = http::Response::new(Body::new(StreamBody::new(Box::pin(frames))));
        let grpc = http::HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
        ready(Ok(response))
    }
}

/// tonic's server with a body that yields ready-made bytes.
struct Bare {
    served: Served,
    pushes: watch::Sender<Bytes>,
    /// Of all streams together, in bytes.
    idle_memory: f64,
}

impl Bare {
    async fn start(streams: usize, mutual_tls: bool) -> Self {
        let (pushes, receiver) = watch::channel(message(512));
        let router = Server::builder().add_service(Echo(receiver));
        let served = Served::start(router, streams, mutual_tls, "delta").await;
        let idle_memory = served.memory_now();
        Self { served, pushes, idle_memory }
    }

    async fn push(&mut self, message: &Bytes) -> Meter {
        self.served.clients.expect_one();
        let start = Start::now();
        self.pushes.send_replace(message.clone());
        start.end(self.served.clients.seconds())
    }
}

//! What nobody can do better than: sockets that are written ready bytes, and a bare stream of tonic's that is given them.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::{
    io::AsyncWriteExt as _,
    net::{UnixListener, UnixStream},
    sync::{Mutex, watch},
    task::JoinSet,
};
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tonic::{Status, body::Body, server::NamedService, transport::Server};
use tower::Service;

use super::{
    clients::{Clients, Kind, frame},
    meter::{Meter, cpu_us},
};

/// Sockets and nothing else: what is written to each is ready, the frame of HTTP/2 around it too.
pub(super) struct Raw {
    clients: Clients,
    sockets: Vec<Arc<Mutex<UnixStream>>>,
    _folder: tempfile::TempDir,
}

impl Raw {
    pub(super) async fn start(streams: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut clients = Clients::start(&path, streams, Kind::Raw);
        let mut sockets = Vec::new();
        while sockets.len() < streams {
            sockets.push(Arc::new(Mutex::new(listener.accept().await.unwrap().0)));
        }
        assert_eq!(clients.hear(), "connected");
        Self { clients, sockets, _folder: folder }
    }

    /// A message of so many bytes to all.
    pub(super) async fn push(&mut self, bytes: usize) -> Meter {
        let message: Arc<[u8]> = frame(0, 0, 1, &message(bytes)).into();
        self.clients.expect();
        let before = cpu_us();
        let mut writes = JoinSet::new();
        for socket in &self.sockets {
            let (socket, message) = (Arc::clone(socket), Arc::clone(&message));
            writes.spawn(async move { socket.lock().await.write_all(&message).await.unwrap() });
        }
        writes.join_all().await;
        let millis = self.clients.millis();
        Meter { millis, cpu_us: cpu_us() - before }
    }
}

/// Answers every call with whatever there is to be pushed.
#[derive(Clone)]
struct ReadyBytes(watch::Receiver<Bytes>);

impl NamedService for ReadyBytes {
    const NAME: &'static str = "envoy.service.secret.v3.SecretDiscoveryService";
}

impl Service<http::Request<Body>> for ReadyBytes {
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
            Ok::<_, Status>(Frame::data(bytes))
        });
        let mut response = http::Response::new(Body::new(StreamBody::new(Box::pin(frames))));
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
        ready(Ok(response))
    }
}

/// tonic's server with a body of ready bytes.
pub(super) struct Bare {
    clients: Clients,
    pushes: watch::Sender<Bytes>,
    _tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

/// A gRPC message of so many bytes in all.
fn message(bytes: usize) -> Bytes {
    let length = u32::try_from(bytes - 5).unwrap().to_be_bytes();
    [&[0], &length[..], &vec![0xff; bytes - 5]].concat().into()
}

impl Bare {
    pub(super) async fn start(streams: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let incoming = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
        let (pushes, receiver) = watch::channel(message(2048));
        let mut tasks = JoinSet::new();
        let server = Server::builder().add_service(ReadyBytes(receiver)).serve_with_incoming(incoming);
        tasks.spawn(async move { server.await.unwrap() });
        let mut clients = Clients::start(&path, streams, Kind::Own);
        assert_eq!(clients.hear(), "connected");
        Self { clients, pushes, _tasks: tasks, _folder: folder }
    }

    /// A message of so many bytes to all.
    pub(super) async fn push(&mut self, bytes: usize) -> Meter {
        self.clients.expect();
        let before = cpu_us();
        self.pushes.send_replace(message(bytes));
        let millis = self.clients.millis();
        Meter { millis, cpu_us: cpu_us() - before }
    }
}

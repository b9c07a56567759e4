//! The service over HTTP/2: what the transport adds, and what never reaches the service.

use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio_stream::StreamExt;
use tonic::{
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint, Server, Uri, server::Connected},
};
use tonic_prost::ProstCodec;

use super::*;

/// The server's end of a connection, whose writes are counted. Like TLS over TCP on the gRPC port, it takes several slices
/// at once, and says so after its first write.
struct Counted {
    stream: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl Connected for Counted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        Pin::new(&mut self.stream).poll_write(cx, &bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.writes.load(Ordering::Relaxed) > 0
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A client whose connection the server takes for `caller`'s. All on this thread, so that its log is seen.
async fn client(fixture: &Fixture, caller: Caller, tasks: &mut tokio::task::JoinSet<()>) -> Grpc<Channel> {
    counted_client(fixture, caller, tasks, &Arc::default()).await
}

/// As [`client`], counting what the server writes.
async fn counted_client(
    fixture: &Fixture,
    caller: Caller,
    tasks: &mut tokio::task::JoinSet<()>,
    writes: &Arc<AtomicUsize>,
) -> Grpc<Channel> {
    let (near, far) = tokio::io::duplex(1 << 20);
    let far = Counted { stream: far, writes: Arc::clone(writes) };
    let identify = move |mut request: Request<()>| {
        request.extensions_mut().insert(Arc::new(NodePeer::of(caller.clone())));
        Ok(request)
    };
    let server = fixture.service.clone().into_server();
    let server = tonic::service::interceptor::InterceptedService::new(server, identify);
    let incoming = tokio_stream::once(Ok::<_, io::Error>(far)).chain(tokio_stream::pending());
    tasks.spawn(async move {
        Server::builder().add_service(server).serve_with_incoming(incoming).await.unwrap();
    });
    let mut near = Some(near);
    let connect = tower::service_fn(move |_: Uri| {
        let stream: Option<DuplexStream> = near.take();
        async move {
            stream
                .map(hyper_util::rt::TokioIo::new)
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
        }
    });
    let channel = Endpoint::from_static("http://signet").connect_with_connector(connect).await.unwrap();
    Grpc::new(channel)
}

async fn call<M: prost::Message + 'static>(
    client: &mut Grpc<Channel>,
    rpc: &str,
    message: M,
) -> Result<IssuedCertificate, Status> {
    client.ready().await.unwrap();
    let path: PathAndQuery = format!("/signet.node.v1.NodeService/{rpc}").parse().unwrap();
    let codec = ProstCodec::<M, IssuedCertificate>::default();
    client.unary(Request::new(message), path, codec).await.map(Response::into_inner)
}

#[tokio::test]
async fn agents_join_and_renew_over_grpc() {
    let fixture = Fixture::new();
    let mut tasks = tokio::task::JoinSet::new();
    let token = fixture.token(&node("a")).await;
    let mut stranger = client(&fixture, Caller::Anonymous, &mut tasks).await;
    let joined = call(&mut stranger, "Join", JoinRequest { token, csr: sound_csr("a") }).await.unwrap();
    assert_eq!(joined.chain.len(), 2);
    let renewal = || RenewRequest { csr: sound_csr("a"), lifetime_secs: 0 };
    assert_eq!(call(&mut stranger, "Renew", renewal()).await.unwrap_err().code(), Code::Unauthenticated);
    let mut known = client(&fixture, holder(&node("a")), &mut tasks).await;
    assert_eq!(call(&mut known, "Renew", renewal()).await.unwrap().bundle, joined.bundle);
}

#[tokio::test]
async fn messages_that_are_too_long_or_none_are_refused_with_one_line() {
    let fixture = Fixture::new();
    let mut tasks = tokio::task::JoinSet::new();
    let token = fixture.token(&node("a")).await;
    let mut client = client(&fixture, holder(&node("b")), &mut tasks).await;
    let log = Log::new();
    let junk = JoinRequest { token: token.clone(), csr: vec![0x30; 1024 * 1024] };
    let status = call(&mut client, "Join", junk).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    let [line] = &log.take()[..] else { panic!("not one line") };
    assert!(line.contains("caller=\"spiffe://signet.internal/mesh/my-mesh/virtual-node/b\""), "{line}");
    assert!(line.contains("refused a message") && line.contains("too large"), "{line}");
    // The token as a number is no JoinRequest.
    let status = call(&mut client, "Join", 7_u64).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status}");
    assert_eq!(log.take().len(), 1);
    assert!(fixture.records().await.is_empty());
    assert_eq!(fixture.service.tokens.peek(&token, NOW), Ok(node("a")));
}

#[tokio::test]
async fn a_certificate_and_its_status_are_one_write() {
    let (fixture, writes) = (Fixture::new(), Arc::default());
    let mut tasks = tokio::task::JoinSet::new();
    let mut client = counted_client(&fixture, holder(&node("a")), &mut tasks, &writes).await;
    let renewal = || RenewRequest { csr: sound_csr("a"), lifetime_secs: 0 };
    // The first brings the connection's own settings along.
    call(&mut client, "Renew", renewal()).await.unwrap();
    for _ in 0..3 {
        let before = writes.load(Ordering::Relaxed);
        let issued = call(&mut client, "Renew", renewal()).await.unwrap();
        assert!(prost::Message::encoded_len(&issued) > 1023, "more than one piece");
        assert_eq!(writes.load(Ordering::Relaxed) - before, 1);
    }
}

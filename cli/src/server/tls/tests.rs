//! What the gRPC port's connections keep.

use std::{future::poll_fn, io::IoSlice, pin::Pin, sync::Arc, task::Poll};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, crypto::ring::default_provider, pki_types::PrivatePkcs8KeyDer,
    version::TLS13,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinSet, unconstrained},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

use super::frugal::Frugal;

async fn connected() -> (Frugal, client::TlsStream<TcpStream>) {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["us".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (provider, mut roots) = (Arc::new(default_provider()), RootCertStore::empty());
    roots.add(leaf.der().clone()).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.into())
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let (acceptor, connector) = (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)));
    let (ours, theirs) =
        tokio::join!(Frugal::accept(&acceptor, accepted), connector.connect("us".try_into().unwrap(), tcp));
    (ours.unwrap(), theirs.unwrap())
}

#[tokio::test]
async fn nothing_is_encrypted_for_a_peer_that_does_not_read() {
    let (mut ours, mut theirs) = connected().await;
    assert!(!ours.is_write_vectored(), "so that h2 copies small frames");
    let first = poll_fn(|cx| Pin::new(&mut ours).poll_write(cx, &[0])).await.unwrap();
    assert!(ours.is_write_vectored(), "so that h2 copies no large ones");
    let (head, content) = ([1; 9], [2; 16 << 10]);
    let written = poll_fn(|cx| {
        let mut written = 0;
        let bufs = [IoSlice::new(&head), IoSlice::new(&content)];
        while let Poll::Ready(count) = Pin::new(&mut ours).poll_write_vectored(cx, &bufs) {
            written += count.unwrap();
        }
        Poll::Ready(written)
    });
    let written = unconstrained(written).await;
    assert!(!ours.tls().wants_write(), "ciphertext waits after {written} bytes");

    let mut writing = JoinSet::new();
    writing.spawn(async move {
        ours.write_all(&vec![3; 4 << 20]).await.unwrap();
        ours.flush().await.unwrap();
    });
    let mut all = vec![0; first + written + (4 << 20)];
    theirs.read_exact(&mut all).await.unwrap();
    assert!(all[first + written..].iter().all(|byte| *byte == 3), "what comes later comes behind it");
    writing.join_all().await;
}

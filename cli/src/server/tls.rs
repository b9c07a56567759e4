//! The gRPC port: TLS always, a client certificate where the peer has one.
//!
//! Whoever presents a certificate presents a good one: a chain to our root, exactly one URI SAN, and that a
//! SPIFFE ID. The identity it proves goes into every request's extensions.

mod frugal;
mod revoked;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context as TaskContext, Poll},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use signet_ca::{NodePeer, Serial};
use signet_controlplane::server::ValidUntil;
use signet_policies::{identity::SpiffeId, issuance::Caller, time::Clock};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Sleep, error::Elapsed, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use x509_parser::extensions::GeneralName;

use super::admission::Admission;
use frugal::Frugal;
pub(super) use revoked::InForce;

/// A peer that does not finish its handshake within this is let go.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A peer that says nothing for this long after its handshake is let go.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// From the end of a peer's certificate, or its revocation, to that of its connection: its streams end first, and say
/// why.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Handshakes under way at once; each costs most of a millisecond of CPU, once the peer speaks.
const MAX_HANDSHAKES: usize = 2048;
/// After a failed accept, so that a lack of file descriptors does not spin.
const PAUSE: Duration = Duration::from_millis(50);

/// The server's own certificate; it is replaced while connections are open.
#[derive(Debug)]
pub(super) struct ServerCertificate(RwLock<Arc<CertifiedKey>>);

impl ServerCertificate {
    /// A certificate chain, leaf first, and its PKCS #8 key.
    ///
    /// # Errors
    /// The key is none, or is not the leaf's.
    pub(super) fn new(chain: &[Vec<u8>], key: &[u8]) -> Result<Self> {
        Ok(Self(RwLock::new(Arc::new(certified_key(chain, key)?))))
    }

    /// Presents another certificate from the next handshake on.
    ///
    /// # Errors
    /// As [`ServerCertificate::new`]; the old one stays.
    pub(super) fn replace(&self, chain: &[Vec<u8>], key: &[u8]) -> Result<()> {
        let next = Arc::new(certified_key(chain, key)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn certified_key(chain: &[Vec<u8>], key: &[u8]) -> Result<CertifiedKey> {
    let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    CertifiedKey::from_der(chain, key.clone_key(), &ring::default_provider())
        .context("the server's certificate and its key")
}

/// The TLS settings of the gRPC port.
///
/// # Errors
/// A root is malformed.
pub(super) fn config(
    roots: &[Vec<u8>],
    certificate: Arc<ServerCertificate>,
    standing: InForce,
) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(CertificateDer::from(root.clone())).context("a root of the trust bundle")?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(revoked::Unrevoked::new(clients, standing)))
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A session that is resumed brings its certificate along unverified: one under a root that is gone would go on.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A connection whose peer is known.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Frugal,
    peer: Peer,
    /// Ends the connection; gone once the peer has said something.
    silence: Option<Pin<Box<Sleep>>>,
    /// Ends the connection a moment after the peer's certificate: it must come back with another one.
    expiry: Option<Pin<Box<Sleep>>>,
    /// Ends the connection once the peer's certificate is revoked, or its identity banned.
    refusal: Option<revoked::Refusal>,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// As the node service knows it.
    node: Arc<NodePeer>,
    /// The holder of a certificate of ours, or nobody known.
    holder: Option<Holder>,
    /// What is in force, of holders too.
    standing: InForce,
}

/// What a good certificate proves.
#[derive(Clone, Debug)]
struct Holder {
    id: SpiffeId,
    serial: Serial,
    valid_until: SystemTime,
}

impl Connection {
    /// Who is at its other end.
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.silence = None;
        } else if self.is_over(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connection {
    /// Whether it has been silent for too long, or the peer's certificate is no longer good.
    fn is_over(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let mut limits = [&mut self.silence, &mut self.expiry].into_iter().flatten();
        let is_late = limits.any(|limit| limit.as_mut().poll(cx).is_ready());
        is_late || self.refusal.as_mut().is_some_and(|refusal| Pin::new(refusal).poll(cx).is_ready())
    }
}

/// Accepts connections until `stop`, by the settings of their moment, each handshake in a task of its own, and hands on the good ones.
pub(super) async fn accept(
    listener: TcpListener,
    config: watch::Receiver<Arc<ServerConfig>>,
    connections: mpsc::Sender<Connection>,
    clock: Clock,
    standing: InForce,
    stop: CancellationToken,
) {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut admission = Admission::new(processors);
    let places = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let mut handshakes = JoinSet::new();
    loop {
        let place = places.clone().acquire_owned();
        let accepted = async { (place.await, listener.accept().await) };
        let Some((place, accepted)) = stop.run_until_cancelled(accepted).await else {
            return;
        };
        while handshakes.try_join_next().is_some() {}
        match accepted {
            Ok((tcp, peer)) => {
                let Some(guest) = admission.enter(peer.ip()) else {
                    debug!(%peer, "too many handshakes from one address");
                    continue;
                };
                if stop.run_until_cancelled(admission.turn()).await.is_none() {
                    return;
                }
                let acceptor = TlsAcceptor::from(config.borrow().clone());
                let (connections, clock) = (connections.clone(), clock.clone());
                let standing = standing.clone();
                handshakes.spawn(async move {
                    let shaken = timeout(HANDSHAKE, handshake(&acceptor, tcp, &clock, standing)).await;
                    drop((place, guest));
                    hand_on(peer, shaken.map_err(anyhow::Error::from).flatten(), &connections).await;
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn hand_on(peer: SocketAddr, shaken: Result<Connection>, connections: &mpsc::Sender<Connection>) {
    match shaken {
        // A closed channel means that the server is going down.
        Ok(connection) => drop(connections.send(connection).await),
        Err(error) => {
            let reason = format!("{error:#}");
            match is_refusal(&error) {
                true => {
                    warn!(target: "audit", %peer, reason, "refused a client certificate on the grpc port")
                }
                false => debug!(%peer, reason, "a connection to the grpc port did not come about"),
            }
        }
    }
}

/// Whether a certificate was presented and refused, rather than somebody spoke no TLS or went away.
fn is_refusal(error: &anyhow::Error) -> bool {
    if let Some(tls) = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref()) {
        return matches!(tls.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)));
    }
    // What identity_of says of a certificate whose chain was good.
    !error.is::<io::Error>() && !error.is::<Elapsed>()
}

async fn handshake(
    acceptor: &TlsAcceptor,
    tcp: TcpStream,
    clock: &Clock,
    standing: InForce,
) -> Result<Connection> {
    let address = tcp.peer_addr()?.ip();
    let stream = Frugal::accept(acceptor, tcp).await.context("handshake")?;
    let leaf = stream.tls().peer_certificates().and_then(<[_]>::first);
    let holder = leaf.map(identity_of).transpose()?;
    let peer = Peer::new(holder, address, standing.clone());
    let silence = Some(Box::pin(tokio::time::sleep(FIRST_WORD)));
    let holder = peer.holder.as_ref();
    let left = |holder: &Holder| holder.valid_until.duration_since(clock()).unwrap_or_default();
    let expiry = holder.map(|holder| Box::pin(tokio::time::sleep(left(holder) + LAST_WORD)));
    let refusal = holder.map(|holder| revoked::refusal(holder, standing));
    Ok(Connection { stream, peer, silence, expiry, refusal })
}

impl Peer {
    fn new(holder: Option<Holder>, address: IpAddr, standing: InForce) -> Self {
        let caller = holder.as_ref().map_or(Caller::Anonymous, |holder| Caller::Holder(holder.id.clone()));
        let node = NodePeer {
            caller,
            serial: holder.as_ref().map(|holder| holder.serial),
            end: holder.as_ref().map(|holder| holder.valid_until.into()),
            address: Some(address),
        };
        Self { node: Arc::new(node), holder, standing }
    }

    /// Puts into the extensions of a request to the node service who makes it.
    pub(super) fn ask_for_certificates(&self, extensions: &mut http::Extensions) {
        extensions.insert(Arc::clone(&self.node));
    }

    /// Puts into the extensions of a request to a discovery service who makes it.
    pub(super) fn ask_for_configuration(&self, extensions: &mut http::Extensions) {
        extensions.insert(self.node.caller.clone());
        if let Some(holder) = &self.holder {
            extensions.insert(revoked::welcome(holder, &self.standing));
            extensions.insert(ValidUntil(holder.valid_until));
        }
    }
}

/// What a verified leaf proves: its one SPIFFE ID, its serial, and until when.
fn identity_of(leaf: &CertificateDer<'_>) -> Result<Holder> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf)?;
    let names = certificate.subject_alternative_name()?.context("the certificate has no SAN")?;
    let uri_of = |name: &GeneralName<'_>| {
        if let GeneralName::URI(uri) = name { Some((*uri).to_owned()) } else { None }
    };
    let mut uris = names.value.general_names.iter().filter_map(uri_of);
    let uri = uris.next().context("the certificate has no URI SAN")?;
    ensure!(uris.next().is_none(), "the certificate has several URI SANs");
    if certificate.is_ca() {
        bail!("the certificate is a CA's");
    }
    let serial =
        Serial::from_be_bytes(certificate.raw_serial()).context("the serial number is none of ours")?;
    let valid_until = certificate.validity().not_after.to_datetime().into();
    Ok(Holder { id: uri.parse()?, serial, valid_until })
}

#[cfg(test)]
mod tests;

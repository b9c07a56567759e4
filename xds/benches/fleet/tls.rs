//! One authority and one certificate for both ends, made by the server.

use std::{
    sync::{Arc, LazyLock, OnceLock},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector};

struct Pki {
    root: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

static PKI: OnceLock<Pki> = OnceLock::new();

/// The server's, made when it is first asked for.
fn pki() -> &'static Pki {
    PKI.get_or_init(|| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(vec!["bench".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        Pki { root: issuer.der().clone(), leaf: leaf.der().clone(), key: key.serialize_der().into() }
    })
}

/// For the clients, as one line.
pub(super) fn to_line() -> String {
    let Pki { root, leaf, key } = pki();
    [root.as_ref(), leaf.as_ref(), key.secret_pkcs8_der()].map(hex::encode).join(" ")
}

/// Takes the server's.
pub(super) fn from_line(line: &str) {
    let parts: Vec<Vec<u8>> = line.split_whitespace().map(|part| hex::decode(part).unwrap()).collect();
    let [root, leaf, key] = parts.try_into().unwrap();
    PKI.set(Pki { root: root.into(), leaf: leaf.into(), key: key.into() }).ok();
}

static SERVER: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
    let provider = Arc::new(default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(roots(), provider.clone()).build().unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![pki().leaf.clone()], pki().key.clone_key().into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    // As the gRPC port, which resumes no session.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
});

fn roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(pki().root.clone()).unwrap();
    Arc::new(roots)
}

pub(super) fn acceptor() -> TlsAcceptor {
    TlsAcceptor::from(Arc::clone(&SERVER))
}

pub(super) fn connector() -> TlsConnector {
    TlsConnector::from(client())
}

/// Without resumption: every handshake is a full one.
fn client() -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots())
        .with_client_auth_cert(vec![pki().leaf.clone()], pki().key.clone_key().into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

pub(super) fn name() -> ServerName<'static> {
    "bench".try_into().unwrap()
}

/// The time that the server's side of a handshake takes without a network: the median of many.
pub(super) fn handshake() -> Duration {
    let client = client();
    let mut times: Vec<Duration> = (0..201).map(|_| one_handshake(&client)).collect();
    times.sort();
    times[times.len() / 2]
}

fn one_handshake(client: &Arc<ClientConfig>) -> Duration {
    let mut client = ClientConnection::new(Arc::clone(client), name()).unwrap();
    let start = Instant::now();
    let mut server = ServerConnection::new(Arc::clone(&SERVER)).unwrap();
    let mut ours = start.elapsed();
    while server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        let (mut wire, mut answer, start) = (&*wire, Vec::new(), Instant::now());
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            server.process_new_packets().unwrap();
        }
        while server.wants_write() {
            server.write_tls(&mut answer).unwrap();
        }
        ours += start.elapsed();
        let mut answer = &*answer;
        while !answer.is_empty() {
            client.read_tls(&mut answer).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    ours
}

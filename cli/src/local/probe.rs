//! A stranger at a port: what is it served, with which credentials?

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    client::WebPkiServerVerifier,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};
use serde::Serialize;
use signet_sds::secret::Secrets;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Longest time for one attempt. A refusal is answered at once; this bounds a port that says nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// A client's certificate chain, leaf first, and its key.
#[derive(Debug)]
pub struct ClientCertificate {
    /// X.509, DER.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKeyDer<'static>,
}

impl ClientCertificate {
    /// What a workload holds.
    #[must_use]
    pub fn of(secrets: &Secrets) -> Self {
        let leaf = secrets.leaf();
        Self {
            chain: leaf.chain().to_vec(),
            key: PrivatePkcs8KeyDer::from(leaf.key().pkcs8().to_vec()).into(),
        }
    }
}

/// How a stranger introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approach {
    /// Plain HTTP.
    Plaintext,
    /// TLS without a client certificate.
    TlsNoCertificate,
    /// TLS with a certificate of this mesh.
    TlsMeshCertificate,
    /// TLS with a certificate of another trust domain.
    TlsForeignCertificate,
}

impl Approach {
    /// All of them, in the order of the demo's table.
    pub const ALL: [Self; 4] =
        [Self::Plaintext, Self::TlsNoCertificate, Self::TlsMeshCertificate, Self::TlsForeignCertificate];
}

/// What came of an attempt that was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The serial of the certificate that the port presented, lower-case hex; `None` in plaintext.
    pub serial: Option<String>,
}

/// A client that tries a port in every way.
pub struct Prober {
    no_certificate: TlsConnector,
    mesh: TlsConnector,
    foreign: TlsConnector,
}

impl Prober {
    /// A client that trusts `roots` and holds two certificates.
    ///
    /// # Errors
    /// A certificate and its key do not fit, or a root is malformed.
    pub fn new(
        roots: &[CertificateDer<'static>],
        mesh: ClientCertificate,
        foreign: ClientCertificate,
    ) -> Result<Self> {
        let connector = |certificate| tls_connector(roots, certificate, &[]);
        Ok(Self {
            no_certificate: connector(None)?,
            mesh: connector(Some(mesh))?,
            foreign: connector(Some(foreign))?,
        })
    }

    /// Makes one new connection and one request.
    ///
    /// # Errors
    /// What the refusal looked like from outside.
    pub async fn attempt(&self, address: SocketAddr, approach: Approach) -> Result<Served> {
        let attempt = async {
            let tcp = TcpStream::connect(address).await.context("connect")?;
            let tls = match approach {
                Approach::Plaintext => {
                    request(tcp).await?;
                    return Ok(Served { serial: None });
                }
                Approach::TlsNoCertificate => &self.no_certificate,
                Approach::TlsMeshCertificate => &self.mesh,
                Approach::TlsForeignCertificate => &self.foreign,
            };
            let name = ServerName::IpAddress(address.ip().into());
            let stream = tls.connect(name, tcp).await.context("handshake")?;
            let leaf =
                stream.get_ref().1.peer_certificates().and_then(<[_]>::first).context("no certificate")?;
            let serial = serial_of(leaf)?;
            // In TLS 1.3 a refused client certificate shows only after the handshake.
            request(stream).await?;
            Ok(Served { serial: Some(serial) })
        };
        timeout(PATIENCE, attempt).await.map_err(|_| anyhow!("no answer within {} s", PATIENCE.as_secs()))?
    }
}

async fn request<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<()> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/").header("host", "probe").body(Empty::<bytes::Bytes>::new())?;
    let exchange = async move {
        let answer = sender.send_request(request).await.context("request")?;
        let status = answer.status();
        answer.into_body().collect().await.context("answer")?;
        anyhow::ensure!(status == StatusCode::OK, "the answer was {status}");
        Ok(())
    };
    // The connection must be driven until the exchange is over, whichever way that ends.
    tokio::pin!(exchange);
    tokio::pin!(connection);
    tokio::select! {
        done = &mut exchange => done,
        ended = &mut connection => {
            ended.context("connection")?;
            exchange.await
        }
    }
}

/// The serial number of a certificate, lower-case hex without leading zeros.
///
/// # Errors
/// It is no certificate.
pub fn serial_of(certificate: &CertificateDer<'_>) -> Result<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)?;
    Ok(format!("{:x}", parsed.tbs_certificate.serial))
}

/// A TLS client of the mesh that verifies the server's chain to `roots`, whatever its name.
///
/// # Errors
/// A root is malformed, or the certificate and its key do not fit.
pub fn tls_connector(
    roots: &[CertificateDer<'static>],
    certificate: Option<ClientCertificate>,
    protocols: &[&[u8]],
) -> Result<TlsConnector> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone())?;
    }
    let provider = Arc::new(ring::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build()?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyNameOfTheMesh(inner)));
    let mut config = match certificate {
        Some(ClientCertificate { chain, key }) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // Every attempt must show a full handshake, so that the serial is the one in force.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Verifies the server's chain, but takes any name: a workload's certificate has a SPIFFE ID, no address.
#[derive(Debug)]
struct AnyNameOfTheMesh(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyNameOfTheMesh {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        match self.0.verify_server_cert(leaf, intermediates, name, ocsp, now) {
            // The name is what webpki looks at last: the chain was good.
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

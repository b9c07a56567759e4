//! What a listener presents to a TLS client.
//!
//! The handshake stops once the server has proven that it holds its certificate's key: the client says nothing of
//! itself, and Envoy counts neither a handshake nor an error.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use thiserror::Error as ThisError;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long one handshake may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// A flight of a server is shorter than this, in bytes.
const BUFFER: usize = 16 * 1024;

/// Why nothing was presented.
#[derive(Debug, ThisError)]
pub(super) enum NotPresented {
    #[error("no connection: {0}")]
    Io(#[from] io::Error),
    #[error("no TLS: {0}")]
    Tls(#[from] Error),
    #[error("no whole answer within {} s", DEADLINE.as_secs())]
    Late,
}

/// What a listener showed.
#[derive(Debug)]
pub(super) struct Shown {
    /// The leaf and what came after it.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The version that was agreed on, such as `TLSv1.3`.
    pub(super) protocol: String,
}

/// What is shown by whoever listens at `address` and holds the leaf's key.
pub(super) async fn presented(address: SocketAddr) -> Result<Shown, NotPresented> {
    timeout(DEADLINE, shake(address)).await.unwrap_or(Err(NotPresented::Late))
}

async fn shake(address: SocketAddr) -> Result<Shown, NotPresented> {
    let witness = Arc::new(Witness::default());
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(witness.clone())
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::from(address.ip()))?;
    let mut tcp = TcpStream::connect(address).await?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut out = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut out)?;
        }
        tcp.write_all(&out).await?;
        let length = tcp.read(&mut buffer).await?;
        if length == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut unread = buffer.get(..length).unwrap_or_default();
        while !unread.is_empty() {
            tls.read_tls(&mut unread)?;
            let processed = tls.process_new_packets();
            if let Some(chain) = witness.proven() {
                // `TLSv1_3`.
                let protocol = tls.protocol_version().and_then(|version| version.as_str());
                return Ok(Shown { chain, protocol: protocol.unwrap_or_default().replace('_', ".") });
            }
            processed?;
        }
    }
}

/// Takes any certificate down, and ends the handshake when its key is proven.
#[derive(Debug, Default)]
struct Witness {
    seen: Mutex<Vec<CertificateDer<'static>>>,
    is_proven: Mutex<bool>,
}

impl Witness {
    fn proven(&self) -> Option<Vec<CertificateDer<'static>>> {
        let is_proven = *self.is_proven.lock().unwrap_or_else(PoisonError::into_inner);
        is_proven.then(|| self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn conclude(
        &self,
        proof: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        proof?;
        *self.is_proven.lock().unwrap_or_else(PoisonError::into_inner) = true;
        Err(Error::General("what was to be seen has been seen".to_owned()))
    }

    fn algorithms() -> CryptoProvider {
        ring::default_provider()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = chain.collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = Self::algorithms().signature_verification_algorithms;
        self.conclude(verify_tls12_signature(message, certificate, signature, &algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = Self::algorithms().signature_verification_algorithms;
        self.conclude(verify_tls13_signature(message, certificate, signature, &algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Self::algorithms().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpListener, task::JoinSet};

    use super::*;
    use crate::testing::{Setup, start};

    #[tokio::test]
    async fn what_a_server_presents_is_seen_without_a_certificate_of_our_own_and_without_a_word_more() {
        let server = start(Setup::default()).await;
        let Shown { chain, protocol } = presented(server.addr).await.unwrap();
        assert_eq!(protocol, "TLSv1.3");
        assert_eq!(signet_sds::verify::uri_names(&chain[0]).unwrap(), [crate::testing::SERVER]);
        assert_eq!(chain.len(), 2, "the leaf and its issuer");
    }

    #[tokio::test]
    async fn who_speaks_no_tls_says_nothing_or_is_not_there_presents_nothing_and_the_reason_is_told() {
        let mut tasks = JoinSet::new();
        let mut serve = async |answer: Option<&'static [u8]>| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tasks.spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
                match answer {
                    Some(answer) => stream.write_all(answer).await.unwrap(),
                    None => std::future::pending().await,
                }
            });
            address
        };
        let plain = serve(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await;
        assert!(matches!(presented(plain).await, Err(NotPresented::Tls(_))));
        let closes = serve(Some(b"")).await;
        assert!(matches!(presented(closes).await, Err(NotPresented::Io(_))));
        let silent = serve(None).await;
        assert!(matches!(presented(silent).await, Err(NotPresented::Late)));
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert!(matches!(presented(nobody).await, Err(NotPresented::Io(_))));
    }
}

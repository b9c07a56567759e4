//! Proxies' agents that renew, one request after the other each.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;
use tonic::{
    Request,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::place::{Identity, Place};

/// `signet.node.v1.RenewRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct Renew {
    #[prost(bytes = "vec", tag = "1")]
    csr: Vec<u8>,
}

/// `signet.node.v1.IssuedCertificate`.
#[derive(Clone, PartialEq, prost::Message)]
struct Issued {
    #[prost(bytes = "vec", repeated, tag = "1")]
    chain: Vec<Vec<u8>>,
}

/// Agents, each with a connection of its own.
pub(super) struct Proxies {
    first: usize,
    channels: Vec<Channel>,
}

impl Proxies {
    /// Connects those of one shift.
    pub(super) async fn connect(port: u16, place: &Place, shift: usize, count: usize) -> Self {
        let mut channels = Vec::new();
        let first = shift * count;
        for identity in &place.identities[first..first + count] {
            channels.push(connect(port, identity).await);
        }
        Self { first, channels }
    }

    /// Has each renew so often.
    pub(super) async fn renew(&self, place: &Place, calls: usize) {
        let mut tasks = JoinSet::new();
        for (channel, identity) in self.channels.iter().zip(&place.identities[self.first..]) {
            let (channel, csrs) = (channel.clone(), identity.csrs.clone());
            tasks.spawn(async move {
                for csr in csrs.iter().cycle().take(calls) {
                    renew(&channel, csr).await;
                }
            });
        }
        tasks.join_all().await;
    }
}

async fn renew(channel: &Channel, csr: &[u8]) {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<Renew, Issued>::default();
    let request = Request::new(Renew { csr: csr.to_vec() });
    let path = "/signet.node.v1.NodeService/Renew".parse().unwrap();
    let issued = grpc.unary(request, path, codec).await.unwrap().into_inner();
    assert_eq!(issued.chain.len(), 2);
}

async fn connect(port: u16, identity: &Identity) -> Channel {
    let chain = identity.chain.iter().cloned().map(CertificateDer::from).collect();
    let key = PrivatePkcs8KeyDer::from(identity.key.clone());
    let mut config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_auth_cert(chain, key.into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let connect = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
            connector.connect(name, tcp).await.map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connect).await.unwrap()
}

/// Takes any server for the right one: what the client does is not measured.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = CryptoProvider::get_default().unwrap();
        provider.signature_verification_algorithms.supported_schemes()
    }
}

//! Client certificates that prove nothing, sessions that would outlive their root, and servers that prove nothing.

use std::{net::TcpListener, process::Command, sync::Arc};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use signet::local::probe::ClientCertificate;
use signet_tests::program;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use super::{
    Row,
    place::{Attack, Place},
};

const ID: &str = "spiffe://signet.internal/mesh/m/virtual-node/a";

fn leaf(names: Vec<SanType>, usages: Vec<ExtendedKeyUsagePurpose>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names;
    params.extended_key_usages = usages;
    params.use_authority_key_identifier_extension = true;
    let year = |offset| rcgen::date_time_ymd(2026 + offset, 1, 1);
    (params.not_before, params.not_after) = (year(-1), year(9));
    params
}

fn uri(text: &str) -> Result<SanType> {
    Ok(SanType::URI(text.try_into()?))
}

/// What `issuer` signs, with those above it.
fn signed(
    params: &CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
    above: &[CertificateDer<'static>],
) -> Result<Attack> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    let chain = [certificate.der().clone()].into_iter().chain(above.iter().cloned()).collect();
    Ok(Attack::Connect(ClientCertificate {
        chain,
        key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    }))
}

fn own_pair(key: &PrivateKeyDer<'static>) -> Result<KeyPair> {
    Ok(KeyPair::try_from(key.secret_der())?)
}

pub(super) fn rows(place: &Place) -> Result<Vec<Row>> {
    let client = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let good = leaf(vec![uri(ID)?], client.clone());
    let held = place.holder.certificate();
    let issuer_der = held.chain.get(1).context("the issuer goes with the leaf")?.clone();
    // The mesh's issuer itself, as somebody has it who reached into the data folder.
    let key = std::fs::read_to_string(place.server.ready.data_dir.join("ca/meshes/m/key.pem"))?;
    let true_issuer = Issuer::from_ca_cert_der(&issuer_der, KeyPair::from_pem(&key)?)?;
    // The same names and identifiers, and another key.
    let forger = Issuer::from_ca_cert_der(&issuer_der, KeyPair::generate()?)?;
    let mut as_held = good.clone();
    let serial = x509_serial(&held.chain[0])?;
    as_held.serial_number = Some(serial.into());
    let holder = Issuer::from_ca_cert_der(&held.chain[0], own_pair(&held.key)?)?;
    let mut authority = good.clone();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let above = std::slice::from_ref(&issuer_der);
    let other = "spiffe://signet.internal/mesh/m/virtual-node/b";
    let mut ended = good.clone();
    ended.not_after = rcgen::date_time_ymd(2026, 1, 1);
    Ok(vec![
        (
            "B31",
            "another key under the issuer's names, with a serial that is good",
            signed(&as_held, &forger, above)?,
        ),
        ("B36", "a leaf as issuer", signed(&good, &holder, &held.chain)?),
        ("B36", "an authority as client", signed(&authority, &true_issuer, above)?),
        (
            "B37",
            "a DNS name that reads like the URI",
            signed(&leaf(vec![SanType::DnsName(ID.try_into()?)], client.clone()), &true_issuer, above)?,
        ),
        (
            "B37",
            "a certificate for servers alone",
            signed(&leaf(vec![uri(ID)?], vec![ExtendedKeyUsagePurpose::ServerAuth]), &true_issuer, above)?,
        ),
        (
            "B23",
            "two URIs in a certificate",
            signed(&leaf(vec![uri(ID)?, uri(other)?], client.clone()), &true_issuer, above)?,
        ),
        ("B23", "a certificate without a name", signed(&leaf(vec![], client), &true_issuer, above)?),
        ("B16", "a certificate that ended", signed(&ended, &true_issuer, above)?),
    ])
}

/// The serial number's bytes, out of the DER: TBSCertificate, version, then the INTEGER (RFC 5280, section 4.1).
fn x509_serial(certificate: &CertificateDer<'_>) -> Result<Vec<u8>> {
    let after_version =
        certificate.windows(5).position(|w| w == [0xa0, 3, 2, 1, 2]).context("no version")? + 5;
    let length = usize::from(certificate[after_version + 1]);
    Ok(certificate[after_version + 2..][..length].to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_ten_thousand_certificates_is_cut_off_and_the_next_client_is_served() -> Result<()> {
    let mut place = Place::new().await?;
    let held = place.holder.certificate();
    let issuer = held.chain.get(1).context("the issuer goes with the leaf")?;
    let chain = std::iter::once(held.chain[0].clone()).chain(std::iter::repeat_n(issuer.clone(), 9_999));
    let certificate = ClientCertificate { chain: chain.collect(), key: held.key.clone_key() };
    place.refused(&Attack::Connect(certificate)).await?;
    assert!(!place.server.log().contains("panicked"), "{}", place.server.log());
    place.joins().await?;
    place.server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_resumed_so_that_none_outlives_the_root_it_was_made_under() -> Result<()> {
    let mut place = Place::new().await?;
    let held = place.holder.certificate();
    let mut roots = RootCertStore::empty();
    roots.add(place.holder.roots()[0].clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyName(verifier.build()?)))
        .with_client_auth_cert(held.chain.clone(), held.key.clone_key())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // The client would resume, and keeps whatever it is given for it.
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let address: std::net::SocketAddr = place.server.grpc_address().parse()?;
    for _ in 0..3 {
        let tcp = TcpStream::connect(address).await?;
        let mut stream = connector.connect(ServerName::IpAddress(address.ip().into()), tcp).await?;
        // What the server sends first would be a ticket.
        let mut first = [0; 9];
        stream.read_exact(&mut first).await?;
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
    place.server.stop().await;
    Ok(())
}

#[test]
fn an_agent_without_roots_connects_to_nobody() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("token"), "sgt_secret")?;
    std::fs::write(path("empty"), "")?;
    std::fs::write(path("junk"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")?;
    for roots in ["absent", "empty", "junk"] {
        let output = Command::new(program()?)
            .args(["agent", "--resource", "mesh/m/virtualNode/a", "--ingress-address", "127.0.0.2"])
            .args(["--server", &listener.local_addr()?.to_string(), "--ca-file", &path(roots)])
            .args(["--token-file", &path("token"), "--state-dir", &path("state"), "--socket", &path("sock")])
            .args(["--envoy", "/bin/true", "--admin-port", "0", "--egress-port", "0"])
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{roots}: {said}");
        assert!(said.contains(roots) && !said.contains("sgt_secret"), "{roots}: {said}");
        let nobody = listener.accept().err().map(|error| error.kind());
        assert_eq!(nobody, Some(std::io::ErrorKind::WouldBlock), "{roots}: it connected");
    }
    Ok(())
}

/// Verifies the chain and takes any name: the server is known by a SPIFFE ID.
#[derive(Debug)]
struct AnyName(Arc<rustls::client::WebPkiServerVerifier>);

impl rustls::client::danger::ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        match self.0.verify_server_cert(end, above, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                rustls::CertificateError::NotValidForName
                | rustls::CertificateError::NotValidForNameContext { .. },
            )) => Ok(rustls::client::danger::ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

//! TLS towards the server: 1.3 only, the server known by its SPIFFE ID and not by its host name.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
    time_provider::TimeProvider,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use signet_policies::{identity::SpiffeId, time::Clock};
use signet_sds::{secret::Secrets, verify::uri_names};

use super::Server;

/// Trusts the operator's roots and, where something is held, its bundle: it knows of roots that came later.
/// Shows what is held as the client certificate.
pub(super) fn client_config(server: &Server, held: Option<&Secrets>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    let bundle = held.map_or(&[][..], |held| held.bundle().roots());
    for root in server.anchors.roots().iter().chain(bundle) {
        roots.add(root.clone())?;
    }
    let verifier =
        ByIdentity { expected: server.anchors.server_id(), roots, provider: Arc::clone(&provider) };
    let time = WallTime(Arc::clone(&server.clock));
    let builder = ClientConfig::builder_with_details(provider, Arc::new(time))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match held {
        Some(held) => {
            let key = PrivatePkcs8KeyDer::from(held.leaf().key().pkcs8().to_vec());
            builder.with_client_auth_cert(held.leaf().chain().to_vec(), key.into())?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

struct WallTime(Clock);

impl std::fmt::Debug for WallTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WallTime")
    }
}

impl TimeProvider for WallTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since = (self.0)().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// Accepts a server certificate that chains to the roots and has exactly one URI SAN, the expected one.
#[derive(Debug)]
struct ByIdentity {
    expected: SpiffeId,
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ByIdentity {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        let presented = uri_names(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        match presented.as_slice() {
            [one] if *one == self.expected.to_string() => Ok(ServerCertVerified::assertion()),
            _ => Err(CertificateError::NotValidForNameContext {
                expected: ServerName::try_from("signet.server")
                    .map_err(|_| CertificateError::NotValidForName)?,
                presented,
            }
            .into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

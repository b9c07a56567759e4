//! Secrets in Envoy's words. A pure function: the same secrets are the same bytes.

use pem::{EncodeConfig, LineEnding, Pem};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use signet_xds::{
    Resource, ResourceType, Snapshot,
    pb::envoy::{
        config::core::v3::{DataSource, data_source::Specifier},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, Secret, TlsCertificate, secret::Type,
        },
    },
};
use zeroize::Zeroizing;

use crate::secret::{Bundle, Leaf, Secrets};

/// The secret that holds the own certificate and key, whatever the identity.
pub const DEFAULT: &str = "default";
/// The secret that holds the roots of the own trust domain.
pub const ROOT_CA: &str = "ROOTCA";
/// The secret that holds the roots of every trust domain; with one trust domain the same as [`ROOT_CA`].
pub const ALL: &str = "ALL";

/// What the socket serves for `secrets`: the own certificate as [`DEFAULT`] and under its SPIFFE ID, the roots as
/// [`ROOT_CA`], [`ALL`] and under the trust domain's SPIFFE ID.
///
/// Key and chain are in one message, so no client can see a mixed pair. The snapshot holds the private key as
/// Envoy wants it, in clear; it lives as long as a stream that serves it.
#[must_use]
pub fn translate(secrets: &Secrets) -> Snapshot {
    let leaf = secrets.leaf();
    let identity = leaf.identity();
    let certificate = Type::TlsCertificate(tls_certificate(leaf));
    let roots = Type::ValidationContext(validation_context(secrets.bundle()));
    let (own, domain) = (identity.to_string(), identity.trust_domain().id());
    let certificates = [DEFAULT, &own].map(|name| resource(name, certificate.clone()));
    let bundles = [ROOT_CA, ALL, &domain].map(|name| resource(name, roots.clone()));
    certificates.into_iter().chain(bundles).collect()
}

fn resource(name: &str, secret: Type) -> Resource {
    Resource::new(ResourceType::Secret, name, &Secret { name: name.to_owned(), r#type: Some(secret) })
}

fn tls_certificate(leaf: &Leaf) -> TlsCertificate {
    TlsCertificate {
        certificate_chain: Some(inline(certificates(leaf.chain()))),
        private_key: Some(inline(private_key(leaf.key().pkcs8()).to_string())),
        ..TlsCertificate::default()
    }
}

fn validation_context(bundle: &Bundle) -> CertificateValidationContext {
    let trusted_ca = Some(inline(certificates(bundle.roots())));
    let crl = (!bundle.crls().is_empty()).then(|| inline(revocation_lists(bundle.crls())));
    CertificateValidationContext { trusted_ca, crl, ..CertificateValidationContext::default() }
}

fn inline(pem: String) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(pem.into_bytes())), ..DataSource::default() }
}

/// Certificates as PEM, in the order given, with line feeds only.
#[must_use]
pub fn certificates(certificates: &[CertificateDer<'_>]) -> String {
    let blocks: Vec<Pem> = certificates.iter().map(|der| Pem::new("CERTIFICATE", der.to_vec())).collect();
    pem::encode_many_config(&blocks, line_feeds())
}

/// Certificate revocation lists as PEM, in the order given, with line feeds only.
#[must_use]
pub fn revocation_lists(lists: &[CertificateRevocationListDer<'_>]) -> String {
    let blocks: Vec<Pem> = lists.iter().map(|der| Pem::new("X509 CRL", der.to_vec())).collect();
    pem::encode_many_config(&blocks, line_feeds())
}

/// A PKCS #8 key as PEM.
#[must_use]
pub fn private_key(pkcs8: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(pem::encode_config(&Pem::new("PRIVATE KEY", pkcs8), line_feeds()))
}

fn line_feeds() -> EncodeConfig {
    EncodeConfig::new().set_line_ending(LineEnding::LF)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use prost::Message;
    use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
    use signet_policies::identity::SpiffeId;

    use super::*;
    use crate::{
        keypair::KeyPair,
        testing::{Answer, FakeSigner},
        verify::verify,
    };

    fn secrets() -> Secrets {
        let identity: SpiffeId = "spiffe://signet.internal/mesh/m/virtual-node/a".parse().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let signer = FakeSigner::new(&identity, std::sync::Arc::new(move || now), Duration::from_secs(3600));
        let key = KeyPair::generate().unwrap();
        let signed = signer.certificate(Answer::Good, &key.request(&identity).unwrap());
        verify(signed, key, &identity, now.into()).unwrap()
    }

    fn secret(snapshot: &Snapshot, name: &str) -> Secret {
        let found = snapshot.get(ResourceType::Secret, name).unwrap();
        Secret::decode(found.value().clone()).unwrap()
    }

    fn bytes(source: Option<DataSource>) -> Vec<u8> {
        let Some(Specifier::InlineBytes(bytes)) = source.unwrap().specifier else { panic!("inline bytes") };
        bytes
    }

    #[test]
    fn exactly_five_names_are_served_and_each_secret_has_its_own_name() {
        let snapshot = translate(&secrets());
        let names: Vec<_> = snapshot.resources(ResourceType::Secret).map(Resource::name).collect();
        let expected = [
            "ALL",
            "ROOTCA",
            "default",
            "spiffe://signet.internal",
            "spiffe://signet.internal/mesh/m/virtual-node/a",
        ];
        assert_eq!(names, expected);
        for name in expected {
            assert_eq!(secret(&snapshot, name).name, name);
        }
    }

    #[test]
    fn the_key_is_the_one_of_the_leaf_it_comes_with_and_the_roots_come_without_a_key() {
        let secrets = secrets();
        let snapshot = translate(&secrets);
        let Some(Type::TlsCertificate(certificate)) = secret(&snapshot, DEFAULT).r#type else { panic!() };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes(certificate.certificate_chain))
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(chain, secrets.leaf().chain());
        let key = PrivatePkcs8KeyDer::from_pem_slice(&bytes(certificate.private_key)).unwrap();
        assert_eq!(key.secret_pkcs8_der(), secrets.leaf().key().pkcs8());
        for name in [ROOT_CA, ALL, "spiffe://signet.internal"] {
            let Some(Type::ValidationContext(context)) = secret(&snapshot, name).r#type else { panic!() };
            let roots = CertificateDer::from_pem_slice(&bytes(context.trusted_ca)).unwrap();
            assert_eq!(&roots, &secrets.bundle().roots()[0]);
        }
    }

    #[test]
    fn the_same_secrets_are_the_same_bytes() {
        let secrets = secrets();
        assert_eq!(translate(&secrets), translate(&secrets));
    }
}

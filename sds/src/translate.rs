//! Secrets in Envoy's words. A pure function: the same secrets are the same bytes.

use std::{collections::HashMap, sync::Arc};

use pem::{EncodeConfig, LineEnding, Pem};
use prost::Message as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use signet_policies::identity::TrustDomain;
use signet_xds::{
    Resource, ResourceType, Snapshot,
    pb::{
        envoy::{
            config::core::v3::{DataSource, Node, TypedExtensionConfig, data_source::Specifier},
            extensions::transport_sockets::tls::v3::{
                CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate,
                secret::Type, spiffe_cert_validator_config,
            },
        },
        google::protobuf::{Any, value::Kind},
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

/// Everything that a socket serves from.
#[derive(Clone, Debug)]
pub struct Held {
    /// The workload's own certificate; `None` when it has expired.
    pub own: Option<Arc<Secrets>>,
    /// Certificates of further identities.
    pub further: Vec<Arc<Secrets>>,
    /// What is trusted.
    pub bundle: Bundle,
    /// The trust domain whose roots these are.
    pub domain: TrustDomain,
}

impl Held {
    /// What is held for one identity alone.
    #[must_use]
    pub fn of(secrets: Arc<Secrets>) -> Self {
        let (bundle, domain) = (secrets.bundle().clone(), secrets.leaf().identity().trust_domain().clone());
        Self { own: Some(secrets), further: Vec::new(), bundle, domain }
    }

    /// The certificates by the names under which they are served: [`DEFAULT`] is the own one whatever else is held.
    #[must_use]
    pub fn leaves(&self) -> HashMap<String, &Leaf> {
        let own = self.own.iter().map(|own| (DEFAULT.to_owned(), own.leaf()));
        let named = |secrets: &'_ Arc<Secrets>| secrets.leaf().identity().to_string();
        let all = self.own.iter().chain(&self.further).map(|secrets| (named(secrets), secrets.leaf()));
        let mut leaves = HashMap::with_capacity(self.further.len() + 2);
        for (name, leaf) in own.chain(all) {
            leaves.entry(name).or_insert(leaf);
        }
        leaves
    }
}

/// How Envoy is to verify peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validator {
    /// By Envoy's own rules and the roots: it honours revocation lists, and names are matched where the context
    /// that refers to this secret says so.
    #[default]
    TrustedCa,
    /// By the roots of the trust domain that the peer's SPIFFE ID names. It ignores revocation lists.
    Spiffe,
}

impl Validator {
    /// The member of a node's metadata that chooses.
    pub const MEMBER: &str = "signet.sds.validator";

    /// What a node asks for: `trusted_ca` or `spiffe`. Anything else is passed over, as if nothing had been said.
    #[must_use]
    pub fn of(node: Option<&Node>) -> Self {
        let asked = node.and_then(|node| node.metadata.as_ref()?.fields.get(Self::MEMBER)?.kind.as_ref());
        match asked {
            Some(Kind::StringValue(text)) if text == "spiffe" => Self::Spiffe,
            Some(_) | None => Self::TrustedCa,
        }
    }
}

/// What the socket serves: the own certificate as [`DEFAULT`], each certificate under its SPIFFE ID, and the roots as
/// [`ROOT_CA`], [`ALL`] and under the trust domain's SPIFFE ID.
///
/// Key and chain are in one message, so no client can see a mixed pair. The snapshot holds the private keys as
/// Envoy wants them, in clear; it lives as long as a stream that serves it.
#[must_use]
pub fn translate(held: &Held, validator: Validator) -> Snapshot {
    with_roots(certificates_of(held), held, validator)
}

/// The same in every form; the certificates are encoded once.
pub(crate) fn translate_for_all(held: &Held) -> [(Validator, Snapshot); 2] {
    let certificates = certificates_of(held);
    let form = |validator| (validator, with_roots(certificates.clone(), held, validator));
    [Validator::TrustedCa, Validator::Spiffe].map(form)
}

fn certificates_of(held: &Held) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (number, secrets) in held.own.iter().chain(&held.further).enumerate() {
        let leaf = secrets.leaf();
        let certificate = Type::TlsCertificate(tls_certificate(leaf));
        if number == 0 && held.own.is_some() {
            snapshot.insert(resource(DEFAULT, certificate.clone()));
        }
        snapshot.insert(resource(&leaf.identity().to_string(), certificate));
    }
    snapshot
}

fn with_roots(mut snapshot: Snapshot, held: &Held, validator: Validator) -> Snapshot {
    let domain = held.domain.id();
    let roots = Type::ValidationContext(match validator {
        Validator::TrustedCa => validation_context(&held.bundle),
        Validator::Spiffe => by_trust_domain(&held.domain, &held.bundle),
    });
    snapshot.extend([ROOT_CA, ALL, &domain].map(|name| resource(name, roots.clone())));
    snapshot
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

fn by_trust_domain(domain: &TrustDomain, bundle: &Bundle) -> CertificateValidationContext {
    let trust_domain = spiffe_cert_validator_config::TrustDomain {
        name: domain.to_string(),
        trust_bundle: Some(inline(certificates(bundle.roots()))),
        ..Default::default()
    };
    let config = SpiffeCertValidatorConfig { trust_domains: vec![trust_domain], ..Default::default() };
    let validator = TypedExtensionConfig {
        name: "envoy.tls.cert_validator.spiffe".to_owned(),
        typed_config: Some(Any {
            type_url:
                "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"
                    .to_owned(),
            value: config.encode_to_vec(),
        }),
    };
    CertificateValidationContext { custom_validator_config: Some(validator), ..Default::default() }
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

    fn secrets() -> Arc<Secrets> {
        let identity: SpiffeId = "spiffe://signet.internal/mesh/m/virtual-node/a".parse().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let signer = FakeSigner::new(&identity, Arc::new(move || now), Duration::from_secs(3600));
        let key = KeyPair::generate().unwrap();
        let signed = signer.certificate(Answer::Good, &key.request(&identity).unwrap());
        Arc::new(verify(signed, key, &identity, now.into()).unwrap())
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
        let snapshot = translate(&Held::of(secrets()), Validator::TrustedCa);
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
        let snapshot = translate(&Held::of(Arc::clone(&secrets)), Validator::TrustedCa);
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
        let held = Held::of(secrets());
        let all = translate_for_all(&held);
        for (validator, snapshot) in &all {
            assert_eq!(*snapshot, translate(&held, *validator));
        }
        let (one, other) =
            (all[0].1.get(ResourceType::Secret, DEFAULT), all[1].1.get(ResourceType::Secret, DEFAULT));
        assert!(one.unwrap().is_same(other.unwrap()), "encoded once");
    }

    #[test]
    fn the_spiffe_validator_gets_the_roots_under_the_name_of_their_trust_domain() {
        let secrets = secrets();
        let snapshot = translate(&Held::of(Arc::clone(&secrets)), Validator::Spiffe);
        for name in [ROOT_CA, ALL, "spiffe://signet.internal"] {
            let Some(Type::ValidationContext(context)) = secret(&snapshot, name).r#type else { panic!() };
            assert!(context.trusted_ca.is_none());
            let config = context.custom_validator_config.unwrap().typed_config.unwrap();
            let config = SpiffeCertValidatorConfig::decode(config.value.as_slice()).unwrap();
            let [domain] = &config.trust_domains[..] else { panic!("one trust domain") };
            assert_eq!(domain.name, "signet.internal");
            let roots = CertificateDer::from_pem_slice(&bytes(domain.trust_bundle.clone())).unwrap();
            assert_eq!(&roots, &secrets.bundle().roots()[0]);
        }
    }

    #[test]
    fn an_expired_certificate_takes_its_names_with_it_and_leaves_the_roots() {
        let held = Held { own: None, ..Held::of(secrets()) };
        let snapshot = translate(&held, Validator::TrustedCa);
        let names: Vec<_> = snapshot.resources(ResourceType::Secret).map(Resource::name).collect();
        assert_eq!(names, ["ALL", "ROOTCA", "spiffe://signet.internal"]);
    }
}

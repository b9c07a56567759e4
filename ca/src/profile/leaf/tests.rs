use proptest::prelude::*;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyIdMethod,
    KeyUsagePurpose, PublicKeyData, SanType, SubjectPublicKeyInfo,
};
use signet_policies::{identity::Workload, time::Timestamp};
use x509_parser::prelude::FromDer;

use super::*;
use crate::{PrivateKey, Random, profile};

/// The same leaf by the crate that people use.
fn by_rcgen(leaf: &Leaf<'_>, issuer: &[u8], issuer_key: &SigningKey) -> Vec<u8> {
    let calendar = |moment: Timestamp| time::OffsetDateTime::from_unix_timestamp(moment.unix()).unwrap();
    let mut params = CertificateParams::default();
    params.serial_number = Some(leaf.serial.to_bytes().to_vec().into());
    params.not_before = calendar(leaf.life.not_before());
    params.not_after = calendar(leaf.life.not_after());
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(leaf.spiffe_id.to_string().try_into().unwrap())];
    let dns = leaf.dns_names.iter().map(|name| SanType::DnsName(name.as_str().try_into().unwrap()));
    params.subject_alt_names.extend(dns);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.key_identifier_method = KeyIdMethod::Sha256;
    let key_id = [&[4, 20], leaf.key.id().as_slice()].concat();
    params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 14], key_id)];
    let key = SubjectPublicKeyInfo::from_der(leaf.key.spki()).unwrap();
    let issuer = Issuer::from_ca_cert_der(&issuer.into(), issuer_key).unwrap();
    params.signed_by(&key, &issuer).unwrap().der().to_vec()
}

fn to_be_signed(certificate: &[u8]) -> Vec<u8> {
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(certificate).unwrap();
    parsed.tbs_certificate.as_ref().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_leaf_is_the_one_that_rcgen_writes(
        seed: u64,
        start in 0_i64..4_000_000_000,
        life in 1_i64..7_776_000,
        mesh in "[A-Za-z0-9_-]{1,255}",
        name in "[A-Za-z0-9_-]{1,255}",
        dns_names in proptest::collection::vec("[a-z0-9]{1,60}(\\.[a-z0-9]{1,60}){0,3}", 0..4),
    ) {
        let random = Random::dangerously_from_seed(seed);
        let key = SigningKey::new(&PrivateKey::generate().unwrap()).unwrap();
        let validity = [start, start + life].map(Timestamp::from_unix);
        let validity = Validity::new(validity[0], validity[1]).unwrap();
        let domain = "signet.internal".parse().unwrap();
        let root = profile::root(&domain, &key, Serial::draw(&random), validity).unwrap();
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(&root).unwrap();
        let issuer_key = PublicKey::from_spki(&key.subject_public_key_info()).unwrap();
        let template = Template {
            issuer: parsed.subject().as_raw().to_vec(),
            issuer_key_id: issuer_key.id().to_vec(),
        };

        let leaf_key = PrivateKey::generate().unwrap().public();
        let spiffe_id = Workload::virtual_node(&mesh, &name).unwrap().spiffe_id(&domain);
        let dns_names: Vec<DnsName> = dns_names.iter().filter_map(|name| name.parse().ok()).collect();
        let leaf = Leaf {
            serial: Serial::draw(&random),
            life: validity,
            key: &leaf_key,
            spiffe_id: &spiffe_id,
            dns_names: &dns_names,
        };
        let ours = template.sign(&leaf, &key).unwrap().unwrap();
        prop_assert_eq!(to_be_signed(&ours), to_be_signed(&by_rcgen(&leaf, &root, &key)));
        let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(&ours).unwrap();
        prop_assert!(parsed.verify_signature(None).is_err());
        let (_, root) = x509_parser::certificate::X509Certificate::from_der(&root).unwrap();
        prop_assert!(parsed.verify_signature(Some(root.public_key())).is_ok());
    }
}

#[test]
fn a_life_beyond_the_year_9999_makes_no_leaf() {
    let key = SigningKey::new(&PrivateKey::generate().unwrap()).unwrap();
    let life = Validity::new(Timestamp::from_unix(0), Timestamp::from_unix(i64::MAX)).unwrap();
    let leaf_key = PrivateKey::generate().unwrap().public();
    let spiffe_id = "spiffe://td/a".parse().unwrap();
    let serial = Serial::draw(&Random::dangerously_from_seed(1));
    let leaf = Leaf { serial, life, key: &leaf_key, spiffe_id: &spiffe_id, dns_names: &[] };
    let template = Template { issuer: vec![0x30, 0], issuer_key_id: vec![0; 20] };
    assert!(matches!(template.sign(&leaf, &key), Ok(None)));
}

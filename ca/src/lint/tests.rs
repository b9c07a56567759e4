use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use x509_parser::certificate::X509Certificate;

use super::*;

const ID: &str = "spiffe://signet.internal/mesh/m/virtual-node/a";

/// A leaf as it should be, by another hand than the profile's.
fn sound() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&[7; 16]));
    params.not_before = OffsetDateTime::UNIX_EPOCH;
    params.not_after = OffsetDateTime::UNIX_EPOCH + Duration::days(1);
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![uri(ID)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.key_identifier_method = KeyIdMethod::Sha256;
    params.custom_extensions =
        vec![CustomExtension::from_oid_content(&[2, 5, 29, 14], [&[4, 20][..], &[9; 20]].concat())];
    params
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

fn linted(params: &CertificateParams) -> Result<(), &'static str> {
    let issuer_key = KeyPair::generate().unwrap();
    let mut issuer = CertificateParams::default();
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(issuer, issuer_key);
    let der = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().to_vec();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    leaf(parsed.tbs_certificate.as_ref())
}

#[test]
fn a_leaf_as_it_should_be_passes() {
    assert_eq!(linted(&sound()), Ok(()));
    let mut named = sound();
    named.subject_alt_names.push(dns("a.apps.local"));
    assert_eq!(linted(&named), Ok(()));
}

type Change = fn(&mut CertificateParams);

#[test]
fn every_part_that_must_not_be_so_is_named() {
    let changes: &[(&str, Change)] = &[
        ("serial", |params| params.serial_number = Some(SerialNumber::from_slice(&[7; 21]))),
        ("serial", |params| params.serial_number = Some(SerialNumber::from_slice(&[0]))),
        ("life", |params| params.not_after += Duration::days(90)),
        ("life", |params| params.not_after = params.not_before),
        ("subject", |params| params.distinguished_name.push(DnType::CommonName, "a")),
        ("names", |params| params.subject_alt_names = vec![dns("a.apps.local")]),
        ("names", |params| params.subject_alt_names.push(uri("spiffe://signet.internal/other"))),
        ("names", |params| params.subject_alt_names = vec![uri("https://signet.internal/a")]),
        ("names", |params| params.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 1].into()))),
        ("names", |params| params.subject_alt_names.push(dns("*.apps.local"))),
        ("key usage", |params| params.key_usages.push(KeyUsagePurpose::KeyCertSign)),
        ("extensions", |params| params.key_usages.clear()),
        ("extended key usage", |params| drop(params.extended_key_usages.pop())),
        ("extended key usage", |params| {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::OcspSigning)
        }),
        ("extensions", |params| params.extended_key_usages.clear()),
        ("extensions", |params| params.is_ca = IsCa::ExplicitNoCa),
        ("extensions", |params| params.use_authority_key_identifier_extension = false),
        ("extensions", |params| params.custom_extensions.clear()),
        ("extensions", |params| {
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]));
        }),
    ];
    for (number, (part, change)) in changes.iter().enumerate() {
        let mut params = sound();
        change(&mut params);
        assert_eq!(linted(&params), Err(*part), "change {number}");
    }
    assert_eq!(leaf(b"nonsense"), Err("encoding"));
}

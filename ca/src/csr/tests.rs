use proptest::prelude::*;
use rcgen::{
    Attribute, BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, OtherNameValue, PublicKeyData, SanType, SigningKey,
};

use super::*;
use crate::fixtures::{csr_of, csr_params, csr_params_for, node, openssl};

const ID: &str = "spiffe://signet.internal/mesh/my-mesh/virtual-node/a";

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn with_names(names: Vec<SanType>) -> Vec<u8> {
    let mut params = csr_params();
    params.subject_alt_names = names;
    csr_of(&params)
}

fn with(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = csr_params();
    change(&mut params);
    csr_of(&params)
}

/// A request with one extension, by its object identifier's arcs and its value.
fn with_extension(oid: &[u64], value: &[u8]) -> Vec<u8> {
    with(|params| params.custom_extensions = vec![CustomExtension::from_oid_content(oid, value.to_vec())])
}

fn refused(der: &[u8]) -> InvalidCsr {
    VerifiedCsr::from_der(der).unwrap_err()
}

#[test]
fn the_key_and_the_names_asked_for_are_read() {
    let key = KeyPair::generate().unwrap();
    let mut params = csr_params_for(&node("a"));
    params.subject_alt_names.push(SanType::DnsName("A.apps.local".try_into().unwrap()));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    let csr = VerifiedCsr::from_der(params.serialize_request(&key).unwrap().der()).unwrap();
    assert_eq!(csr.key().spki(), key.subject_public_key_info());
    let life = Some(Duration::from_secs(300));
    let names = Request {
        spiffe_id: Some(ID.parse().unwrap()),
        dns_names: vec!["a.apps.local".parse().unwrap()],
        lifetime: life,
    };
    assert_eq!(csr.request(life), names);
}

#[test]
fn a_request_without_names_asks_for_what_the_registration_says() {
    let csr = VerifiedCsr::from_der(&csr_of(&csr_params())).unwrap();
    assert_eq!(csr.request(None), Request::default());
}

#[test]
fn whoever_asks_for_an_authority_is_refused() {
    use InvalidCsr::Authority;
    let ca = |constraints| with(|params| params.is_ca = IsCa::Ca(constraints));
    assert_eq!(refused(&ca(BasicConstraints::Unconstrained)), Authority("CA:TRUE"));
    assert_eq!(refused(&ca(BasicConstraints::Constrained(0))), Authority("CA:TRUE"));
    let path_length = with_extension(&[2, 5, 29, 19], b"\x30\x03\x02\x01\x00");
    assert_eq!(refused(&path_length), Authority("a path length"));
    for (usage, name) in
        [(KeyUsagePurpose::KeyCertSign, "keyCertSign"), (KeyUsagePurpose::CrlSign, "cRLSign")]
    {
        let csr = with(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature, usage]);
        assert_eq!(refused(&csr), Authority(name));
    }
}

#[test]
fn names_are_one_spiffe_id_and_dns_names() {
    use InvalidCsr as E;
    let other =
        || SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], OtherNameValue::Utf8String(ID.into())));
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let cases = [
        (vec![uri(ID), uri("spiffe://signet.internal/mesh/my-mesh/virtual-node/b")], E::SeveralUris(2)),
        (vec![uri(ID), uri(ID)], E::SeveralUris(2)),
        (vec![uri(ID), uri("https://x.test")], E::SeveralUris(2)),
        (vec![uri(ID), other()], E::NameKind("an otherName")),
        (vec![other()], E::NameKind("an otherName")),
        (vec![uri(ID), SanType::IpAddress([127, 0, 0, 1].into())], E::NameKind("an IP address")),
        (vec![uri(ID), SanType::Rfc822Name("a@b.test".try_into().unwrap())], E::NameKind("a mail address")),
        (vec![uri("https://signet.internal/a")], E::SpiffeId(InvalidSpiffeId::Scheme)),
        (vec![uri("SPIFFE://signet.internal/a")], E::SpiffeId(InvalidSpiffeId::Scheme)),
        (vec![uri("spiffe://signet.internal")], E::SpiffeId(InvalidSpiffeId::NoPath)),
        (
            vec![uri("spiffe://signet.internal/mesh/../a")],
            E::SpiffeId(InvalidSpiffeId::DotSegment("..".into())),
        ),
        (
            vec![uri("spiffe://signet.internal/a,URI:spiffe://x/b")],
            E::SpiffeId(InvalidSpiffeId::Character(',')),
        ),
        (vec![uri("spiffe://signet.internal/a\0b")], E::SpiffeId(InvalidSpiffeId::Character('\0'))),
        (vec![dns("*.apps.local")], E::Dns(InvalidDnsName::Character('*'))),
        (vec![dns(ID)], E::Dns(InvalidDnsName::Character(':'))),
        (vec![dns("a.test"), dns("A.test.")], E::RepeatedDns("a.test".parse().unwrap())),
    ];
    for (names, expected) in cases {
        assert_eq!(refused(&with_names(names.clone())), expected, "{names:?}");
    }
    // A directory name, a registered ID, text that is not UTF-8, and no name at all.
    for (value, kind) in [
        (&b"\x30\x04\xa4\x02\x30\x00"[..], "a directory name"),
        (b"\x30\x03\x88\x01\x2a", "a name of another kind"),
        (b"\x30\x03\x86\x01\xff", "a name of another kind"),
        (b"\x30\x02\x89\x00", "a name of another kind"),
    ] {
        assert_eq!(refused(&with_extension(&[2, 5, 29, 17], value)), E::NameKind(kind), "{value:02x?}");
    }
    assert!(matches!(refused(&with_extension(&[2, 5, 29, 17], b"\x30\x00")), E::Malformed(_)));
}

#[test]
fn extensions_that_are_unknown_repeated_or_malformed_are_refused() {
    use InvalidCsr as E;
    let unknown = with_extension(&[1, 2, 3], b"\x05\x00");
    assert_eq!(refused(&unknown), E::Extension("1.2.3".into()));
    let name_constraints = with_extension(&[2, 5, 29, 30], b"\x30\x00");
    assert_eq!(refused(&name_constraints), E::Extension("2.5.29.30".into()));
    let twice = |oid: &[u64], value: &[u8]| {
        with(|params| {
            let extension = CustomExtension::from_oid_content(oid, value.to_vec());
            params.custom_extensions = vec![extension.clone(), extension];
        })
    };
    assert_eq!(refused(&twice(&[2, 5, 29, 19], b"\x30\x00")), E::RepeatedExtension("2.5.29.19".into()));
    let id = [b"\x30\x36\x86\x34", ID.as_bytes()].concat();
    assert_eq!(refused(&twice(&[2, 5, 29, 17], &id)), E::RepeatedExtension("2.5.29.17".into()));
    let malformed: [(&[u64], &[u8]); 7] = [
        (&[2, 5, 29, 19], b"\x30\x00\x00"),
        (&[2, 5, 29, 19], b"\x30\x01"),
        (&[2, 5, 29, 19], b""),
        (&[2, 5, 29, 15], b"\x30\x00"),
        (&[2, 5, 29, 17], b"\x30\x80\x00\x00"),
        (&[2, 5, 29, 17], b"\x04\x00"),
        (&[2, 5, 29, 19], b"\x30\x09\x01\x01\x00\x02\x01\x00\x02\x01\x00"),
    ];
    for (oid, value) in malformed {
        assert!(matches!(refused(&with_extension(oid, value)), E::Malformed(_)), "{oid:?} {value:02x?}");
    }
}

#[test]
fn a_use_besides_server_and_client_is_refused() {
    let asking = |uses: &[ExtendedKeyUsagePurpose]| with(|params| params.extended_key_usages = uses.to_vec());
    use ExtendedKeyUsagePurpose as Use;
    for uses in
        [&[Use::CodeSigning][..], &[Use::ServerAuth, Use::Any], &[Use::ServerAuth, Use::Other(vec![1, 2, 3])]]
    {
        assert_eq!(refused(&asking(uses)), InvalidCsr::Usage, "{uses:?}");
    }
    assert!(VerifiedCsr::from_der(&asking(&[Use::ServerAuth, Use::ClientAuth])).is_ok());
}

#[test]
fn a_subject_and_other_attributes_are_refused() {
    let named = with(|params| params.distinguished_name.push(rcgen::DnType::CommonName, "b"));
    assert_eq!(refused(&named), InvalidCsr::Subject);
    let challenge: &[u64] = &[1, 2, 840, 113_549, 1, 9, 7];
    let attribute = || Attribute { oid: challenge, values: b"\x31\x03\x0c\x01a".to_vec() };
    let key = KeyPair::generate().unwrap();
    for params in [csr_params(), csr_params_for(&node("a"))] {
        let csr = params.serialize_request_with_attributes(&key, vec![attribute()]).unwrap();
        assert_eq!(refused(csr.der()), InvalidCsr::Attribute);
    }
    let extension_request: &[u64] = &[1, 2, 840, 113_549, 1, 9, 14];
    let again = || Attribute { oid: extension_request, values: b"\x31\x02\x30\x00".to_vec() };
    let twice = csr_params_for(&node("a")).serialize_request_with_attributes(&key, vec![again()]).unwrap();
    assert_eq!(refused(twice.der()), InvalidCsr::Attribute);
    let two_values = Attribute { oid: extension_request, values: b"\x31\x04\x30\x00\x30\x00".to_vec() };
    let two_values = csr_params().serialize_request_with_attributes(&key, vec![two_values]).unwrap();
    assert!(matches!(refused(two_values.der()), InvalidCsr::Malformed(_)));
}

/// A request whose extensionRequest holds these bytes as its one extension.
fn with_raw_extension(extension: &[u8]) -> Vec<u8> {
    let extension_request: &[u64] = &[1, 2, 840, 113_549, 1, 9, 14];
    let nested = |tag: u8, inner: Vec<u8>| [vec![tag, u8::try_from(inner.len()).unwrap()], inner].concat();
    let values = nested(0x31, nested(0x30, nested(0x30, extension.to_vec())));
    let attribute = Attribute { oid: extension_request, values };
    let key = KeyPair::generate().unwrap();
    let csr = csr_params().serialize_request_with_attributes(&key, vec![attribute]).unwrap();
    csr.der().to_vec()
}

#[test]
fn an_extension_with_more_or_less_than_its_parts_is_refused() {
    let sound = b"\x06\x03\x55\x1d\x13\x04\x02\x30\x00";
    let critical = b"\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x02\x30\x00";
    for sound in [&sound[..], critical] {
        assert!(VerifiedCsr::from_der(&with_raw_extension(sound)).is_ok());
        for more in [&[5, 0][..], &[0], &[4, 2, 0x30, 0]] {
            let longer = with_raw_extension(&[sound, more].concat());
            assert!(matches!(refused(&longer), InvalidCsr::Malformed(_)), "{more:?}");
        }
    }
    for less in [&sound[..5], b""] {
        assert!(matches!(refused(&with_raw_extension(less)), InvalidCsr::Malformed(_)), "{less:?}");
    }
}

/// A key that signs, but calls itself by another's name.
struct Impostor {
    own: KeyPair,
    shown: KeyPair,
}

impl PublicKeyData for Impostor {
    fn der_bytes(&self) -> &[u8] {
        self.shown.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.shown.algorithm()
    }
}

impl SigningKey for Impostor {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.own.sign(message)
    }
}

#[test]
fn whoever_does_not_hold_the_key_is_refused() {
    let impostor = Impostor { own: KeyPair::generate().unwrap(), shown: KeyPair::generate().unwrap() };
    let csr = csr_params_for(&node("a")).serialize_request(&impostor).unwrap();
    assert_eq!(refused(csr.der()), InvalidCsr::Signature);
}

#[test]
fn junk_is_refused_by_its_length_before_anything_else() {
    assert_eq!(refused(&vec![0x30; 1024 * 1024]), InvalidCsr::TooLong(1024 * 1024));
    assert_eq!(refused(&vec![0x30; MAX_CSR + 1]), InvalidCsr::TooLong(MAX_CSR + 1));
    for junk in [&[][..], &[0x30], &[0; 100], &[0xff; MAX_CSR], b"-----BEGIN CERTIFICATE REQUEST-----"] {
        assert!(matches!(refused(junk), InvalidCsr::Malformed(_)), "{:02x?}", &junk[..junk.len().min(8)]);
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut csr = csr_of(&csr_params_for(&node("a")));
    csr.push(0);
    assert!(matches!(refused(&csr), InvalidCsr::Malformed(_)));
}

/// A request by OpenSSL for a new key, DER.
fn by_openssl(key: &[&str], digest: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (made, said) = openssl(&[&["genpkey", "-out", &path("key")], key].concat());
    assert!(made, "{said}");
    let names = format!("subjectAltName=URI:{ID}");
    let request =
        ["req", "-new", "-key", &path("key"), "-subj", "/", "-outform", "DER", "-out", &path("csr")];
    let (made, said) = openssl(&[&request[..], &["-addext", &names, digest]].concat());
    assert!(made, "{said}");
    std::fs::read(path("csr")).unwrap()
}

#[test]
fn requests_of_openssl_are_read_when_key_and_digest_are_accepted() {
    let rsa = |bits: &'static str| vec!["-algorithm", "RSA", "-pkeyopt", bits];
    let ec = |curve: &'static str| vec!["-algorithm", "EC", "-pkeyopt", curve];
    let cases = [
        (ec("ec_paramgen_curve:P-256"), "-sha256", Ok(())),
        (ec("ec_paramgen_curve:P-256"), "-sha384", Ok(())),
        (ec("ec_paramgen_curve:P-384"), "-sha384", Ok(())),
        (ec("ec_paramgen_curve:P-384"), "-sha256", Ok(())),
        (vec!["-algorithm", "ED25519"], "-sha256", Ok(())),
        (rsa("rsa_keygen_bits:2048"), "-sha256", Ok(())),
        (rsa("rsa_keygen_bits:2048"), "-sha512", Ok(())),
        (rsa("rsa_keygen_bits:3072"), "-sha384", Ok(())),
        (rsa("rsa_keygen_bits:1024"), "-sha256", Err(InvalidCsr::Key(KeyRefused::RsaSize(1024)))),
        (rsa("rsa_keygen_bits:2048"), "-sha1", Err(InvalidCsr::SignatureAlgorithm)),
        (ec("ec_paramgen_curve:P-256"), "-sha1", Err(InvalidCsr::SignatureAlgorithm)),
        (ec("ec_paramgen_curve:P-521"), "-sha256", Err(InvalidCsr::Key(KeyRefused::Kind))),
        (ec("ec_paramgen_curve:secp256k1"), "-sha256", Err(InvalidCsr::Key(KeyRefused::Kind))),
        (
            [rsa("rsa_keygen_bits:2048"), vec!["-pkeyopt", "rsa_keygen_pubexp:3"]].concat(),
            "-sha256",
            Err(InvalidCsr::Key(KeyRefused::RsaExponent)),
        ),
    ];
    for (key, digest, expected) in cases {
        let read = VerifiedCsr::from_der(&by_openssl(&key, digest));
        let named = read.map(|csr| csr.request(None).spiffe_id.unwrap().to_string());
        assert_eq!(named, expected.map(|()| ID.to_owned()), "{key:?} {digest}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever is changed in a sound request: it is refused, or it still says exactly the same.
    #[test]
    fn a_changed_request_never_gets_another_key_or_name(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..4),
    ) {
        let params = csr_params_for(&node("a"));
        let original = csr_of(&params);
        let sound = VerifiedCsr::from_der(&original).unwrap();
        let mut changed = original;
        for (index, byte, kind) in edits {
            let at = index.index(changed.len());
            match kind {
                0 => changed[at] = byte,
                1 => changed.insert(at, byte),
                _ => { changed.remove(at); }
            }
        }
        if let Ok(read) = VerifiedCsr::from_der(&changed) {
            prop_assert_eq!(read, sound);
        }
    }

    #[test]
    fn random_bytes_are_never_a_request(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(VerifiedCsr::from_der(&bytes).is_err());
    }
}

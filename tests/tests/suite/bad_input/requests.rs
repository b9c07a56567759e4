//! Certificate requests that get no certificate.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, OtherNameValue, SanType,
};
use tonic::Code;

use super::{
    Row,
    place::{Attack, Place},
};

const ID: &str = "spiffe://signet.internal/mesh/m/virtual-node/a";
const OTHER: &str = "spiffe://signet.internal/mesh/m/virtual-node/b";
const REFUSED: &[Code] = &[Code::InvalidArgument, Code::PermissionDenied];

fn request(uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Result<Vec<u8>> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.remove(DnType::CommonName);
    for uri in uris {
        params.subject_alt_names.push(SanType::URI((*uri).try_into()?));
    }
    change(&mut params);
    Ok(params.serialize_request(&KeyPair::generate()?)?.der().to_vec())
}

/// A request of the node `a` that is served.
pub(super) fn good() -> Result<Vec<u8>> {
    request(&[ID], |_| {})
}

fn with(change: impl FnOnce(&mut CertificateParams)) -> Result<Attack> {
    Ok(Attack::Join { csr: request(&[ID], change)?, codes: REFUSED })
}

fn named(uris: &[&str]) -> Result<Attack> {
    Ok(Attack::Join { csr: request(uris, |_| {})?, codes: REFUSED })
}

fn extension(oid: &[u64], content: &[u8], is_critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(is_critical);
    extension
}

fn raw(csr: Vec<u8>) -> Attack {
    Attack::Join { csr, codes: &[Code::InvalidArgument, Code::OutOfRange, Code::ResourceExhausted] }
}

/// One element of DER: tag, length, content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let head = match content.len() {
        0..128 => vec![tag, length.last().copied().unwrap_or(0)],
        _ => [&[tag, 0x80 | length.len().to_le_bytes()[0]], length].concat(),
    };
    [head, content.to_vec()].concat()
}

/// A request (RFC 2986, section 4) whose signature costs seconds to whoever verifies it.
fn huge_rsa() -> Vec<u8> {
    let number = |bits: usize| der(2, &[vec![0x7f], vec![0xff; bits / 8 - 1]].concat());
    let with_null = |oid: &[u8]| der(0x30, &[der(6, oid), vec![5, 0]].concat());
    let bits = |content: &[u8]| der(3, &[&[0], content].concat());
    let key = der(0x30, &[number(16_384), number(4096)].concat());
    let key = der(0x30, &[with_null(b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"), bits(&key)].concat());
    let info = der(0x30, &[vec![2, 1, 0, 0x30, 0], key, vec![0xa0, 0]].concat());
    let algorithm = with_null(b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b");
    der(0x30, &[info, algorithm, bits(&[1; 2048])].concat())
}

/// A request for somebody else's key: the signature is another's.
fn stolen_key() -> Result<Vec<u8>> {
    let mut csr = good()?;
    let at = csr.len() - 40;
    csr[at] ^= 1;
    Ok(csr)
}

pub(super) fn rows(_: &Place) -> Result<Vec<Row>> {
    let eku = &[2, 5, 29, 37];
    let usage = [&[0x30, 0x0a, 0x06, 0x08][..], b"\x2b\x06\x01\x05\x05\x07\x03\x01"].concat();
    let renewal = |csr, life, by_holder, code| Attack::Renew { csr, life, by_holder, code };
    let other_name =
        SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], OtherNameValue::Utf8String(OTHER.into())));
    Ok(vec![
        ("B1", "another node's name", named(&[OTHER])?),
        ("B1", "a renewal as another node", renewal(good()?, 0, true, Code::PermissionDenied)),
        ("B1", "the server's name", named(&["spiffe://signet.internal/signet/server"])?),
        ("B2", "a path with ..", named(&["spiffe://signet.internal/mesh/m/../m/virtual-node/a"])?),
        ("B2", "an empty segment", named(&["spiffe://signet.internal/mesh/m//virtual-node/a"])?),
        ("B2", "a segment .", named(&["spiffe://signet.internal/mesh/./m/virtual-node/a"])?),
        ("B2", "an encoded slash", named(&["spiffe://signet.internal/mesh/m/virtual-node%2fa"])?),
        ("B2", "a slash at the end", named(&["spiffe://signet.internal/mesh/m/virtual-node/a/"])?),
        ("B2", "an upper-case trust domain", named(&["spiffe://SIGNET.internal/mesh/m/virtual-node/a"])?),
        ("B2", "another trust domain", named(&["spiffe://other.test/mesh/m/virtual-node/a"])?),
        ("B10", "an RSA key of 16,384 bits whose exponent has 4,096", raw(huge_rsa())),
        ("B11", "nothing", raw(Vec::new())),
        ("B11", "junk", raw(vec![0x30; 4096])),
        ("B11", "a megabyte of junk", raw(vec![0x30; 1 << 20])),
        ("B11", "nested without end", raw([0x30, 0x80].repeat(8000))),
        (
            "B15",
            "CA:TRUE",
            with(|p| p.custom_extensions.push(extension(&[2, 5, 29, 19], &[0x30, 3, 1, 1, 0xff], true)))?,
        ),
        ("B15", "a path length", with(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)))?),
        ("B15", "keyCertSign", with(|p| p.key_usages = vec![KeyUsagePurpose::KeyCertSign])?),
        (
            "B16",
            "a life of thirty years",
            renewal(request(&[OTHER], |_| {})?, 946_080_000, true, Code::InvalidArgument),
        ),
        ("B16", "a life of one second", renewal(request(&[OTHER], |_| {})?, 1, true, Code::InvalidArgument)),
        (
            "B16",
            "the longest life there is",
            renewal(request(&[OTHER], |_| {})?, u64::MAX, true, Code::InvalidArgument),
        ),
        (
            "B18",
            "a comma",
            named(&["spiffe://signet.internal/mesh/m/virtual-node/a,URI:spiffe://signet.internal/x"])?,
        ),
        ("B18", "a line break", named(&["spiffe://signet.internal/mesh/m/virtual-node/a\nURI:x"])?),
        ("B18", "a NUL", named(&["spiffe://signet.internal/mesh/m/virtual-node/a\0"])?),
        ("B18", "a prefix", named(&["URI:spiffe://signet.internal/mesh/m/virtual-node/a"])?),
        ("B20", "a renewal by nobody", renewal(request(&[OTHER], |_| {})?, 0, false, Code::Unauthenticated)),
        (
            "B22",
            "an extended key usage that is empty",
            with(|p| p.custom_extensions.push(extension(eku, &[0x30, 0], false)))?,
        ),
        (
            "B22",
            "the same extension twice",
            with(|p| {
                p.custom_extensions.extend([extension(eku, &usage, false), extension(eku, &usage, false)])
            })?,
        ),
        (
            "B22",
            "an unknown critical extension",
            with(|p| p.custom_extensions.push(extension(&[1, 2, 3, 4], &[5, 0], true)))?,
        ),
        (
            "B22",
            "code signing",
            with(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning])?,
        ),
        ("B23", "two URIs", named(&[ID, OTHER])?),
        ("B23", "one URI twice", named(&[ID, ID])?),
        ("B23", "a URI in another name", with(|p| p.subject_alt_names.push(other_name))?),
        (
            "B23",
            "a DNS name that was not granted",
            with(|p| p.subject_alt_names.extend("bank.example".try_into().map(SanType::DnsName)))?,
        ),
        ("B38", "a signature of somebody else", raw(stolen_key()?)),
    ])
}

//! What a leaf must be, whatever was granted: the profile, RFC 5280 and the SPIFFE X509-SVID standard. It is looked at
//! before it is signed, with another parser than wrote it, because a signature cannot be taken back.

use signet_policies::{
    identity::{DnsName, SpiffeId},
    issuance::MAX_LEAF_LIFE,
};
use x509_parser::{
    certificate::TbsCertificate,
    extensions::{GeneralName, ParsedExtension, X509Extension},
    prelude::FromDer,
    x509::X509Version,
};

use crate::profile::BACKDATE;

/// ecdsa-with-SHA256 (RFC 5758, section 3.2): 1.2.840.10045.4.3.2.
const ECDSA_SHA256: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x02";
/// Keys that may be certified: id-ecPublicKey, rsaEncryption, id-Ed25519. Which of them,
/// [`PublicKey`](crate::PublicKey) has seen to.
const KEYS: [&[u8]; 3] =
    [b"\x2a\x86\x48\xce\x3d\x02\x01", b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", b"\x2b\x65\x70"];
/// Most octets of a serial number (RFC 5280, section 4.1.2.2).
const MAX_SERIAL: usize = 20;
/// keyUsage with digitalSignature alone.
const DIGITAL_SIGNATURE: u16 = 1;

/// Looks at a leaf that is to be signed, DER of TBSCertificate. The error names the first part that must not be so.
pub(crate) fn leaf(tbs: &[u8]) -> Result<(), &'static str> {
    let (rest, tbs) = TbsCertificate::from_der(tbs).map_err(|_| "encoding")?;
    let serial = tbs.raw_serial();
    let is_positive =
        serial.first().is_some_and(|first| *first < 0x80) && serial.iter().any(|byte| *byte != 0);
    let life = tbs.validity.not_after.timestamp() - tbs.validity.not_before.timestamp();
    let longest = i64::try_from((MAX_LEAF_LIFE + BACKDATE).as_secs()).unwrap_or(i64::MAX);
    let parts = [
        ("encoding", rest.is_empty()),
        ("version", tbs.version == X509Version::V3),
        ("serial", is_positive && serial.len() <= MAX_SERIAL),
        ("signature algorithm", tbs.signature.algorithm.as_bytes() == ECDSA_SHA256),
        ("issuer", tbs.issuer.iter_rdn().next().is_some()),
        ("life", (1..=longest).contains(&life)),
        ("subject", tbs.subject.iter_rdn().next().is_none()),
        ("key", KEYS.contains(&tbs.subject_pki.algorithm.algorithm.as_bytes())),
        ("unique identifiers", tbs.issuer_uid.is_none() && tbs.subject_uid.is_none()),
    ];
    match parts.into_iter().find(|(_, is_so)| !is_so) {
        Some((part, _)) => Err(part),
        None => extensions(tbs.extensions()),
    }
}

/// All five, once each, and no other.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it is, no leaf has it")]
fn extensions(extensions: &[X509Extension<'_>]) -> Result<(), &'static str> {
    let mut seen = [false; 5];
    for extension in extensions {
        let (place, part, is_so) = match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                (0, "names", extension.critical && are_names(&names.general_names))
            }
            ParsedExtension::KeyUsage(usage) => {
                (1, "key usage", extension.critical && usage.flags == DIGITAL_SIGNATURE)
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let others = [
                    usage.any,
                    usage.code_signing,
                    usage.email_protection,
                    usage.time_stamping,
                    usage.ocsp_signing,
                ];
                let is_so = usage.server_auth && usage.client_auth && usage.other.is_empty();
                (2, "extended key usage", is_so && !others.contains(&true))
            }
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                let is_so = id.authority_cert_issuer.is_none() && id.authority_cert_serial.is_none();
                let has_key = id.key_identifier.as_ref().is_some_and(|id| !id.0.is_empty());
                (3, "authority key identifier", is_so && has_key && !extension.critical)
            }
            ParsedExtension::SubjectKeyIdentifier(id) => {
                (4, "subject key identifier", !id.0.is_empty() && !extension.critical)
            }
            _ => return Err("extensions"),
        };
        if !is_so {
            return Err(part);
        }
        if std::mem::replace(&mut seen[place], true) {
            return Err("extensions");
        }
    }
    if seen == [true; 5] { Ok(()) } else { Err("extensions") }
}

/// Exactly one SPIFFE ID, and DNS names (SPIFFE X509-SVID, section 2).
fn are_names(names: &[GeneralName<'_>]) -> bool {
    let [GeneralName::URI(uri), dns_names @ ..] = names else {
        return false;
    };
    let is_dns = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(name) = name { name.parse::<DnsName>().is_ok() } else { false }
    };
    uri.parse::<SpiffeId>().is_ok() && dns_names.iter().all(is_dns)
}

#[cfg(test)]
mod tests;

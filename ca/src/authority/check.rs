//! The last look at a certificate before it leaves: does it say what was granted, and nothing more?
//!
//! It is read with another parser than wrote it. Its signature is not verified, which would cost three times
//! as much as making it.

use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    x509::X509Version,
};

use crate::{
    Serial,
    profile::{Leaf, Template},
};

/// Compares a certificate with what it was made of. The error names the first part that differs.
pub(super) fn says(der: &[u8], leaf: &Leaf<'_>, template: &Template) -> Result<(), &'static str> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| "encoding")?;
    let life = certificate.validity();
    let parts = [
        ("encoding", rest.is_empty() && certificate.version() == X509Version::V3),
        ("serial", Serial::from_be_bytes(certificate.raw_serial()) == Some(leaf.serial)),
        ("issuer", certificate.issuer().as_raw() == template.issuer),
        ("start", life.not_before.timestamp() == leaf.life.not_before().unix()),
        ("end", life.not_after.timestamp() == leaf.life.not_after().unix()),
        ("subject", certificate.subject().as_raw() == [0x30, 0]),
        ("key", certificate.public_key().raw == leaf.key.spki()),
    ];
    if let Some((part, _)) = parts.into_iter().find(|(_, is_equal)| !is_equal) {
        return Err(part);
    }
    extensions_say(&certificate, leaf, template)
}

/// All five extensions, once each, and no other.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it is, it was not granted")]
fn extensions_say(
    certificate: &X509Certificate<'_>,
    leaf: &Leaf<'_>,
    template: &Template,
) -> Result<(), &'static str> {
    let mut seen = [false; 5];
    for extension in certificate.extensions() {
        let (place, part, is_equal) = match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                let id = id.key_identifier.as_ref().map(|id| id.0);
                (0, "authority key identifier", id == Some(template.issuer_key_id.as_slice()))
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                (1, "names", extension.critical && names_say(&names.general_names, leaf))
            }
            ParsedExtension::KeyUsage(usage) => (2, "key usage", extension.critical && usage.flags == 1),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let is_equal = usage.server_auth && usage.client_auth && !usage.any && usage.other.is_empty();
                (3, "extended key usage", is_equal)
            }
            ParsedExtension::SubjectKeyIdentifier(id) => {
                (4, "subject key identifier", id.0 == leaf.key.id().as_slice())
            }
            _ => return Err("extensions"),
        };
        if !is_equal {
            return Err(part);
        }
        if std::mem::replace(&mut seen[place], true) {
            return Err("extensions");
        }
    }
    if seen == [true; 5] { Ok(()) } else { Err("extensions") }
}

/// The one SPIFFE ID, then the DNS names.
fn names_say(names: &[GeneralName<'_>], leaf: &Leaf<'_>) -> bool {
    let [GeneralName::URI(uri), dns_names @ ..] = names else {
        return false;
    };
    *uri == leaf.spiffe_id.to_string()
        && dns_names.len() == leaf.dns_names.len()
        && dns_names
            .iter()
            .zip(leaf.dns_names)
            .all(|(name, granted)| matches!(name, GeneralName::DNSName(name) if *name == granted.as_str()))
}

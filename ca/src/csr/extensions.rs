//! The extensions that a request asks for.

use signet_policies::identity::{DnsName, SpiffeId};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension, X509Extension},
    prelude::FromDer,
};

use super::InvalidCsr;
use crate::strict::{self, Element, Malformed, tag};

/// The attribute extensionRequest, 1.2.840.113549.1.9.14 (RFC 2985, section 5.4.2).
pub(super) const EXTENSION_REQUEST: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e";

/// critical: BOOLEAN TRUE; FALSE is the default, which DER leaves out.
const CRITICAL: &[u8] = &[1, 1, 0xff];

/// The names of the subject alternative name.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) spiffe_id: Option<SpiffeId>,
    pub(super) dns_names: Vec<DnsName>,
}

/// Checks every extension and returns the names that are asked for.
pub(super) fn names(extensions: &Element<'_>) -> Result<Names, InvalidCsr> {
    let mut seen = Vec::new();
    let mut names = Names::default();
    for extension in extensions.expect(tag::SEQUENCE)?.children() {
        let extension = parse(&extension?)?;
        strict::check(extension.value)?;
        if seen.contains(&extension.oid) {
            return Err(InvalidCsr::RepeatedExtension(extension.oid.to_id_string()));
        }
        read(&extension, &mut names)?;
        seen.push(extension.oid);
    }
    Ok(names)
}

/// Parses an extension that has an identifier, maybe a mark as critical, a value, and nothing more: the
/// parser forgives what follows, there and after the value that it read.
fn parse<'a>(element: &Element<'a>) -> Result<X509Extension<'a>, Malformed> {
    const NOT_ONE: Malformed = Malformed("an extension has not the shape of one");
    let has_parts = match element.fields::<2>() {
        Ok(_) => true,
        Err(_) => element.fields::<3>().is_ok_and(|[_, critical, _]| critical.raw == CRITICAL),
    };
    if !has_parts {
        return Err(NOT_ONE);
    }
    let parsed = X509Extension::from_der(element.raw);
    parsed.map(|(_, extension)| extension).map_err(|_| NOT_ONE)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "extensions that the parser learns are refused as well")]
fn read(extension: &X509Extension<'_>, names: &mut Names) -> Result<(), InvalidCsr> {
    match extension.parsed_extension() {
        ParsedExtension::BasicConstraints(asked) if asked.ca => Err(InvalidCsr::Authority("CA:TRUE")),
        ParsedExtension::BasicConstraints(asked) if asked.path_len_constraint.is_some() => {
            Err(InvalidCsr::Authority("a path length"))
        }
        ParsedExtension::KeyUsage(asked) if asked.key_cert_sign() => {
            Err(InvalidCsr::Authority("keyCertSign"))
        }
        ParsedExtension::KeyUsage(asked) if asked.crl_sign() => Err(InvalidCsr::Authority("cRLSign")),
        // Harmless to ask for: whatever is asked, the profile decides.
        ParsedExtension::BasicConstraints(_)
        | ParsedExtension::KeyUsage(_)
        | ParsedExtension::SubjectKeyIdentifier(_) => Ok(()),
        ParsedExtension::ExtendedKeyUsage(asked) => {
            let known = asked.server_auth || asked.client_auth;
            let strange = asked.any
                || asked.code_signing
                || asked.email_protection
                || asked.time_stamping
                || asked.ocsp_signing
                || !asked.other.is_empty();
            if known && !strange { Ok(()) } else { Err(InvalidCsr::Usage) }
        }
        ParsedExtension::SubjectAlternativeName(asked) => {
            *names = alternative_names(&asked.general_names)?;
            Ok(())
        }
        ParsedExtension::ParseError { .. } => {
            Err(InvalidCsr::Malformed("an extension's value has not the shape that its kind has"))
        }
        _ => Err(InvalidCsr::Extension(extension.oid.to_id_string())),
    }
}

fn alternative_names(asked: &[GeneralName<'_>]) -> Result<Names, InvalidCsr> {
    if asked.is_empty() {
        return Err(InvalidCsr::Malformed("its subject alternative name is empty"));
    }
    let mut uris = Vec::new();
    let mut dns_names = Vec::new();
    for name in asked {
        match name {
            GeneralName::URI(uri) => uris.push(uri.parse::<SpiffeId>().map_err(InvalidCsr::SpiffeId)),
            GeneralName::DNSName(dns) => {
                let dns: DnsName = dns.parse().map_err(InvalidCsr::Dns)?;
                if dns_names.contains(&dns) {
                    return Err(InvalidCsr::RepeatedDns(dns));
                }
                dns_names.push(dns);
            }
            GeneralName::OtherName(..) => return Err(InvalidCsr::NameKind("an otherName")),
            GeneralName::RFC822Name(_) => return Err(InvalidCsr::NameKind("a mail address")),
            GeneralName::IPAddress(_) => return Err(InvalidCsr::NameKind("an IP address")),
            GeneralName::DirectoryName(_) => return Err(InvalidCsr::NameKind("a directory name")),
            GeneralName::X400Address(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => return Err(InvalidCsr::NameKind("a name of another kind")),
        }
    }
    if uris.len() > 1 {
        return Err(InvalidCsr::SeveralUris(uris.len()));
    }
    Ok(Names { spiffe_id: uris.pop().transpose()?, dns_names })
}

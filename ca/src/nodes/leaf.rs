//! What a certificate that an agent tells of says.

use signet_policies::time::Timestamp;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};

use crate::Serial;

/// A leaf that an agent holds or that its proxy presents. It may be anybody's: nothing of it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentedLeaf {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// Its serial number; `None` where it is none of ours, being longer than 16 octets.
    pub serial: Option<Serial>,
    /// The key of its issuer, as its authority key identifier names it.
    pub issuer_key: Option<Vec<u8>>,
    /// Its URI SANs.
    pub uris: Vec<String>,
    /// Its last valid second.
    pub not_after: Timestamp,
}

impl PresentedLeaf {
    /// Reads a certificate; `None` where it is none.
    pub(crate) fn read(der: Vec<u8>) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(&der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let serial = Serial::from_be_bytes(parsed.raw_serial());
        let issuer_key = issuer_key(&parsed);
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.clone()).unwrap_or_default();
        let uri = |name: &GeneralName<'_>| {
            if let GeneralName::URI(uri) = name { Some((*uri).to_owned()) } else { None }
        };
        let uris = names.iter().filter_map(uri).collect();
        let not_after = Timestamp::from_unix(parsed.validity().not_after.timestamp());
        Some(Self { serial, issuer_key, uris, not_after, der })
    }
}

/// The authority key identifier (RFC 5280, section 4.2.1.1).
fn issuer_key(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.iter_extensions().find_map(|extension| {
        let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() else {
            return None;
        };
        id.key_identifier.as_ref().map(|id| id.0.to_vec())
    })
}

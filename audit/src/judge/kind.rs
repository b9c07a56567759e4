//! What a certificate is taken for, by what it says.

use crate::{
    certificate::Certificate,
    inventory::Place,
    report::{Kind, Taken},
};

/// What it is taken for, and why.
pub(super) fn taken(certificate: &Certificate, trust_domain: &str) -> Taken {
    let extensions = &certificate.extensions;
    let (taken_for, because) = match (extensions.is_ca, extensions.path_length) {
        (None, _) => (Kind::Leaf, "no basic constraints".to_owned()),
        (Some(false), _) => (Kind::Leaf, "CA:FALSE".to_owned()),
        (Some(true), _) if certificate.is_self_issued() => {
            (Kind::Root, "CA:TRUE, and its own name as its issuer's".to_owned())
        }
        (Some(true), Some(0)) => (Kind::Issuer, "CA:TRUE with path length 0".to_owned()),
        (Some(true), Some(length)) => (Kind::Intermediate, format!("CA:TRUE with path length {length}")),
        (Some(true), None) if is_for_leaves(certificate, trust_domain) => {
            (Kind::Issuer, "CA:TRUE, and the trust domain as its only name".to_owned())
        }
        (Some(true), None) => (Kind::Intermediate, "CA:TRUE without a path length".to_owned()),
    };
    let identity = extensions.names.uris.first().filter(|_| taken_for == Kind::Leaf);
    Taken {
        taken_for,
        because,
        subject: identity.map_or_else(|| certificate.name(), Clone::clone),
        serial: certificate.serial_text(),
    }
}

/// Whether an authority signs leaves: nothing may stand below it, or it does not say, and carries the trust domain alone,
/// as issuers do.
pub(super) fn is_for_leaves(certificate: &Certificate, trust_domain: &str) -> bool {
    let extensions = &certificate.extensions;
    match extensions.path_length {
        Some(length) => length == 0,
        None => extensions.names.uris == [format!("spiffe://{trust_domain}")],
    }
}

/// Where an authority stands: whether it signs leaves is said by what stands below it, or where nothing does, by itself.
pub(super) fn place(certificate: &Certificate, has_below: bool, signs_leaves: bool) -> Place {
    match (certificate.is_self_issued(), has_below) {
        (true, _) => Place::Root,
        (false, false) if signs_leaves => Place::Issuer,
        (false, _) => Place::Intermediate,
    }
}

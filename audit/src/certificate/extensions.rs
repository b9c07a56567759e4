//! The extensions of a certificate (RFC 5280, section 4.2).

use std::net::IpAddr;

use x509_parser::{
    certificate::X509Certificate,
    extensions::{
        ExtendedKeyUsage, GeneralName, GeneralSubtree, NameConstraints as ParsedConstraints, ParsedExtension,
    },
};

/// keyCertSign, as a bit of [`Extensions::key_usage`].
pub(crate) const KEY_CERT_SIGN: u16 = 1 << 5;
/// cRLSign, as a bit of [`Extensions::key_usage`].
pub(crate) const CRL_SIGN: u16 = 1 << 6;

/// What the extensions say. Absent ones are `None`, or empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extensions {
    /// All of them, in their order.
    pub(crate) all: Vec<Extension>,
    pub(crate) names: Names,
    /// cA of basicConstraints.
    pub(crate) is_ca: Option<bool>,
    /// pathLenConstraint.
    pub(crate) path_length: Option<u32>,
    /// Bit n is the n-th of KeyUsage.
    pub(crate) key_usage: Option<u16>,
    /// Dotted.
    pub(crate) extended_key_usage: Option<Vec<String>>,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) authority_key_id: Option<Vec<u8>>,
    pub(crate) name_constraints: Option<NameConstraints>,
}

/// One extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    /// Dotted.
    pub(crate) oid: String,
    pub(crate) is_critical: bool,
}

/// The alternative names, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) uris: Vec<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) addresses: Vec<String>,
    /// Names of kinds that have no place in a mesh.
    pub(crate) others: Vec<String>,
}

/// The permitted and excluded subtrees that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameConstraints {
    /// Hosts of permitted URIs.
    pub(crate) permitted_uris: Vec<String>,
    /// Hosts of excluded URIs.
    pub(crate) excluded_uris: Vec<String>,
    permitted_dns: Vec<String>,
    excluded_dns: Vec<String>,
}

impl Extensions {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Result<Self, String> {
        let mut found = Self::default();
        for extension in certificate.extensions() {
            let oid = extension.oid.to_id_string();
            found.take(extension.parsed_extension()).map_err(|error| format!("extension {oid}: {error}"))?;
            found.all.push(Extension { oid, is_critical: extension.critical });
        }
        Ok(found)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the list of all extensions has the others")]
    fn take(&mut self, extension: &ParsedExtension<'_>) -> Result<(), String> {
        match extension {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::KeyUsage(usage) => self.key_usage = Some(usage.flags),
            ParsedExtension::ExtendedKeyUsage(usage) => self.extended_key_usage = Some(purposes(usage)),
            ParsedExtension::BasicConstraints(basic) => {
                self.is_ca = Some(basic.ca);
                self.path_length = basic.path_len_constraint;
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                names.general_names.iter().for_each(|name| self.names.take(name));
            }
            ParsedExtension::NameConstraints(constraints) => {
                self.name_constraints = Some(NameConstraints::of(constraints));
            }
            ParsedExtension::ParseError { error } => return Err(error.to_string()),
            _ => {}
        }
        Ok(())
    }
}

fn purposes(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (usage.any, "2.5.29.37.0"),
        (usage.server_auth, "1.3.6.1.5.5.7.3.1"),
        (usage.client_auth, "1.3.6.1.5.5.7.3.2"),
        (usage.code_signing, "1.3.6.1.5.5.7.3.3"),
        (usage.email_protection, "1.3.6.1.5.5.7.3.4"),
        (usage.time_stamping, "1.3.6.1.5.5.7.3.8"),
        (usage.ocsp_signing, "1.3.6.1.5.5.7.3.9"),
    ];
    let known = known.into_iter().filter(|(is_set, _)| *is_set).map(|(_, oid)| oid.to_owned());
    known.chain(usage.other.iter().map(|oid| oid.to_id_string())).collect()
}

impl Names {
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is none of these has no place in a mesh")]
    fn take(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::DNSName(name) => self.dns.push((*name).to_owned()),
            GeneralName::IPAddress(octets) => self.addresses.push(address(octets)),
            other => self.others.push(other.to_string()),
        }
    }
}

fn address(octets: &[u8]) -> String {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from).ok();
    let address = v4.or_else(|| <[u8; 16]>::try_from(octets).map(IpAddr::from).ok());
    address.map_or_else(|| hex::encode(octets), |address| address.to_string())
}

impl NameConstraints {
    fn of(constraints: &ParsedConstraints<'_>) -> Self {
        Self {
            permitted_uris: uris(constraints.permitted_subtrees.as_deref()),
            excluded_uris: uris(constraints.excluded_subtrees.as_deref()),
            permitted_dns: dns(constraints.permitted_subtrees.as_deref()),
            excluded_dns: dns(constraints.excluded_subtrees.as_deref()),
        }
    }

    /// Whether there are any on URIs.
    pub(crate) fn are_on_uris(&self) -> bool {
        !self.permitted_uris.is_empty() || !self.excluded_uris.is_empty()
    }

    /// Whether URIs of this host are permitted. A constraint on a URI is a host, or with a dot before it all below one.
    pub(crate) fn permits_uri_host(&self, host: &str) -> bool {
        let is_within = |tree: &String| match tree.strip_prefix('.') {
            Some(_) => host.ends_with(tree.as_str()),
            None => host == tree,
        };
        let is_permitted = self.permitted_uris.is_empty() || self.permitted_uris.iter().any(is_within);
        is_permitted && !self.excluded_uris.iter().any(is_within)
    }

    /// Whether this DNS name is permitted. A constraint on one is a name, and all below it.
    pub(crate) fn permits_dns(&self, name: &str) -> bool {
        let is_within = |tree: &String| {
            let rest = name.strip_suffix(tree.trim_start_matches('.'));
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let is_permitted = self.permitted_dns.is_empty() || self.permitted_dns.iter().any(is_within);
        is_permitted && !self.excluded_dns.iter().any(is_within)
    }
}

fn uris(subtrees: Option<&[GeneralSubtree<'_>]>) -> Vec<String> {
    let uri = |subtree: &GeneralSubtree<'_>| {
        if let GeneralName::URI(host) = &subtree.base { Some((*host).to_owned()) } else { None }
    };
    subtrees.unwrap_or_default().iter().filter_map(uri).collect()
}

fn dns(subtrees: Option<&[GeneralSubtree<'_>]>) -> Vec<String> {
    let name = |subtree: &GeneralSubtree<'_>| {
        if let GeneralName::DNSName(name) = &subtree.base { Some((*name).to_owned()) } else { None }
    };
    subtrees.unwrap_or_default().iter().filter_map(name).collect()
}

//! The roots that the operator gave, and the trust domain that they are the roots of.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustls_pki_types::{CertificateDer, pem::PemObject};
use signet_policies::identity::{SpiffeId, TrustDomain};
use signet_sds::verify::uri_names;
use thiserror::Error;

/// The roots of one trust domain. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchors {
    trust_domain: TrustDomain,
    roots: Vec<CertificateDer<'static>>,
}

/// Why a file holds no usable roots.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidAnchors {
    /// It cannot be read.
    #[error("cannot read the roots in {path}; copy ca.pem from the server's data folder")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It holds no certificate, or something broken.
    #[error("{path} holds no certificates in PEM: {reason}")]
    NoCertificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Its roots say by their URI SANs, `spiffe://<trust-domain>`, that they are of several trust domains, or of another
    /// than was given; or they say nothing, and nothing was given.
    #[error(
        "the roots in {path} do not say of which one trust domain they are: their URI SANs are {found:?}; where they have \
         none, give --trust-domain, and where they have one, the same"
    )]
    NoTrustDomain {
        /// The file.
        path: PathBuf,
        /// Every URI SAN of every root.
        found: Vec<String>,
    },
}

impl Anchors {
    /// Reads roots from a PEM file. `trust_domain` tells whose they are, where they do not say it themselves, as an
    /// operator's root may not.
    ///
    /// # Errors
    /// [`InvalidAnchors`].
    pub fn read(path: &Path, trust_domain: Option<&TrustDomain>) -> Result<Self, InvalidAnchors> {
        let text =
            fs::read(path).map_err(|source| InvalidAnchors::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path, trust_domain)
    }

    fn parse(text: &[u8], path: &Path, given: Option<&TrustDomain>) -> Result<Self, InvalidAnchors> {
        let broken = |reason: String| InvalidAnchors::NoCertificates { path: path.to_owned(), reason };
        let roots = CertificateDer::pem_slice_iter(text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| broken(error.to_string()))?;
        if roots.is_empty() {
            return Err(broken("no block is a CERTIFICATE".to_owned()));
        }
        let mut found = Vec::new();
        for root in &roots {
            found.extend(uri_names(root).map_err(|error| broken(error.to_string()))?);
        }
        let said = found.first().and_then(|uri| uri.strip_prefix("spiffe://")?.parse::<TrustDomain>().ok());
        let domain = if found.is_empty() { given.cloned() } else { said };
        let is_of = |domain: &TrustDomain| {
            found.iter().all(|uri| *uri == domain.id()) && given.is_none_or(|given| given == domain)
        };
        match domain.filter(is_of) {
            Some(trust_domain) => Ok(Self { trust_domain, roots }),
            None => Err(InvalidAnchors::NoTrustDomain { path: path.to_owned(), found }),
        }
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The roots.
    #[must_use]
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The identity that the Signet server has.
    #[must_use]
    pub fn server_id(&self) -> SpiffeId {
        self.trust_domain.server_id()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use signet_sds::{testing::MiniCa, translate::certificates};

    use super::*;

    fn root(domain: &str) -> CertificateDer<'static> {
        MiniCa::new(&domain.parse().unwrap(), UNIX_EPOCH + Duration::from_secs(1_800_000_000)).root().clone()
    }

    fn parse(roots: &[CertificateDer<'_>]) -> Result<Anchors, InvalidAnchors> {
        Anchors::parse(certificates(roots).as_bytes(), Path::new("ca.pem"), None)
    }

    #[test]
    fn roots_say_which_trust_domain_they_are_of() {
        let anchors = parse(&[root("signet.internal"), root("signet.internal")]).unwrap();
        assert_eq!(anchors.trust_domain().as_str(), "signet.internal");
        assert_eq!(anchors.roots().len(), 2);
        assert_eq!(anchors.server_id().to_string(), "spiffe://signet.internal/signet/server");
    }

    #[test]
    fn mixed_nameless_and_absent_roots_are_refused() {
        assert!(matches!(parse(&[root("a"), root("b")]), Err(InvalidAnchors::NoTrustDomain { .. })));
        assert!(matches!(parse(&[nameless()]), Err(InvalidAnchors::NoTrustDomain { .. })));
        assert!(matches!(parse(&[]), Err(InvalidAnchors::NoCertificates { .. })));
        let missing = Anchors::read(Path::new("/nonexistent/ca.pem"), None);
        assert!(matches!(missing, Err(InvalidAnchors::Unreadable { .. })));
    }

    fn nameless() -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::default().self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn a_root_that_does_not_say_whose_it_is_is_of_the_trust_domain_that_was_given() {
        let own: TrustDomain = "signet.internal".parse().unwrap();
        let parse_as = |roots: &[CertificateDer<'_>]| {
            Anchors::parse(certificates(roots).as_bytes(), Path::new("ca.pem"), Some(&own))
        };
        assert_eq!(parse_as(&[nameless()]).unwrap().trust_domain(), &own);
        assert_eq!(parse_as(&[nameless(), root("signet.internal")]).unwrap().roots().len(), 2);
        for roots in [vec![root("other.test")], vec![nameless(), root("other.test")]] {
            assert!(matches!(parse_as(&roots), Err(InvalidAnchors::NoTrustDomain { .. })));
        }
    }
}

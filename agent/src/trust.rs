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
    /// Its roots do not say, each by one URI SAN `spiffe://<trust-domain>`, which trust domain they are of.
    #[error("the roots in {path} are not those of one trust domain: their URI SANs are {found:?}")]
    NoTrustDomain {
        /// The file.
        path: PathBuf,
        /// Every URI SAN of every root.
        found: Vec<String>,
    },
}

impl Anchors {
    /// Reads roots from a PEM file.
    ///
    /// # Errors
    /// [`InvalidAnchors`].
    pub fn read(path: &Path) -> Result<Self, InvalidAnchors> {
        let text =
            fs::read(path).map_err(|source| InvalidAnchors::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self, InvalidAnchors> {
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
        let domain = found.first().and_then(|uri| uri.strip_prefix("spiffe://")?.parse::<TrustDomain>().ok());
        match domain {
            Some(trust_domain)
                if found.len() == roots.len() && found.iter().all(|uri| *uri == trust_domain.id()) =>
            {
                Ok(Self { trust_domain, roots })
            }
            _ => Err(InvalidAnchors::NoTrustDomain { path: path.to_owned(), found }),
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
        Anchors::parse(certificates(roots).as_bytes(), Path::new("ca.pem"))
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
        let key = rcgen::KeyPair::generate().unwrap();
        let nameless = rcgen::CertificateParams::default().self_signed(&key).unwrap().der().clone();
        assert!(matches!(parse(&[nameless]), Err(InvalidAnchors::NoTrustDomain { .. })));
        assert!(matches!(parse(&[]), Err(InvalidAnchors::NoCertificates { .. })));
        let missing = Anchors::read(Path::new("/nonexistent/ca.pem"));
        assert!(matches!(missing, Err(InvalidAnchors::Unreadable { .. })));
    }
}

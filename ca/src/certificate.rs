//! An issued leaf and its chain.

use std::{fmt, sync::Arc};

use ring::digest::{SHA256, digest};
use signet_policies::{
    identity::{InvalidWorkload, ResourceName},
    issuance::Grant,
    time::Validity,
};

use crate::{Serial, ledger::Digest, pem};

/// Which issuer signs: each mesh has its own, and the server's certificate hangs from one apart from them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IssuerName {
    /// A mesh's issuer.
    Mesh(ResourceName),
    /// The issuer of the server's own certificate.
    Server,
}

impl IssuerName {
    /// The issuer for what was granted.
    #[must_use]
    pub fn of(grant: &Grant) -> Self {
        grant.workload().map_or(Self::Server, |workload| Self::Mesh(workload.mesh.clone()))
    }
}

/// `mesh/<name>` or `server`.
impl fmt::Display for IssuerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mesh(mesh) => write!(f, "mesh/{mesh}"),
            Self::Server => f.write_str("server"),
        }
    }
}

impl std::str::FromStr for IssuerName {
    type Err = InvalidWorkload;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("mesh/") {
            Some(mesh) => mesh.parse().map(Self::Mesh),
            None if text == "server" => Ok(Self::Server),
            None => Err(InvalidWorkload::Form(text.to_owned())),
        }
    }
}

/// A certificate that stands above leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upper {
    pub(crate) der: Arc<[u8]>,
    /// SHA-256 of it, by which it is looked up for each leaf.
    pub(crate) digest: Digest,
}

impl From<Arc<[u8]>> for Upper {
    fn from(der: Arc<[u8]>) -> Self {
        Self { digest: sha256(&der), der }
    }
}

/// A leaf that was signed and found to say what was granted, with the certificates of those above it.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    pub(crate) leaf: Vec<u8>,
    /// The issuer's, and those between it and the root.
    pub(crate) above: Arc<[Upper]>,
    pub(crate) issuer_name: IssuerName,
    pub(crate) serial: Serial,
    pub(crate) validity: Validity,
}

impl Certificate {
    /// The leaf, DER.
    #[must_use]
    pub fn leaf_der(&self) -> &[u8] {
        &self.leaf
    }

    /// The leaf, then its issuer, then whatever stands between that and the root, each DER. The root is not in it.
    #[must_use]
    pub fn chain_der(&self) -> Vec<Vec<u8>> {
        [self.leaf.clone()].into_iter().chain(self.above.iter().map(|upper| upper.der.to_vec())).collect()
    }

    /// The same as PEM, as Envoy reads a certificate chain.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain_der().iter().map(|der| pem::encode("CERTIFICATE", der).to_string()).collect()
    }

    /// Who signed it.
    #[must_use]
    pub fn issuer_name(&self) -> &IssuerName {
        &self.issuer_name
    }

    /// Its serial number.
    #[must_use]
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// Its life.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// SHA-256 of the leaf.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.leaf)
    }
}

/// As logs show it: the serial names the record in the ledger.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} by {} until {})", self.serial, self.issuer_name, self.validity.not_after())
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

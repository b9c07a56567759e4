//! What a proxy holds: its leaf with the key, and the roots it trusts.

use std::{fmt, sync::Arc};

use ring::digest::{Context, SHA256};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use signet_policies::{identity::SpiffeId, time::Validity};

use crate::keypair::KeyPair;

/// A leaf and what is trusted beside it. Only [`crate::verify`] makes one, so whoever holds it need check nothing but
/// the time. The leaf stays the same when only the trust changes.
#[derive(Clone, Debug)]
pub struct Secrets {
    leaf: Arc<Leaf>,
    bundle: Bundle,
}

/// A certificate with its chain and its key, which always travel together.
pub struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
    pub(crate) identity: SpiffeId,
    pub(crate) validity: Validity,
    pub(crate) serial: String,
    pub(crate) is_first: bool,
}

/// Roots and CRLs, each in the order of their bytes and once: the same set is always the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    roots: Vec<CertificateDer<'static>>,
    crls: Vec<CertificateRevocationListDer<'static>>,
}

impl Secrets {
    pub(crate) fn new(leaf: Arc<Leaf>, bundle: Bundle) -> Self {
        Self { leaf, bundle }
    }

    /// The same, known to be the first of its kind, as [`Leaf::is_first`] has it.
    #[must_use]
    pub fn marked_first(self) -> Self {
        let Self { leaf, bundle } = self;
        let leaf = match Arc::try_unwrap(leaf) {
            Ok(leaf) => Arc::new(Leaf { is_first: true, ..leaf }),
            // Somebody holds it already, who must not see it change.
            Err(shared) => shared,
        };
        Self { leaf, bundle }
    }

    pub(crate) fn shared_leaf(&self) -> Arc<Leaf> {
        Arc::clone(&self.leaf)
    }

    /// The own certificate.
    #[must_use]
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The roots to trust.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }
}

impl Leaf {
    /// The leaf, then its issuers, without the root. Never empty.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The key of the leaf.
    #[must_use]
    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// The one URI SAN.
    #[must_use]
    pub fn identity(&self) -> &SpiffeId {
        &self.identity
    }

    /// From the leaf's start to the earliest end in its chain.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The serial number: lower-case hex, two digits a byte, as Envoy's `/certs` prints it.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Whether nothing was held when it was asked for. It decides, for good, when the certificate is renewed.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.is_first
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, key, identity, validity, serial, is_first } = self;
        f.debug_struct("Leaf")
            .field("identity", identity)
            .field("serial", serial)
            .field("validity", validity)
            .field("certificates", &chain.len())
            .field("key", key)
            .field("is_first", is_first)
            .finish()
    }
}

impl Bundle {
    pub(crate) fn new(
        mut roots: Vec<CertificateDer<'static>>,
        mut crls: Vec<CertificateRevocationListDer<'static>>,
    ) -> Self {
        roots.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
        roots.dedup();
        crls.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
        crls.dedup();
        Self { roots, crls }
    }

    /// The roots.
    #[must_use]
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// A CRL for every authority, where anything is revoked.
    #[must_use]
    pub fn crls(&self) -> &[CertificateRevocationListDer<'static>] {
        &self.crls
    }

    /// SHA-256 over roots and CRLs, as the server computes it: each list by its length, then each member by its length
    /// (big-endian, 32 bits) and its bytes.
    #[must_use]
    pub fn version(&self) -> String {
        let mut hash = Context::new(&SHA256);
        let length = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
        let roots: Vec<&[u8]> = self.roots.iter().map(AsRef::as_ref).collect();
        let crls: Vec<&[u8]> = self.crls.iter().map(AsRef::as_ref).collect();
        for list in [roots, crls] {
            hash.update(&length(list.len()));
            for der in list {
                hash.update(&length(der.len()));
                hash.update(der);
            }
        }
        hex::encode(hash.finish())
    }
}

//! What a proxy holds: its leaf with the key, and the roots it trusts.

use std::fmt;

use rustls_pki_types::CertificateDer;
use signet_policies::{identity::SpiffeId, time::Validity};

use crate::keypair::KeyPair;

/// A leaf and the roots that go with it. Only [`crate::verify::verify`] makes one, so whoever holds it need
/// check nothing but the time.
#[derive(Debug)]
pub struct Secrets {
    leaf: Leaf,
    bundle: Bundle,
}

/// A certificate with its chain and its key, which always travel together.
pub struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
    pub(crate) identity: SpiffeId,
    pub(crate) validity: Validity,
    pub(crate) serial: String,
}

/// Roots, in the order of their bytes and each once: the same set is always the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle(Vec<CertificateDer<'static>>);

impl Secrets {
    pub(crate) fn new(leaf: Leaf, bundle: Bundle) -> Self {
        Self { leaf, bundle }
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
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, key, identity, validity, serial } = self;
        f.debug_struct("Leaf")
            .field("identity", identity)
            .field("serial", serial)
            .field("validity", validity)
            .field("certificates", &chain.len())
            .field("key", key)
            .finish()
    }
}

impl Bundle {
    pub(crate) fn new(mut roots: Vec<CertificateDer<'static>>) -> Self {
        roots.sort_by(|one, other| one.as_ref().cmp(other.as_ref()));
        roots.dedup();
        Self(roots)
    }

    /// The roots.
    #[must_use]
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.0
    }
}

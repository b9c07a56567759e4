//! The ledger: every certificate that was ever issued, and whatever else was done with the authority.
//!
//! ```text
//!  Entry ─▶ format ─▶ bytes ─▶ leaf ─▶ Edge ─▶ hashes         stored together, durable before anybody is answered
//!                                        │
//!                      Checkpointer ◀── Head ─▶ proofs         signed, anchored, checkable without the ledger
//! ```
//!
//! Entries are added and read, never changed. Over them stands a Merkle tree (RFC 6962), so that who holds an old
//! checkpoint sees it when anything in it was altered or taken away.

mod checkpoint;
mod entry;
mod format;
mod memory;
mod notary;
mod proof;
mod sled;
#[cfg(test)]
mod suite;
mod tree;

use std::fmt;

use async_trait::async_trait;
use signet_policies::{
    identity::{DnsName, SpiffeId, Workload},
    issuance::Grant,
    time::{Timestamp, Validity},
};
use thiserror::Error;

use crate::{Certificate, IssuerName, JoinToken, PublicKey, Serial, certificate::sha256};
pub use checkpoint::{Checkpoint, InvalidCheckpoint, LogVerifier};
pub use entry::{
    AuthorityChange, Entry, Event, InvalidReason, InvalidSubject, Reason, RevokedCertificate, Subject, What,
};
pub use memory::MemoryLedger;
pub use notary::{Notary, NotaryError, compare};
pub use proof::{Consistency, Inclusion, InvalidProof};
pub use sled::{Check, Checked, SledLedger};
pub use tree::{Digest, Head};

/// How whoever got a certificate proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attestation {
    /// By a one-time join token.
    Join,
    /// By a valid certificate.
    Renew,
    /// It is the server itself.
    Server,
}

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// How its holder proved who they are.
    pub attestation: Attestation,
    /// The certificate that it follows, where that is known.
    pub predecessor: Option<Serial>,
    /// The token that it was had by; `None` also in records of versions that did not note it.
    pub token: Option<JoinToken>,
}

impl Origin {
    /// By a join token.
    #[must_use]
    pub fn join(token: JoinToken) -> Self {
        Self { token: Some(token), ..Self::of(Attestation::Join) }
    }

    /// By a valid certificate.
    #[must_use]
    pub fn renew(predecessor: Option<Serial>) -> Self {
        Self { predecessor, ..Self::of(Attestation::Renew) }
    }

    /// By what leaves nothing more to say.
    #[must_use]
    pub const fn of(attestation: Attestation) -> Self {
        Self { attestation, predecessor: None, token: None }
    }
}

/// One issued certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its serial number; no two records share one.
    pub serial: Serial,
    /// Its URI SAN.
    pub spiffe_id: SpiffeId,
    /// Its DNS SANs.
    pub dns_names: Vec<DnsName>,
    /// Whose it is; `None` for the server's own.
    pub workload: Option<Workload>,
    /// Who signed it.
    pub issuer: IssuerName,
    /// Its life.
    pub validity: Validity,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// The certificate, DER. `None` in a record of the first version, which kept its fingerprint alone.
    pub certificate: Option<Vec<u8>>,
    /// SHA-256 of the certificate's DER.
    pub fingerprint: [u8; 32],
    /// SHA-256 of its SubjectPublicKeyInfo's DER.
    pub key_hash: [u8; 32],
    /// Where it comes from.
    pub origin: Origin,
}

impl Record {
    /// The certificate, PEM, where it is there.
    #[must_use]
    pub fn certificate_pem(&self) -> Option<String> {
        self.certificate.as_ref().map(|der| crate::pem::encode("CERTIFICATE", der).to_string())
    }

    pub(crate) fn new(
        certificate: &Certificate,
        key: &PublicKey,
        grant: &Grant,
        origin: Origin,
        issued_at: Timestamp,
    ) -> Self {
        Self {
            serial: certificate.serial(),
            spiffe_id: grant.spiffe_id().clone(),
            dns_names: grant.dns_names().to_vec(),
            workload: grant.workload().cloned(),
            issuer: certificate.issuer_name().clone(),
            validity: certificate.validity(),
            issued_at,
            certificate: Some(certificate.leaf_der().to_vec()),
            fingerprint: certificate.fingerprint(),
            key_hash: sha256(key.spki()),
            origin,
        }
    }
}

/// Why the ledger does not answer, or does not take a record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The serial number was used before.
    #[error("the serial number {0} was used before")]
    Duplicate(Serial),
    /// The storage cannot be read or written.
    #[error("the ledger is not available: {0}")]
    Unavailable(String),
    /// A record is there that cannot be understood.
    #[error("the ledger's record {key} cannot be read: {reason}")]
    Damaged {
        /// The record's key, which should be a serial number.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl LedgerError {
    fn missing(position: u64) -> Self {
        Self::Damaged { key: position.to_string(), reason: "it is not there".to_owned() }
    }
}

/// An entry as it is stored, byte for byte, which is what the tree is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// Where it is, from 0.
    pub position: u64,
    /// Its text, JSON.
    pub text: Vec<u8>,
}

impl RawEntry {
    /// What it says.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`].
    pub fn entry(&self) -> Result<Entry, LedgerError> {
        format::read(self)
    }
}

/// Where entries are kept. They are added and read, never changed.
#[async_trait]
pub trait Ledger: fmt::Debug + Send + Sync + 'static {
    /// Adds an entry, and says where it is. When this returns, it survives whatever the storage promises to survive.
    ///
    /// # Errors
    /// [`LedgerError::Duplicate`], which changes nothing, or [`LedgerError::Unavailable`].
    async fn append(&self, entry: Entry) -> Result<u64, LedgerError>;

    /// The record of one certificate.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], [`LedgerError::Damaged`].
    async fn get(&self, serial: Serial) -> Result<Option<Record>, LedgerError>;

    /// Where the record of one certificate is.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], [`LedgerError::Damaged`].
    async fn position(&self, serial: Serial) -> Result<Option<u64>, LedgerError>;

    /// At most `limit` records in the order of their serials, from the first one behind `after` on.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], [`LedgerError::Damaged`].
    async fn list(&self, after: Option<Serial>, limit: usize) -> Result<Vec<Record>, LedgerError>;

    /// At most `limit` entries in the order in which they were added, from position `from` on.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], [`LedgerError::Damaged`].
    async fn read(&self, from: u64, limit: usize) -> Result<Vec<RawEntry>, LedgerError>;

    /// Every entry that is no issued certificate, with its position, in the order in which they were added.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], [`LedgerError::Damaged`].
    async fn events(&self) -> Result<Vec<(u64, Event)>, LedgerError>;

    /// How many entries there are; the last ones may not be durable yet.
    fn size(&self) -> u64;

    /// How the tree stands. Everything in it survives what the storage promises to survive.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    async fn head(&self) -> Result<Head, LedgerError>;

    /// Hashes of the tree by the numbers under which they are stored (those of C2SP tlog-tiles' reference).
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], [`LedgerError::Damaged`].
    fn hashes(&self, indexes: &[u64]) -> Result<Vec<Digest>, LedgerError>;
}

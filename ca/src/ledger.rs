//! The ledger: every certificate that was ever issued.

mod format;
mod memory;
mod sled;
#[cfg(test)]
mod suite;

use std::fmt;

use async_trait::async_trait;
use signet_policies::{
    identity::{DnsName, SpiffeId, Workload},
    issuance::Grant,
    time::{Timestamp, Validity},
};
use thiserror::Error;

use crate::{Certificate, IssuerName, PublicKey, Serial, certificate::sha256};
pub use memory::MemoryLedger;
pub use sled::SledLedger;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// How its holder proved who they are.
    pub attestation: Attestation,
    /// The certificate that it follows, where that is known.
    pub predecessor: Option<Serial>,
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
    /// SHA-256 of the certificate's DER.
    pub fingerprint: [u8; 32],
    /// SHA-256 of its SubjectPublicKeyInfo's DER.
    pub key_hash: [u8; 32],
    /// Where it comes from.
    pub origin: Origin,
}

impl Record {
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

/// Where records are kept. They are added and read, never changed.
#[async_trait]
pub trait Ledger: fmt::Debug + Send + Sync + 'static {
    /// Adds a record. When this returns, the record survives whatever the storage promises to survive.
    ///
    /// # Errors
    /// [`LedgerError::Duplicate`], which changes nothing, or [`LedgerError::Unavailable`].
    async fn append(&self, record: Record) -> Result<(), LedgerError>;

    /// The record of one certificate.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], [`LedgerError::Damaged`].
    async fn get(&self, serial: Serial) -> Result<Option<Record>, LedgerError>;

    /// At most `limit` records in the order of their serials, from the first one behind `after` on.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], [`LedgerError::Damaged`].
    async fn list(&self, after: Option<Serial>, limit: usize) -> Result<Vec<Record>, LedgerError>;
}

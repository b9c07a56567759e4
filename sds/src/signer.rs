//! The port behind which some authority signs.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use thiserror::Error;

use crate::secret::Secrets;

/// Whoever turns a request into a certificate. The agent's asks the Signet server.
#[async_trait]
pub trait Signer: Send + Sync + 'static {
    /// Has `request` (PKCS #10, DER) signed.
    ///
    /// `current` is what is held now, still valid; the signer may prove with it who asks.
    ///
    /// # Errors
    /// [`SignerError`], which says whether asking again can help.
    async fn sign(&self, request: Vec<u8>, current: Option<Arc<Secrets>>) -> Result<Signed, SignerError>;
}

/// What came back. Not believed before [`crate::verify::verify`] has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The leaf, then its issuers. The root is not in it.
    pub chain: Vec<CertificateDer<'static>>,
    /// The roots to trust.
    pub bundle: Vec<CertificateDer<'static>>,
}

/// What a proxy should trust from now on. Not believed before [`crate::verify::trust`] has seen it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The roots.
    pub roots: Vec<CertificateDer<'static>>,
    /// A CRL of every authority in chains and roots, as Envoy wants it; none where nothing is revoked.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
}

/// Why nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignerError {
    /// The authority, or what stands for it, said no; asking the same again gives the same answer.
    #[error("the certificate was refused: {0}")]
    Refused(String),
    /// It did not answer, or said that it cannot now; asking again may help.
    #[error("the certificate authority is not available: {0}")]
    Unavailable(String),
    /// It has too much to do, and says when to come back.
    #[error("the certificate authority is busy: {reason}")]
    Busy {
        /// In its words.
        reason: String,
        /// How long to stay away.
        after: Duration,
    },
}

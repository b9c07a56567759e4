//! The port behind which some authority signs.

use std::sync::Arc;

use async_trait::async_trait;
use rustls_pki_types::CertificateDer;
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

/// Why nothing was signed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignerError {
    /// The authority, or what stands for it, said no; asking the same again gives the same answer.
    #[error("the certificate was refused: {0}")]
    Refused(String),
    /// It did not answer, or said that it cannot now; asking again may help.
    #[error("the certificate authority is not available: {0}")]
    Unavailable(String),
}

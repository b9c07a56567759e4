//! Signet's certificate authority.
//!
//! ```text
//!  CSR, from a stranger ──▶ csr ──▶ VerifiedCsr ──┐            the key survives, and nothing else
//!  policies::decide ──────────────▶ Grant ────────┼─▶ authority ──▶ Certificate
//!  one-time token ──▶ token ──▶ who joins         │      root ─▶ issuer per mesh ─▶ leaf
//!                                                 │                    │
//!  service (gRPC: Join, Renew) ◀── Issued ◀── issuing ◀── ledger: the record is durable
//!       │ (gRPC: Watch)
//!       └──▶ nodes: who is connected, what each proxy holds      trust: what everybody must trust now
//! ```
//!
//! Invariants:
//! - No field of a CSR but its key reaches a certificate: [`Authority::issue`] takes a [`VerifiedCsr`],
//!   whose names are only a wish, and a [`Grant`](signet_policies::issuance::Grant), which only the policy
//!   makes.
//! - A certificate is read again, with another parser than wrote it, and compared with the grant before
//!   anybody sees it. No leaf outlives a certificate above it.
//! - A certificate leaves only as [`Issued`]: its record is in the ledger, durable, under a serial that was
//!   never used before.
//! - A token is redeemed for one key, however many try at the same time, and never for a request that is refused.
//! - Private keys and tokens are wiped from memory, are never in `Debug` or a log, and lie in files of mode
//!   0600. A pair of key and certificate that is damaged is never replaced in silence.
//! - Neither Envoy nor the control plane is known here: names come in as grants, certificates go out as DER.

pub mod admission;
mod authority;
mod certificate;
pub mod crl;
mod csr;
mod error;
#[cfg(test)]
mod fixtures;
mod issuing;
mod key;
pub mod ledger;
mod lint;
pub mod nodes;
mod pem;
mod profile;
mod random;
pub mod rotation;
mod serial;
mod service;
pub mod standing;
mod strict;
mod token;
mod trust;

pub use admission::Admission;
pub use authority::{
    Adopted, Authority, AuthorityCertificate, AuthorityView, Import, ImportedKey, KeyPlace, Rank, Succession,
    Trusted,
};
pub use certificate::{Certificate, IssuerName};
pub use csr::{InvalidCsr, MAX_CSR, VerifiedCsr};
pub use error::{Error, Unfit};
pub use issuing::{Issued, Issuing, NotIssued, OnIssued};
pub use key::{
    Custody, InvalidPassphrase, InvalidPkcs11Uri, KeyError, KeyFileError, KeyRecordError, KeyRefused,
    Passphrase, Pkcs11Error, Pkcs11Token, Pkcs11Uri, PrivateKey, PublicKey,
};
pub use ledger::{Attestation, Ledger, LedgerError, MemoryLedger, Origin, Record, SledLedger};
pub use nodes::Nodes;
pub use pem::InvalidPem;
pub use profile::{AUTHORITY_BACKDATE, BACKDATE, ISSUER_LIFE, ROOT_LIFE};
pub use random::Random;
pub use rotation::Rotations;
pub use serial::{InvalidSerial, Serial};
pub use service::{NodePeer, NodeServer, NodeService, Registry};
pub use token::{
    DEFAULT_TOKEN_LIFE, JoinToken, JoinTokens, MAX_TOKEN_LIFE, MIN_TOKEN_LIFE, Token, TokenError,
};
pub use trust::{Trust, TrustFeed};

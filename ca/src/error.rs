//! What can go wrong with the authority's own keys and certificates, and when it issues.

use std::{io, path::PathBuf};

use signet_policies::{
    identity::{SpiffeId, TrustDomain},
    time::Timestamp,
};
use thiserror::Error;

use crate::key::{KeyError, KeyFileError};

/// Why the authority cannot be opened, or does not issue.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A folder or certificate file cannot be read or written.
    #[error("cannot read or write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A key cannot be made, or does not sign.
    #[error("the key cannot be used")]
    Key(#[from] KeyError),
    /// One of the two files of a pair is not there. Nothing is made in its place.
    #[error(
        "{folder} lacks {missing}: restore it from a backup, or, if the pair may be replaced by a new one, \
         move the folder away"
    )]
    IncompletePair {
        /// The pair's folder.
        folder: PathBuf,
        /// The file that is not there.
        missing: &'static str,
    },
    /// There are issuers, but not the root that they hang from. Nothing is made in its place.
    #[error(
        "{folder} holds issuers but no root: restore the folder {root} from a backup; with a new root, every \
         certificate in use would be refused",
        root = folder.join("root").display()
    )]
    RootMissing {
        /// The authority's folder.
        folder: PathBuf,
    },
    /// There is no authority where one was expected.
    #[error("{folder} holds no certificate authority; is it the right data folder?")]
    NoAuthority {
        /// The folder that was looked into.
        folder: PathBuf,
    },
    /// A certificate file does not hold what its place asks for.
    #[error("the certificate {path} cannot be used: {unfit}")]
    Unfit {
        /// The certificate file.
        path: PathBuf,
        /// What is wrong with it.
        unfit: Unfit,
    },
    /// The grant is for another trust domain than the authority's.
    #[error("{0} is not of the trust domain that this authority issues for")]
    ForeignGrant(SpiffeId),
    /// A certificate above the leaf ends at, or before, the moment of issue.
    #[error("the chain that would sign ended at {not_after}; it is {now} (seconds since the epoch)")]
    ChainEnded {
        /// The earliest end in the chain.
        not_after: Timestamp,
        /// The moment of issue.
        now: Timestamp,
    },
    /// The clock stands before the chain's start, or beyond what certificates can say.
    #[error("no certificate can be issued at {0} (seconds since the epoch); check the clock")]
    Clock(Timestamp),
    /// A certificate could not be written.
    #[error("a certificate cannot be written: {0}")]
    Build(String),
    /// What was signed is not what was granted. It was withheld.
    #[error("the signed certificate differs from the grant in its {0}, and was withheld")]
    Mismatch(&'static str),
}

/// What is wrong with a certificate of the authority.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Not one PEM block with one certificate.
    #[error("it is not one PEM block \"-----BEGIN CERTIFICATE-----\" with an X.509 certificate")]
    Unreadable,
    /// A leaf, or an authority without the right to sign certificates.
    #[error("it is not a certificate authority that may sign certificates (CA:TRUE, keyCertSign)")]
    NotAnAuthority,
    /// Its path length leaves no room for what stands below it.
    #[error("its path length is {0}, at least {1} is needed")]
    PathLength(u32, u8),
    /// The key file beside it holds another key.
    #[error("the key file beside it holds another key")]
    OtherKey,
    /// Its subject key identifier is not the one that we write into leaves.
    #[error("its subject key identifier is not its key's")]
    KeyId,
    /// It names another trust domain, or none.
    #[error("it does not name {}, the trust domain of this server", .0.id())]
    TrustDomain(TrustDomain),
    /// It was not signed by whom it should be.
    #[error("it was not signed by the root")]
    Signature,
    /// It ended.
    #[error("it ended at {0} (seconds since the epoch)")]
    Ended(Timestamp),
    /// It starts later.
    #[error("it starts at {0} (seconds since the epoch); check the clock")]
    NotYetValid(Timestamp),
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Build(error.to_string())
    }
}

//! What can go wrong with the authority's own keys and certificates, and when it issues.

use std::{io, path::PathBuf};

use signet_policies::{
    identity::{DnsName, SpiffeId, TrustDomain},
    time::Timestamp,
};
use thiserror::Error;

use crate::{
    InvalidPem, IssuerName, KeyRecordError, KeyRefused,
    key::{KeyError, KeyFileError},
};

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
    /// Two things say where one key is.
    #[error(
        "{folder} holds key.pem and key.json, which say different things of one key; move one of them away"
    )]
    TwoKeys {
        /// The folder.
        folder: PathBuf,
    },
    /// The record of a key that is elsewhere cannot be read.
    #[error("{path} does not say where the key is")]
    KeyRecord {
        /// The record's file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KeyRecordError,
    },
    /// A key that is elsewhere cannot be reached.
    #[error("the key that {path} speaks of cannot be used")]
    KeyElsewhere {
        /// The record's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The file of the certificates above another holds something else.
    #[error("the certificates above another cannot be read in {path}")]
    Chain {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: InvalidPem,
    },
    /// What was given for an import or an installation is not certificates alone.
    #[error("the certificates that were given cannot be read: {0}")]
    GivenPem(InvalidPem),
    /// A certificate that was given does not hold what its place asks for.
    #[error("certificate {position} of those that were given cannot be used: {unfit}")]
    Given {
        /// Counted from 1, from the bottom up; the root is the last.
        position: usize,
        /// What is wrong with it.
        unfit: Unfit,
    },
    /// The root that was given cannot be one.
    #[error("the root that was given cannot be used: {unfit}")]
    GivenRoot {
        /// What is wrong with it.
        unfit: Unfit,
    },
    /// The key that was given cannot be used.
    #[error("the key that was given cannot be used")]
    GivenKey {
        /// Why.
        #[source]
        source: KeyError,
    },
    /// Another root than the one that was given is there.
    #[error(
        "{folder} holds another root; every certificate in use hangs from it, so it is not replaced by an import"
    )]
    OtherRoot {
        /// The authority's folder.
        folder: PathBuf,
    },
    /// The root that was given is there already.
    #[error("{folder} holds that root already; nothing was changed")]
    SameRoot {
        /// The authority's folder.
        folder: PathBuf,
    },
    /// No request waits for a certificate.
    #[error("no request of {0} waits for a certificate; run `signet ca csr {0}` first")]
    NoRequest(IssuerName),
    /// There is no such issuer, and nothing that could sign one.
    #[error(
        "there is no issuer {0}, and the root is offline; run `signet ca csr {0}`, have the root sign the request, and \
         run `signet ca install {0}`"
    )]
    NoSigner(IssuerName),
    /// The same, of the root that takes over.
    #[error(
        "there is no issuer {0} below the root that takes over, whose key is elsewhere; run `signet ca csr {0} --next`, \
         have that root sign the request, and run `signet ca install {0} --next`"
    )]
    NoNextSigner(IssuerName),
    /// An authority above may not have this name certified.
    #[error("the name constraints of an authority above the leaf do not allow the DNS name {0}")]
    ForbiddenName(DnsName),
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
    #[error("the chain that would sign ended at {not_after}; it is {now}")]
    ChainEnded {
        /// The earliest end in the chain.
        not_after: Timestamp,
        /// The moment of issue.
        now: Timestamp,
    },
    /// The clock stands before the start of the authority's certificates.
    #[error(
        "the clock says {now}, and the authority's certificates are good from {not_before} on, so it issues none: one of the \
         two clocks was wrong; set the clock, and where it was ahead when they were made, replace them: signet ca rotate start"
    )]
    TooEarly {
        /// The latest start in the chain.
        not_before: Timestamp,
        /// The moment of issue.
        now: Timestamp,
    },
    /// The clock stands beyond what certificates can say.
    #[error("no certificate can be issued at {0}; check the clock")]
    Clock(Timestamp),
    /// A root or issuer cannot be replaced now.
    #[error("no change of root or issuer can begin: {0}")]
    Succession(&'static str),
    /// A certificate could not be written.
    #[error("a certificate cannot be written: {0}")]
    Build(String),
    /// What was to be signed is not what the profile of its kind says. It was not signed.
    #[error("a certificate was to be signed that is not as the profile says in its {0}")]
    Lint(&'static str),
    /// What was signed is not what was granted. It was withheld.
    #[error("the signed certificate differs from the grant in its {0}, and was withheld")]
    Mismatch(&'static str),
}

impl Error {
    /// Whether what somebody gave is at fault, and not the authority.
    #[must_use]
    pub fn is_about_what_was_given(&self) -> bool {
        matches!(
            self,
            Self::GivenPem(_)
                | Self::Given { .. }
                | Self::GivenRoot { .. }
                | Self::GivenKey { .. }
                | Self::OtherRoot { .. }
                | Self::SameRoot { .. }
                | Self::NoRequest(_)
        )
    }
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
    /// The key beside it, in its file or on its token, is another one.
    #[error("the key that goes with it is another one")]
    OtherKey,
    /// It is for another key than the one that was requested.
    #[error("it is not for the key of the request that waits; was it signed for an older request?")]
    NotRequested,
    /// More certificates than agents look at.
    #[error("there are too many certificates above the leaf; seven are the most")]
    TooLong,
    /// Those who verify leaves below it refuse them.
    #[error(
        "a certificate that was signed for a trial, and thrown away, is refused by those who would verify it: {0}"
    )]
    Refused(String),
    /// Nobody here has its key, although it stands where something is signed.
    #[error("its key is not here")]
    NoKey,
    /// Its key is of a kind or size that is not used.
    #[error("{0}")]
    Key(KeyRefused),
    /// Leaves are signed with P-256.
    #[error("an issuer's key is one of P-256, and its is not")]
    IssuerKey,
    /// It has no name, which those below it would have to give as their issuer's.
    #[error("its subject is empty")]
    NoSubject,
    /// No subject key identifier, or one that nobody uses.
    #[error("it has no subject key identifier (of 1 to 64 bytes), by which its leaves would name it")]
    KeyId,
    /// An extended key usage leaves servers or clients out.
    #[error("its extended key usage does not allow both serverAuth and clientAuth")]
    Purpose,
    /// Name constraints that proxies or agents would refuse our certificates for.
    #[error(
        "it has name constraints of the kind {0}; with those, agents or proxies refuse every certificate below it"
    )]
    NameConstraint(&'static str),
    /// It names another trust domain, or none where it must.
    #[error("it does not name {}, the trust domain of this server, as its URI", .0.id())]
    TrustDomain(TrustDomain),
    /// It was not signed by whom it should be.
    #[error("it was not signed by the authority above it, or does not name it")]
    Signature,
    /// It ended.
    #[error("it ended at {0}")]
    Ended(Timestamp),
    /// It starts later.
    #[error("it starts at {0}; check the clock")]
    NotYetValid(Timestamp),
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Build(error.to_string())
    }
}

//! What the ledger remembers: issued certificates, and what else happened to the authority.

use std::fmt;

use signet_policies::{identity::SpiffeId, time::Timestamp};
use thiserror::Error;

use super::Record;
use crate::Serial;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A certificate was issued.
    Issued(Record),
    /// Anything else.
    Event(Event),
}

impl Entry {
    /// The entry for something that `by` did at `at`.
    #[must_use]
    pub fn event(what: What, by: impl Into<String>, at: Timestamp) -> Self {
        Self::Event(Event { at, by: by.into(), what })
    }

    /// When it was added, by the clock of whoever did it.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Issued(record) => record.issued_at,
            Self::Event(event) => event.at,
        }
    }

    /// The serial that the entry takes, so that no other entry may.
    pub(super) fn serial(&self) -> Option<Serial> {
        match self {
            Self::Issued(record) => Some(record.serial),
            Self::Event(_) => None,
        }
    }
}

/// What happened to the authority, or was done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Who did it: an access key's id, `command line`, or `server`.
    pub by: String,
    /// What it was.
    pub what: What,
}

/// What an [`Event`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A certificate of the authority itself came or went.
    Authority {
        /// What was done.
        change: AuthorityChange,
        /// Which one: `root`, or an issuer as [`crate::IssuerName`] writes it.
        name: String,
        /// The certificate, DER.
        certificate: Vec<u8>,
    },
    /// Somebody is no longer trusted.
    Revoked {
        /// Who.
        subject: Subject,
        /// Why.
        reason: Reason,
        /// The certificates that are revoked by it. A ban of an identity also covers those issued later.
        certificates: Vec<RevokedCertificate>,
    },
    /// A banned identity may get certificates again. What was revoked stays revoked.
    Allowed(SpiffeId),
    /// A change of root or issuer entered a phase.
    Phase {
        /// Which change.
        rotation: String,
        /// Its phase from now on.
        phase: String,
        /// What else is worth knowing: who was overridden, why it stopped.
        detail: String,
    },
    /// A proxy is gone for good, so that nobody uses its certificate any more: its agent said so, or somebody did.
    Departed {
        /// Which: `mesh/MESH/virtualNode/NAME/INSTANCE`, or its workload where the instance is not known.
        node: String,
        /// Its last certificate.
        serial: Serial,
        /// When that ends by itself.
        not_after: Timestamp,
    },
    /// It came back with the same certificate.
    Returned {
        /// Which.
        node: String,
        /// Its certificate.
        serial: Serial,
    },
    /// A certificate was not what it should be: nothing more is signed.
    Halted(String),
    /// Somebody looked, and lets it sign again, for this reason.
    Released(String),
}

/// What was done to a certificate of the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityChange {
    /// Its key was made here.
    Made,
    /// It came with its key.
    Imported,
    /// It was signed elsewhere for a key of ours.
    Installed,
    /// From now on it stands in chains that are handed out, or among the roots.
    InUse,
    /// It signs no more.
    Retired,
}

/// Who is revoked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// One certificate.
    Certificate(Serial),
    /// All certificates of an identity, and those that it would ask for.
    Identity(SpiffeId),
}

/// A text that is neither a serial number nor a SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is neither a serial number (32 hexadecimal digits) nor a SPIFFE ID (spiffe://…)")]
pub struct InvalidSubject(String);

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(serial) => write!(f, "{serial}"),
            Self::Identity(id) => write!(f, "{id}"),
        }
    }
}

impl std::str::FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let serial = || text.parse().map(Self::Certificate).ok();
        let identity = || text.parse().map(Self::Identity).ok();
        serial().or_else(identity).ok_or_else(|| InvalidSubject(text.chars().take(100).collect()))
    }
}

/// A certificate that an event revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// Its serial number.
    pub serial: Serial,
    /// Whose it is.
    pub identity: SpiffeId,
    /// Who signed it.
    pub issuer: crate::IssuerName,
    /// When it ends by itself; until then it stays in the lists of revoked certificates.
    pub not_after: Timestamp,
}

/// Why a certificate was revoked (RFC 5280, section 5.3.1). What only a hold or a delta list needs is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// None that is told.
    Unspecified,
    /// Somebody else has the key.
    KeyCompromise,
    /// Somebody else has the issuer's key.
    CaCompromise,
    /// The holder's names changed.
    AffiliationChanged,
    /// There is another certificate in its place.
    Superseded,
    /// It is no longer needed.
    CessationOfOperation,
    /// The holder may no longer do what it was given for.
    PrivilegeWithdrawn,
}

/// A text that is no reason.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no reason; RFC 5280 has {list}", list = Reason::ALL.map(Reason::name).join(", "))]
pub struct InvalidReason(String);

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// Its name in RFC 5280.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Reason {
    type Err = InvalidReason;

    /// In any case: `caCompromise` is how people write the third.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|reason| reason.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| InvalidReason(text.chars().take(100).collect()))
    }
}

//! What of the ledger's events is in force: who is revoked, who is banned, and whether anything is signed at all.
//!
//! ```text
//!  revoke, allow, halt, release ──▶ Guard ──▶ ledger (durable) ──▶ Standing (watch: the latest)
//!                                                                      │
//!               issuing asks before and after it signs ◀──────────────┤
//!               transports end whom it refuses, lists of revoked ◀────┘
//! ```
//!
//! A ban holds from the moment that it is asked for: no certificate that is signed meanwhile leaves. Should the ledger
//! not take it, it is lifted again, and whoever asked is told.

mod guard;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use signet_policies::{identity::SpiffeId, time::Timestamp};

use crate::{
    AuthorityCertificate, IssuerName, Rank, Serial,
    certificate::sha256,
    ledger::{AuthorityChange, Digest, Event, Reason, Subject, What},
};
pub use guard::{Guard, NotRevoked, Revocation};

/// What is in force. It never changes; the next one takes its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    certificates: BTreeMap<Serial, Revoked>,
    banned: BTreeMap<SpiffeId, Ban>,
    halted: Option<Halt>,
    generation: u64,
    subjects: BTreeMap<SpiffeId, u64>,
    authorities: BTreeMap<Digest, Known>,
}

/// A certificate of the authority that the ledger knows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    /// As the ledger spells it.
    name: String,
    certificate: Arc<[u8]>,
    is_in_use: bool,
    is_retired: bool,
}

/// A revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Who signed it.
    pub issuer: IssuerName,
    /// When it ends by itself.
    pub not_after: Timestamp,
    /// When it was revoked.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// Who did it.
    pub by: String,
}

/// An identity that gets no certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// Who did it.
    pub by: String,
}

/// Why nothing is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// Since when.
    pub at: Timestamp,
    /// What was found.
    pub cause: String,
}

/// Why somebody gets no certificate, or no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The certificate that was presented.
    #[error("the certificate {serial} was revoked ({reason})")]
    Certificate {
        /// Which.
        serial: Serial,
        /// Why.
        reason: Reason,
    },
    /// The identity that was presented or asked for.
    #[error("{identity} is banned ({reason}) until `signet ca allow {identity}`")]
    Identity {
        /// Which.
        identity: SpiffeId,
        /// Why.
        reason: Reason,
    },
}

impl Standing {
    /// Whether a certificate was revoked.
    #[must_use]
    pub fn revoked(&self, serial: Serial) -> Option<&Revoked> {
        self.certificates.get(&serial)
    }

    /// Whether an identity is banned.
    #[must_use]
    pub fn banned(&self, identity: &SpiffeId) -> Option<&Ban> {
        self.banned.get(identity)
    }

    /// Every certificate that was revoked and may not have ended yet.
    pub fn certificates(&self) -> impl Iterator<Item = (Serial, &Revoked)> {
        self.certificates.iter().map(|(serial, revoked)| (*serial, revoked))
    }

    /// Every identity that is banned.
    pub fn bans(&self) -> impl Iterator<Item = (&SpiffeId, &Ban)> {
        self.banned.iter()
    }

    /// Why nothing is signed; `None` where things are as they should be.
    #[must_use]
    pub fn halted(&self) -> Option<&Halt> {
        self.halted.as_ref()
    }

    /// The position in the ledger of the last revocation, counted from 1; 0 where there was none. What was revoked before
    /// may be left in connections that are older than this number.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The same for each identity of which anything was revoked.
    #[must_use]
    pub fn generations(&self) -> &BTreeMap<SpiffeId, u64> {
        &self.subjects
    }

    /// Whether the ledger knows that a certificate of the authority is in use, by the SHA-256 of its DER.
    #[must_use]
    pub fn uses_authority(&self, digest: &Digest) -> bool {
        self.authorities.get(digest).is_some_and(|known| known.is_in_use)
    }

    /// What the ledger does not say yet of the certificates that an authority has: those that it does not know, and those
    /// that are there no longer. Of all, or of those of one name.
    fn news(&self, current: &[AuthorityCertificate], name: Option<&str>) -> Vec<What> {
        let concerns = |one: &str| name.is_none_or(|name| name == one);
        let there: BTreeSet<Digest> = current.iter().map(|own| sha256(&own.der)).collect();
        // An intermediate is always an operator's, and an import says so itself.
        let is_made = |own: &&AuthorityCertificate| {
            concerns(&own.name)
                && own.has_key
                && own.rank != Rank::Intermediate
                && !self.authorities.contains_key(&sha256(&own.der))
        };
        let is_gone = |(digest, known): &(&Digest, &Known)| {
            concerns(&known.name) && !known.is_retired && !there.contains(*digest)
        };
        let made = current.iter().filter(is_made).map(|own| What::Authority {
            change: AuthorityChange::Made,
            name: own.name.clone(),
            certificate: own.der.to_vec(),
        });
        let gone = self.authorities.iter().filter(is_gone).map(|(_, known)| What::Authority {
            change: AuthorityChange::Retired,
            name: known.name.clone(),
            certificate: known.certificate.to_vec(),
        });
        made.chain(gone).collect()
    }

    /// Whether who presents this certificate is let in.
    ///
    /// # Errors
    /// [`Refused`]: it was revoked, or its identity is banned.
    pub fn check(&self, serial: Option<Serial>, identity: &SpiffeId) -> Result<(), Refused> {
        let revoked = serial.and_then(|serial| Some((serial, self.revoked(serial)?)));
        if let Some((serial, revoked)) = revoked {
            return Err(Refused::Certificate { serial, reason: revoked.reason });
        }
        match self.banned(identity) {
            Some(ban) => Err(Refused::Identity { identity: identity.clone(), reason: ban.reason }),
            None => Ok(()),
        }
    }

    /// Takes in an event at a position of the ledger.
    fn apply(&mut self, position: u64, event: &Event) {
        match &event.what {
            What::Revoked { subject, reason, certificates } => {
                self.generation = position + 1;
                for certificate in certificates {
                    let revoked = Revoked {
                        issuer: certificate.issuer.clone(),
                        not_after: certificate.not_after,
                        at: event.at,
                        reason: *reason,
                        by: event.by.clone(),
                    };
                    self.subjects.insert(certificate.identity.clone(), position + 1);
                    // The first revocation stands: its date and reason are what others were told.
                    self.certificates.entry(certificate.serial).or_insert(revoked);
                }
                if let Subject::Identity(identity) = subject {
                    let ban = Ban { at: event.at, reason: *reason, by: event.by.clone() };
                    self.subjects.insert(identity.clone(), position + 1);
                    self.banned.insert(identity.clone(), ban);
                }
            }
            What::Allowed(identity) => drop(self.banned.remove(identity)),
            What::Halted(cause) => self.halted = Some(Halt { at: event.at, cause: cause.clone() }),
            What::Released(_) => self.halted = None,
            What::Authority { change, name, certificate } => {
                let known = self.authorities.entry(sha256(certificate)).or_insert_with(|| Known {
                    name: name.clone(),
                    certificate: certificate.as_slice().into(),
                    is_in_use: false,
                    is_retired: false,
                });
                known.is_in_use |= *change == AuthorityChange::InUse;
                known.is_retired = *change == AuthorityChange::Retired;
            }
            What::Phase { .. } | What::Departed { .. } | What::Returned { .. } => {}
        }
    }

    /// The issuers of which something is revoked that has not ended at `now`.
    #[must_use]
    pub fn issuers_at(&self, now: Timestamp) -> BTreeSet<IssuerName> {
        let valid = self.certificates.values().filter(|revoked| revoked.not_after >= now);
        valid.map(|revoked| revoked.issuer.clone()).collect()
    }
}

//! What ports accept and how they are dialed right now.

use std::{collections::BTreeMap, collections::BTreeSet, fmt, num::NonZeroU16};

use signet_policies::{
    identity::{SpiffeId, TrustDomain, Workload},
    mtls::Mode,
};

use crate::model::{Certificate, Listener, ListenerTls};

/// A port of a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortId {
    /// Whose.
    pub workload: Workload,
    /// Which.
    pub port: NonZeroU16,
}

/// `mesh/<mesh>/virtualNode/<name>:<port>`.
impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.workload, self.port)
    }
}

/// What a listener accepts. At least one of the two.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Plaintext clients are served.
    pub plaintext: bool,
    /// TLS clients are served, in this way.
    pub tls: Option<TlsOffer>,
}

/// How a listener serves TLS clients.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsOffer {
    /// Who it proves to be: the URI SAN of its certificate.
    pub identity: SpiffeId,
    /// Its certificate, and what it asks of clients.
    pub settings: ListenerTls,
}

/// What the mesh's clients do when they call a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dial {
    /// They speak plaintext.
    Plaintext,
    /// They speak TLS, and hang up on a server that proves to be none of these.
    Tls {
        /// Never empty.
        identities: BTreeSet<SpiffeId>,
    },
}

/// `plaintext`, or `tls to <identity>…`.
impl fmt::Display for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plaintext => f.write_str("plaintext"),
            Self::Tls { identities } => {
                f.write_str("tls to")?;
                identities.iter().try_for_each(|id| write!(f, " {id}"))
            }
        }
    }
}

/// Both ends of a port.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The server's.
    pub offer: Offer,
    /// The clients'.
    pub dial: Dial,
}

impl Offer {
    /// Whether a client that dials so is served.
    #[must_use]
    pub fn serves(&self, dial: &Dial) -> bool {
        match dial {
            Dial::Plaintext => self.plaintext,
            Dial::Tls { identities } => {
                self.tls.as_ref().is_some_and(|tls| identities.contains(&tls.identity))
            }
        }
    }
}

impl Standing {
    /// What the model asks of a listener of `workload`. Clients speak TLS wherever the listener takes it.
    #[must_use]
    pub fn asked_for(workload: &Workload, listener: &Listener, trust_domain: &TrustDomain) -> Self {
        let canonical = workload.spiffe_id(trust_domain);
        match &listener.tls {
            Some(settings) if settings.mode.accepts_tls() => {
                let identity = identity_of(&settings.certificate).unwrap_or(canonical);
                let identities = BTreeSet::from([identity.clone()]);
                Self {
                    offer: Offer {
                        plaintext: settings.mode.accepts_plaintext(),
                        tls: Some(TlsOffer { identity, settings: settings.clone() }),
                    },
                    dial: Dial::Tls { identities },
                }
            }
            Some(ListenerTls { mode: Mode::Disabled | Mode::Permissive | Mode::Strict, .. }) | None => {
                Self { offer: Offer { plaintext: true, tls: None }, dial: Dial::Plaintext }
            }
        }
    }
}

/// The identity that a certificate proves where it is not the node's canonical one.
fn identity_of(certificate: &Certificate) -> Option<SpiffeId> {
    match certificate {
        Certificate::Acm { .. } | Certificate::File { .. } => None,
        // `default`, all that the API takes so far, is the node's own; an identity would stand for itself.
        Certificate::Sds { secret_name } => secret_name.parse().ok(),
    }
}

/// How ports stand. One that is not in here stands as the model asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InForce(BTreeMap<PortId, Standing>);

impl InForce {
    /// From now on a port stands so.
    pub fn insert(&mut self, port: PortId, standing: Standing) {
        self.0.insert(port, standing);
    }

    /// From now on a port stands as the model asks.
    pub fn remove(&mut self, port: &PortId) {
        self.0.remove(port);
    }

    /// What holds for a port, which serves `listener`.
    #[must_use]
    pub fn standing(&self, port: &PortId, listener: &Listener, trust_domain: &TrustDomain) -> Standing {
        let held = self.0.get(port).cloned();
        held.unwrap_or_else(|| Standing::asked_for(&port.workload, listener, trust_domain))
    }
}

impl FromIterator<(PortId, Standing)> for InForce {
    fn from_iter<I: IntoIterator<Item = (PortId, Standing)>>(ports: I) -> Self {
        Self(ports.into_iter().collect())
    }
}

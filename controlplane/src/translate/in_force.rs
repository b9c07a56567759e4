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
    /// Who it proves to be.
    pub proof: Proof,
    /// Its certificate, and what it asks of clients.
    pub settings: ListenerTls,
}

/// Who a server's certificate says that it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// This, by its URI SAN and by Signet's CA.
    Identity(SpiffeId),
    /// Whoever it likes: the certificate is a file that Signet has never seen.
    Unknown,
}

/// What the mesh's clients do when they call a port, those apart that have a policy of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dial {
    /// They speak plaintext.
    Plaintext,
    /// They speak TLS, and hang up on a server that proves to be none of these.
    Tls {
        /// Never empty.
        identities: BTreeSet<SpiffeId>,
    },
    /// They speak TLS to whoever answers, because there is nothing to verify the server's certificate by. App Mesh's
    /// clients did so for certificates from files; a client policy says better.
    Unverified,
}

/// `plaintext`, `tls to <identity>…`, or `tls to whoever answers`.
impl fmt::Display for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plaintext => f.write_str("plaintext"),
            Self::Tls { identities } => {
                f.write_str("tls to")?;
                identities.iter().try_for_each(|id| write!(f, " {id}"))
            }
            Self::Unverified => f.write_str("tls to whoever answers"),
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

impl Dial {
    /// Whether a server serves a client that dials so: one that takes plaintext or not, and TLS with this proof.
    #[must_use]
    pub fn is_served_by(&self, plaintext: bool, proof: Option<&Proof>) -> bool {
        match self {
            Self::Plaintext => plaintext,
            Self::Tls { identities } => match proof {
                Some(Proof::Identity(identity)) => identities.contains(identity),
                Some(Proof::Unknown) | None => false,
            },
            Self::Unverified => proof.is_some(),
        }
    }
}

impl Offer {
    /// Whether a client that dials so is served.
    #[must_use]
    pub fn serves(&self, dial: &Dial) -> bool {
        dial.is_served_by(self.plaintext, self.tls.as_ref().map(|tls| &tls.proof))
    }
}

impl Standing {
    /// The same, with the TLS that `other` offers.
    #[must_use]
    pub fn with_tls_of(&self, other: &Self) -> Self {
        let offer = Offer { plaintext: self.offer.plaintext, tls: other.offer.tls.clone() };
        Self { offer, dial: self.dial.clone() }
    }

    /// What the model asks of a listener of `workload`. Clients speak TLS wherever the listener takes it.
    #[must_use]
    pub fn asked_for(workload: &Workload, listener: &Listener, trust_domain: &TrustDomain) -> Self {
        let canonical = workload.spiffe_id(trust_domain);
        match &listener.tls {
            Some(settings) if settings.mode.accepts_tls() => {
                let proof = proof_of(&settings.certificate, canonical);
                let dial = match &proof {
                    Proof::Identity(identity) => Dial::Tls { identities: BTreeSet::from([identity.clone()]) },
                    Proof::Unknown => Dial::Unverified,
                };
                let tls = Some(TlsOffer { proof, settings: settings.clone() });
                Self { offer: Offer { plaintext: settings.mode.accepts_plaintext(), tls }, dial }
            }
            Some(ListenerTls { mode: Mode::Disabled | Mode::Permissive | Mode::Strict, .. }) | None => {
                Self { offer: Offer { plaintext: true, tls: None }, dial: Dial::Plaintext }
            }
        }
    }
}

/// What a certificate proves; `canonical` is the node's own identity.
fn proof_of(certificate: &Certificate, canonical: SpiffeId) -> Proof {
    match certificate {
        Certificate::Acm { .. } => Proof::Identity(canonical),
        // `default` is the node's own; an identity stands for itself.
        Certificate::Sds { secret_name } => Proof::Identity(secret_name.parse().unwrap_or(canonical)),
        Certificate::File { .. } => Proof::Unknown,
    }
}

/// How old connections may be: a number that is greater than before makes Envoys renew theirs, without a loss.
///
/// A connection that is open goes on whatever is revoked; only a cluster or a filter chain that differs moves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// Of the connections that servers verified a client's certificate for; 0 says nothing of them.
    pub verified_clients: u64,
    /// Of the connections to servers of which anything was revoked.
    pub to_servers: BTreeMap<Workload, u64>,
}

/// How ports stand. One that is not in here stands as the model asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InForce {
    ports: BTreeMap<PortId, Standing>,
    /// How old connections may be.
    pub generations: Generations,
}

impl InForce {
    /// From now on a port stands so.
    pub fn insert(&mut self, port: PortId, standing: Standing) {
        self.ports.insert(port, standing);
    }

    /// From now on a port stands as the model asks.
    pub fn remove(&mut self, port: &PortId) {
        self.ports.remove(port);
    }

    /// What holds for a port, which serves `listener`.
    #[must_use]
    pub fn standing(&self, port: &PortId, listener: &Listener, trust_domain: &TrustDomain) -> Standing {
        let held = self.ports.get(port).cloned();
        held.unwrap_or_else(|| Standing::asked_for(&port.workload, listener, trust_domain))
    }
}

impl FromIterator<(PortId, Standing)> for InForce {
    fn from_iter<I: IntoIterator<Item = (PortId, Standing)>>(ports: I) -> Self {
        Self { ports: ports.into_iter().collect(), generations: Generations::default() }
    }
}

//! One port's way from how it stands to how it should stand, without losing a call.
//!
//! ```text
//!  DISABLED ──▶ server takes both ──▶ clients speak TLS ──▶ STRICT
//!           offer is widened      dial is changed      offer is narrowed
//! ```
//!
//! There are no steps to be in. Both ends remember everything that may still be in use, and each moves as far
//! as the other allows: so it does not matter in which moment the wish changes, a proxy vanishes, or this
//! process is restarted.
//!
//! Invariant: whatever a server may still offer serves whatever a client may still dial.

use std::collections::BTreeSet;

use crate::translate::{Dial, Offer, Proof, Standing};

/// As much of an offer as clients depend on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Face {
    pub(crate) plaintext: bool,
    /// Who the server proves to be; `None` where it takes no TLS.
    pub(crate) proof: Option<Proof>,
}

impl Face {
    fn of(offer: &Offer) -> Self {
        Self { plaintext: offer.plaintext, proof: offer.tls.as_ref().map(|tls| tls.proof.clone()) }
    }

    fn serves(&self, dial: &Dial) -> bool {
        dial.is_served_by(self.plaintext, self.proof.as_ref())
    }
}

/// How a port stands, and what may be left of how it stood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Port {
    /// What is published.
    pub(crate) standing: Standing,
    /// What servers may still offer beside what is published.
    pub(crate) offered: BTreeSet<Face>,
    /// What clients may still dial beside what is published.
    pub(crate) dialed: BTreeSet<Dial>,
}

/// The two ends of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The proxies of the node itself.
    Servers,
    /// The proxies that call it.
    Clients,
}

impl Port {
    /// A port that stands so at both ends.
    pub(crate) fn at(standing: Standing) -> Self {
        Self { standing, offered: BTreeSet::new(), dialed: BTreeSet::new() }
    }

    /// Publishes as much of `asked` as is safe now. Says whether anything changed.
    pub(crate) fn advance(&mut self, asked: &Standing) -> bool {
        let dial = self.next_dial(&asked.dial);
        let redialed = dial != self.standing.dial;
        if redialed {
            self.dialed.insert(std::mem::replace(&mut self.standing.dial, dial));
            self.dialed.remove(&self.standing.dial);
        }
        let offer = self.next_offer(&asked.offer);
        let reoffered = offer != self.standing.offer;
        if reoffered {
            // Also where clients see no difference: a change is over when every server has made it.
            self.offered.insert(Face::of(&std::mem::replace(&mut self.standing.offer, offer)));
        }
        redialed || reoffered
    }

    /// Whether something at this end may still be as it was.
    pub(crate) fn awaits(&self, end: End) -> bool {
        match end {
            End::Servers => !self.offered.is_empty(),
            End::Clients => !self.dialed.is_empty(),
        }
    }

    /// Everybody at this end does what is published.
    pub(crate) fn follows(&mut self, end: End) {
        match end {
            End::Servers => self.offered.clear(),
            End::Clients => self.dialed.clear(),
        }
    }

    /// The dial that is wanted if every server serves it; else, to a server that is to change its identity,
    /// one that knows both identities.
    fn next_dial(&self, asked: &Dial) -> Dial {
        let current = &self.standing.dial;
        if self.is_served(asked) {
            return asked.clone();
        }
        match (current, asked) {
            (Dial::Tls { identities: old }, Dial::Tls { identities: new }) => {
                let both = Dial::Tls { identities: old | new };
                if self.is_served(&both) { both } else { current.clone() }
            }
            (Dial::Plaintext | Dial::Unverified, _) | (_, Dial::Plaintext | Dial::Unverified) => {
                current.clone()
            }
        }
    }

    fn is_served(&self, dial: &Dial) -> bool {
        self.standing.offer.serves(dial) && self.offered.iter().all(|face| face.serves(dial))
    }

    /// The offer that is wanted, and beside it whatever a client may still need.
    fn next_offer(&self, asked: &Offer) -> Offer {
        let dials = || self.dialed.iter().chain([&self.standing.dial]);
        let tls_dials = || dials().filter(|dial| **dial != Dial::Plaintext);
        let tls = match &asked.tls {
            Some(tls) => {
                let alone = Face { plaintext: false, proof: Some(tls.proof.clone()) };
                if tls_dials().all(|dial| alone.serves(dial)) { &asked.tls } else { &self.standing.offer.tls }
            }
            None if tls_dials().next().is_some() => &self.standing.offer.tls,
            None => &None,
        };
        Offer { plaintext: asked.plaintext || dials().any(|dial| *dial == Dial::Plaintext), tls: tls.clone() }
    }
}

#[cfg(test)]
mod tests;

//! Whether everybody has moved: from what agents report and what the ledger knows. Pure.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use signet_policies::identity::{ResourceName, TrustDomain};

use super::{Holders, Override, Phase};
use crate::{
    IssuerName, Serial, Succession,
    nodes::{NodeView, NodeViews, PresentedLeaf},
};

/// A report that is older says nothing of now. Agents report every 10 s.
pub const FRESH: Duration = Duration::from_secs(30);

/// A proxy that has not moved yet, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Laggard {
    /// `mesh/MESH/virtualNode/NAME/INSTANCE`, or the serial number of a certificate whose holder is not known.
    pub node: String,
    /// What is missing.
    pub why: String,
}

/// How far everybody is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Proxies that count.
    pub(crate) total: usize,
    /// Those that have moved, or that nobody waits for.
    pub(crate) proven: usize,
    /// The others.
    pub(crate) laggards: Vec<Laggard>,
    /// Of those, who refuse what they were given.
    pub(crate) refusals: Vec<Laggard>,
    /// Names among the laggards that are waited for whatever is overridden.
    pub(crate) needed: BTreeSet<String>,
    /// Where all have moved, until when handshakes may last that began before; `None` where none is waited for.
    pub(crate) settled_at: Option<SystemTime>,
}

impl Standing {
    /// Counts what is waited for whatever is overridden.
    pub(crate) fn need(&mut self, laggard: Laggard) {
        self.total += 1;
        self.needed.insert(laggard.node.clone());
        self.laggards.push(laggard);
    }
}

/// What is to be proven.
pub(crate) struct Facts<'a> {
    pub(crate) phase: Phase,
    pub(crate) what: &'a Succession,
    pub(crate) trust_domain: &'a TrustDomain,
    /// The version of what everybody must trust now.
    pub(crate) trust: &'a str,
    /// The issuers whose certificates may be in use when the phase ends.
    pub(crate) good_issuers: &'a BTreeSet<Vec<u8>>,
    pub(crate) views: &'a NodeViews,
    pub(crate) holders: &'a Holders,
    pub(crate) overrides: &'a [Override],
    pub(crate) now: SystemTime,
}

impl Facts<'_> {
    /// Looks at every proxy that is known, and at every certificate whose holder is not.
    pub(crate) fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        let mut accounted = BTreeSet::new();
        for view in self.views.iter().filter(|view| self.concerns(&view.key.workload.mesh)) {
            accounted.extend(view.report.held.as_ref().and_then(|leaf| leaf.serial));
            accounted.extend(view.line.serial);
            let node = view.key.to_string();
            let is_excused = self.is_excused(&[&node, &view.key.workload.to_string()]);
            self.count(&mut standing, node, is_excused, self.missing(view));
        }
        let unaccounted = self.holders.unaccounted(&accounted);
        for (serial, whose) in unaccounted.into_iter().filter(|(_, whose)| self.concerns(&whose.mesh)) {
            let is_excused = self.is_excused(&[&serial.to_string(), &whose.to_string()])
                || self.overrides.iter().any(|excused| self.is_of(excused, serial));
            let why = format!("nobody who is known holds this certificate of {whose}, and it is still valid");
            self.count(&mut standing, serial.to_string(), is_excused, Some(Missing::Proof(why)));
        }
        standing.laggards.sort();
        standing
    }

    fn count(&self, standing: &mut Standing, node: String, is_excused: bool, missing: Option<Missing>) {
        standing.total += 1;
        match missing.filter(|_| !is_excused) {
            None => standing.proven += 1,
            Some(Missing::Proof(why)) => standing.laggards.push(Laggard { node, why }),
            Some(Missing::Refused(why)) => {
                let laggard = Laggard { node, why };
                standing.refusals.push(laggard.clone());
                standing.laggards.push(laggard);
            }
        }
    }

    fn is_excused(&self, names: &[&str]) -> bool {
        self.overrides.iter().any(|excused| names.contains(&excused.node.as_str()))
    }

    /// Whether a certificate is of an agent that nobody waits for: which was named by another of it, or held one.
    fn is_of(&self, excused: &Override, serial: Serial) -> bool {
        let known = excused.certificate.as_ref().unwrap_or(&excused.node).parse();
        known.is_ok_and(|known| self.holders.family(known) == self.holders.family(serial))
    }

    /// What is missing at one proxy; `None` when it has moved.
    fn missing(&self, view: &NodeView) -> Option<Missing> {
        let age = self.now.duration_since(view.reported_at).unwrap_or_default();
        if !view.connected {
            return proof(format!("its agent is not connected; it was heard {} s ago", age.as_secs()));
        }
        if age > FRESH {
            return proof(format!("its agent said nothing for {} s", age.as_secs()));
        }
        self.trust_missing(view).or_else(|| self.renewal_missing(view).and_then(proof))
    }

    /// Whether proxy and agent both took what is to be trusted.
    fn trust_missing(&self, view: &NodeView) -> Option<Missing> {
        let report = &view.report;
        if let Some(refused) = report.refused_trust.as_ref().filter(|refused| refused.version == self.trust) {
            return Some(Missing::Refused(format!("its agent refuses the roots: {}", refused.reason)));
        }
        let domain = self.trust_domain.id();
        let is_trust = |name: &str| ["ROOTCA", "ALL", domain.as_str()].contains(&name);
        let mut roots = report.secrets.iter().filter(|secret| is_trust(&secret.name)).peekable();
        if roots.peek().is_none() {
            return proof("its proxy asks for no roots".to_owned());
        }
        for secret in roots {
            if secret.rejected == self.trust {
                return Some(Missing::Refused(format!(
                    "its proxy refuses {}: {}",
                    secret.name, secret.reason
                )));
            }
            if secret.accepted != self.trust {
                return proof(format!("its proxy has not accepted the roots as {} yet", secret.name));
            }
        }
        if report.trust_version == self.trust { None } else { proof("its agent has other roots".to_owned()) }
    }

    /// Whether a certificate of the issuer that is to go is in use, by what is held, loaded and presented.
    fn renewal_missing(&self, view: &NodeView) -> Option<String> {
        if !self.phase.needs_renewal() {
            return None;
        }
        let own = view.key.workload.spiffe_id(self.trust_domain).to_string();
        let is_bad = |leaf: &PresentedLeaf| {
            let issuer = leaf.issuer_key.as_ref();
            leaf.uris.contains(&own) && issuer.is_none_or(|issuer| !self.good_issuers.contains(issuer))
        };
        let Some(held) = &view.report.held else { return Some("its agent holds no certificate".to_owned()) };
        if is_bad(held) {
            return Some("its agent holds a certificate of the issuer that is to go".to_owned());
        }
        let mut loaded = view.report.loaded.iter().filter(|loaded| loaded.uris.contains(&own)).peekable();
        if loaded.peek().is_none() {
            return Some("its proxy does not say which certificate it holds".to_owned());
        }
        if let Some(other) = loaded.find(|loaded| loaded.serial != held.serial) {
            let serial = other.serial.map(|serial| serial.to_string()).unwrap_or_default();
            return Some(format!("its proxy still holds certificate {serial}"));
        }
        let mut presented = view.report.presented.iter();
        let old = presented.find(|presented| presented.leaf.as_ref().is_some_and(is_bad))?;
        Some(format!("its listener {} still presents a certificate of the issuer that is to go", old.address))
    }

    /// Whether the change is of the issuer that the certificates of a mesh come from.
    fn concerns(&self, of: &ResourceName) -> bool {
        match self.what {
            Succession::Root => true,
            Succession::Issuer(IssuerName::Server) => false,
            Succession::Issuer(IssuerName::Mesh(mesh)) => mesh == of,
        }
    }
}

/// What keeps a proxy from counting.
enum Missing {
    Proof(String),
    Refused(String),
}

fn proof(why: String) -> Option<Missing> {
    Some(Missing::Proof(why))
}

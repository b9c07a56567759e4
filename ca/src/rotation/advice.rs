//! Whom a change has renew, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Record, Rotations};
use crate::{
    IssuerName, Succession,
    nodes::{NodeKey, Window},
};

impl Rotations {
    /// Advises those to renew whose certificates are to go, each within the same span from the phase's begin.
    pub(super) fn advise(&self, record: &Record) {
        let mut advice = BTreeMap::<NodeKey, Window>::new();
        if record.phase.needs_renewal() && !record.paused {
            let authority = self.0.issuing.authority();
            let good: BTreeSet<Vec<u8>> =
                authority.issuer_keys(record.phase.new_signs()).into_iter().collect();
            let start = record.entered_at();
            let end = start + Duration::from_secs(record.spread_secs.max(1));
            let mesh = match &record.what {
                Succession::Issuer(IssuerName::Mesh(mesh)) => Some(mesh),
                Succession::Issuer(IssuerName::Server) | Succession::Root => None,
            };
            for view in self.0.nodes.subscribe().borrow().iter().filter(|view| view.connected) {
                let Some(held) = &view.report.held else { continue };
                let is_bad = held.issuer_key.as_ref().is_none_or(|key| !good.contains(key));
                let concerns = mesh.is_none_or(|mesh| *mesh == view.key.workload.mesh);
                if let Some(serial) = held.serial.filter(|_| is_bad && concerns) {
                    let reason = format!("{} is replaced", record.what).into();
                    advice.insert(view.key.clone(), Window { serial, start, end, reason });
                }
            }
        }
        self.0.nodes.advise(advice);
    }
}

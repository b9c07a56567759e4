//! Who may hold valid certificates, by the ledger.

use std::collections::{BTreeMap, BTreeSet};

use signet_policies::{identity::Workload, time::Timestamp};

use crate::{Record, Serial, nodes::Departed};

/// What was read of the ledger: certificates that are valid, up to a position. All that descend from one join are one
/// agent's, a family: a renewal is asked for with the certificate before it.
#[derive(Default)]
pub(super) struct Known {
    pub(super) position: u64,
    issued: Vec<Record>,
    /// Of each certificate its family, by the oldest of it that is known.
    families: BTreeMap<Serial, Serial>,
}

impl Known {
    /// Takes in a record; in the order of the ledger. Families are told apart now, as a certificate in the middle may
    /// end before the one that it came from: its life was shorter.
    pub(super) fn note(&mut self, issued: Record) {
        let family = match issued.origin.predecessor {
            None => issued.serial,
            // Siblings share a predecessor that may have ended.
            Some(before) => self.families.get(&before).copied().unwrap_or(before),
        };
        self.families.insert(issued.serial, family);
        self.issued.push(Record { certificate: None, ..issued });
    }

    /// Forgets what has ended: nobody renews with it any more.
    pub(super) fn forget_ended(&mut self, now: Timestamp) {
        let families = &mut self.families;
        self.issued.retain(|issued| {
            let is_good = issued.validity.not_after() >= now;
            if !is_good {
                families.remove(&issued.serial);
            }
            is_good
        });
    }

    /// Who may hold what is valid at `now`. `gone` are the last certificates of agents that are gone for good.
    pub(super) fn holders(&self, gone: &Departed, now: Timestamp) -> Holders {
        let mut holders = Holders::default();
        let mut gone_families = BTreeMap::new();
        for record in self.issued.iter().filter(|record| record.validity.contains(now)) {
            let Some(workload) = &record.workload else { continue };
            let family = self.families.get(&record.serial).copied().unwrap_or(record.serial);
            holders.ancestors.insert(record.serial, family);
            if let Some(departure) = gone.get(&record.serial) {
                let last = gone_families.entry(family).or_insert(departure.at);
                *last = departure.at.max(*last);
            }
            let newest = (record.issued_at, record.serial);
            let known =
                holders.families.entry(family).or_insert_with(|| Family { whose: workload.clone(), newest });
            known.newest = known.newest.max(newest);
        }
        // Whoever was issued another certificate after it had left is back.
        let is_gone = |family: &Serial, known: &Family| {
            gone_families.get(family).is_some_and(|left| known.newest.0 <= *left)
        };
        let (gone, there) = std::mem::take(&mut holders.families)
            .into_iter()
            .partition(|(family, known)| is_gone(family, known));
        holders.families = there;
        holders.gone = BTreeMap::into_values(gone).map(|family| family.whose).collect();
        holders
    }
}

/// Who may hold valid certificates.
#[derive(Clone, Debug, Default)]
pub(super) struct Holders {
    /// Of each family the newest certificate, and whose they are.
    families: BTreeMap<Serial, Family>,
    ancestors: BTreeMap<Serial, Serial>,
    /// Whose agents are gone for good; they may be back.
    gone: BTreeSet<Workload>,
}

#[derive(Clone, Debug)]
struct Family {
    whose: Workload,
    /// The one that was issued last.
    newest: (Timestamp, Serial),
}

impl Holders {
    /// What all certificates of one agent share; of one that is not valid, itself.
    pub(super) fn family(&self, serial: Serial) -> Serial {
        self.ancestors.get(&serial).copied().unwrap_or(serial)
    }

    /// Whose certificate it is, of those that may be in use.
    pub(super) fn whose(&self, serial: Serial) -> Option<&Workload> {
        self.families.get(&self.family(serial)).map(|family| &family.whose)
    }

    /// Whose certificates are valid, in use or not.
    pub(super) fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.families.values().map(|family| &family.whose).chain(&self.gone)
    }

    /// The newest certificate of each family of which no known agent holds one, and whose it is.
    pub(super) fn unaccounted(&self, accounted: &BTreeSet<Serial>) -> Vec<(Serial, &Workload)> {
        let known: BTreeSet<Serial> =
            accounted.iter().filter_map(|serial| self.ancestors.get(serial)).copied().collect();
        let others = self.families.iter().filter(|(ancestor, _)| !known.contains(ancestor));
        others.map(|(_, family)| (family.newest.1, &family.whose)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use signet_policies::time::Validity;

    use super::*;
    use crate::{
        IssuerName, Origin,
        fixtures::{NOW, node, serial},
    };

    /// The `number`th certificate of `a`, asked for with another, that lives for so many seconds from `at` on.
    fn issued(number: u64, before: Option<u64>, at: u64, life: u64) -> Record {
        let start = NOW + Duration::from_secs(at);
        Record {
            serial: serial(number),
            spiffe_id: "spiffe://signet.internal/mesh/my-mesh/virtual-node/a".parse().unwrap(),
            dns_names: Vec::new(),
            workload: Some(node("a")),
            issuer: IssuerName::Mesh("my-mesh".parse().unwrap()),
            validity: Validity::new(start, start + Duration::from_secs(life)).unwrap(),
            issued_at: start,
            certificate: None,
            fingerprint: [0; 32],
            key_hash: [0; 32],
            origin: Origin::renew(before.map(serial)),
        }
    }

    #[test]
    fn a_long_lived_certificate_is_its_agents_also_when_those_between_have_ended() {
        let mut known = Known::default();
        known.note(issued(1, None, 0, 86_400));
        // The operator shortened the life.
        known.note(issued(2, Some(1), 10, 300));
        let later = NOW + Duration::from_secs(250);
        known.forget_ended(later);
        known.note(issued(3, Some(2), 240, 300));
        let much_later = NOW + Duration::from_secs(400);
        known.forget_ended(much_later);
        let holders = known.holders(&Departed::default(), much_later);
        assert!(holders.unaccounted(&BTreeSet::from([serial(3)])).is_empty());
        assert_eq!(holders.unaccounted(&BTreeSet::new()), [(serial(3), &node("a"))]);
        assert_eq!(known.families.len(), 2, "what has ended is forgotten");
    }
}

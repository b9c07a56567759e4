//! The inventory with every certificate read and every signature verified once.

mod live;
mod signatures;

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
};

use crate::{
    certificate::Certificate,
    finding::Subject,
    inventory::{Authority, Inventory, Node, Record, Registered, Standing},
    thresholds::Thresholds,
};
pub(crate) use live::{Served, subject as node_subject};

/// What the checks look at.
pub(crate) struct Evidence<'a> {
    pub(crate) inventory: &'a Inventory,
    pub(crate) thresholds: &'a Thresholds,
    /// The moment that everything is judged at: when the inventory was taken.
    pub(crate) now: i64,
    /// Within how many seconds an end is of interest, beside the thresholds.
    pub(crate) horizon: Option<i64>,
    pub(crate) leaves: Vec<Leaf<'a>>,
    pub(crate) authorities: Vec<Ca<'a>>,
    /// What nodes that report present, each with its leaf read.
    pub(crate) served: Vec<Served<'a>>,
    by_serial: HashMap<&'a str, usize>,
    by_workload: BTreeMap<&'a str, &'a Registered>,
    successors: HashMap<&'a str, usize>,
}

/// A record with its certificate.
pub(crate) struct Leaf<'a> {
    pub(crate) record: &'a Record,
    /// Absent where the record holds none. The error says why it cannot be read.
    pub(crate) certificate: Option<Result<Certificate, String>>,
    /// The authority that it names as its issuer.
    pub(crate) issuer: Option<usize>,
    /// Whether that authority's key made its signature.
    pub(crate) is_signed: bool,
}

/// An authority with its certificate.
pub(crate) struct Ca<'a> {
    pub(crate) authority: &'a Authority,
    pub(crate) certificate: Result<Certificate, String>,
    /// The authority above, whose key made its signature; itself for a root.
    pub(crate) issuer: Option<usize>,
}

impl<'a> Evidence<'a> {
    /// Reads and verifies; the signatures on as many threads as said.
    pub(crate) fn gather(
        inventory: &'a Inventory,
        thresholds: &'a Thresholds,
        horizon: Option<i64>,
        threads: NonZeroUsize,
    ) -> Self {
        let authorities = signatures::authorities(&inventory.authorities);
        let leaves = signatures::leaves(&inventory.certificates, &authorities, threads);
        let by_serial =
            leaves.iter().enumerate().map(|(at, leaf)| (significant(&leaf.record.serial), at)).collect();
        let successors = leaves.iter().enumerate();
        let successors = successors
            .filter_map(|(at, leaf)| Some((significant(leaf.record.predecessor.as_deref()?), at)))
            .collect();
        let mut evidence = Self {
            inventory,
            thresholds,
            now: inventory.taken_at,
            horizon,
            leaves,
            authorities,
            served: Vec::new(),
            by_serial,
            by_workload: inventory.workloads.iter().map(|known| (known.workload.as_str(), known)).collect(),
            successors,
        };
        evidence.served = evidence.reporting().flat_map(live::served).collect();
        evidence
    }

    /// The record with this serial.
    pub(crate) fn leaf(&self, serial: &str) -> Option<&Leaf<'a>> {
        self.by_serial.get(significant(serial)).map(|at| &self.leaves[*at])
    }

    /// The record that follows the one with this serial, where it was renewed.
    pub(crate) fn successor(&self, serial: &str) -> Option<&Leaf<'a>> {
        self.successors.get(significant(serial)).map(|at| &self.leaves[*at])
    }

    /// What exists under that name.
    pub(crate) fn registered(&self, workload: &str) -> Option<&'a Registered> {
        self.by_workload.get(workload).copied()
    }

    /// The nodes whose agents report, and lately.
    pub(crate) fn reporting(&self) -> impl Iterator<Item = &'a Node> + use<'a> {
        let (now, age) = (self.now, self.thresholds.report_age_seconds);
        self.inventory.nodes.iter().filter(move |node| is_reporting(node, now, age))
    }

    /// The leaves that can be read, with their certificates.
    pub(crate) fn readable(&self) -> impl Iterator<Item = (&Leaf<'a>, &Certificate)> {
        self.leaves.iter().filter_map(|leaf| Some((leaf, leaf.certificate.as_ref()?.as_ref().ok()?)))
    }

    /// An authority and those above it, up to a root or to where nobody is known.
    pub(crate) fn above(&self, at: usize) -> impl Iterator<Item = &Ca<'a>> {
        let next = |at: &usize| self.authorities[*at].issuer.filter(|above| above != at);
        // Two that signed each other would go on for ever.
        std::iter::successors(Some(at), next).take(self.authorities.len()).map(|at| &self.authorities[at])
    }

    /// Of an authority that no key of a known one signed: the one whose name it gives as its issuer's, if that is known.
    pub(crate) fn namesake_above(&self, ca: &Ca<'_>, certificate: &Certificate) -> Option<&Ca<'a>> {
        let is_named = |above: &&Ca<'_>| {
            above.certificate.as_ref().is_ok_and(|above| above.subject == certificate.issuer)
        };
        self.authorities.iter().find(is_named).filter(|_| ca.issuer.is_none())
    }

    /// The leaves that may be used now.
    pub(crate) fn valid(&self) -> impl Iterator<Item = &Leaf<'a>> {
        self.leaves.iter().filter(|leaf| leaf.record.is_valid_at(self.now) && leaf.record.revoked.is_none())
    }

    /// The authorities that can be read and are not retired.
    pub(crate) fn current(&self) -> impl Iterator<Item = (&Ca<'a>, &Certificate)> {
        self.authorities
            .iter()
            .filter(|ca| ca.authority.standing != Standing::Retired)
            .filter_map(|ca| Some((ca, ca.certificate.as_ref().ok()?)))
    }
}

/// Whether a node's agent reported lately.
pub(crate) fn is_reporting(node: &Node, now: i64, age: i64) -> bool {
    node.is_connected && node.reported_at.is_some_and(|at| now.saturating_sub(at) <= age)
}

impl Leaf<'_> {
    /// The certificate as a finding's subject.
    pub(crate) fn subject(&self) -> Subject {
        let record = self.record;
        let workload = record.workload.as_deref().map(Subject::workload).unwrap_or_default();
        Subject { serial: Some(record.serial.clone()), identity: Some(record.spiffe_id.clone()), ..workload }
    }
}

impl Ca<'_> {
    /// The authority as a finding's subject.
    pub(crate) fn subject(&self) -> Subject {
        let serial = self.certificate.as_ref().ok().map(Certificate::serial_text);
        Subject { serial, ..Subject::authority(&self.authority.name) }
    }
}

/// A serial without the leading zeros, which not everybody writes.
fn significant(serial: &str) -> &str {
    serial.trim_start_matches('0')
}

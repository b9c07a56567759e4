//! Running the checks that were asked for.

use std::{collections::BTreeMap, num::NonZeroUsize};

use serde::Deserialize;

use crate::{
    check::Check,
    checks::CHECKS,
    evidence::{Evidence, is_reporting},
    finding::{Finding, Severity, Subject},
    format::rfc3339,
    inventory::{Gap, Inventory, Mode, Need, Node, Port},
    report::{Coverage, Outcome, Ran, Report, SCHEMA},
    thresholds::Thresholds,
    waiver::{Waived, Waiver},
};

/// What to look at, and what to leave out.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// One mesh and what stands above it; all where absent.
    pub mesh: Option<String>,
    /// Within how many seconds an end is a warning.
    pub horizon: Option<i64>,
    /// Patterns of checks to run; all where empty.
    pub only: Vec<String>,
    /// Patterns of checks to leave out.
    pub skip: Vec<String>,
    /// What to live with.
    pub waivers: Vec<Waiver>,
    /// What was found before.
    pub baseline: Baseline,
}

/// The findings of an earlier audit: when each was seen first, and how bad it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline(BTreeMap<String, (i64, Severity)>);

impl Baseline {
    /// Reads an earlier report, as `--format json` wrote it.
    ///
    /// # Errors
    /// It is no such report.
    pub fn from_json(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Earlier {
            schema: String,
            findings: Vec<Finding>,
            #[serde(default)]
            known: Vec<Finding>,
        }
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|error| format!("it is no JSON object: {error}"))?;
        let earlier: Earlier = serde_json::from_value(object.into()).map_err(|error| error.to_string())?;
        if earlier.schema != SCHEMA {
            return Err(format!("it is a {}, not a {SCHEMA}", earlier.schema));
        }
        let findings = earlier.findings.into_iter().chain(earlier.known);
        let known = |finding: Finding| (finding.fingerprint, (finding.first_seen, finding.severity));
        Ok(Self(findings.map(known).collect()))
    }

    /// Whether a finding is in it, and was no less bad: what became worse is news.
    fn knows(&self, finding: &Finding) -> bool {
        self.0.get(&finding.fingerprint).is_some_and(|(_, severity)| finding.severity <= *severity)
    }
}

impl Selection {
    fn asks_for(&self, check: &Check) -> bool {
        let is_meant = |patterns: &[String]| patterns.iter().any(|pattern| check.is_meant_by(pattern));
        (self.only.is_empty() || is_meant(&self.only)) && !is_meant(&self.skip)
    }

    /// Whether a subject is of the mesh that was asked for, or above all meshes.
    fn is_about(&self, subject: &Subject) -> bool {
        match (&self.mesh, &subject.mesh) {
            (Some(asked), Some(mesh)) => asked == mesh,
            (Some(_), None) | (None, _) => true,
        }
    }

    /// The pattern that means no check.
    #[must_use]
    pub fn stranger(&self) -> Option<&str> {
        let patterns = self.only.iter().chain(&self.skip);
        let is_stranger = |pattern: &&String| !CHECKS.iter().any(|check| check.is_meant_by(pattern));
        patterns.map(|pattern| pattern as &String).find(is_stranger).map(String::as_str)
    }
}

/// Audits an inventory. `ran_at` is the auditor's own time, in seconds since the epoch; signatures are verified on as
/// many threads as said.
#[must_use]
pub fn audit(
    inventory: &Inventory,
    selection: &Selection,
    thresholds: &Thresholds,
    ran_at: i64,
    threads: NonZeroUsize,
) -> Report {
    let evidence = Evidence::gather(inventory, thresholds, selection.horizon, threads);
    let mut gaps = gaps(inventory, thresholds);
    gaps.retain(|gap| selection.is_about(&gap.node.as_deref().map(Subject::workload).unwrap_or_default()));
    let mut checks = Vec::with_capacity(CHECKS.len());
    let mut findings = Vec::new();
    for check in CHECKS {
        let (ran, found) = run(check, &evidence, selection, &gaps, ran_at);
        checks.push(ran);
        findings.extend(found);
    }
    findings.sort_by(|a: &Finding, b: &Finding| {
        b.severity.cmp(&a.severity).then_with(|| (&a.id, &a.subject).cmp(&(&b.id, &b.subject)))
    });
    gaps.retain(|gap| CHECKS.iter().any(|check| selection.asks_for(check) && is_needed(check, gap)));
    let waived = waive(&selection.waivers, &mut findings, ran_at);
    let (known, findings) = findings.into_iter().partition(|finding| selection.baseline.knows(finding));
    Report {
        schema: SCHEMA.to_owned(),
        taken_at: inventory.taken_at,
        ran_at,
        mesh: selection.mesh.clone(),
        judged: None,
        coverage: coverage(inventory, selection, thresholds),
        checks,
        findings,
        known,
        waived,
        gaps,
        stale: stale(inventory, thresholds, ran_at),
    }
}

/// What the inventory says is missing, what it is plainly without, and the nodes that do not report.
fn gaps(inventory: &Inventory, thresholds: &Thresholds) -> Vec<Gap> {
    let mut gaps = inventory.gaps.clone();
    let is_known = |need: Need| inventory.gaps.iter().any(|gap| gap.need == need && gap.node.is_none());
    let without = inventory.certificates.iter().filter(|record| record.der.is_none()).count();
    if without > 0 && !is_known(Need::Der) {
        let reason = format!("{without} records are without their certificate");
        gaps.push(Gap { need: Need::Der, node: Some(String::new()), reason });
    }
    if inventory.log.is_none() && !is_known(Need::Log) {
        gaps.push(Gap { need: Need::Log, node: None, reason: "the ledger has no checkpoint".to_owned() });
    }
    let age = thresholds.report_age_seconds;
    for node in inventory.nodes.iter().filter(|node| !is_reporting(node, inventory.taken_at, age)) {
        let reason = match (node.is_connected, node.reported_at) {
            (_, None) => "its agent never reported".to_owned(),
            (false, Some(at)) => format!("its agent is not connected, and reported last at {}", rfc3339(at)),
            (true, Some(at)) => format!("its agent reported last at {}", rfc3339(at)),
        };
        gaps.push(Gap { need: Need::Nodes, node: Some(node.name()), reason });
    }
    gaps.extend(inventory.ports.iter().flat_map(|port| unheard(inventory, port, age)));
    gaps
}

/// The nodes that report, and tell of other listeners than that of a port which is to be STRICT.
fn unheard(inventory: &Inventory, port: &Port, age: i64) -> Vec<Gap> {
    let is_strict = port.declared == Mode::Strict && port.in_force == Mode::Strict;
    let of_port = inventory.nodes.iter().filter(|node| is_strict && node.workload == port.workload);
    let tells_of_others = |node: &&Node| {
        !node.listeners.is_empty() && node.listeners.iter().all(|listener| listener.port != port.port)
    };
    let reporting = of_port.filter(|node| is_reporting(node, inventory.taken_at, age));
    let gap = |node: &Node| {
        let reason = format!("its Envoy has no listener for port {}", port.port);
        Gap { need: Need::Listeners, node: Some(node.name()), reason }
    };
    reporting.filter(tells_of_others).map(gap).collect()
}

/// What a node that does not report leaves open.
const BY_NODES: [Need; 6] =
    [Need::Trust, Need::Presented, Need::Loaded, Need::Listeners, Need::Renewal, Need::Clocks];

fn is_needed(check: &Check, gap: &Gap) -> bool {
    let is_by_node = |need: &Need| gap.need == Need::Nodes && BY_NODES.contains(need);
    check.needs.iter().any(|need| *need == gap.need || is_by_node(need))
}

fn run(
    check: &Check,
    evidence: &Evidence<'_>,
    selection: &Selection,
    gaps: &[Gap],
    ran_at: i64,
) -> (Ran, Vec<Finding>) {
    let ran = |outcome, found: usize, reason: &str| Ran {
        id: check.id.to_owned(),
        name: check.name.to_owned(),
        outcome,
        found: u64::try_from(found).unwrap_or(u64::MAX),
        reason: reason.to_owned(),
    };
    if !selection.asks_for(check) {
        return (ran(Outcome::Skipped, 0, ""), Vec::new());
    }
    let mut of_check = gaps.iter().filter(|gap| is_needed(check, gap));
    if let Some(gap) = of_check.clone().find(|gap| gap.node.is_none()) {
        return (ran(Outcome::NotRun, 0, &gap.reason), Vec::new());
    }
    let faults = (check.run)(evidence).into_iter().filter(|fault| selection.is_about(&fault.subject));
    let findings: Vec<Finding> = faults
        .map(|fault| {
            let fingerprint = fault.fingerprint(check.id);
            let first_seen = selection.baseline.0.get(&fingerprint).map_or(ran_at, |(at, _)| *at);
            Finding {
                id: check.id.to_owned(),
                name: check.name.to_owned(),
                severity: fault.severity.unwrap_or(check.severity),
                subject: fault.subject,
                message: fault.message,
                evidence: fault.evidence,
                first_seen,
                last_seen: ran_at,
                fix: fault.fix.unwrap_or_else(|| check.fix.to_owned()),
                docs: check.docs(),
                fingerprint,
            }
        })
        .collect();
    let reason = of_check.next().map(|gap| match gap.node.as_deref() {
        Some("") | None => gap.reason.clone(),
        Some(node) => format!("{node}: {}", gap.reason),
    });
    let outcome = match (findings.is_empty(), &reason) {
        (false, _) => Outcome::Failed,
        (true, Some(_)) => Outcome::Partial,
        (true, None) => Outcome::Passed,
    };
    (ran(outcome, findings.len(), reason.as_deref().unwrap_or_default()), findings)
}

/// Takes out what a waiver that still holds covers.
fn waive(waivers: &[Waiver], findings: &mut Vec<Finding>, ran_at: i64) -> Vec<Waived> {
    let mut waived = Vec::new();
    for waiver in waivers {
        let is_expired = waiver.until < ran_at;
        let covers = |finding: &mut Finding| !is_expired && waiver.covers(finding);
        let covered = findings.extract_if(.., covers).collect();
        waived.push(Waived { waiver: waiver.clone(), is_expired, findings: covered });
    }
    waived
}

fn coverage(inventory: &Inventory, selection: &Selection, thresholds: &Thresholds) -> Coverage {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let is_about = |workload: &str| selection.is_about(&Subject::workload(workload));
    let nodes = || inventory.nodes.iter().filter(|node| is_about(&node.workload));
    let age = thresholds.report_age_seconds;
    Coverage {
        certificates: count(
            inventory
                .certificates
                .iter()
                .filter(|record| record.workload.as_deref().is_none_or(is_about))
                .count(),
        ),
        authorities: count(
            inventory
                .authorities
                .iter()
                .filter(|authority| selection.is_about(&Subject::authority(&authority.name)))
                .count(),
        ),
        nodes: count(nodes().count()),
        nodes_examined: count(nodes().filter(|node| is_reporting(node, inventory.taken_at, age)).count()),
        log_entries: inventory.log.as_ref().map(|log| log.size),
    }
}

fn stale(inventory: &Inventory, thresholds: &Thresholds, ran_at: i64) -> Vec<String> {
    let mut stale = Vec::new();
    let age = ran_at.saturating_sub(inventory.taken_at);
    if age > thresholds.inventory_age_seconds {
        stale.push(format!(
            "the inventory was taken {age} s ago; at most {} s are allowed",
            thresholds.inventory_age_seconds
        ));
    }
    let newest = inventory.certificates.iter().map(|record| record.issued_at).max();
    if let (Some(log), Some(newest)) = (&inventory.log, newest) {
        let behind = newest.saturating_sub(log.signed_at);
        if behind > thresholds.checkpoint_age_seconds {
            stale.push(format!("the log's checkpoint is {behind} s older than the newest certificate"));
        }
    }
    stale
}

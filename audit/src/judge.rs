//! One certificate by itself, from wherever, against the profile.

use crate::{
    certificate::Certificate,
    check::Check,
    checks::CHECKS,
    evidence::Evidence,
    finding::Finding,
    inventory::{Authority, Der, Gap, Inventory, Need, Place, Record, Standing, Terms},
    report::{Outcome, Report},
    run::{Selection, audit},
    thresholds::Thresholds,
};

/// What a look at one certificate came to.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The report on it: what cannot be seen from a file is skipped there.
    pub report: Report,
    /// What was judged.
    pub inventory: Inventory,
    /// The checks that could not run, or not on everything, and what they would need.
    pub not_run: Vec<(&'static Check, String)>,
}

/// Judges a leaf and the authorities above it, each DER, by what can be seen from them alone: its signature, its chain,
/// its keys, names, extensions and life.
///
/// # Errors
/// The first certificate cannot be read.
pub fn judge(
    leaf: &[u8],
    above: &[Vec<u8>],
    trust_domain: &str,
    thresholds: &Thresholds,
    terms: Terms,
    now: i64,
) -> Result<Judged, String> {
    let certificate = Certificate::read(leaf)?;
    let authorities: Vec<Authority> =
        above.iter().enumerate().map(|(height, der)| authority(der, height == 0)).collect();
    let is_issuer = |authority: &&Authority| {
        Certificate::read(&authority.der.0).is_ok_and(|it| certificate.names_issuer(&it))
    };
    let issuer =
        authorities.iter().find(is_issuer).map(|authority| authority.name.clone()).unwrap_or_default();
    let inventory = Inventory {
        taken_at: now,
        trust_domain: trust_domain.to_owned(),
        terms,
        account_id: String::new(),
        region: String::new(),
        certificates: vec![record(&certificate, leaf, issuer)],
        log: None,
        authorities,
        bundles: Vec::new(),
        workloads: Vec::new(),
        ports: Vec::new(),
        nodes: Vec::new(),
        lapsed: Vec::new(),
        watched_since: None,
        gaps: if above.is_empty() { vec![no_chain()] } else { Vec::new() },
    };
    let only = CHECKS.iter().filter(|check| is_offline(check)).map(|check| check.id.to_owned()).collect();
    let selection = Selection { only, ..Selection::default() };
    let mut report = audit(&inventory, &selection, thresholds, now, std::num::NonZeroUsize::MIN);
    let evidence = Evidence::gather(&inventory, thresholds, None, std::num::NonZeroUsize::MIN);
    report.findings.extend(validity(&evidence, &certificate, now));
    for finding in &mut report.findings {
        // It is of no node that is known, and may have no identity.
        finding.subject.node = None;
        finding.subject.identity = finding.subject.identity.take().filter(|identity| !identity.is_empty());
    }
    report.gaps.clear();
    if above.is_empty() {
        leave_out(&mut report);
    }
    let not_run =
        report.checks.iter().filter(|ran| matches!(ran.outcome, Outcome::NotRun | Outcome::Partial));
    let not_run = not_run.filter_map(|ran| Some((crate::find(&ran.id)?, ran.reason.clone()))).collect();
    drop(evidence);
    Ok(Judged { report, inventory, not_run })
}

/// Of use without a server: it needs no more than certificates.
fn is_offline(check: &Check) -> bool {
    let is_there = |need: &Need| matches!(need, Need::Records | Need::Der | Need::Authorities);
    check.needs.iter().all(is_there) && !["A01", "A05", "C04", "C05"].contains(&check.id)
}

/// What these say is about what stands above a certificate, and nothing where nothing does.
const BY_CHAIN: [&str; 7] = ["A02", "B02", "B03", "B05", "B06", "B07", "C06"];
const NO_CHAIN: &str = "the file holds no authority's certificate; append the chain, or give --ca";

/// The other checks run on the certificate alone: `node` says that it is not all.
fn no_chain() -> Gap {
    Gap { need: Need::Authorities, node: Some(String::new()), reason: NO_CHAIN.to_owned() }
}

/// Takes back what was found for want of a chain.
fn leave_out(report: &mut Report) {
    let is_by_chain = |id: &str| BY_CHAIN.contains(&id);
    report.findings.retain(|finding| !is_by_chain(&finding.id));
    for ran in report.checks.iter_mut().filter(|ran| is_by_chain(&ran.id)) {
        (ran.outcome, ran.found, ran.reason) = (Outcome::NotRun, 0, NO_CHAIN.to_owned());
    }
}

fn record(certificate: &Certificate, der: &[u8], issuer: String) -> Record {
    let names = &certificate.extensions.names;
    Record {
        serial: certificate.serial_text(),
        spiffe_id: names.uris.first().cloned().unwrap_or_default(),
        dns_names: names.dns.clone(),
        // Its names are judged as a workload's.
        workload: Some("file".to_owned()),
        issuer,
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        issued_at: certificate.not_before,
        fingerprint: hex::encode(certificate.fingerprint),
        key_hash: hex::encode(certificate.key.hash),
        requester: None,
        attestation: None,
        decision: None,
        predecessor: None,
        join_token: None,
        der: Some(Der(der.to_vec())),
        revoked: None,
        delivered_at: None,
    }
}

fn authority(der: &[u8], is_lowest: bool) -> Authority {
    let read = Certificate::read(der).ok();
    let is_root = read.as_ref().is_some_and(Certificate::is_self_issued);
    let is_between = read.as_ref().is_some_and(|read| read.extensions.path_length != Some(0));
    let name = read.map(|read| read.subject_text).filter(|subject| !subject.is_empty());
    Authority {
        name: if is_root { "root".to_owned() } else { name.unwrap_or_else(|| "unnamed".to_owned()) },
        place: match (is_root, is_between && !is_lowest) {
            (true, _) => Place::Root,
            (false, true) => Place::Intermediate,
            (false, false) => Place::Issuer,
        },
        standing: Standing::Active,
        since: 0,
        der: Der(der.to_vec()),
        revoked: None,
    }
}

/// Whether it may be used now, which the forty checks ask of what is served only.
fn validity(evidence: &Evidence<'_>, certificate: &Certificate, now: i64) -> Option<Finding> {
    let check = crate::find("E04")?;
    let message = if now < certificate.not_before {
        format!("it is not valid before {} s from now", certificate.not_before - now)
    } else if now > certificate.not_after {
        format!("it ended {} s ago", now - certificate.not_after)
    } else {
        return None;
    };
    let subject = evidence.leaves.first()?.subject();
    Some(Finding {
        id: check.id.to_owned(),
        name: check.name.to_owned(),
        severity: check.severity,
        subject,
        message,
        evidence: Vec::new(),
        first_seen: now,
        last_seen: now,
        fix: "Renew it.".to_owned(),
        docs: check.docs(),
        fingerprint: hex::encode(certificate.fingerprint),
    })
}

//! One certificate by itself, from wherever, against the profile.

mod kind;

use self::kind::{is_for_leaves, place, taken};
use crate::{
    certificate::Certificate,
    check::Check,
    checks::{CHECKS, NO_AUTHORITY},
    evidence::Evidence,
    finding::{Finding, Subject},
    inventory::{Authority, Der, Gap, Inventory, Need, Place, Record, Standing, Terms},
    report::{Kind, Outcome, Report},
    run::{Selection, audit},
    thresholds::Thresholds,
};

/// What a look at one certificate came to.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The report on it, and on what it was taken for: what cannot be seen from a file is skipped there.
    pub report: Report,
    /// What was judged.
    pub inventory: Inventory,
    /// The checks that could not run, or not on everything, and what they would need.
    pub not_run: Vec<(&'static Check, String)>,
}

/// Judges a certificate and the authorities above it, each DER, by what can be seen from them alone: its signature, its
/// chain, its keys, names, extensions and life. One that says CA:TRUE is judged as the root, intermediate or issuer that it
/// looks like, any other as a leaf.
///
/// # Errors
/// The first certificate cannot be read.
pub fn judge(
    first: &[u8],
    others: &[Vec<u8>],
    trust_domain: &str,
    thresholds: &Thresholds,
    terms: Terms,
    now: i64,
) -> Result<Judged, String> {
    let certificate = Certificate::read(first)?;
    let judged = taken(&certificate, trust_domain);
    let is_leaf = judged.taken_for == Kind::Leaf;
    let authorities = authorities(first, others, Some(&certificate).filter(|_| is_leaf), trust_domain);
    let is_alone = authorities.len() == usize::from(!is_leaf);
    let inventory = Inventory {
        taken_at: now,
        trust_domain: trust_domain.to_owned(),
        terms,
        account_id: String::new(),
        region: String::new(),
        certificates: if is_leaf { vec![record(&certificate, first, &authorities)] } else { Vec::new() },
        log: None,
        authorities,
        bundles: Vec::new(),
        workloads: Vec::new(),
        ports: Vec::new(),
        nodes: Vec::new(),
        lapsed: Vec::new(),
        watched_since: None,
        gaps: if is_leaf && is_alone { vec![no_chain()] } else { Vec::new() },
    };
    let is_meant = |check: &&&Check| is_offline(check) && (is_leaf || OF_AUTHORITIES.contains(&check.id));
    let only = CHECKS.iter().filter(is_meant).map(|check| check.id.to_owned()).collect();
    let selection = Selection { only, ..Selection::default() };
    let mut report = audit(&inventory, &selection, thresholds, now, std::num::NonZeroUsize::MIN);
    let evidence = Evidence::gather(&inventory, thresholds, None, std::num::NonZeroUsize::MIN);
    report.findings.extend(invalid(&evidence, now));
    report.gaps.clear();
    if is_alone && judged.taken_for != Kind::Root {
        leave_out(&mut report, if is_leaf { &BY_CHAIN } else { &UPWARDS });
    } else {
        look_up(&mut report, &evidence, now);
    }
    for finding in &mut report.findings {
        if finding.message == NO_AUTHORITY {
            finding.message += ", and stands behind the first certificate: a leaf must be the first";
        }
        // It is of no node that is known, and may have no identity.
        finding.subject.node = None;
        finding.subject.identity = finding.subject.identity.take().filter(|identity| !identity.is_empty());
    }
    let not_run =
        report.checks.iter().filter(|ran| matches!(ran.outcome, Outcome::NotRun | Outcome::Partial));
    let not_run = not_run.filter_map(|ran| Some((crate::find(&ran.id)?, ran.reason.clone()))).collect();
    drop(evidence);
    report.judged = Some(judged);
    Ok(Judged { report, inventory, not_run })
}

/// Of use without a server: it needs no more than certificates.
fn is_offline(check: &Check) -> bool {
    let is_there = |need: &Need| matches!(need, Need::Records | Need::Der | Need::Authorities);
    check.needs.iter().all(is_there) && !["A01", "A05", "C04", "C05"].contains(&check.id)
}

/// What these say is about what stands above a certificate, and nothing where nothing does.
const BY_CHAIN: [&str; 7] = ["A02", "B02", "B03", "B05", "B06", "B07", "C06"];
/// These look at authorities, the others at leaves alone.
const OF_AUTHORITIES: [&str; 10] = ["A02", "B02", "B03", "B04", "B05", "B06", "C01", "C02", "C03", "C06"];
/// Of these, those that compare a certificate with the one above it.
const UPWARDS: [&str; 3] = ["A02", "B02", "B06"];
const NO_CHAIN: &str = "the file holds no authority's certificate; append the chain, or give --ca";

/// The other checks run on the certificate alone: `node` says that it is not all.
fn no_chain() -> Gap {
    Gap { need: Need::Authorities, node: Some(String::new()), reason: NO_CHAIN.to_owned() }
}

/// Takes back what was found for want of a chain.
fn leave_out(report: &mut Report, checks: &[&str]) {
    let reason = match checks == UPWARDS {
        true => "the file holds nothing above it; append the chain, or give --ca",
        false => NO_CHAIN,
    };
    report.findings.retain(|finding| !checks.contains(&finding.id.as_str()));
    for ran in report.checks.iter_mut().filter(|ran| checks.contains(&ran.id.as_str())) {
        (ran.outcome, ran.found, ran.reason) = (Outcome::NotRun, 0, reason.to_owned());
    }
}

/// Follows the chain up to a root, or to where it breaks off.
fn look_up(report: &mut Report, evidence: &Evidence<'_>, now: i64) {
    let start = match evidence.leaves.first() {
        Some(leaf) => leaf.issuer,
        None => Some(0),
    };
    let Some(top) = start.and_then(|at| evidence.above(at).last()) else {
        return;
    };
    let Ok(certificate) = &top.certificate else { return };
    // A root signed itself, and what was signed by nobody of that name is found by A02.
    if top.issuer.is_some() || evidence.namesake_above(top, certificate).is_some() {
        return;
    }
    if evidence.leaves.is_empty()
        && evidence.authorities.first().is_some_and(|first| std::ptr::eq(first, top))
    {
        let message = "nothing that was given has the name that it gives as its issuer's";
        report.findings.extend(found("A02", top.subject(), message.to_owned(), now));
        return;
    }
    for ran in report.checks.iter_mut().filter(|ran| UPWARDS.contains(&ran.id.as_str())) {
        if ran.outcome == Outcome::Passed {
            let reason = format!("what signed {} was not given", top.authority.name);
            (ran.outcome, ran.reason) = (Outcome::Partial, reason);
        }
    }
}

fn record(certificate: &Certificate, der: &[u8], authorities: &[Authority]) -> Record {
    let names = &certificate.extensions.names;
    let is_issuer = |authority: &&Authority| {
        Certificate::read(&authority.der.0).is_ok_and(|it| certificate.names_issuer(&it))
    };
    Record {
        serial: certificate.serial_text(),
        spiffe_id: names.uris.first().cloned().unwrap_or_default(),
        dns_names: names.dns.clone(),
        // Its names are judged as a workload's.
        workload: Some("file".to_owned()),
        issuer: authorities.iter().find(is_issuer).map(|found| found.name.clone()).unwrap_or_default(),
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

/// Every authority once: the certificate itself where it is one, then what stands above it.
fn authorities(
    first: &[u8],
    others: &[Vec<u8>],
    leaf: Option<&Certificate>,
    trust_domain: &str,
) -> Vec<Authority> {
    let own = leaf.is_none().then_some(first);
    let mut found: Vec<(&[u8], Option<Certificate>)> = Vec::new();
    for der in own.into_iter().chain(others.iter().map(Vec::as_slice)) {
        if found.iter().all(|(known, _)| *known != der) {
            found.push((der, Certificate::read(der).ok()));
        }
    }
    let has_below = |above: &Certificate| {
        let mut all = found.iter().filter_map(|(_, read)| read.as_ref());
        all.any(|read| read.names_issuer(above))
    };
    let place = |read: &Certificate| {
        let signs_leaf = leaf.is_some_and(|leaf| leaf.names_issuer(read));
        place(read, has_below(read), signs_leaf || is_for_leaves(read, trust_domain))
    };
    let authority = |(der, read): &(&[u8], Option<Certificate>)| Authority {
        name: read.as_ref().map(Certificate::name).filter(|name| !name.is_empty()).unwrap_or_else(unnamed),
        place: read.as_ref().map_or(Place::Issuer, place),
        standing: Standing::Active,
        since: 0,
        der: Der(der.to_vec()),
        revoked: None,
    };
    found.iter().map(authority).collect()
}

fn unnamed() -> String {
    "unnamed".to_owned()
}

/// Which of them may not be used now, which the forty checks ask of what is served only. That an authority ended is found
/// by B03.
fn invalid(evidence: &Evidence<'_>, now: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (leaf, certificate) in evidence.readable().filter(|(_, leaf)| leaf.not_after < now) {
        let message = format!("it ended {} s ago", now - certificate.not_after);
        findings.extend(found("E04", leaf.subject(), message, now));
    }
    for (subject, certificate) in evidence.certificates().filter(|(_, found)| now < found.not_before) {
        let message = format!("it is not valid before {} s from now", certificate.not_before - now);
        findings.extend(found("E04", subject, message, now));
    }
    findings
}

fn found(id: &str, subject: Subject, message: String, now: i64) -> Option<Finding> {
    let check = crate::find(id)?;
    let fault = crate::finding::Fault::new(subject, message);
    Some(Finding {
        id: check.id.to_owned(),
        name: check.name.to_owned(),
        severity: check.severity,
        fingerprint: fault.fingerprint(check.id),
        subject: fault.subject,
        message: fault.message,
        evidence: Vec::new(),
        first_seen: now,
        last_seen: now,
        fix: match id {
            "E04" => "Renew it.".to_owned(),
            _ => "Give the certificate of what signed it, with --ca.".to_owned(),
        },
        docs: check.docs(),
    })
}

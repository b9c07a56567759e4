//! D04 and D05: extensions and lives.

use crate::{
    certificate::{Certificate, Extension},
    check::Check,
    evidence::Evidence,
    finding::{Fault, Severity},
    inventory::Need,
};

pub(crate) const EXTENSIONS: Check = Check {
    id: "D04",
    name: "extensions",
    title: "Every leaf has the profile's usages and extensions, and no others",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Der],
    why: "A usage more than needed lets a certificate do what nobody decided about; an unknown critical extension makes \
          peers refuse it.",
    how: "Key usage must be digitalSignature, extended key usage serverAuth and clientAuth, both where the profile has them; \
          every other extension must be on the profile's list or the thresholds'.",
    fix: "Revoke the serial, and find out how it was issued: signet ca why SERIAL.",
    run: extensions,
};

/// Names, key usage, extended key usage, both key identifiers and basic constraints.
const PROFILE: [&str; 6] = ["2.5.29.17", "2.5.29.15", "2.5.29.37", "2.5.29.14", "2.5.29.35", "2.5.29.19"];
const DIGITAL_SIGNATURE: u16 = 1;
/// serverAuth and clientAuth.
const PURPOSES: [&str; 2] = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];

fn extensions(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (leaf, certificate) in evidence.readable() {
        let found = differing(certificate, &evidence.thresholds.extra_extensions);
        let fault = Fault::new(leaf.subject(), "its extensions are not the profile's");
        if !found.is_empty() {
            faults.push(found.into_iter().fold(fault, Fault::seen));
        }
    }
    faults
}

fn differing(certificate: &Certificate, extra: &[String]) -> Vec<String> {
    let extensions = &certificate.extensions;
    let mut found = Vec::new();
    match extensions.key_usage {
        None => found.push("there is no key usage".to_owned()),
        Some(DIGITAL_SIGNATURE) => {}
        Some(usage) => found.push(format!("key usage has the bits {usage:#b}, not digitalSignature alone")),
    }
    match extensions.extended_key_usage.as_deref() {
        Some(purposes) if purposes == PURPOSES => {}
        Some(purposes) => found.push(format!("extended key usage is {}", purposes.join(" "))),
        None => found.push("there is no extended key usage".to_owned()),
    }
    let is_known =
        |extension: &&Extension| PROFILE.contains(&extension.oid.as_str()) || extra.contains(&extension.oid);
    let strange = extensions.all.iter().filter(|extension| !is_known(extension));
    found.extend(strange.map(|extension| match extension.is_critical {
        true => format!("the unknown extension {} is critical", extension.oid),
        false => format!("the extension {} is not in the profile", extension.oid),
    }));
    // RFC 5280, section 4.2.1.6.
    let names = extensions.all.iter().find(|extension| extension.oid == PROFILE[0]);
    if certificate.subject_text.is_empty() && names.is_some_and(|names| !names.is_critical) {
        found.push("the subject is empty, and its alternative names are not critical".to_owned());
    }
    found
}

pub(crate) const LIFETIME: Check = Check {
    id: "D05",
    name: "lifetime",
    title: "Every leaf lives as long as leaves may",
    severity: Severity::Critical,
    needs: &[Need::Records],
    why: "A leaf that lives too long outlives its workload; one that lives too short is renewed without an end.",
    how: "The life, its last second included, against the server's bounds or the thresholds'; what ends with its issuer may \
          be shorter.",
    fix: "Set --leaf-lifetime within the bounds, and renew.",
    run: lives,
};

fn lives(evidence: &Evidence<'_>) -> Vec<Fault> {
    let terms = evidence.inventory.terms;
    let shortest = evidence.thresholds.shortest_life_seconds.unwrap_or(terms.shortest_life);
    let longest = evidence.thresholds.longest_life_seconds.unwrap_or(terms.longest_life + terms.backdate);
    let mut faults = Vec::new();
    for leaf in &evidence.leaves {
        let record = leaf.record;
        // RFC 5280, section 4.1.2.5: the last second is part of the life; the bounds are spans between two moments.
        let life = record.not_after.saturating_sub(record.not_before);
        let ends_with_issuer = leaf.issuer.is_some_and(|at| {
            evidence.authorities[at]
                .certificate
                .as_ref()
                .is_ok_and(|above| above.not_after <= record.not_after)
        });
        if life > longest || (life < shortest && !ends_with_issuer) {
            let message = format!("it lives {life} s; {shortest} to {longest} are allowed");
            faults.push(Fault::new(leaf.subject(), message));
        }
    }
    faults
}

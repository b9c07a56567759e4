//! B02 and B03: ends.

use crate::{
    certificate::Certificate,
    check::Check,
    evidence::{Ca, Evidence},
    finding::{Fault, Severity},
    inventory::{Need, Place},
};

pub(crate) const OUTLIVES: Check = Check {
    id: "B02",
    name: "issuer-outlives",
    title: "No certificate ends later than the ones above it",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Der, Need::Authorities],
    why: "A leaf is worth nothing from the second on in which its issuer ends, whatever it says itself.",
    how: "The end of every certificate is compared with that of its issuer, up to the root.",
    fix: "Renew the certificate from an issuer that lives longer: `signet ca rotate start --issuer MESH`, or --root.",
    run: outlived,
};

fn outlived(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let above = |at: Option<usize>| {
        let ca = &evidence.authorities[at?];
        Some((ca, ca.certificate.as_ref().ok()?))
    };
    let mut compare = |subject, own: &Certificate, issuer: Option<(&Ca<'_>, &Certificate)>| {
        if let Some((ca, issuer)) = issuer.filter(|(_, issuer)| issuer.not_after < own.not_after) {
            let late = own.not_after - issuer.not_after;
            let message = format!("it ends {late} s after its issuer {}", ca.authority.name);
            faults.push(Fault::new(subject, message));
        }
    };
    for (leaf, certificate) in evidence.readable() {
        compare(leaf.subject(), certificate, above(leaf.issuer));
    }
    for (ca, certificate) in evidence.current() {
        compare(ca.subject(), certificate, above(ca.issuer));
    }
    faults
}

pub(crate) const HORIZON: Check = Check {
    id: "B03",
    name: "authority-expiry",
    title: "Roots and issuers end no sooner than one can change them at leisure",
    severity: Severity::Critical,
    needs: &[Need::Authorities],
    why: "A mesh whose root ends stops at that second, a year or ten after somebody installed it.",
    how: "Days to the end, by the thresholds for roots and issuers; what ends within --horizon is a warning at least.",
    fix: "signet ca rotate --plan --issuer MESH, or --root, which ends with the command that begins it",
    run: ending,
};

const DAY: i64 = 86_400;

fn ending(evidence: &Evidence<'_>) -> Vec<Fault> {
    let fault = |(ca, certificate): (&Ca<'_>, &Certificate)| {
        let ladder = match ca.authority.place {
            Place::Root => evidence.thresholds.root_expiry_days,
            Place::Intermediate | Place::Issuer => evidence.thresholds.issuer_expiry_days,
        };
        let left = certificate.not_after - evidence.now;
        let is_below = |days: i64| left < days.saturating_mul(DAY);
        let severity = if is_below(ladder.critical) {
            Severity::Critical
        } else if is_below(ladder.warning) || evidence.horizon.is_some_and(|horizon| left < horizon) {
            Severity::Warning
        } else if is_below(ladder.info) {
            Severity::Info
        } else {
            return None;
        };
        let message = match left {
            ..0 => format!("it ended {} ago", span(-left)),
            _ => format!("it ends in {}", span(left)),
        };
        let fault = Fault::new(ca.subject(), message)
            .at(severity)
            .seen(format!("last valid second: {}", certificate.not_after));
        Some(match plan(ca) {
            Some(plan) => fault.by(plan),
            None => fault,
        })
    };
    evidence.current().filter_map(fault).collect()
}

/// What to do about this one, where that follows from its place or its name.
fn plan(ca: &Ca<'_>) -> Option<String> {
    let which = match (ca.authority.place, ca.authority.name.strip_prefix("mesh/")) {
        (Place::Root, _) => "--root".to_owned(),
        (Place::Issuer, Some(mesh)) => format!("--issuer {mesh}"),
        (Place::Issuer | Place::Intermediate, _) => return None,
    };
    Some(format!("signet ca rotate --plan {which}, then signet ca rotate start {which}"))
}

fn span(seconds: i64) -> String {
    match (seconds / DAY, seconds / 3600) {
        (0, 0) => format!("{seconds} s"),
        (0 | 1, hours) => format!("{hours} h"),
        (days, _) => format!("{days} d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_hours_from_one_on_and_in_days_from_two_on() {
        for (seconds, text) in [
            (3599, "3599 s"),
            (3600, "1 h"),
            (7199, "1 h"),
            (7200, "2 h"),
            (2 * DAY - 1, "47 h"),
            (2 * DAY, "2 d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}

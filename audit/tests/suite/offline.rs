//! One certificate from a file.

mod authorities;

use signet_audit::{
    Judged, Thresholds,
    inventory::{Place, Terms},
    judge,
};

use crate::bed::{Bed, Ca, DAY, DOMAIN, Leaf, NOW, authority_params, serial};

fn judged(bed: &Bed, leaf: &[u8], above: &[&[u8]], now: i64) -> Judged {
    let above: Vec<Vec<u8>> = above.iter().map(|der| der.to_vec()).collect();
    let terms = Terms { shortest_life: 300, default_life: DAY, longest_life: 90 * DAY, backdate: 60 };
    judge(leaf, &above, DOMAIN, &bed.thresholds, terms, now).unwrap()
}

fn ids(judged: &Judged) -> Vec<&str> {
    judged.report.findings.iter().map(|finding| finding.id.as_str()).collect()
}

#[test]
fn a_leaf_of_ours_with_its_chain_is_good() {
    let mut bed = Bed::new();
    let der = bed.newest("a").der.clone().unwrap();
    let found = judged(&bed, &der.0, &[&bed.issuer.der, &bed.root.der], NOW);
    assert_eq!((ids(&found), found.not_run.len()), (vec![], 0), "{:#?}", found.report);
    let ran = found.report.checks.iter().filter(|ran| ran.outcome.as_str() == "passed").count();
    assert_eq!(ran, 16);
}

#[test]
fn a_leaf_that_names_no_key_of_its_issuer_is_found_to_be_its_by_name() {
    let mut bed = Bed::new();
    let record = bed.replace("a", |leaf| {
        leaf.change = |params| params.use_authority_key_identifier_extension = false;
    });
    let found = judged(&bed, &record.der.unwrap().0, &[&bed.issuer.der, &bed.root.der], NOW);
    assert_eq!(ids(&found), ["B06"], "{:#?}", found.report.findings);
}

#[test]
fn what_signed_a_leaf_is_an_issuer_whatever_it_says_and_must_say_that_nothing_is_below() {
    let mut bed = Bed::new();
    let mut params = authority_params("bought", Place::Issuer, NOW - DAY, NOW + 900 * DAY);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.subject_alt_names.clear();
    let issuer = bed.root.below("bought", params);
    let leaf = bed.leaf("a");
    let der = issuer.sign(leaf).der.unwrap().0;
    let found = judged(&bed, &der, &[&bed.root.der, &issuer.der], NOW);
    let messages = found.report.findings.iter().map(|found| found.message.as_str()).collect::<Vec<_>>();
    let [path, name] = messages[..] else { panic!("{messages:?}") };
    assert!(
        path.starts_with("it has no path length") && name.starts_with("nothing binds it"),
        "{messages:?}"
    );
}

#[test]
fn without_its_chain_what_cannot_be_seen_is_named() {
    let mut bed = Bed::new();
    let der = bed.newest("a").der.clone().unwrap();
    let found = judged(&bed, &der.0, &[], NOW);
    assert_eq!(ids(&found), Vec::<&str>::new());
    let not_run: Vec<&str> = found.not_run.iter().map(|(check, _)| check.id).collect();
    assert_eq!(not_run, ["A02", "B02", "B03", "B04", "B05", "B06", "B07", "C01", "C02", "C03", "C06"]);
}

#[test]
fn a_certificate_of_the_web_is_none_of_ours() {
    let bed = Bed::new();
    let root = Ca::root("web", authority_params("Some root", Place::Root, NOW - DAY, NOW + 900 * DAY));
    let leaf = Leaf {
        workload: String::new(),
        uris: Vec::new(),
        dns: vec!["*.example.com".to_owned()],
        issued_at: NOW - DAY,
        life: 397 * DAY,
        serial: serial(200),
        key: rcgen::KeyPair::generate().unwrap(),
        predecessor: None,
        change: |_| {},
    };
    let record = root.sign(leaf);
    let found = judged(&bed, &record.der.unwrap().0, &[&root.der], NOW);
    assert_eq!(ids(&found), ["D01", "D05", "B07", "D03"], "{:#?}", found.report.findings);
}

#[test]
fn without_its_chain_a_certificate_is_judged_by_all_that_it_shows_itself() {
    let mut bed = Bed::new();
    let good = bed.newest("a").der.clone().unwrap();
    let found = judged(&bed, &good.0, &[], NOW);
    assert_eq!(found.report.findings, []);
    let not_run: Vec<&str> = found.not_run.iter().map(|(check, _)| check.id).collect();
    assert_eq!(not_run, ["A02", "B02", "B03", "B04", "B05", "B06", "B07", "C01", "C02", "C03", "C06"]);
    bed.replace("a", |leaf| leaf.key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    let weak = bed.newest("a").der.clone().unwrap();
    assert_eq!(ids(&judged(&bed, &weak.0, &[], NOW)), ["C01"]);
}

#[test]
fn one_that_ended_or_has_not_started_is_named() {
    let mut bed = Bed::new();
    let der = bed.newest("a").der.clone().unwrap();
    let at = |now| {
        let found = judged(&bed, &der.0, &[&bed.issuer.der, &bed.root.der], now);
        found.report.findings.iter().map(|f| format!("{} {}", f.id, f.message)).collect::<Vec<_>>()
    };
    assert_eq!(at(NOW + 2 * DAY), [format!("E04 it ended {} s ago", 2 * DAY - 3 * DAY / 4)]);
    assert_eq!(at(NOW - DAY), [format!("E04 it is not valid before {} s from now", 3 * DAY / 4 - 60)]);
}

#[test]
fn what_is_no_certificate_is_refused() {
    let terms = Terms { shortest_life: 300, default_life: DAY, longest_life: 90 * DAY, backdate: 60 };
    let error = judge(b"hello", &[], DOMAIN, &Thresholds::default(), terms, NOW).unwrap_err();
    assert!(error.starts_with("it is no certificate"), "{error}");
    let mut bed = Bed::new();
    let mut der = bed.newest("a").der.clone().unwrap().0;
    der.push(0);
    let error = judge(&der, &[], DOMAIN, &Thresholds::default(), terms, NOW).unwrap_err();
    assert_eq!(error, "1 bytes follow it");
}

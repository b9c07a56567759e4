//! An authority's certificate from a file.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType,
};
use signet_audit::{Kind, format, inventory::Place};

use super::{ids, judged};
use crate::bed::{Bed, Ca, DAY, DOMAIN, NOW, authority_params};

const END: i64 = NOW + 3600 * DAY;

fn params(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let place = if name.ends_with("root") { Place::Root } else { Place::Issuer };
    let mut params = authority_params(name, place, NOW - DAY, END);
    change(&mut params);
    params
}

fn path(length: Option<u8>) -> IsCa {
    IsCa::Ca(length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained))
}

fn extension(oid: &[u64], is_critical: bool, content: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(is_critical);
    extension
}

/// basicConstraints of an issuer, beside which rcgen writes nothing of its own.
fn constraints(params: &mut CertificateParams, is_critical: bool) {
    params.is_ca = IsCa::NoCa;
    let content = b"\x30\x06\x01\x01\xff\x02\x01\x00";
    params.custom_extensions = vec![extension(&[2, 5, 29, 19], is_critical, content)];
}

type Change = fn(&mut CertificateParams);

/// An issuer, changed, below a root.
fn pair(change: Change) -> (Ca, Ca) {
    let root = Ca::root("root", params("root", |_| {}));
    let issuer = root.below("issuer", params("issuer", change));
    (issuer, root)
}

#[test]
fn a_certificate_is_taken_for_what_it_says_that_it_is() {
    let cases: [(&str, Change, Kind, &str); 6] = [
        ("as Signet makes them", |_| {}, Kind::Issuer, "CA:TRUE with path length 0"),
        (
            "no path length, and the trust domain",
            |params| params.is_ca = path(None),
            Kind::Issuer,
            "CA:TRUE, and the trust domain as its only name",
        ),
        (
            "no path length, and no name",
            |params| (params.is_ca, params.subject_alt_names) = (path(None), Vec::new()),
            Kind::Intermediate,
            "CA:TRUE without a path length",
        ),
        (
            "room below",
            |params| params.is_ca = path(Some(1)),
            Kind::Intermediate,
            "CA:TRUE with path length 1",
        ),
        ("CA:FALSE", |params| params.is_ca = IsCa::ExplicitNoCa, Kind::Leaf, "CA:FALSE"),
        ("nothing of it", |params| params.is_ca = IsCa::NoCa, Kind::Leaf, "no basic constraints"),
    ];
    let bed = Bed::new();
    for (what, change, kind, because) in cases {
        let (issuer, root) = pair(change);
        let taken = judged(&bed, &issuer.der, &[&root.der], NOW).report.judged.unwrap();
        assert_eq!((taken.taken_for, taken.because.as_str()), (kind, because), "{what}");
    }
    let taken = judged(&bed, &bed.root.der, &[], NOW).report.judged.unwrap();
    assert_eq!((taken.taken_for, taken.subject.as_str()), (Kind::Root, "CN=Signet root"));
}

#[test]
fn an_authority_in_order_is_good_and_what_only_its_chain_would_show_is_named() {
    let bed = Bed::new();
    let (issuer, root) = pair(|_| {});
    let top = Ca::root("top root", params("top root", |params| params.is_ca = path(None)));
    let middle = top.below("middle", params("middle", |params| params.is_ca = path(Some(1))));
    let lowest = middle.below("lowest", params("lowest", |_| {}));
    let open = |how: &str| ["A02", "B02", "B06"].map(|id| format!("{id} {how}")).to_vec();
    for (what, first, above, open) in [
        ("a root", &root, vec![], vec![]),
        ("a root, twice", &root, vec![&root], vec![]),
        ("an issuer and its root", &issuer, vec![&root], vec![]),
        ("two roots, while one takes the other's place", &root, vec![&top], vec![]),
        ("an issuer alone", &issuer, vec![], open("not-run")),
        ("an intermediate alone", &middle, vec![], open("not-run")),
        ("a chain of three", &lowest, vec![&middle, &top], vec![]),
        ("a chain of three in another order", &lowest, vec![&top, &middle], vec![]),
        ("a chain without its root", &lowest, vec![&middle], open("partial")),
    ] {
        let above: Vec<&[u8]> = above.into_iter().map(|ca| ca.der.as_slice()).collect();
        let found = judged(&bed, &first.der, &above, NOW);
        assert_eq!(ids(&found), Vec::<&str>::new(), "{what}: {:#?}", found.report.findings);
        let checks = found.report.checks.iter();
        let passed = checks.clone().filter(|ran| ran.outcome.as_str() == "passed").count();
        let not_run: Vec<String> = checks
            .filter(|ran| found.not_run.iter().any(|(check, _)| check.id == ran.id))
            .map(|ran| format!("{} {}", ran.id, ran.outcome.as_str()))
            .collect();
        assert_eq!((passed, not_run), (10 - open.len(), open), "{what}");
        let distinct: std::collections::BTreeSet<&[u8]> =
            above.iter().copied().chain([&*first.der]).collect();
        assert_eq!(found.inventory.authorities.len(), distinct.len(), "{what}");
    }
}

#[test]
fn what_an_authority_must_not_be_is_found() {
    let cases: [(&str, Change, &str); 13] = [
        ("no path length", |params| params.is_ca = path(None), "B04 warning it has no path length"),
        (
            "no keyCertSign",
            |params| params.key_usages = vec![KeyUsagePurpose::CrlSign],
            "B04 critical its key usage lacks keyCertSign",
        ),
        (
            "no cRLSign",
            |params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign],
            "B04 warning its key usage lacks cRLSign",
        ),
        (
            "purposes without a client's",
            |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            "B04 critical its extended key usage leaves out",
        ),
        (
            "both purposes of TLS",
            |params| {
                params.extended_key_usages =
                    vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            },
            "",
        ),
        ("any purpose", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any], ""),
        (
            "a workload's identity beside the trust domain",
            |params| {
                let id = format!("spiffe://{DOMAIN}/mesh/shop/virtual-node/a");
                params.subject_alt_names.push(SanType::URI(id.try_into().unwrap()));
            },
            "B04 critical it carries a workload's identity, spiffe://signet.internal/mesh/shop/virtual-node/a; \
             B05 warning nothing binds it",
        ),
        (
            "another trust domain",
            |params| params.subject_alt_names = vec![SanType::URI("spiffe://other".try_into().unwrap())],
            "B05 warning nothing binds it to the trust domain signet.internal",
        ),
        (
            "a critical extension that nobody knows",
            |params| params.custom_extensions.push(extension(&[1, 3, 9], true, b"\x05\x00")),
            "B04 critical the unknown extension 1.3.9 is critical",
        ),
        (
            "an extension that nobody knows, and may pass over",
            |params| params.custom_extensions.push(extension(&[1, 3, 9], false, b"\x05\x00")),
            "",
        ),
        (
            "basic constraints that one may pass over",
            |params| {
                constraints(params, false);
                params.custom_extensions.push(extension(&[2, 5, 29, 14], false, b"\x04\x02\x01\x02"));
            },
            "B04 warning its basic constraints are not critical",
        ),
        ("no key identifier", |params| constraints(params, true), "B06 warning it has no key identifier"),
        (
            "an end soon",
            |params| {
                let end = NOW + 20 * DAY;
                params.not_after = time::OffsetDateTime::from_unix_timestamp(end).unwrap();
            },
            "B03 critical it ends in 20 d",
        ),
    ];
    let bed = Bed::new();
    for (what, change, says) in cases {
        let (issuer, root) = pair(change);
        let report = judged(&bed, &issuer.der, &[&root.der], NOW).report;
        let findings = report.findings.iter();
        let findings: Vec<String> =
            findings.map(|found| format!("{} {} {}", found.id, found.severity, found.message)).collect();
        let says: Vec<&str> = says.split("; ").filter(|says| !says.is_empty()).collect();
        assert_eq!(findings.len(), says.len(), "{what}: {findings:?}");
        assert!(
            findings.iter().zip(says).all(|(found, says)| found.starts_with(says)),
            "{what}: {findings:?}"
        );
    }
}

#[test]
fn a_chain_of_which_one_did_not_sign_the_next_is_found() {
    let mut bed = Bed::new();
    let ((issuer, root), (_, namesake)) = (pair(|_| {}), pair(|_| {}));
    let stranger = Ca::root("another root", params("another root", |_| {}));
    let last = root.below("last", params("last", |_| {}));
    let below_last = last.below("below", params("below", |_| {}));
    let mut changed = root.der.clone();
    *changed.last_mut().unwrap() ^= 1;
    let leaf = bed.newest("a").der.clone().unwrap().0;
    let other_root = Ca::root("root", params("Signet root", |_| {}));
    for (what, first, above, says) in [
        (
            "an issuer below a root of its root's name",
            &issuer.der,
            vec![&namesake.der],
            "A02 the key of CN=root did not make the signature",
        ),
        (
            "an issuer below another root",
            &issuer.der,
            vec![&stranger.der],
            "A02 nothing that was given has the name that it gives as its issuer's",
        ),
        ("a root that was changed", &changed, vec![], "A02 its own key did not make its signature"),
        (
            "a leaf whose issuer another root signed",
            &leaf,
            vec![&bed.issuer.der, &other_root.der],
            "A02 the key of CN=Signet root did not make the signature",
        ),
        (
            "an authority below one that may have none below",
            &below_last.der,
            vec![&last.der, &root.der],
            "B04 its path length is 0, so no issuer below it is valid",
        ),
        (
            "a leaf behind its chain",
            &bed.root.der,
            vec![&bed.issuer.der, &leaf],
            "B04 it does not say CA:TRUE, and stands behind the first certificate: a leaf must be the first",
        ),
    ] {
        let above: Vec<&[u8]> = above.into_iter().map(Vec::as_slice).collect();
        let report = judged(&bed, first, &above, NOW).report;
        let critical = report.findings.iter().filter(|found| found.severity.as_str() == "critical");
        let critical: Vec<String> = critical.map(|found| format!("{} {}", found.id, found.message)).collect();
        assert!(critical.iter().any(|found| found == says), "{what}: {critical:#?}");
        let of_its_check = critical.iter().filter(|found| found[..3] == says[..3]).count();
        assert!(of_its_check == 1 || says.starts_with("B04"), "{what}: {critical:#?}");
    }
}

#[test]
fn an_authority_that_ended_or_has_not_started_is_named() {
    let mut bed = Bed::new();
    let at = |first: &[u8], above: &[&[u8]], now| {
        let report = judged(&bed, first, above, now).report;
        report.findings.iter().map(|found| format!("{} {}", found.id, found.message)).collect::<Vec<_>>()
    };
    let (root, issuer) = (bed.root.der.clone(), bed.issuer.der.clone());
    let early = format!("E04 it is not valid before {DAY} s from now");
    assert_eq!(at(&root, &[], NOW - 11 * DAY), std::slice::from_ref(&early));
    assert_eq!(at(&root, &[], NOW + 3602 * DAY), ["B03 it ended 2 d ago"]);
    assert_eq!(at(&issuer, &[&root], NOW - 11 * DAY), [early.clone(), early]);
    assert_eq!(at(&issuer, &[], NOW + 352 * DAY), ["B03 it ended 2 d ago"]);
    let leaf = bed.newest("a").der.clone().unwrap().0;
    let found = judged(&bed, &leaf, &[&issuer, &root], NOW - 11 * DAY);
    assert_eq!(ids(&found), ["E04"; 3], "what stands above it is not valid yet either");
}

#[test]
fn each_format_says_what_it_was_taken_for() {
    let mut bed = Bed::new();
    let leaf = bed.newest("a").der.clone().unwrap().0;
    let (root, issuer) = (bed.root.der.clone(), bed.issuer.der.clone());
    let id = format!("spiffe://{DOMAIN}/mesh/shop/virtual-node/a");
    for (first, above, kind, table) in [
        (
            &root,
            vec![],
            "root",
            "judged as a root (CA:TRUE, and its own name as its issuer's): CN=Signet root, serial ",
        ),
        (
            &issuer,
            vec![],
            "issuer",
            "judged as an issuer (CA:TRUE with path length 0): CN=Signet shop, serial ",
        ),
        (&leaf, vec![&issuer, &root], "leaf", &format!("judged as a leaf (CA:FALSE): {id}, serial ")),
    ] {
        let above: Vec<&[u8]> = above.into_iter().map(Vec::as_slice).collect();
        let report = judged(&bed, first, &above, NOW).report;
        let serial = report.judged.clone().unwrap().serial;
        let text = format::table(&report);
        assert!(text.starts_with(&format!("{table}{serial}\n")), "{text}");
        assert_eq!(text.contains("certificate"), kind == "leaf", "an authority is none beside: {text}");
        let json: serde_json::Value = serde_json::from_str(&format::json(&report).unwrap()).unwrap();
        let lines = format::jsonl(&report).unwrap();
        let line: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        let sarif: serde_json::Value = serde_json::from_str(&format::sarif(&report).unwrap()).unwrap();
        for judged in [&json, &line["summary"], &sarif["runs"][0]["properties"]].map(|at| &at["judged"]) {
            assert_eq!(
                (judged["takenFor"].as_str(), judged["serial"].as_str()),
                (Some(kind), Some(&*serial))
            );
        }
        let junit = format::junit(&report);
        assert!(junit.contains(&format!("<property name=\"takenFor\" value=\"{kind}\"/>\n")), "{junit}");
        let metric = format!("\nsignet_audit_judged_info{{taken_for=\"{kind}\",serial=\"{serial}\"}} 1\n");
        assert!(format::openmetrics(&report).contains(&metric));
    }
    let whole = bed.audit();
    let documents = [format::json(&whole).unwrap(), format::sarif(&whole).unwrap()].concat();
    let texts = [format::table(&whole), format::junit(&whole), format::openmetrics(&whole)].concat();
    assert!(!(documents + &texts).contains("judged"), "an audit of everything is about no one certificate");
}

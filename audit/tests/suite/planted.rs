//! One fault at a time: its check finds it, and no other check does.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, SanType,
};
use signet_audit::{
    CHECKS, Severity, find,
    inventory::{
        Bundle, Der, Gap, Lapsed, Mode, Need, Place, Probe, Record, Revoked, Rival, Standing, Tickets,
    },
};

use crate::bed::{Bed, Ca, DAY, Leaf, NOW, authority_params, copy, node_name, serial, spiffe_id};

type Plant = fn(&mut Bed);

/// A check, and a way to break what it watches. Each check is there at least once.
const FAULTS: [(&str, Plant); 57] = [
    ("A01", |bed| bed.inventory.certificates[0].fingerprint = "00".repeat(32)),
    ("A01", |bed| bed.newest("a").not_after += 1),
    ("A01", |bed| bed.inventory.certificates[0].der = Some(Der(b"no certificate".to_vec()))),
    ("A02", |bed| {
        // Name and key identifier are the honest issuer's; the key is not.
        let mut params = bed.issuer.params.clone();
        let id = params.key_identifier(&bed.issuer.key);
        params.key_identifier_method = KeyIdMethod::PreSpecified(id);
        let stranger = Ca::root("mesh/shop", params);
        let mut leaf = bed.leaf("a");
        leaf.issued_at = NOW - DAY;
        let record = stranger.sign(leaf);
        bed.inventory.certificates.push(record);
    }),
    ("A03", |bed| {
        let log = bed.inventory.log.as_mut().unwrap();
        log.hashes.swap(0, 1);
    }),
    ("A03", |bed| {
        let log = bed.inventory.log.as_mut().unwrap();
        log.hashes.pop();
    }),
    ("A03", |bed| bed.inventory.log.as_mut().unwrap().signature_fault = Some("another key".to_owned())),
    ("A04", |bed| {
        let mut leaf = bed.leaf("a");
        leaf.issued_at = NOW - DAY;
        leaf.serial = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        let record = bed.issue(leaf);
        let trimmed = record.serial.trim_start_matches('0').to_owned();
        bed.inventory.certificates.last_mut().unwrap().serial = format!("0{trimmed}");
    }),
    ("A04", |bed| {
        let mut leaf = bed.leaf("a");
        leaf.issued_at = NOW - DAY;
        leaf.serial = serial(1);
        leaf.serial[15] = leaf.serial[15].wrapping_add(1);
        bed.issue(leaf);
    }),
    ("A05", |bed| {
        let mut leaf = bed.leaf("a");
        leaf.issued_at = NOW - DAY;
        let mut record = bed.issuer.sign(leaf);
        record.issued_at += 3600;
        bed.inventory.certificates.push(record);
    }),
    ("A06", |bed| bed.newest("a").requester = None),
    ("A06", |bed| bed.newest("a").decision = None),
    ("A07", |bed| {
        let known = bed.workload("a");
        known.dns_names.clear();
        known.changed_at = NOW - 60;
    }),
    ("A08", |bed| {
        for step in 0..60 {
            let mut leaf = bed.leaf("a");
            leaf.issued_at = NOW - DAY + step;
            bed.issue(leaf);
        }
    }),
    ("A08", |bed| {
        let mut leaf = bed.leaf("a");
        leaf.workload = node_name("c");
        leaf.uris = vec![spiffe_id("c")];
        leaf.issued_at = NOW - 2 * DAY;
        bed.issue(leaf);
        let mut known = bed.workload("a").clone();
        known.workload = node_name("c");
        bed.inventory.workloads.push(known);
    }),
    ("A09", |bed| {
        let mut leaf = bed.leaf("a");
        leaf.issued_at = NOW - 3600;
        bed.issue(leaf);
        bed.inventory.certificates.last_mut().unwrap().delivered_at = None;
    }),
    ("B01", |bed| {
        let other = Ca::root("root", authority_params("other", Place::Root, NOW - DAY, NOW + 3600 * DAY));
        let roots = vec![Der(other.der)];
        let bundle = Bundle {
            version: "v0".to_owned(),
            roots,
            is_current: false,
            since: NOW - 20 * DAY,
            revoked: Vec::new(),
        };
        bed.inventory.bundles.push(bundle);
        bed.node("a").trust_version = Some("v0".to_owned());
    }),
    ("B01", |bed| bed.node("a").trust_version = Some("of nobody".to_owned())),
    ("B02", |bed| {
        bed.replace("a", |leaf| leaf.life = 89 * DAY);
        bed.replace_issuer(NOW + 80 * DAY, |_| {});
        bed.thresholds.issuer_expiry_days.info = 60;
    }),
    ("B03", |bed| bed.replace_issuer(NOW + 20 * DAY, |_| {})),
    ("B04", |bed| bed.replace_issuer(NOW + 350 * DAY, |params| params.is_ca = IsCa::ExplicitNoCa)),
    ("B04", |bed| {
        bed.replace_issuer(NOW + 350 * DAY, |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    }),
    ("B04", |bed| {
        bed.replace_issuer(NOW + 350 * DAY, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        });
    }),
    ("B04", |bed| {
        bed.replace("a", |leaf| {
            leaf.change = |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        });
    }),
    ("B05", |bed| bed.replace_issuer(NOW + 350 * DAY, |params| params.subject_alt_names.clear())),
    ("B06", |bed| {
        bed.replace("a", |leaf| {
            leaf.change = |params| params.use_authority_key_identifier_extension = false;
        });
    }),
    ("B06", |bed| {
        let params = bed.issuer.params.clone();
        let twin = bed.root.below("mesh/other", params);
        bed.inventory.authorities.push(twin.authority(Place::Issuer, Standing::Active, NOW));
    }),
    ("B07", |bed| {
        let leaf = bed.leaf("a");
        let record = bed.root.sign(leaf);
        bed.inventory.certificates.push(record);
    }),
    ("B08", |bed| {
        // The new root signs, and one proxy has not got it.
        let new = Ca::root("root", authority_params("new", Place::Root, NOW - DAY, NOW + 3600 * DAY));
        bed.inventory.authorities[0].standing = Standing::Retiring;
        bed.inventory.authorities[0].since = NOW;
        bed.inventory.authorities.push(new.authority(Place::Root, Standing::Active, NOW - 60));
        let roots = vec![Der(bed.root.der.clone()), Der(new.der)];
        bed.inventory.bundles.push(Bundle {
            version: "v2".to_owned(),
            roots,
            is_current: true,
            since: NOW - 60,
            revoked: Vec::new(),
        });
        bed.node("b").trust_version = Some("v2".to_owned());
    }),
    ("B08", |bed| bed.inventory.authorities[1].standing = Standing::Prepared),
    ("B08", |bed| {
        let params = authority_params("second", Place::Issuer, NOW - DAY, NOW + 350 * DAY);
        let second = bed.root.below("mesh/shop", params);
        bed.inventory.authorities.push(second.authority(Place::Issuer, Standing::Active, NOW));
    }),
    ("B09", |bed| {
        let old = Ca::root("root", authority_params("old", Place::Root, NOW - DAY, NOW + 3600 * DAY));
        bed.inventory.authorities.push(old.authority(Place::Root, Standing::Retired, NOW - 2 * DAY));
        bed.inventory.bundles[0].roots.push(Der(old.der));
    }),
    ("B09", |bed| {
        bed.inventory.authorities[1].standing = Standing::Retiring;
        bed.inventory.authorities[1].since = NOW - DAY / 2;
    }),
    ("C01", |bed| {
        bed.thresholds.key_kinds = vec!["P-256".to_owned()];
        bed.replace("a", |leaf| leaf.key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap());
    }),
    ("C01", |bed| {
        bed.replace("a", |leaf| leaf.key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    }),
    ("C02", |bed| bed.thresholds.signature_algorithms = vec!["1.2.840.10045.4.3.3".to_owned()]),
    ("C03", |bed| {
        let hash = bed.newest("a").key_hash.clone();
        bed.thresholds.blocked_keys = vec![hash];
    }),
    ("C04", |bed| {
        let key = KeyPair::generate().unwrap();
        let [first, second] = [copy(&key), key];
        bed.replace("a", |leaf| leaf.key = first);
        bed.replace("b", |leaf| leaf.key = second);
    }),
    ("C05", |bed| {
        let key = KeyPair::generate().unwrap();
        let mut older = Leaf { key: copy(&key), ..bed.leaf("a") };
        older.issued_at = NOW - DAY;
        bed.issue(older);
        bed.replace("a", |leaf| leaf.key = key);
    }),
    ("C06", |bed| {
        let key = copy(&bed.issuer.key);
        bed.replace("a", |leaf| leaf.key = key);
    }),
    ("C06", |bed| {
        let params = authority_params("cousin", Place::Issuer, NOW - DAY, NOW + 350 * DAY);
        let cousin = bed.root.below_with("mesh/cousin", params, copy(&bed.root.key));
        bed.inventory.authorities.push(cousin.authority(Place::Issuer, Standing::Active, NOW));
    }),
    ("D01", |bed| {
        bed.replace("a", |leaf| leaf.uris.push(spiffe_id("b")));
    }),
    ("D01", |bed| {
        let id = "spiffe://other.test/mesh/shop/virtual-node/a".to_owned();
        bed.workload("a").spiffe_ids.push(id.clone());
        bed.replace("a", |leaf| leaf.uris = vec![id]);
    }),
    ("D02", |bed| {
        bed.replace("a", |leaf| leaf.dns.push("b.shop.local".to_owned()));
    }),
    ("D02", |bed| {
        bed.replace("a", |leaf| leaf.uris = vec![spiffe_id("b")]);
    }),
    ("D03", |bed| {
        bed.workload("a").dns_names.push("*.shop.local".to_owned());
        bed.replace("a", |leaf| leaf.dns.push("*.shop.local".to_owned()));
    }),
    ("D03", |bed| {
        bed.replace("a", |leaf| {
            leaf.change = |params| {
                params.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 1].into()));
            };
        });
    }),
    ("D04", |bed| {
        bed.replace("a", |leaf| {
            leaf.change = |params| params.extended_key_usages.push(ExtendedKeyUsagePurpose::CodeSigning);
        });
    }),
    ("D04", |bed| {
        bed.replace("a", |leaf| leaf.change = unknown_extension);
    }),
    ("D05", |bed| {
        bed.replace("a", |leaf| leaf.life = 91 * DAY);
    }),
    ("D05", |bed| {
        bed.replace("a", |leaf| (leaf.life, leaf.issued_at) = (100, NOW - 10));
    }),
    ("D06", |bed| {
        bed.inventory.workloads.retain(|known| known.workload != node_name("a"));
    }),
    ("D07", |bed| {
        bed.workload("a").instances = None;
        let record = bed.newest("a").clone();
        bed.serve("a", "i-2", &record);
    }),
    ("E01", |bed| {
        let leaf = bed.leaf("a");
        let record = bed.issuer.sign(leaf);
        let node = bed.node("a");
        node.presented[0].leaf = record.der;
        node.loaded[0].serial = record.serial;
    }),
    ("E02", |bed| {
        let secret = &mut bed.node("a").secrets[0];
        secret.sent_version = "2".to_owned();
        secret.rejected_version = "2".to_owned();
        secret.reason = "Failed to load private key".to_owned();
        secret.at = NOW - 700;
    }),
    ("E03", |bed| {
        bed.newest("a").revoked = Some(Revoked { at: NOW - 2460, reason: "keyCompromise".to_owned() });
    }),
    ("E04", |bed| {
        bed.replace("a", |leaf| leaf.issued_at = NOW - DAY * 92 / 100);
        bed.thresholds.renewal_grace_seconds = DAY;
    }),
];

/// The rest of them: what only live nodes show.
const LIVE_FAULTS: [(&str, Plant); 22] = [
    ("E03", |bed| {
        // It is revoked, nobody serves it, and the trust that this Envoy took does not list it.
        let mut leaf = bed.leaf("a");
        leaf.issued_at = NOW - DAY / 2;
        let serial = bed.issue(leaf).serial;
        let of_serial = |record: &&mut Record| record.serial == serial;
        let older = bed.inventory.certificates.iter_mut().find(of_serial).unwrap();
        older.revoked = Some(Revoked { at: NOW - 2460, reason: "keyCompromise".to_owned() });
        bed.node("a").secrets[1].accepted_version = "v1".to_owned();
        bed.node("a").secrets[1].sent_version = "v1".to_owned();
    }),
    ("E03", |bed| bed.node("a").presented[0].revoked_probe = Some(Probe::Accepted)),
    ("E04", |bed| {
        // Below a third, and the agent plans nothing that is in time.
        bed.replace("a", |leaf| leaf.issued_at = NOW - DAY * 68 / 100);
        bed.node("a").renewal.as_mut().unwrap().next = NOW + DAY;
    }),
    ("E04", |bed| {
        // Its agent holds a newer one, which the listener does not present.
        bed.replace("a", |leaf| leaf.issued_at = NOW - DAY * 71 / 100);
        bed.thresholds.renewal_grace_seconds = DAY;
    }),
    ("E08", |bed| bed.node("a").listeners[0].tickets = Some(Tickets::GivenKeys)),
    ("E08", |bed| bed.thresholds.allow_session_tickets = false),
    ("E08", |bed| bed.node("a").presented[0].protocol = Some("TLSv1.1".to_owned())),
    ("D07", |bed| {
        let rival = Rival { address: "10.0.0.9".to_owned(), turns: 2, at: NOW - 30 };
        bed.node("a").rival = Some(rival);
    }),
    ("E08", |bed| bed.node("a").listeners[0].lowest_protocol = Some("SSLv3".to_owned())),
    ("E05", |bed| {
        let renewal = bed.node("a").renewal.as_mut().unwrap();
        (renewal.failures, renewal.last_error) =
            (3, "the server refused: mesh/shop/virtualNode/a does not exist".to_owned());
    }),
    ("E05", |bed| {
        bed.replace("a", |leaf| leaf.issued_at = NOW - DAY * 72 / 100);
        bed.thresholds.remaining_warning_percent = 25;
    }),
    ("E05", |bed| {
        let (workload, instance) = ("mesh/shop/virtualNode/a".to_owned(), "i-asleep".to_owned());
        let (ended, reported_at) = (NOW - 3600, NOW - 2 * DAY);
        let lapsed = Lapsed { workload, instance, ended, reported_at, ..Lapsed::default() };
        bed.inventory.lapsed.push(lapsed);
    }),
    ("E06", |bed| {
        let node = bed.node("a");
        node.loaded.clear();
        node.presented[0].leaf = None;
        node.presented[0].error = "the connection was closed".to_owned();
    }),
    ("E07", |bed| bed.node("a").listeners[0].takes_plaintext = true),
    ("E07", |bed| bed.node("a").listeners[0].plaintext_probe = Some(Probe::Accepted)),
    ("E07", |bed| bed.node("a").listeners[0].requires_client_certificate = false),
    ("E07", |bed| bed.inventory.ports[0].in_force = Mode::Permissive),
    ("E08", |bed| bed.node("a").listeners[0].lowest_protocol = Some("TLSv1.0".to_owned())),
    ("E08", |bed| bed.node("a").listeners[0].cipher_suites = vec!["AES128-SHA".to_owned()]),
    ("E09", |bed| bed.node("a").clock_ahead_ms = Some(-7_000)),
    ("E02", |bed| {
        let older = bed.newest("a").clone();
        let mut newer = Leaf { predecessor: Some(older.serial), ..bed.leaf("a") };
        newer.issued_at = NOW - 1200;
        bed.issue(newer);
    }),
    ("D07", |bed| {
        let leaf = bed.leaf("a");
        let record = bed.issue(leaf);
        bed.serve("a", "i-2", &record);
    }),
];

pub(crate) fn unknown_extension(params: &mut CertificateParams) {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
}

#[test]
fn a_mesh_in_good_order_has_no_finding_and_every_check_passes() {
    let report = Bed::new().audit();
    assert_eq!(report.findings, [], "{report:#?}");
    let open: Vec<_> = report.checks.iter().filter(|ran| ran.outcome.as_str() != "passed").collect();
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(report.exit_code(Severity::Info), 0);
}

#[test]
fn what_may_be_so_in_a_mesh_in_good_order_is_no_finding() {
    let cases: [(&str, Plant); 5] = [
        ("a host whose address changed", |bed| {
            bed.node("a").rival = Some(Rival { address: "10.0.0.9".to_owned(), turns: 1, at: NOW - 30 });
        }),
        ("a quarrel that is over", |bed| {
            bed.node("a").rival = Some(Rival { address: "10.0.0.9".to_owned(), turns: 9, at: NOW - 4000 });
        }),
        ("a renewal that was drawn late", |bed| {
            bed.replace("a", |leaf| leaf.issued_at = NOW - DAY * 68 / 100);
            bed.node("a").renewal.as_mut().unwrap().next = NOW + DAY / 100;
        }),
        ("a revocation whose list was taken", |bed| {
            let mut leaf = bed.leaf("a");
            leaf.issued_at = NOW - DAY / 2;
            let serial = bed.issue(leaf).serial;
            let of_serial = |record: &&mut Record| record.serial == serial;
            let older = bed.inventory.certificates.iter_mut().find(of_serial).unwrap();
            older.revoked = Some(Revoked { at: NOW - 2460, reason: "superseded".to_owned() });
            bed.inventory.bundles[0].revoked = vec![serial];
            bed.node("a").secrets[1].accepted_version = "v1".to_owned();
            bed.node("a").secrets[1].sent_version = "v1".to_owned();
        }),
        ("no tickets", |bed| {
            bed.thresholds.allow_session_tickets = false;
            for name in ["a", "b"] {
                bed.node(name).listeners[0].tickets = Some(Tickets::None);
            }
        }),
    ];
    for (what, plant) in cases {
        let mut bed = Bed::new();
        plant(&mut bed);
        assert_eq!(bed.audit().findings, [], "{what}");
    }
}

#[test]
fn every_fault_is_found_by_its_check_and_by_no_other() {
    let mut wrong = Vec::new();
    for (number, (id, plant)) in FAULTS.iter().chain(&LIVE_FAULTS).enumerate() {
        let mut bed = Bed::new();
        plant(&mut bed);
        // The log holds whatever was issued; only its own faults are beside it.
        if *id != "A03" {
            bed.seal();
        }
        let report = bed.audit();
        let mut found: Vec<&str> = report.findings.iter().map(|finding| finding.id.as_str()).collect();
        found.dedup();
        if found != [*id] {
            let messages: Vec<_> =
                report.findings.iter().map(|f| format!("{} {}: {}", f.id, f.subject, f.message)).collect();
            wrong.push(format!("{number}. {id}: {messages:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_check_is_without_a_planted_fault() {
    for check in CHECKS {
        assert!(FAULTS.iter().chain(&LIVE_FAULTS).any(|(id, _)| *id == check.id), "{} has none", check.id);
    }
}

#[test]
fn ids_and_names_are_unique_and_the_ids_are_the_forty() {
    let ids: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
    let expected: Vec<String> = [("A", 9), ("B", 9), ("C", 6), ("D", 7), ("E", 9)]
        .iter()
        .flat_map(|(group, count)| (1..=*count).map(move |number| format!("{group}{number:02}")))
        .collect();
    assert_eq!(ids, expected);
    for check in CHECKS {
        assert_eq!(find(check.name).unwrap().id, check.id);
        assert!(!check.why.is_empty() && !check.how.is_empty() && !check.fix.is_empty());
    }
}

#[test]
fn a_check_whose_data_is_missing_does_not_pass() {
    for check in CHECKS {
        for need in check.needs {
            let mut bed = Bed::new();
            let reason = "no permission".to_owned();
            bed.inventory.gaps.push(Gap { need: *need, node: None, reason });
            let report = bed.audit();
            let ran = report.checks.iter().find(|ran| ran.id == check.id).unwrap();
            assert_eq!(
                (ran.outcome.as_str(), ran.reason.as_str()),
                ("not-run", "no permission"),
                "{}",
                check.id
            );
            assert_eq!(report.exit_code(Severity::Warning), 5);
        }
    }
}

#[test]
fn a_node_that_does_not_report_makes_the_audit_incomplete_and_names_it() {
    let mut bed = Bed::new();
    bed.node("a").is_connected = false;
    let report = bed.audit();
    assert_eq!(report.exit_code(Severity::Warning), 5);
    let e01 = report.checks.iter().find(|ran| ran.id == "E01").unwrap();
    assert_eq!(e01.outcome.as_str(), "partial");
    assert!(
        e01.reason.starts_with("mesh/shop/virtualNode/a/i-1: its agent is not connected"),
        "{}",
        e01.reason
    );
    let a01 = report.checks.iter().find(|ran| ran.id == "A01").unwrap();
    assert_eq!(a01.outcome.as_str(), "passed", "what does not look at nodes is not touched by it");
    assert_eq!((report.coverage.nodes, report.coverage.nodes_examined), (2, 1));
}

#[test]
fn a_node_that_said_nothing_for_more_than_a_minute_does_not_report() {
    for (ago, examined, code) in [(60, 2, 0), (61, 1, 5)] {
        let mut bed = Bed::new();
        bed.node("a").reported_at = Some(NOW - ago);
        let report = bed.audit();
        assert_eq!(
            (report.coverage.nodes_examined, report.exit_code(Severity::Info)),
            (examined, code),
            "{ago} s"
        );
    }
}

#[test]
fn a_strict_port_of_which_an_agent_tells_nothing_makes_the_audit_incomplete() {
    let cases: [(&str, Plant, u8); 4] = [
        ("another listener", |bed| bed.node("a").listeners[0].port = 9090, 5),
        (
            "one more",
            |bed| {
                let mut other = bed.node("a").listeners[0].clone();
                other.port = 9090;
                bed.node("a").listeners.push(other);
            },
            0,
        ),
        ("another of a port that is not STRICT", |bed| bed.node("b").listeners[0].port = 9090, 0),
        ("none at all, which the server tells", |bed| bed.node("a").listeners.clear(), 0),
    ];
    for (what, plant, code) in cases {
        let mut bed = Bed::new();
        plant(&mut bed);
        let report = bed.audit();
        assert_eq!(
            (report.findings.len(), report.exit_code(Severity::Info)),
            (0, code),
            "{what}: {:?}",
            report.gaps
        );
        let is_said = report.gaps.iter().any(|gap| gap.reason == "its Envoy has no listener for port 8080");
        assert_eq!(is_said, code == 5, "{what}");
    }
}

#[test]
fn records_without_their_certificates_are_said_to_be_so() {
    let mut bed = Bed::new();
    bed.inventory.certificates[0].der = None;
    let report = bed.audit();
    assert_eq!(report.findings, []);
    let a02 = report.checks.iter().find(|ran| ran.id == "A02").unwrap();
    assert_eq!(
        (a02.outcome.as_str(), a02.reason.as_str()),
        ("partial", "1 records are without their certificate")
    );
    assert!(report.gaps.iter().any(|gap| gap.need == Need::Der));
    assert_eq!(report.exit_code(Severity::Critical), 5);
}

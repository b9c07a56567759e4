//! A. The issuance log and the signer.

use signet_audit::inventory::{Place, Record};

use super::{Case, each_is_as_it_says};
use crate::bed::{Bed, Ca, DAY, Leaf, NOW, authority_params, node_name, spiffe_id};

/// So many certificates of the node `a`, one every so many seconds.
fn burst(bed: &mut Bed, count: i64, apart: i64) {
    for number in 0..count {
        let leaf = bed.leaf("a");
        bed.issue(Leaf { issued_at: NOW - DAY / 2 + number * apart, ..leaf });
    }
}

/// So many of a node of which nobody registered how many instances there are; two report.
fn of_two_that_report(bed: &mut Bed, count: i64) {
    bed.workload("a").instances = None;
    let leaf = bed.leaf("a");
    let record = bed.issue(Leaf { issued_at: NOW - DAY / 8, ..leaf });
    bed.serve("a", "i-2", &record);
    burst(bed, count, 1);
}

/// So many of them that live for an hour, one every second.
fn short_lives(bed: &mut Bed, count: i64) {
    for number in 0..count {
        let leaf = bed.leaf("a");
        bed.issue(Leaf { issued_at: NOW - DAY / 2 + number, life: 3540, ..leaf });
    }
}

/// A certificate of a workload that exists and has no node, which ended so long ago.
fn fell_silent(bed: &mut Bed, ago: i64) {
    let leaf = bed.leaf("c");
    bed.issue(Leaf { issued_at: NOW - DAY - ago, ..leaf });
    let mut known = bed.workload("a").clone();
    known.workload = node_name("c");
    (known.dns_names, known.spiffe_ids) = (vec!["c.shop.local".to_owned()], vec![spiffe_id("c")]);
    bed.inventory.workloads.push(known);
}

/// A certificate that nobody was seen to hold, signed so long ago.
fn undelivered(bed: &mut Bed, ago: i64) -> &mut Record {
    let leaf = bed.leaf("a");
    bed.issue(Leaf { issued_at: NOW - ago, ..leaf });
    let record = bed.inventory.certificates.last_mut().unwrap();
    record.delivered_at = None;
    record
}

/// A certificate with this serial.
fn short_serial(bed: &mut Bed, text: &str, change: fn(&mut rcgen::CertificateParams)) {
    let leaf = bed.leaf("a");
    bed.issue(Leaf { issued_at: NOW - DAY / 2, change, ..leaf });
    bed.inventory.certificates.last_mut().unwrap().serial = text.to_owned();
}

/// A certificate whose serial is so much more than another's.
fn apart(bed: &mut Bed, step: u128) {
    let other: [u8; 16] = hex::decode(&bed.inventory.certificates[0].serial).unwrap().try_into().unwrap();
    let leaf = bed.leaf("a");
    let serial = (u128::from_be_bytes(other) + step).to_be_bytes();
    bed.issue(Leaf { serial, issued_at: NOW - DAY / 2, ..leaf });
}

/// A start so long before the issue, by a server that starts certificates two minutes before.
fn backdated(bed: &mut Bed, seconds: i64) {
    bed.inventory.terms.backdate = 120;
    let record = bed.newest("a");
    record.issued_at = record.not_before + seconds;
}

const RECORDS: [Case; 16] = [
    (
        "another digest",
        |bed| bed.newest("a").fingerprint = "0".repeat(64),
        &["A01 critical", "E01 critical"],
        "(digest: ",
    ),
    ("another key", |bed| bed.newest("a").key_hash = "0".repeat(64), &["A01 critical"], "(key: "),
    ("another identity", |bed| bed.newest("a").spiffe_id = spiffe_id("x"), &["A01 critical"], "(identity: "),
    ("another start", |bed| bed.newest("a").not_before += 1, &["A01 critical"], "(start: "),
    ("another end", |bed| bed.newest("a").not_after += 1, &["A01 critical"], "(end: "),
    (
        "another name",
        |bed| bed.newest("a").dns_names.push("x.shop.local".to_owned()),
        &["A01 critical"],
        "(DNS names: ",
    ),
    (
        "an issuer that nobody knows",
        |bed| {
            let params = authority_params("Nobody", Place::Issuer, NOW - 10 * DAY, NOW + 350 * DAY);
            let leaf = bed.leaf("a");
            let record = Ca::root("mesh/shop", params).sign(leaf);
            bed.inventory.certificates.push(record);
        },
        &["A02 critical"],
        "no authority has the name",
    ),
    (
        "another issuer in the record",
        |bed| bed.newest("a").issuer = "mesh/other".to_owned(),
        &["A02 critical"],
        "mesh/shop signed it, and the record says mesh/other",
    ),
    ("a start that is just far enough back", |bed| bed.newest("a").issued_at += 30, &[], ""),
    (
        "a start a second too far back",
        |bed| bed.newest("a").issued_at += 31,
        &["A05 warning"],
        "it starts 91 s before it was issued; at most 90 s",
    ),
    ("a start as far back as the server starts them", |bed| backdated(bed, 120), &[], ""),
    ("and a second further", |bed| backdated(bed, 121), &["A05 warning"], "at most 120 s are allowed"),
    ("a start that is just near enough", |bed| bed.newest("a").issued_at -= 150, &[], ""),
    (
        "a start in the future",
        |bed| bed.newest("a").issued_at -= 151,
        &["A05 warning"],
        "it starts 91 s after it was issued",
    ),
    ("nobody who asked", |bed| bed.newest("a").requester = None, &["A06 critical"], "does not say who asked"),
    (
        "no proof of who it was",
        |bed| bed.newest("a").attestation = None,
        &["A06 critical"],
        "does not say how they proved who they are",
    ),
];

const SERIALS: [Case; 6] = [
    (
        "one serial twice",
        |bed| {
            let serial = hex::decode(&bed.inventory.certificates[0].serial).unwrap().try_into().unwrap();
            let leaf = bed.leaf("a");
            let again = bed.issuer.sign(Leaf { serial, issued_at: NOW - DAY / 2, ..leaf });
            // What is looked up by serial is the one that was there.
            bed.inventory.certificates.insert(0, again);
        },
        &["A04 critical"],
        "2 certificates have this serial",
    ),
    (
        "serials a little more than a counter's step apart",
        |bed| {
            let mut leaf = bed.leaf("a");
            leaf.serial = hex::decode(&bed.inventory.certificates[0].serial).unwrap().try_into().unwrap();
            leaf.serial[11] = leaf.serial[11].wrapping_add(2);
            leaf.issued_at = NOW - DAY / 2;
            bed.issue(leaf);
        },
        &[],
        "",
    ),
    ("serials a counter's longest step apart", |bed| apart(bed, 1 << 32), &[], ""),
    ("and one less", |bed| apart(bed, (1 << 32) - 1), &["A04 critical"], "the serial is next to"),
    (
        "the shortest serials that are random enough, next to each other",
        |bed| {
            short_serial(bed, "404040404040404041", |params| {
                params.serial_number = Some([&[0x40; 8][..], &[0x41]].concat().into());
            });
            short_serial(bed, "404040404040404042", |params| {
                params.serial_number = Some([&[0x40; 8][..], &[0x42]].concat().into());
            });
        },
        &["A04 critical"],
        "the serial is next to 404040404040404041",
    ),
    (
        "serials with an octet for the sign",
        |bed| {
            for last in [1, 2] {
                let mut leaf = bed.leaf("a");
                (leaf.serial, leaf.issued_at) = ([0x90; 16], NOW - DAY / 2);
                leaf.serial[15] = last;
                bed.issue(leaf);
            }
        },
        &["A04 critical"],
        "the serial is next to",
    ),
];

const LOG: [Case; 5] = [
    (
        "an entry that cannot be read",
        |bed| bed.inventory.log.as_mut().unwrap().faults.push("entry 2 is torn".to_owned()),
        &["A03 critical"],
        "entry 2 is torn",
    ),
    (
        "a hash that is none",
        |bed| bed.inventory.log.as_mut().unwrap().hashes[0] = "zz".to_owned(),
        &["A03 critical"],
        "an entry's hash is no SHA-256",
    ),
    (
        "another head",
        |bed| bed.inventory.log.as_mut().unwrap().root = "0".repeat(64),
        &["A03 critical"],
        "and once had 0000",
    ),
    (
        "an anchor that holds",
        |bed| {
            let log = bed.inventory.log.as_mut().unwrap();
            log.anchors = vec![(log.size, log.root.clone()), (1, log.hashes[0].clone())];
        },
        &[],
        "",
    ),
    (
        "an anchor that does not",
        |bed| {
            let log = bed.inventory.log.as_mut().unwrap();
            log.anchors = vec![(1, log.hashes[0].clone()), (2, log.hashes[0].clone())];
        },
        &["A03 critical"],
        "the first 2 entries have the root",
    ),
];

const RULES: [Case; 25] = [
    (
        "a spec that changed a second before",
        |bed| {
            let issued_at = bed.newest("a").issued_at;
            let known = bed.workload("a");
            (known.dns_names, known.changed_at) = (Vec::new(), issued_at - 1);
        },
        &["D02 critical"],
        "",
    ),
    (
        "a spec that changed in the same second",
        |bed| {
            let issued_at = bed.newest("a").issued_at;
            let known = bed.workload("a");
            (known.dns_names, known.changed_at) = (Vec::new(), issued_at);
        },
        &["A07 warning"],
        "may no longer hold a.shop.local",
    ),
    (
        "a name that is another's since",
        |bed| {
            let known = bed.workload("a");
            (known.dns_names, known.changed_at) = (Vec::new(), NOW - 60);
            bed.workload("b").dns_names.push("a.shop.local".to_owned());
        },
        &["D02 critical"],
        "may not hold a.shop.local",
    ),
    ("as many as can be explained", |bed| burst(bed, 14, 1), &[], ""),
    ("one more", |bed| burst(bed, 15, 1), &["A08 warning"], "15 certificates within an hour; 14 can be"),
    ("fifteen in an hour and a second", |bed| burst(bed, 15, 258), &[], ""),
    (
        "sixteen of which two are an hour apart",
        |bed| burst(bed, 16, 240),
        &["A08 warning"],
        "15 certificates within an hour; 14 can be",
    ),
    ("as many as two that report explain", |bed| of_two_that_report(bed, 18), &[], ""),
    (
        "one more",
        |bed| of_two_that_report(bed, 19),
        &["A08 warning"],
        "19 certificates within an hour; 18 can be",
    ),
    (
        "as many as can be explained where no instance is known",
        |bed| {
            bed.workload("a").instances = None;
            bed.inventory.nodes.remove(0);
            burst(bed, 14, 1);
        },
        &[],
        "",
    ),
    ("as many as lives of an hour explain", |bed| short_lives(bed, 22), &[], ""),
    ("one more", |bed| short_lives(bed, 23), &["A08 warning"], "23 certificates within an hour; 22 can be"),
    (
        "more instances",
        |bed| {
            bed.workload("a").instances = Some(2);
            burst(bed, 18, 1);
        },
        &[],
        "",
    ),
    (
        "too many for two instances",
        |bed| {
            bed.workload("a").instances = Some(2);
            burst(bed, 19, 1);
        },
        &["A08 warning"],
        "19 certificates within an hour; 18 can be",
    ),
    ("an end this second", |bed| fell_silent(bed, 0), &[], ""),
    ("an end a second ago", |bed| fell_silent(bed, 1), &["A08 info"], "its last certificate ended 1 s ago"),
    ("an end almost a week ago", |bed| fell_silent(bed, 7 * DAY - 1), &["A08 info"], ""),
    ("an end a week ago", |bed| fell_silent(bed, 7 * DAY), &[], ""),
    (
        "an end a day ago, and another that is to come",
        |bed| {
            fell_silent(bed, DAY);
            let leaf = bed.leaf("c");
            bed.issue(leaf);
        },
        &[],
        "",
    ),
    (
        "ten minutes on the way",
        |bed| {
            undelivered(bed, 600);
        },
        &[],
        "",
    ),
    (
        "a second longer",
        |bed| {
            undelivered(bed, 601);
        },
        &["A09 info"],
        "it was signed 601 s ago",
    ),
    (
        "signed when nobody watched",
        |bed| {
            undelivered(bed, 3600);
            bed.inventory.watched_since = Some(NOW - 3599);
        },
        &[],
        "",
    ),
    (
        "signed in the second from which on deliveries are watched",
        |bed| {
            undelivered(bed, 3600);
            bed.inventory.watched_since = Some(NOW - 3600);
        },
        &["A09 info"],
        "",
    ),
    (
        "renewed since",
        |bed| {
            let serial = undelivered(bed, 3600).serial.clone();
            let leaf = bed.leaf("a");
            bed.issue(Leaf { predecessor: Some(serial), ..leaf });
        },
        &[],
        "",
    ),
    (
        "the server's own",
        |bed| {
            let own = bed.inventory.certificates.iter_mut().find(|record| record.workload.is_none()).unwrap();
            own.delivered_at = None;
        },
        &[],
        "",
    ),
];

#[test]
fn records_and_their_certificates() {
    each_is_as_it_says(&RECORDS);
}

#[test]
fn serials() {
    each_is_as_it_says(&SERIALS);
}

#[test]
fn the_log() {
    each_is_as_it_says(&LOG);
}

#[test]
fn rules_rates_and_deliveries() {
    each_is_as_it_says(&RULES);
}

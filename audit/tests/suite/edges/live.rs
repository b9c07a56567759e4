//! E. Live Envoys.

use signet_audit::inventory::{Der, Loaded, Mode, Peer, Place, Probe, Revoked, Standing};

use super::{Case, each_is_as_it_says};
use crate::bed::{Bed, DAY, Leaf, NOW, authority_params};

const MINUTE: time::Duration = time::Duration::MINUTE;

fn pending(bed: &mut Bed, ago: i64) {
    let secret = &mut bed.node("a").secrets[0];
    (secret.sent_version, secret.at) = ("2".to_owned(), NOW - ago);
}

/// A renewal of so long ago that the proxy does not use.
fn renewed(bed: &mut Bed, ago: i64) {
    let older = bed.newest("a").serial.clone();
    let leaf = bed.leaf("a");
    bed.issue(Leaf { predecessor: Some(older), issued_at: NOW - ago, ..leaf });
}

/// A valid certificate that nobody serves was revoked so long ago, and the trust that an Envoy took lists nothing.
fn unlisted(bed: &mut Bed, ago: i64) {
    let leaf = bed.leaf("a");
    bed.issue(Leaf { issued_at: NOW - DAY / 2, ..leaf });
    let record = bed.inventory.certificates.last_mut().unwrap();
    record.revoked = Some(Revoked { at: NOW - ago, reason: "superseded".to_owned() });
    let secret = &mut bed.node("a").secrets[1];
    (secret.accepted_version, secret.sent_version) = ("v1".to_owned(), "v1".to_owned());
}

/// A certificate with so much of its day and a minute left, which is not to be renewed in time.
fn left(bed: &mut Bed, seconds: i64) {
    bed.thresholds.renewal_grace_seconds = DAY;
    bed.replace("a", |leaf| leaf.issued_at = NOW - DAY + seconds);
}

/// A certificate with less than a third left, and a renewal that is planned for so many seconds from now.
fn planned(bed: &mut Bed, seconds: i64) {
    left(bed, 28_531);
    bed.node("a").renewal.as_mut().unwrap().next = NOW + seconds;
}

/// An agent whose proxy presents nothing, with a renewal that was due so long ago.
fn due(bed: &mut Bed, ago: i64) {
    let node = bed.node("a");
    node.presented.clear();
    node.renewal.as_mut().unwrap().next = NOW - ago;
}

fn strict_and_optional(bed: &mut Bed) {
    let port = &mut bed.inventory.ports[1];
    (port.declared, port.in_force, port.peer) = (Mode::Strict, Mode::Strict, Peer::Optional);
    let listener = &mut bed.node("b").listeners[0];
    (listener.takes_plaintext, listener.plaintext_probe) = (false, Some(Probe::Refused));
}

fn fed_permissive(bed: &mut Bed, ago: i64) {
    bed.inventory.ports[0].in_force = Mode::Permissive;
    bed.workload("a").changed_at = NOW - ago;
}

/// A valid certificate that an issuer signed which is retired since, and that was revoked.
fn revoked_of_a_retired_issuer(bed: &mut Bed) {
    unlisted(bed, 3600);
    bed.inventory.certificates.pop();
    let params = authority_params("Signet shop before", Place::Issuer, NOW - 10 * DAY, NOW + 350 * DAY);
    let before = bed.root.below("mesh/shop", params);
    bed.inventory.authorities.push(before.authority(Place::Issuer, Standing::Retired, NOW - 60));
    let leaf = bed.leaf("a");
    let mut record = before.sign(Leaf { issued_at: NOW - DAY / 2, ..leaf });
    record.revoked = Some(Revoked { at: NOW - 3600, reason: "superseded".to_owned() });
    bed.inventory.certificates.push(record);
}

const SERVED: [Case; 14] = [
    ("what a retired issuer signed needs no list", revoked_of_a_retired_issuer, &[], ""),
    (
        "what is no certificate",
        |bed| bed.node("a").presented[0].leaf = Some(Der(b"none".to_vec())),
        &["E01 critical"],
        "what it presents cannot be read",
    ),
    (
        "another certificate under a serial of ours",
        |bed| {
            let serial = hex::decode(&bed.newest("a").serial).unwrap().try_into().unwrap();
            let leaf = bed.leaf("a");
            let forged = bed.issuer.sign(Leaf { serial, ..leaf });
            bed.node("a").presented[0].leaf = forged.der;
        },
        &["E01 critical"],
        "it presents another certificate than the ledger has under this serial",
    ),
    (
        "a loaded certificate that nobody knows",
        |bed| bed.node("a").loaded.push(Loaded { serial: "77".repeat(16) }),
        &["E01 critical"],
        "the ledger does not know a certificate that its Envoy has loaded",
    ),
    (
        "a stranger that is presented and loaded is named once",
        |bed| {
            let leaf = bed.leaf("a");
            let stranger = bed.issuer.sign(leaf);
            let node = bed.node("a");
            node.presented[0].leaf = stranger.der;
            node.loaded = vec![Loaded { serial: stranger.serial }];
        },
        &["E01 critical"],
        "",
    ),
    (
        "an issuer's certificate among what is loaded",
        |bed| {
            bed.replace_issuer(NOW + 350 * DAY, |params| params.serial_number = Some(vec![0x11; 16].into()));
            bed.node("a").loaded.push(Loaded { serial: "11".repeat(16) });
        },
        &[],
        "",
    ),
    (
        "a serial whose zeros Envoy leaves out",
        |bed| {
            bed.replace("a", |leaf| leaf.serial[0] = 0);
            let loaded = &mut bed.node("a").loaded[0];
            loaded.serial = loaded.serial.trim_start_matches('0').to_owned();
        },
        &[],
        "",
    ),
    (
        "a revoked certificate that is only loaded",
        |bed| {
            let older = &mut bed.inventory.certificates[0];
            older.revoked = Some(Revoked { at: NOW - 2 * DAY, reason: "superseded".to_owned() });
            let serial = older.serial.clone();
            bed.node("a").loaded.push(Loaded { serial });
        },
        &["E03 critical"],
        "it was revoked 172800 s ago (superseded), and is still served",
    ),
    ("a list that is ten minutes behind", |bed| unlisted(bed, 600), &[], ""),
    (
        "a list that is more behind",
        |bed| unlisted(bed, 601),
        &["E03 critical"],
        "which lacks what was revoked",
    ),
    (
        "what ended needs no list",
        |bed| {
            unlisted(bed, 3600);
            let record = bed.inventory.certificates.last_mut().unwrap();
            let revoked = record.revoked.take();
            bed.inventory.certificates[0].revoked = revoked;
        },
        &[],
        "",
    ),
    ("a secret on its way", |bed| pending(bed, 600), &[], ""),
    (
        "a secret not taken",
        |bed| pending(bed, 601),
        &["E02 warning"],
        "has not taken the secret default for 601 s",
    ),
    ("a renewal on its way", |bed| renewed(bed, 600), &[], ""),
];

const LIVES: [Case; 21] = [
    (
        "a renewal not taken",
        |bed| renewed(bed, 601),
        &["E02 warning"],
        "followed it 601 s ago, and it is still in use",
    ),
    ("a third left", |bed| left(bed, 28_532), &[], ""),
    ("a second less", |bed| left(bed, 28_531), &["E04 warning"], "28531 s of its life are left, of 86460"),
    ("a tenth left", |bed| left(bed, 8646), &["E04 warning"], ""),
    ("a second less", |bed| left(bed, 8645), &["E04 critical"], ""),
    ("an end a second ago", |bed| left(bed, -1), &["E04 critical"], "it ended 1 s ago"),
    ("a renewal that is due this second", |bed| planned(bed, 0), &[], ""),
    ("one that was due a second ago", |bed| planned(bed, -1), &["E04 warning"], ""),
    ("one at the latest moment, 70 % of the life", |bed| planned(bed, 2592), &[], ""),
    ("one a second after that", |bed| planned(bed, 2593), &["E04 warning"], ""),
    (
        "a life of no more than its last second",
        |bed| {
            bed.thresholds.shortest_life_seconds = Some(0);
            bed.replace("a", |leaf| {
                leaf.issued_at = NOW;
                leaf.change = |params| {
                    (params.not_before, params.not_after) =
                        (params.not_before + MINUTE, params.not_before + MINUTE);
                };
            });
        },
        &["E04 critical"],
        "0 s of its life are left, of 1",
    ),
    (
        "a renewal that is planned in time, and failed before",
        |bed| {
            left(bed, 28_531);
            let renewal = bed.node("a").renewal.as_mut().unwrap();
            (renewal.next, renewal.failures) = (NOW + 60, 1);
        },
        &["E04 warning", "E05 warning"],
        "its renewal failed 1 times",
    ),
    ("a renewal five minutes late", |bed| due(bed, 300), &[], ""),
    ("a second later", |bed| due(bed, 301), &["E05 critical"], "its renewal is 301 s late"),
    (
        "of two certificates the newer one says when a renewal is late",
        |bed| {
            let leaf = bed.leaf("a");
            let older = bed.issue(Leaf { issued_at: NOW - DAY * 8 / 10, ..leaf });
            let node = bed.node("a");
            let mut presented = node.presented[0].clone();
            presented.leaf = older.der;
            node.presented.push(presented);
        },
        &["E04 warning"],
        "",
    ),
    (
        "a stranger's certificate is not the agent's to renew",
        |bed| {
            let leaf = bed.leaf("a");
            let stranger = bed.issuer.sign(Leaf { life: 80 * DAY, ..leaf });
            due(bed, 301);
            let mut presented = bed.node("b").presented[0].clone();
            presented.leaf = stranger.der;
            let node = bed.node("a");
            node.presented = vec![presented];
        },
        &["E01 critical", "E05 critical"],
        "",
    ),
    (
        "a port without TLS needs no certificate",
        |bed| {
            let port = &mut bed.inventory.ports[1];
            (port.declared, port.in_force) = (Mode::Disabled, Mode::Disabled);
            let node = bed.node("b");
            node.loaded.clear();
            node.presented.clear();
        },
        &[],
        "",
    ),
    (
        "a port with TLS does",
        |bed| {
            let node = bed.node("b");
            node.loaded.clear();
            node.presented.clear();
        },
        &["E06 critical"],
        "port 8080 takes TLS, and there is no certificate",
    ),
    ("one that is loaded is one", |bed| bed.node("a").presented[0].leaf = None, &[], ""),
    ("one that is presented is one", |bed| bed.node("a").loaded.clear(), &[], ""),
    (
        "a clock that is more than a minute slow",
        |bed| bed.node("a").clock_ahead_ms = Some(-60_001),
        &["E09 critical"],
        "its clock is 60001 ms slow",
    ),
];

fn suites(bed: &mut Bed, names: &[&str]) {
    bed.node("a").listeners[0].cipher_suites = names.iter().map(|name| (*name).to_owned()).collect();
}

/// A clock of which not a millisecond is let pass.
fn ahead(bed: &mut Bed, milliseconds: i64) {
    bed.thresholds.skew_warning_ms = 0;
    bed.inventory.nodes.iter_mut().for_each(|node| node.clock_ahead_ms = Some(0));
    bed.node("a").clock_ahead_ms = Some(milliseconds);
}

const LISTENERS: [Case; 19] = [
    ("no certificate where one is optional", strict_and_optional, &[], ""),
    (
        "a chain without TLS where it is optional",
        |bed| {
            strict_and_optional(bed);
            bed.node("b").listeners[0].takes_plaintext = true;
        },
        &["E07 critical"],
        "has a filter chain without TLS",
    ),
    ("ten minutes on the way to STRICT", |bed| fed_permissive(bed, 600), &[], ""),
    (
        "a second longer",
        |bed| fed_permissive(bed, 601),
        &["E07 critical"],
        "declared STRICT 601 s ago, and its proxies are still fed a weaker mode",
    ),
    (
        "an old version where there is no TLS",
        |bed| {
            let listener = &mut bed.node("b").listeners[0];
            (listener.takes_tls, listener.lowest_protocol) = (false, Some("TLSv1.0".to_owned()));
        },
        &[],
        "",
    ),
    (
        "a version below a higher limit",
        |bed| {
            bed.thresholds.lowest_protocol = "TLSv1.3".to_owned();
            bed.node("b").listeners[0].lowest_protocol = Some("TLSv1.3".to_owned());
        },
        &["E08 warning"],
        "it accepts TLSv1.2; the lowest allowed is TLSv1.3",
    ),
    (
        "a limit that is no version, and 1.2",
        |bed| bed.thresholds.lowest_protocol = "none".to_owned(),
        &[],
        "",
    ),
    (
        "the same, and an older one",
        |bed| {
            bed.thresholds.lowest_protocol = "none".to_owned();
            bed.node("b").listeners[0].lowest_protocol = Some("TLSv1.1".to_owned());
        },
        &["E08 warning"],
        "it accepts TLSv1.1; the lowest allowed is TLSv1.2",
    ),
    (
        "good suites",
        |bed| {
            suites(
                bed,
                &["ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"],
            );
        },
        &[],
        "",
    ),
    (
        "one without forward secrecy",
        |bed| suites(bed, &["AES128-GCM-SHA256"]),
        &["E08 warning"],
        "it accepts AES128-GCM",
    ),
    (
        "one with CBC",
        |bed| suites(bed, &["ECDHE-RSA-AES128-SHA"]),
        &["E08 warning"],
        "it accepts ECDHE-RSA-AES128-SHA",
    ),
    ("five seconds fast", |bed| bed.node("a").clock_ahead_ms = Some(5000), &[], ""),
    ("a millisecond more", |bed| bed.node("a").clock_ahead_ms = Some(5001), &["E09 warning"], "5001 ms fast"),
    ("a minute fast", |bed| bed.node("a").clock_ahead_ms = Some(60_000), &["E09 warning"], ""),
    ("a millisecond more", |bed| bed.node("a").clock_ahead_ms = Some(60_001), &["E09 critical"], ""),
    ("a millisecond fast", |bed| ahead(bed, 1), &["E09 warning"], "its clock is 1 ms fast"),
    ("a millisecond slow", |bed| ahead(bed, -1), &["E09 warning"], "its clock is 1 ms slow"),
    ("five seconds slow", |bed| bed.node("a").clock_ahead_ms = Some(-5000), &[], ""),
    (
        "a millisecond more",
        |bed| bed.node("a").clock_ahead_ms = Some(-5001),
        &["E09 warning"],
        "5001 ms slow",
    ),
];

#[test]
fn what_is_served() {
    each_is_as_it_says(&SERVED);
}

#[test]
fn lives_and_renewals() {
    each_is_as_it_says(&LIVES);
}

#[test]
fn what_listeners_and_clocks_are_like() {
    each_is_as_it_says(&LISTENERS);
}

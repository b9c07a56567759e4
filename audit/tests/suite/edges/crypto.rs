//! C. Cryptography.

use rcgen::KeyPair;
use sha2::{Digest as _, Sha256};
use signet_audit::inventory::Der;

use super::{Case, each_is_as_it_says};
use crate::bed::{Bed, DAY, Leaf, NOW, copy, node_name};

/// The older certificate of the node `a`, which nobody serves, with one octet changed where `found` ends.
fn patch(bed: &mut Bed, found: &[u8], octet: u8) {
    let record = &mut bed.inventory.certificates[0];
    let der = &mut record.der.as_mut().unwrap().0;
    let at = der.windows(found.len()).position(|part| part == found).unwrap();
    der[at + found.len() - 1] = octet;
    record.fingerprint = hex::encode(Sha256::digest(&*der));
}

/// Certificates of one identity with one key, the newest of which is served.
fn same_key(bed: &mut Bed, count: i64) {
    let key = KeyPair::generate().unwrap();
    for number in 1..count {
        let older = bed.leaf("a");
        bed.issue(Leaf { key: copy(&key), issued_at: NOW - DAY / 2 - number, ..older });
    }
    bed.replace("a", |leaf| leaf.key = key);
}

/// All certificates of the node `a` came by this token.
fn joined_with(bed: &mut Bed, token: &str) {
    let all = bed.inventory.certificates.iter_mut();
    let own = all.filter(|record| record.workload == Some(node_name("a")));
    own.for_each(|record| record.join_token = Some(token.to_owned()));
}

const CASES: [Case; 10] = [
    (
        "another algorithm inside than outside",
        // ecdsa-with-SHA256, of which the first is inside, becomes ecdsa-with-SHA384.
        |bed| patch(bed, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], 3),
        &["A02 critical", "C02 critical"],
        "the algorithm inside the signed part is another",
    ),
    (
        "a blocked key in capitals",
        |bed| bed.thresholds.blocked_keys = vec![bed.newest("a").key_hash.to_uppercase()],
        &["C03 critical"],
        "on the list of blocked keys",
    ),
    (
        "an issuer's key that is blocked",
        |bed| {
            let public = rcgen::PublicKeyData::subject_public_key_info(&bed.issuer.key);
            bed.thresholds.blocked_keys = vec![hex::encode(Sha256::digest(public))];
        },
        &["C03 critical"],
        "authority mesh/shop",
    ),
    (
        "as many with one key as may be",
        |bed| {
            bed.thresholds.certificates_per_key = 3;
            same_key(bed, 3);
        },
        &[],
        "",
    ),
    (
        "one more",
        |bed| {
            bed.thresholds.certificates_per_key = 3;
            same_key(bed, 4);
        },
        &["C05 warning"],
        "4 certificates of its identity have this key; 3 may",
    ),
    ("a key that came along", |bed| same_key(bed, 2), &["C05 warning"], "2 certificates"),
    (
        "a join that was answered twice",
        |bed| {
            same_key(bed, 2);
            joined_with(bed, "one");
        },
        &[],
        "",
    ),
    (
        "a join with another token and the same key",
        |bed| {
            same_key(bed, 2);
            joined_with(bed, "one");
            bed.newest("a").join_token = Some("another".to_owned());
        },
        &["C05 warning"],
        "2 certificates",
    ),
    (
        "no allowed kind",
        |bed| bed.thresholds.key_kinds = vec!["P-384".to_owned()],
        &["C01 critical"; 7],
        "its key is P-256; allowed are P-384",
    ),
    (
        "bytes that are no certificate",
        |bed| bed.inventory.certificates[0].der = Some(Der(vec![0x30, 0])),
        &["A01 critical"],
        "the stored certificate cannot be read",
    ),
];

#[test]
fn keys_and_algorithms() {
    each_is_as_it_says(&CASES);
}

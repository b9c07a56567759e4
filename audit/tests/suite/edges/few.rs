//! Of many that share a fault, a few are named; of several, the one that matters.

use rcgen::{KeyPair, SanType};
use signet_audit::{
    Finding,
    inventory::{Der, Place, Standing},
};

use crate::bed::{Bed, Ca, DAY, Leaf, NOW, authority_params, copy, node_name, spiffe_id};

/// The finding of a check, which is the only one.
fn found(bed: &Bed, id: &str) -> Finding {
    let mut found = bed.audit().findings;
    found.retain(|finding| finding.id == id);
    let [finding] = <[Finding; 1]>::try_from(found).unwrap();
    finding
}

#[test]
fn ten_of_the_identities_with_one_key_are_named() {
    let key = KeyPair::generate().unwrap();
    for (count, named) in [(10, 10), (11, 10)] {
        let mut bed = Bed::new();
        for number in 0..count {
            let leaf = bed.leaf("a");
            let uris = vec![spiffe_id(&format!("n{number}"))];
            bed.issue(Leaf { uris, key: copy(&key), ..leaf });
        }
        assert_eq!(found(&bed, "C04").evidence.len(), named, "of {count}");
    }
}

#[test]
fn ten_of_the_instances_with_one_certificate_are_named() {
    for (count, named) in [(10, 10), (11, 10)] {
        let mut bed = Bed::new();
        bed.workload("a").instances = None;
        let record = bed.newest("a").clone();
        (2..=count).for_each(|number| bed.serve("a", &format!("i-{number}"), &record));
        assert_eq!(found(&bed, "D07").evidence.len(), named, "of {count}");
    }
}

#[test]
fn five_of_the_uris_of_a_certificate_are_named() {
    let mut bed = Bed::new();
    bed.replace("a", |leaf| {
        leaf.change = |params| {
            let more = (1..6).map(|number| SanType::URI(spiffe_id(&number.to_string()).try_into().unwrap()));
            params.subject_alt_names.extend(more);
        };
    });
    let finding = found(&bed, "D01");
    assert_eq!((finding.message.as_str(), finding.evidence.len()), ("it has 6 URIs", 5));
}

#[test]
fn five_of_the_handshakes_that_failed_are_named() {
    for (count, named) in [(5, 5), (6, 5)] {
        let mut bed = Bed::new();
        let node = bed.node("a");
        node.loaded.clear();
        node.presented[0].leaf = None;
        node.presented[0].error = "refused".to_owned();
        node.presented = vec![node.presented[0].clone(); count];
        assert_eq!(found(&bed, "E06").evidence.len(), named, "of {count}");
    }
}

#[test]
fn of_the_certificates_with_one_key_the_newest_is_named_whatever_their_order() {
    for is_reversed in [false, true] {
        let mut bed = Bed::new();
        let key = KeyPair::generate().unwrap();
        let older = bed.leaf("a");
        bed.issue(Leaf { key: copy(&key), issued_at: NOW - DAY / 2, ..older });
        let newest = bed.replace("a", |leaf| leaf.key = key);
        if is_reversed {
            bed.inventory.certificates.reverse();
            bed.seal();
        }
        assert_eq!(found(&bed, "C05").subject.serial, Some(newest.serial));
    }
}

/// One bundle has the root that signs now, and one has not; each is a node's.
#[test]
fn a_proxy_is_a_laggard_by_its_own_bundle_and_not_by_another() {
    let mut bed = Bed::new();
    let other = Ca::root("other", authority_params("other", Place::Root, NOW - DAY, NOW + 3600 * DAY));
    bed.inventory.authorities.push(other.authority(Place::Root, Standing::Active, NOW - 60));
    let mut next = bed.inventory.bundles[0].clone();
    next.version = "v2".to_owned();
    next.roots.push(Der(other.der));
    bed.inventory.bundles.push(next);
    bed.node("b").trust_version = Some("v2".to_owned());
    let finding = found(&bed, "B08");
    assert_eq!(finding.subject.node, Some(node_name("a")));
}

//! D. Identity and profile.

use rcgen::{CertificateParams, CustomExtension, KeyUsagePurpose, SanType};
use signet_audit::inventory::{Revoked, Rival, Standing};

use super::{Case, each_is_as_it_says};
use crate::{
    bed::{Bed, DAY, DOMAIN, Leaf, NOW, node_name, spiffe_id},
    planted::unknown_extension,
};

fn named(bed: &mut Bed, name: &str) {
    bed.workload("a").dns_names.push(name.to_owned());
    bed.replace("a", |leaf| leaf.dns.push(name.to_owned()));
}

/// A leaf that lives so long, its first second included and its last one not.
fn living(bed: &mut Bed, life: i64) {
    bed.replace("a", |leaf| (leaf.life, leaf.issued_at) = (life - 60, NOW - 10));
}

fn contested(bed: &mut Bed, turns: u32, ago: i64) {
    bed.node("a").rival = Some(Rival { address: "10.0.0.9".to_owned(), turns, at: NOW - ago });
}

const NAMES: [Case; 15] = [
    (
        "a workload that is gone, whose certificate is revoked",
        |bed| {
            let leaf = bed.leaf("c");
            bed.issue(Leaf { issued_at: NOW - 60, uris: vec![spiffe_id("c")], ..leaf });
            let record = bed.inventory.certificates.last_mut().unwrap();
            record.revoked = Some(Revoked { at: NOW - 30, reason: "cessationOfOperation".to_owned() });
        },
        &[],
        "",
    ),
    (
        "a URI that is no SPIFFE ID",
        |bed| {
            bed.replace("a", |leaf| leaf.uris = vec!["https://shop.example/a".to_owned()]);
        },
        &["D01 critical"],
        "its URI is no SPIFFE ID",
    ),
    (
        "no URI",
        |bed| {
            bed.replace("a", |leaf| leaf.uris.clear());
        },
        &["D01 critical"],
        "it has 0 URIs",
    ),
    (
        "a server under another name",
        |bed| {
            let leaf = bed.leaf("a");
            let uris = vec![format!("spiffe://{DOMAIN}/signet/other")];
            bed.issue(Leaf { workload: String::new(), uris, dns: Vec::new(), ..leaf });
        },
        &["D02 critical"],
        "its workload may not hold spiffe://signet.internal/signet/other",
    ),
    ("localhost", |bed| named(bed, "localhost"), &["D03 warning"], "it has the names localhost"),
    ("a name below localhost", |bed| named(bed, "a.LOCALHOST"), &["D03 warning"], "a.LOCALHOST"),
    (
        "localhost where it may be",
        |bed| {
            bed.thresholds.allow_localhost = true;
            named(bed, "localhost");
        },
        &[],
        "",
    ),
    (
        "a wildcard where it may be",
        |bed| {
            bed.thresholds.allow_wildcards = true;
            named(bed, "*.shop.local");
        },
        &[],
        "",
    ),
    (
        "an address where it may be",
        |bed| {
            bed.thresholds.allow_addresses = true;
            bed.replace("a", |leaf| {
                leaf.change =
                    |params| params.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 1].into()));
            });
        },
        &[],
        "",
    ),
    (
        "a mail address",
        |bed| {
            bed.replace("a", |leaf| {
                leaf.change = |params| {
                    params.subject_alt_names.push(SanType::Rfc822Name("a@shop.local".try_into().unwrap()));
                };
            });
        },
        &["D03 warning"],
        "a@shop.local",
    ),
    (
        "a wildcard of the server",
        |bed| {
            let leaf = bed.leaf("a");
            let (uris, dns) =
                (vec![format!("spiffe://{DOMAIN}/signet/server")], vec!["*.shop.local".to_owned()]);
            bed.issue(Leaf { workload: String::new(), uris, dns, ..leaf });
        },
        &["D03 warning"],
        "*.shop.local",
    ),
    (
        "a workload that is gone, whose certificate ended",
        |bed| {
            let leaf = bed.leaf("c");
            bed.issue(Leaf { issued_at: NOW - 2 * DAY, uris: vec![spiffe_id("c")], ..leaf });
        },
        &[],
        "",
    ),
    (
        "one whose certificate has its last second",
        |bed| {
            let leaf = bed.leaf("c");
            bed.issue(Leaf { issued_at: NOW - DAY, ..leaf });
        },
        &["D06 warning"],
        "has 1 valid certificates",
    ),
    (
        "two certificates, of which the last to end is named",
        |bed| {
            for ago in [60, 120] {
                let leaf = bed.leaf("c");
                bed.issue(Leaf { issued_at: NOW - ago, ..leaf });
            }
        },
        &["D06 warning"],
        "ends at 1795737540)",
    ),
    (
        "one whose certificate has its first second",
        |bed| {
            let leaf = bed.leaf("c");
            bed.issue(Leaf { issued_at: NOW + 60, ..leaf });
        },
        &["D06 warning"],
        "has 1 valid certificates",
    ),
];

/// The names of the node `a`, in an extension that is not critical though there is no subject.
fn uncritical_names(params: &mut CertificateParams) {
    let names: [(u8, &str); 2] =
        [(0x86, "spiffe://signet.internal/mesh/shop/virtual-node/a"), (0x82, "a.shop.local")];
    let tagged = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let names: Vec<u8> = names.iter().flat_map(|(tag, name)| tagged(*tag, name.as_bytes())).collect();
    params.subject_alt_names.clear();
    params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], tagged(0x30, &names)));
}

const SHAPES: [Case; 14] = [
    (
        "names that are not critical",
        |bed| {
            bed.replace("a", |leaf| leaf.change = uncritical_names);
        },
        &["D04 critical"],
        "the subject is empty, and its alternative names are not critical",
    ),
    (
        "a subject, beside which names need not be critical",
        |bed| {
            bed.replace("a", |leaf| {
                leaf.change = |params| params.distinguished_name.push(rcgen::DnType::CommonName, "a");
            });
        },
        &[],
        "",
    ),
    (
        "no key usage",
        |bed| {
            bed.replace("a", |leaf| leaf.change = |params| params.key_usages.clear());
        },
        &["D04 critical"],
        "there is no key usage",
    ),
    (
        "another key usage",
        |bed| {
            bed.replace("a", |leaf| {
                leaf.change = |params| params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
            });
        },
        &["D04 critical"],
        "not digitalSignature alone",
    ),
    (
        "no purposes",
        |bed| {
            bed.replace("a", |leaf| leaf.change = |params| params.extended_key_usages.clear());
        },
        &["D04 critical"],
        "there is no extended key usage",
    ),
    (
        "one purpose",
        |bed| {
            bed.replace("a", |leaf| {
                leaf.change = |params| drop(params.extended_key_usages.pop());
            });
        },
        &["D04 critical"],
        "extended key usage is 1.3.6.1.5.5.7.3.1)",
    ),
    (
        "an extension that may be",
        |bed| {
            bed.thresholds.extra_extensions = vec!["1.3.6.1.4.1.99999.1".to_owned()];
            bed.replace("a", |leaf| leaf.change = unknown_extension);
        },
        &[],
        "",
    ),
    ("the shortest life", |bed| living(bed, 300), &[], ""),
    (
        "a second less",
        |bed| living(bed, 299),
        &["D05 critical"],
        "it lives 299 s; 300 to 7776060 are allowed",
    ),
    ("the longest life", |bed| living(bed, 90 * DAY + 60), &[], ""),
    ("a second more", |bed| living(bed, 90 * DAY + 61), &["D05 critical"], "it lives 7776061 s"),
    (
        "a short life that ends with its issuer",
        |bed| {
            bed.thresholds.issuer_expiry_days.critical = 0;
            bed.thresholds.issuer_expiry_days.warning = 0;
            bed.thresholds.issuer_expiry_days.info = 0;
            for record in &mut bed.inventory.certificates {
                record.der = None;
            }
            bed.inventory.nodes.clear();
            bed.inventory.certificates.clear();
            bed.replace_issuer(NOW + 200, |_| {});
            let leaf = bed.leaf("a");
            bed.issue(Leaf { issued_at: NOW - 10, life: 210, ..leaf });
        },
        &[],
        "",
    ),
    (
        "a shorter longest life",
        |bed| bed.thresholds.longest_life_seconds = Some(3600),
        &["D05 critical"; 5],
        "",
    ),
    (
        "a longer shortest life",
        |bed| bed.thresholds.shortest_life_seconds = Some(2 * DAY),
        &["D05 critical"; 5],
        "",
    ),
];

const HOLDERS: [Case; 8] = [
    ("two turns an hour ago", |bed| contested(bed, 2, 3600), &["D07 critical"], "took turns 2 times"),
    ("two turns longer ago", |bed| contested(bed, 2, 3601), &[], ""),
    ("one turn", |bed| contested(bed, 1, 1), &[], ""),
    (
        "two that present one certificate",
        |bed| {
            bed.workload("a").instances = None;
            let record = bed.newest("a").clone();
            bed.serve("a", "i-2", &record);
            bed.inventory.nodes.iter_mut().for_each(|node| node.loaded.clear());
        },
        &["D07 critical"],
        "2 instances hold this certificate",
    ),
    (
        "two that have loaded one certificate",
        |bed| {
            bed.workload("a").instances = None;
            let record = bed.newest("a").clone();
            bed.serve("a", "i-2", &record);
            let of_a = bed.inventory.nodes.iter_mut().filter(|node| node.workload == node_name("a"));
            of_a.for_each(|node| node.presented.clear());
        },
        &["D07 critical"],
        "2 instances hold this certificate",
    ),
    (
        "as many instances as are registered",
        |bed| {
            bed.workload("a").instances = Some(2);
            let leaf = bed.leaf("a");
            let record = bed.issue(leaf);
            bed.serve("a", "i-2", &record);
        },
        &[],
        "",
    ),
    (
        "an issuer that was revoked",
        |bed| {
            let revoked = Revoked { at: NOW - 60, reason: "cACompromise".to_owned() };
            bed.inventory.authorities[1].revoked = Some(revoked);
        },
        &["E03 critical", "E03 critical"],
        "its issuer mesh/shop was revoked, and it is still served",
    ),
    (
        "an issuer that is retired",
        |bed| {
            (bed.inventory.authorities[1].standing, bed.inventory.authorities[1].since) =
                (Standing::Retired, NOW - 1)
        },
        &["E03 critical", "E03 critical"],
        "its issuer mesh/shop is retired, and it is still served",
    ),
];

#[test]
fn names() {
    each_is_as_it_says(&NAMES);
}

#[test]
fn shapes_and_lives() {
    each_is_as_it_says(&SHAPES);
}

#[test]
fn holders() {
    each_is_as_it_says(&HOLDERS);
}

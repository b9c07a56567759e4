//! B. Chain and trust.

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa};
use signet_audit::{
    Thresholds,
    inventory::{Authority, Bundle, Der, Node, Place, Standing},
};

use super::{Case, each_is_as_it_says};
use crate::bed::{Bed, Ca, DAY, NOW, authority_params};

const YEAR: i64 = NOW + 350 * DAY;

fn no_ladders(thresholds: &mut Thresholds) {
    for ladder in [&mut thresholds.root_expiry_days, &mut thresholds.issuer_expiry_days] {
        (ladder.critical, ladder.warning, ladder.info) = (0, 0, 0);
    }
}

/// Another root, known to the audit, and in nobody's bundle.
fn other_root(bed: &mut Bed, standing: Standing, since: i64) -> Der {
    let other = Ca::root("root", authority_params("other", Place::Root, NOW - DAY, NOW + 3600 * DAY));
    bed.inventory.authorities.push(other.authority(Place::Root, standing, since));
    Der(other.der)
}

/// An extension with these subtrees: kinds and names, of which `true` are permitted.
fn constraints(params: &mut CertificateParams, trees: &[(bool, u8, &str)]) {
    let tagged =
        |tag: u8, content: Vec<u8>| [&[tag, u8::try_from(content.len()).unwrap()], &content[..]].concat();
    let of = |is_wanted: bool| {
        let trees = trees.iter().filter(|(is_permitted, ..)| *is_permitted == is_wanted);
        trees
            .flat_map(|(_, kind, name)| tagged(0x30, tagged(0x80 | kind, name.as_bytes().to_vec())))
            .collect()
    };
    let parts = [(0xa0, of(true)), (0xa1, of(false))];
    let parts = parts.into_iter().filter(|(_, trees): &(u8, Vec<u8>)| !trees.is_empty());
    let content = tagged(0x30, parts.flat_map(|(tag, trees)| tagged(tag, trees)).collect());
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], content);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
}

const DNS: u8 = 2;
const URI: u8 = 6;

fn constrained(bed: &mut Bed, trees: &[(bool, u8, &str)]) {
    bed.replace_issuer(YEAR, |params| constraints(params, trees));
}

const BUNDLES: [Case; 12] = [
    (
        "a root that signs no more, and is trusted until nothing of it is in use",
        |bed| {
            let root = other_root(bed, Standing::Retiring, NOW - 2 * DAY);
            bed.inventory.bundles[0].roots.push(root);
        },
        &[],
        "",
    ),
    (
        "an unknown bundle, a moment after a change",
        |bed| {
            bed.node("a").trust_version = Some("v0".to_owned());
            bed.inventory.bundles[0].since = NOW - 600;
        },
        &[],
        "",
    ),
    (
        "an unknown bundle, a second later",
        |bed| {
            bed.node("a").trust_version = Some("v0".to_owned());
            bed.inventory.bundles[0].since = NOW - 601;
        },
        &["B01 warning"],
        "it trusts the bundle v0, which is not known here",
    ),
    (
        "an unknown bundle, a moment after the later of two changes",
        |bed| {
            bed.node("a").trust_version = Some("v0".to_owned());
            bed.inventory.bundles[0].since = NOW - 601;
            let later =
                Bundle { version: "v2".to_owned(), since: NOW - 600, ..bed.inventory.bundles[0].clone() };
            bed.inventory.bundles.push(later);
        },
        &[],
        "",
    ),
    (
        "another mesh with another root",
        |bed| {
            let roots = vec![other_root(bed, Standing::Retired, NOW - 60)];
            let version = "v9".to_owned();
            let is_current = false;
            bed.inventory.bundles.push(Bundle {
                version,
                roots,
                is_current,
                since: NOW - DAY,
                revoked: vec![],
            });
            bed.inventory.nodes.push(Node {
                workload: "mesh/other/virtualNode/x".to_owned(),
                instance: "i-1".to_owned(),
                is_connected: true,
                reported_at: Some(NOW - 1),
                trust_version: Some("v9".to_owned()),
                ..Node::default()
            });
        },
        &[],
        "",
    ),
    ("authorities in another order", |bed| bed.inventory.authorities.reverse(), &[], ""),
    (
        "nothing that was issued",
        |bed| {
            bed.inventory.certificates.clear();
            bed.inventory.nodes.clear();
            bed.inventory.log = None;
        },
        &[],
        "",
    ),
    (
        "a leaf that comes alone",
        |bed| bed.node("a").presented[0].chain.clear(),
        &["B01 critical"],
        "it does not send the certificate of mesh/shop, which its peers do not have (0 certificates came with it)",
    ),
    (
        "a leaf with the root alone",
        |bed| {
            let root = Der(bed.root.der.clone());
            bed.node("a").presented[0].chain = vec![root];
        },
        &["B01 critical"],
        "(1 certificates came with it)",
    ),
    (
        "an old root that nobody trusts any more, and that signs nothing",
        |bed| drop(other_root(bed, Standing::Retiring, NOW - DAY)),
        &[],
        "",
    ),
    (
        "a retired root that just may be trusted",
        |bed| {
            let root = other_root(bed, Standing::Retired, NOW - 3600);
            bed.inventory.bundles[0].roots.push(root);
        },
        &[],
        "",
    ),
    (
        "a retired root that is trusted too long",
        |bed| {
            let root = other_root(bed, Standing::Retired, NOW - 3601);
            bed.inventory.bundles[0].roots.push(root);
        },
        &["B09 warning", "B09 warning"],
        "it still trusts root, which is retired",
    ),
];

const ENDS: [Case; 15] = [
    (
        "an issuer that ends with its root",
        |bed| {
            no_ladders(&mut bed.thresholds);
            bed.replace_root(YEAR, |_| {});
        },
        &[],
        "",
    ),
    (
        "an issuer that ends after its root",
        |bed| {
            no_ladders(&mut bed.thresholds);
            bed.replace_root(YEAR - 1, |_| {});
        },
        &["B02 critical"],
        "it ends 1 s after its issuer root",
    ),
    ("an issuer with 180 days", |bed| bed.replace_issuer(NOW + 180 * DAY, |_| {}), &[], ""),
    (
        "and a second less",
        |bed| bed.replace_issuer(NOW + 180 * DAY - 1, |_| {}),
        &["B03 info"],
        "it ends in 179 d",
    ),
    ("an issuer with 60 days", |bed| bed.replace_issuer(NOW + 60 * DAY, |_| {}), &["B03 info"], ""),
    ("and a second less", |bed| bed.replace_issuer(NOW + 60 * DAY - 1, |_| {}), &["B03 warning"], ""),
    ("an issuer with 30 days", |bed| bed.replace_issuer(NOW + 30 * DAY, |_| {}), &["B03 warning"], ""),
    ("and a second less", |bed| bed.replace_issuer(NOW + 30 * DAY - 1, |_| {}), &["B03 critical"], ""),
    (
        "an issuer that ended",
        |bed| {
            no_ladders(&mut bed.thresholds);
            bed.replace_issuer(NOW - 1, |_| {});
        },
        &["B02 critical", "B02 critical", "B02 critical", "B03 critical"],
        "it ended 1 s ago",
    ),
    (
        "an issuer in its last second",
        |bed| bed.replace_issuer(NOW, |_| {}),
        &["B02 critical", "B02 critical", "B02 critical", "B03 critical"],
        "it ends in 0 s",
    ),
    ("a root with two years", |bed| bed.replace_root(NOW + 730 * DAY, |_| {}), &[], ""),
    ("a root with less", |bed| bed.replace_root(NOW + 729 * DAY, |_| {}), &["B03 info"], "authority root"),
    ("a root with less than one", |bed| bed.replace_root(NOW + 364 * DAY, |_| {}), &["B03 warning"], ""),
    (
        "a root with less than half of one",
        |bed| {
            bed.replace_root(NOW + 181 * DAY, |_| {});
            bed.replace_issuer(NOW + 180 * DAY, |_| {});
        },
        &["B03 critical"],
        "authority root",
    ),
    (
        "an end within the horizon is a warning, and one that is worse stays so",
        |bed| bed.replace_issuer(NOW + 20 * DAY, |_| {}),
        &["B03 critical"],
        "",
    ),
];

const SIGNERS: [Case; 14] = [
    (
        "an authority that says nothing of what it may",
        |bed| bed.replace_issuer(YEAR, |params| params.is_ca = IsCa::ExplicitNoCa),
        &["B04 critical", "B04 warning"],
        "it does not say CA:TRUE",
    ),
    (
        "an authority without a key usage",
        |bed| bed.replace_issuer(YEAR, |params| params.key_usages.clear()),
        &["B04 critical"],
        "lacks keyCertSign",
    ),
    (
        "a root below which nothing is valid",
        |bed| {
            bed.replace_root(NOW + 3600 * DAY, |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))
            })
        },
        &["B04 critical"],
        "its path length is 0",
    ),
    (
        "an issuer that may make another",
        |bed| bed.replace_issuer(YEAR, |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1))),
        &["B04 warning"],
        "lets it make further authorities",
    ),
    (
        "an issuer that may make any",
        |bed| bed.replace_issuer(YEAR, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        &["B04 warning"],
        "it has no path length",
    ),
    (
        "an authority that cannot be read",
        |bed| {
            let (name, der) = ("root".to_owned(), Der(b"none".to_vec()));
            let (place, standing, since, revoked) = (Place::Root, Standing::Retired, NOW - DAY, None);
            bed.inventory.authorities.push(Authority { name, place, standing, since, der, revoked });
        },
        &["B04 critical"],
        "it cannot be read",
    ),
    (
        "another key than the issuer's named",
        |bed| {
            bed.replace("a", |leaf| {
                leaf.change = |params| {
                    params.use_authority_key_identifier_extension = false;
                    let id = CustomExtension::from_oid_content(&[2, 5, 29, 35], vec![0x30, 4, 0x80, 2, 7, 7]);
                    params.custom_extensions.push(id);
                };
            });
        },
        &["B06 warning"],
        "it names the key 0707 as its issuer's",
    ),
    (
        "a root that names no key",
        |bed| bed.replace_root(NOW + 3600 * DAY, |root| root.use_authority_key_identifier_extension = false),
        &[],
        "",
    ),
    (
        "an issuer that names no key",
        |bed| bed.replace_issuer(YEAR, |issuer| issuer.use_authority_key_identifier_extension = false),
        &["B06 warning"],
        "it names no key of its issuer",
    ),
    (
        "two certificates for one key of one issuer",
        |bed| {
            let older = bed.inventory.authorities[1].clone();
            bed.replace_issuer(YEAR - DAY, |_| {});
            bed.inventory.authorities.push(Authority { standing: Standing::Retiring, since: NOW, ..older });
        },
        &[],
        "",
    ),
    (
        "an issuer that signed when it was only on its way",
        |bed| bed.inventory.authorities[1].standing = Standing::Distributed,
        &["B08 critical"; 5],
        "mesh/shop signed it while it was only distributed",
    ),
    (
        "certificates of the moment in which their issuer stopped",
        |bed| {
            (bed.inventory.authorities[1].standing, bed.inventory.authorities[1].since) =
                (Standing::Retiring, NOW - DAY / 4 - 5)
        },
        &[],
        "",
    ),
    (
        "certificates of a second after it",
        |bed| {
            (bed.inventory.authorities[1].standing, bed.inventory.authorities[1].since) =
                (Standing::Retiring, NOW - DAY / 4 - 6)
        },
        &["B09 critical"; 3],
        "mesh/shop signed it 6 s after it stopped to",
    ),
    (
        "two that sign under one name",
        |bed| {
            let params = authority_params("second", Place::Issuer, NOW - DAY, YEAR);
            let second = bed.root.below("mesh/shop", params);
            bed.inventory.authorities.push(second.authority(Place::Issuer, Standing::Active, NOW));
        },
        &["B08 critical"],
        "two authorities of this name sign at a time",
    ),
];

const CONSTRAINTS: [Case; 11] = [
    ("the trust domain alone", |bed| constrained(bed, &[(true, URI, "signet.internal")]), &[], ""),
    (
        "another domain alone",
        |bed| constrained(bed, &[(true, URI, "other.test")]),
        &["B05 warning"],
        "do not permit the trust domain signet.internal",
    ),
    (
        "another beside it",
        |bed| constrained(bed, &[(true, URI, "signet.internal"), (true, URI, "other.test")]),
        &["B05 warning"],
        "permit other.test beside",
    ),
    (
        "all below what is above it",
        |bed| constrained(bed, &[(true, URI, ".internal")]),
        &["B05 warning"],
        "permit .internal beside",
    ),
    (
        "it among what is not permitted",
        |bed| constrained(bed, &[(true, URI, "signet.internal"), (false, URI, "signet.internal")]),
        &["B05 warning"],
        "do not permit the trust domain",
    ),
    (
        "only another that is not permitted",
        |bed| constrained(bed, &[(false, URI, "other.test")]),
        &["B05 warning"],
        "do not confine it",
    ),
    (
        "the names' own domain",
        |bed| constrained(bed, &[(true, DNS, "shop.local"), (true, DNS, "localhost")]),
        &[],
        "",
    ),
    (
        "the names below a dot",
        |bed| constrained(bed, &[(true, DNS, ".shop.local"), (true, DNS, "localhost")]),
        &[],
        "",
    ),
    (
        "a domain with the same end",
        |bed| {
            constrained(bed, &[(true, DNS, "hop.local"), (true, DNS, "localhost")]);
        },
        &["B05 warning"; 2],
        "the name constraints of mesh/shop refuse its name a.shop.local",
    ),
    (
        "one of the names, whose older certificate ended",
        |bed| constrained(bed, &[(false, DNS, "a.shop.local")]),
        &["B05 warning"],
        "refuse its name a.shop.local",
    ),
    (
        "a root that forbids it, above an issuer that does not",
        |bed| {
            bed.replace_root(NOW + 3600 * DAY, |params| constraints(params, &[(false, DNS, "b.shop.local")]))
        },
        &["B05 warning"],
        "the name constraints of root refuse its name b.shop.local",
    ),
];

#[test]
fn bundles() {
    each_is_as_it_says(&BUNDLES);
}

#[test]
fn ends() {
    each_is_as_it_says(&ENDS);
}

#[test]
fn signers() {
    each_is_as_it_says(&SIGNERS);
}

#[test]
fn name_constraints() {
    each_is_as_it_says(&CONSTRAINTS);
}

#[test]
fn the_command_for_an_authority_that_ends_says_which() {
    let fixes = |bed: &Bed| bed.audit().findings.into_iter().map(|found| found.fix).collect::<Vec<_>>();
    let mut bed = Bed::new();
    bed.replace_root(NOW + 700 * DAY, |_| {});
    assert_eq!(fixes(&bed), ["signet ca rotate --plan --root, then signet ca rotate start --root"]);
    let mut bed = Bed::new();
    bed.replace_issuer(NOW + 100 * DAY, |_| {});
    let says = "signet ca rotate --plan --issuer shop, then signet ca rotate start --issuer shop";
    assert_eq!(fixes(&bed), [says]);
    // Without either flag the command is wrong usage.
    let names_one = |fix: &str| fix.contains("--issuer") && fix.contains("--root");
    for check in signet_audit::CHECKS {
        let begins = ["rotate start", "rotate --plan"].iter().any(|command| check.fix.contains(command));
        assert!(!begins || names_one(check.fix), "{}: {}", check.id, check.fix);
    }
}

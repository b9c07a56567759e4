//! C01 and C02: kinds of keys and signatures.

use crate::{
    certificate::{Certificate, KeyKind, bits},
    check::Check,
    evidence::Evidence,
    finding::{Fault, Severity, Subject},
    inventory::Need,
};

pub(crate) const KEY_KIND: Check = Check {
    id: "C01",
    name: "key-kind",
    title: "Keys are of the kinds and sizes that are allowed",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Der, Need::Authorities],
    why: "A short key can be broken; one of a kind that peers do not know makes every handshake fail.",
    how: "Kind and size of every public key, against the thresholds' list.",
    fix: "Make a new key of an allowed kind; agents make P-256 ones.",
    run: keys,
};

fn keys(evidence: &Evidence<'_>) -> Vec<Fault> {
    let allowed = &evidence.thresholds.key_kinds;
    let fault = |(subject, certificate): (Subject, &Certificate)| {
        let kind = &certificate.key.kind;
        let message = format!("its key is {}; allowed are {}", kind.name(), allowed.join(", "));
        (!is_allowed(kind, allowed)).then(|| Fault::new(subject, message))
    };
    evidence.certificates().filter_map(fault).collect()
}

/// `RSA-2048` allows longer moduli too.
fn is_allowed(kind: &KeyKind, allowed: &[String]) -> bool {
    let name = kind.name();
    let long_enough = |least: &str| match (kind, least.strip_prefix("RSA-")) {
        (KeyKind::Rsa { modulus, .. }, Some(least)) => {
            least.parse().is_ok_and(|least| bits(modulus) >= least)
        }
        _ => false,
    };
    allowed.iter().any(|allowed| *allowed == name || long_enough(allowed))
}

pub(crate) const SIGNATURE_ALGORITHM: Check = Check {
    id: "C02",
    name: "signature-algorithm",
    title: "Signatures are by algorithms that are allowed, and say so twice alike",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Der, Need::Authorities],
    why: "Two documents with one SHA-1 or MD5 hash can be made; a signature for one is good for the other.",
    how: "The algorithm beside the signature against the thresholds' list, and against the one inside the signed part.",
    fix: "Sign again with SHA-256 or better.",
    run: signatures,
};

fn signatures(evidence: &Evidence<'_>) -> Vec<Fault> {
    let allowed = &evidence.thresholds.signature_algorithms;
    let fault = |(subject, certificate): (Subject, &Certificate)| {
        if !allowed.contains(&certificate.algorithm) {
            let message = format!("it is signed by the algorithm {}", certificate.algorithm);
            return Some(Fault::new(subject, message).keyed("algorithm"));
        }
        let message = "the algorithm inside the signed part is another than beside the signature";
        (!certificate.is_algorithm_consistent).then(|| Fault::new(subject, message).keyed("inside"))
    };
    evidence.certificates().filter_map(fault).collect()
}

impl Evidence<'_> {
    /// Every certificate that can be read, leaves and authorities that are not retired, with its subject.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = (Subject, &Certificate)> {
        let leaves = self.readable().map(|(leaf, certificate)| (leaf.subject(), certificate));
        leaves.chain(self.current().map(|(ca, certificate)| (ca.subject(), certificate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_size_of_an_rsa_key_allows_longer_ones_and_none_that_is_shorter() {
        let allowed = |first: u8, octets: usize, list: &[&str]| {
            let modulus = std::iter::once(first).chain(std::iter::repeat_n(1, octets - 1)).collect();
            let list: Vec<String> = list.iter().map(|kind| (*kind).to_owned()).collect();
            is_allowed(&KeyKind::Rsa { modulus, exponent: vec![1, 0, 1] }, &list)
        };
        assert!(allowed(0x80, 256, &["P-256", "RSA-2048"]));
        assert!(allowed(0x80, 512, &["RSA-2048"]));
        assert!(!allowed(0x7f, 256, &["RSA-2048"]), "2047 bits");
        assert!(!allowed(0x80, 128, &["RSA-2048"]));
        assert!(!allowed(0x80, 256, &["P-256", "RSA-many"]));
        assert!(!is_allowed(&KeyKind::Ed25519, &["RSA-2048".to_owned()]));
    }
}

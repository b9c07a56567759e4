//! A03: the log's Merkle tree (RFC 6962, section 2.1).

use sha2::{Digest as _, Sha256};

use crate::{
    check::Check,
    evidence::Evidence,
    finding::{Fault, Severity, Subject},
    inventory::{Log, Need},
};

pub(crate) const LOG_CHAIN: Check = Check {
    id: "A03",
    name: "log-chain",
    title: "The ledger has lost, changed and re-ordered nothing",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Log],
    why: "Whoever can take an entry out of the ledger can hide a certificate that was issued to them.",
    how: "The Merkle root is computed again from the hashes of all entries, and compared with the signed checkpoint and \
          with every anchor that was kept elsewhere.",
    fix: "Keep the folder as it is for whoever looks into it, and start from the last backup whose checkpoint verifies.",
    run,
};

fn run(evidence: &Evidence<'_>) -> Vec<Fault> {
    let Some(log) = &evidence.inventory.log else {
        return Vec::new();
    };
    let fault = |key: &str, message: String| Fault::new(Subject::default(), message).keyed(key);
    let mut faults: Vec<Fault> = log.faults.iter().map(|said| fault(said, said.clone())).collect();
    if let Some(said) = &log.signature_fault {
        faults.push(fault("signature", format!("the checkpoint's signature does not hold: {said}")));
    }
    let hashes: Option<Vec<[u8; 32]>> = log.hashes.iter().map(|text| hash(text)).collect();
    let Some(hashes) = hashes else {
        faults.push(fault("hash", "an entry's hash is no SHA-256".to_owned()));
        return faults;
    };
    faults.extend(heads(log).filter_map(|(key, size, expected)| {
        let message = differs(&hashes, size, expected)?;
        Some(fault(key, message))
    }));
    faults
}

/// The checkpoint, then the anchors: which it is, how many entries it is about, and the tree's head.
fn heads(log: &Log) -> impl Iterator<Item = (&'static str, u64, &str)> {
    let anchors = log.anchors.iter().map(|(size, root)| ("anchor", *size, root.as_str()));
    std::iter::once(("checkpoint", log.size, log.root.as_str())).chain(anchors)
}

fn differs(hashes: &[[u8; 32]], size: u64, expected: &str) -> Option<String> {
    let entries = usize::try_from(size).ok().and_then(|size| hashes.get(..size));
    let Some(entries) = entries else {
        return Some(format!("the log has {} entries, and once had {size}", hashes.len()));
    };
    let computed = hex::encode(root(entries));
    (computed != expected)
        .then(|| format!("the first {size} entries have the root {computed}, and once had {expected}"))
}

fn hash(text: &str) -> Option<[u8; 32]> {
    hex::decode(text).ok()?.try_into().ok()
}

/// The head of the tree over these leaf hashes.
fn root(hashes: &[[u8; 32]]) -> [u8; 32] {
    match hashes {
        [] => Sha256::digest([]).into(),
        [hash] => *hash,
        _ => {
            // The left part is the largest power of two that is smaller than all of it.
            let left = hashes.len().next_power_of_two() / 2;
            let (left, right) = hashes.split_at(left);
            let (left, right) = (root(left), root(right));
            Sha256::new_with_prefix([1]).chain_update(left).chain_update(right).finalize().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree heads of the reference tests of RFC 6962's first implementation, for 0, 1, 2, 3, 5 and 8 of these inputs.
    #[test]
    fn the_root_is_the_one_that_every_implementation_of_the_rfc_computes() {
        let inputs = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let hashes: Vec<[u8; 32]> = inputs
            .iter()
            .map(|text| {
                Sha256::new_with_prefix([0]).chain_update(hex::decode(text).unwrap()).finalize().into()
            })
            .collect();
        for (size, expected) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(hex::encode(root(&hashes[..size])), expected, "{size}");
        }
    }
}

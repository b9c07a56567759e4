//! A01: the ledger's columns against the certificates themselves.

use crate::{
    certificate::Certificate,
    check::Check,
    evidence::{Evidence, Leaf},
    finding::{Fault, Severity},
    inventory::Need,
};

pub(crate) const STORED_FIELDS: Check = Check {
    id: "A01",
    name: "stored-fields",
    title: "What the ledger says of a certificate is what the certificate says",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Der],
    why: "Everything else is decided by the ledger's fields. A field that differs hides a certificate from revocation, \
          from renewal and from this audit.",
    how: "Every stored certificate is read again; digest, serial, names, start, end and key are compared with the record.",
    fix: "Treat the ledger as tampered with: keep a copy, restore the last backup whose checkpoint verifies, and revoke the serial.",
    run,
};

fn run(evidence: &Evidence<'_>) -> Vec<Fault> {
    evidence.leaves.iter().filter_map(compare).collect()
}

fn compare(leaf: &Leaf<'_>) -> Option<Fault> {
    match leaf.certificate.as_ref()? {
        Err(error) => Some(
            Fault::new(leaf.subject(), format!("the stored certificate cannot be read: {error}"))
                .keyed("unreadable"),
        ),
        Ok(certificate) => {
            let differing = differing(leaf, certificate);
            let mut fault = Fault::new(leaf.subject(), "the record and the stored certificate differ");
            for (field, recorded, stored) in differing {
                fault = fault.seen(format!("{field}: the record says {recorded}, the certificate {stored}"));
            }
            (!fault.evidence.is_empty()).then_some(fault)
        }
    }
}

/// Name, record's value and certificate's value of what is not the same.
fn differing(leaf: &Leaf<'_>, certificate: &Certificate) -> Vec<(&'static str, String, String)> {
    let record = leaf.record;
    let names = &certificate.extensions.names;
    let mut differing = Vec::new();
    let mut compare = |field, recorded: &str, stored: &str| {
        if recorded != stored {
            differing.push((field, recorded.to_owned(), stored.to_owned()));
        }
    };
    compare("digest", &record.fingerprint, &hex::encode(certificate.fingerprint));
    compare(
        "serial",
        record.serial.trim_start_matches("00"),
        certificate.serial_text().trim_start_matches("00"),
    );
    compare("key", &record.key_hash, &hex::encode(certificate.key.hash));
    // What is wrong with names by themselves is for D01 to say.
    if let [uri] = names.uris.as_slice() {
        compare("identity", &record.spiffe_id, uri);
    }
    if record.not_before != certificate.not_before {
        differing.push(("start", record.not_before.to_string(), certificate.not_before.to_string()));
    }
    if record.not_after != certificate.not_after {
        differing.push(("end", record.not_after.to_string(), certificate.not_after.to_string()));
    }
    if record.dns_names != names.dns {
        differing.push(("DNS names", record.dns_names.join(" "), names.dns.join(" ")));
    }
    differing
}

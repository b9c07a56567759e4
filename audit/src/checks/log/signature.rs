//! A02 and A05: the signer's signature, and its clock.

use crate::{
    check::Check,
    evidence::Evidence,
    finding::{Fault, Severity},
    inventory::Need,
};

pub(crate) const SIGNATURE: Check = Check {
    id: "A02",
    name: "signature",
    title: "Every certificate is signed by the issuer that its record names",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Der, Need::Authorities],
    why: "A certificate that the recorded issuer did not sign was not made here, or the issuer's certificate was exchanged.",
    how: "Every signature is verified with the public key of the authority that the certificate and its record name; an \
          authority's, where the one that it names as its issuer is known.",
    fix: "Stop issuing, compare the issuer's certificate with a backup, and revoke the serial.",
    run: unsigned,
};

fn unsigned(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (leaf, _) in evidence.readable() {
        let issuer = leaf.issuer.map(|at| evidence.authorities[at].authority);
        let message = match issuer {
            None => "no authority has the name that the certificate gives as its issuer's".to_owned(),
            Some(issuer) if !leaf.is_signed => {
                format!("the key of {} did not make the signature", issuer.name)
            }
            Some(issuer) if issuer.name != leaf.record.issuer && issuer.name != "root" => {
                format!("{} signed it, and the record says {}", issuer.name, leaf.record.issuer)
            }
            Some(_) => continue,
        };
        faults.push(Fault::new(leaf.subject(), message));
    }
    faults.extend(evidence.current().filter_map(|(ca, certificate)| {
        let namesake = evidence.namesake_above(ca, certificate)?;
        let message = match std::ptr::eq(namesake, ca) {
            true => "its own key did not make its signature".to_owned(),
            false => format!("the key of {} did not make the signature", namesake.authority.name),
        };
        Some(Fault::new(ca.subject(), message).keyed("authority"))
    }));
    faults
}

pub(crate) const BACKDATE: Check = Check {
    id: "A05",
    name: "backdating",
    title: "No certificate starts further from its issue than the back-dating limit",
    severity: Severity::Warning,
    needs: &[Need::Records],
    why: "A start far in the past makes a certificate good for what happened before anybody decided about it; one in the \
          future is an outage until then. Both mean a signer whose clock was wrong.",
    how: "The moment of issue is compared with the first valid second.",
    fix: "Check the clock of the server at that moment; renew what it issued then.",
    run: backdated,
};

fn backdated(evidence: &Evidence<'_>) -> Vec<Fault> {
    let limit = evidence.thresholds.backdate_limit_seconds.max(evidence.inventory.terms.backdate);
    let apart = |leaf: &&crate::evidence::Leaf<'_>| {
        leaf.record.issued_at.abs_diff(leaf.record.not_before) > limit.unsigned_abs()
    };
    let fault = |leaf: &crate::evidence::Leaf<'_>| {
        let apart = leaf.record.issued_at.abs_diff(leaf.record.not_before);
        let side = if leaf.record.not_before > leaf.record.issued_at { "after" } else { "before" };
        let message = format!("it starts {apart} s {side} it was issued; at most {limit} s are allowed");
        Fault::new(leaf.subject(), message)
    };
    evidence.leaves.iter().filter(apart).map(fault).collect()
}

//! Names of secrets on the agent's socket.
//!
//! App Mesh took any text, because people ran SDS servers of their own beside the proxy. Here the agent is the
//! only one, and what it serves is known: the workload's certificate as `default` and under its SPIFFE ID, and the
//! roots as `ROOTCA`, `ALL` and under their trust domain's SPIFFE ID. SPIRE's users have just these names in their
//! specs. Any other name would be accepted by Envoy without complaint and never come: after 15 s the listener opens
//! and turns every client away, or the cluster every call, and no proxy reports a refusal. So such a name is
//! refused here, where somebody can read why.
//!
//! Nor can a name be of the other sort. Envoy refuses roots where it asked for a certificate.

use signet_policies::identity::{SpiffeId, TrustDomain, Workload};

use crate::model::shape::{Field, Invalid, shown};

/// The workload's own certificate, whatever its identity.
const OWN_CERTIFICATE: &str = "default";
/// The roots of the workload's own trust domain, and of every trust domain.
const ROOTS: [&str; 2] = ["ROOTCA", "ALL"];

/// The `sds` of a certificate that `owner` presents.
pub(super) fn certificate(field: &Field<'_>, owner: &Workload) -> Result<String, Invalid> {
    let field = field.object()?.required("secretName")?;
    let name = field.text(1..=usize::MAX)?;
    if name == OWN_CERTIFICATE {
        return Ok(name.to_owned());
    }
    let Ok(id) = name.parse::<SpiffeId>() else {
        let rule = format!(
            "must be \"default\", the workload's own certificate, or a SPIFFE ID that it holds: the agent serves no \
             certificate {:?}, and a proxy that waits for one turns every client away",
            shown(name)
        );
        return Err(field.broken(rule));
    };
    // The CA gives these to their owners only.
    let is_anothers = Workload::from_spiffe_id(&id).is_some_and(|other| other != *owner);
    match is_anothers || id == id.trust_domain().server_id() {
        true => {
            Err(field.broken(format!("is the identity of somebody else than {owner}, who cannot hold it")))
        }
        false => Ok(name.to_owned()),
    }
}

/// The `sds` of what peers are verified with.
pub(super) fn trust(field: &Field<'_>) -> Result<String, Invalid> {
    let field = field.object()?.required("secretName")?;
    let name = field.text(1..=usize::MAX)?;
    let is_domain =
        || name.strip_prefix("spiffe://").is_some_and(|domain| domain.parse::<TrustDomain>().is_ok());
    match ROOTS.contains(&name) || is_domain() {
        true => Ok(name.to_owned()),
        false => {
            let rule = format!(
                "must be \"ROOTCA\", \"ALL\", or the SPIFFE ID of a trust domain, such as \"spiffe://example.org\": \
                 the agent serves no roots {:?}, and a proxy that waits for them trusts nobody",
                shown(name)
            );
            Err(field.broken(rule))
        }
    }
}

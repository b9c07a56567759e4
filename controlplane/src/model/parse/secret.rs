//! Names of secrets on the agent's socket.
//!
//! App Mesh took any text, because people ran SDS servers of their own beside the proxy. Here the agent is the only
//! one, and it holds one certificate: the workload's own, as `default` and under its SPIFFE ID, and the roots of its
//! trust domain, as `ROOTCA`, as `ALL` and under the trust domain's SPIFFE ID. SPIRE's users have such names in their
//! specs, and where the IDs differ the server can be given their trust domain.
//!
//! Any other name Envoy would take without complaint, and it would never come: after 15 s the listener opens and
//! turns every client away, or the cluster every call, and no proxy reports a refusal. Nor can a name be of the other
//! sort, because Envoy refuses roots where it asked for a certificate. So both are refused here, where somebody can
//! read why.

use signet_policies::identity::{SpiffeId, TrustDomain, Workload};

use crate::model::shape::{Field, Invalid, shown};

/// The workload's own certificate, whatever its identity.
const OWN_CERTIFICATE: &str = "default";
/// The roots of the workload's own trust domain, and of every trust domain.
const ROOTS: [&str; 2] = ["ROOTCA", "ALL"];

/// Whose agent is asked.
#[derive(Clone, Debug)]
pub(super) struct Owner<'a> {
    pub(super) workload: Workload,
    /// Absent where it is not known; then the trust domain of a name is not looked at.
    pub(super) trust_domain: Option<&'a TrustDomain>,
}

impl Owner<'_> {
    fn is_ours(&self, domain: &TrustDomain) -> bool {
        self.trust_domain.is_none_or(|ours| ours == domain)
    }

    fn holds(&self, name: &str) -> bool {
        // A further identity is nobody's; another workload's own one, and the server's, are.
        let own = |id: SpiffeId| {
            let is_free = id != id.trust_domain().server_id()
                && Workload::from_spiffe_id(&id).is_none_or(|workload| workload == self.workload);
            self.is_ours(id.trust_domain()) && is_free
        };
        name == OWN_CERTIFICATE || name.parse().is_ok_and(own)
    }

    fn trusts(&self, name: &str) -> bool {
        let domain = || name.strip_prefix("spiffe://")?.parse().ok();
        ROOTS.contains(&name) || domain().is_some_and(|domain| self.is_ours(&domain))
    }

    /// `spiffe://signet.internal`.
    fn domain_id(&self) -> String {
        self.trust_domain.map_or_else(|| "spiffe://TRUST-DOMAIN".to_owned(), TrustDomain::id)
    }
}

/// The `sds` of a certificate that `owner` presents.
pub(super) fn certificate(field: &Field<'_>, owner: &Owner<'_>) -> Result<String, Invalid> {
    let field = field.object()?.required("secretName")?;
    let name = field.text(1..=usize::MAX)?;
    let rule = || {
        let Workload { mesh, kind, name: own } = &owner.workload;
        let id = format!("{}/mesh/{mesh}/{}/{own}", owner.domain_id(), kind.spiffe_segment());
        format!(
            "must be {OWN_CERTIFICATE:?}, {id:?} or a SPIFFE ID of its trust domain that is nobody's own: the agent \
             holds no certificate {:?}, and a proxy that waits for it turns every client away",
            shown(name)
        )
    };
    field.check(owner.holds(name), rule)?;
    Ok(name.to_owned())
}

/// The `sds` of what the peers of `owner` are verified with.
pub(super) fn trust(field: &Field<'_>, owner: &Owner<'_>) -> Result<String, Invalid> {
    let field = field.object()?.required("secretName")?;
    let name = field.text(1..=usize::MAX)?;
    let rule = || {
        let [own, all] = ROOTS;
        let domain = owner.domain_id();
        format!(
            "must be {own:?}, {all:?} or {domain:?}: the agent holds no roots {:?}, and a proxy that waits for them \
             trusts nobody",
            shown(name)
        )
    };
    field.check(owner.trusts(name), rule)?;
    Ok(name.to_owned())
}

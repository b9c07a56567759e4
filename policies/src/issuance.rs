//! Who may get which certificate.
//!
//! A workload's own spec is its registration: it may hold its canonical identity, its discovery name, and
//! a SPIFFE ID that the spec names where its trust domain is one that this server hosts. Nothing else.

use std::time::Duration;

use thiserror::Error;

use crate::identity::{DnsName, SpiffeId, TrustDomain, Workload};

/// Shortest life that a leaf may ask for.
pub const MIN_LEAF_LIFE: Duration = Duration::from_secs(5 * 60);
/// Life of a leaf that asks for none.
pub const DEFAULT_LEAF_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest life that a leaf may ask for.
pub const MAX_LEAF_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Who asks, as the transport proved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody known: no client certificate.
    Anonymous,
    /// The holder of a one-time token for this workload, which is good and is redeemed before anything is issued.
    Joining(Workload),
    /// The holder of a certificate of ours, verified up to the root, with this URI SAN.
    Holder(SpiffeId),
}

/// What is asked for. Absent members mean "what the registration says".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The identity that the CSR names, if it names one.
    pub spiffe_id: Option<SpiffeId>,
    /// The DNS names that the CSR names.
    pub dns_names: Vec<DnsName>,
    /// The life asked for.
    pub lifetime: Option<Duration>,
}

/// What a workload's spec allows it to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The workload.
    pub workload: Workload,
    /// Its discovery name, where that is a DNS name.
    pub dns_names: Vec<DnsName>,
    /// The identities that its spec names as `sds.secretName`, whatever their trust domain.
    pub spiffe_ids: Vec<SpiffeId>,
}

/// What this server lets anybody have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The trust domain that this server issues for.
    pub trust_domain: TrustDomain,
    /// Life of a leaf that asks for none. The operator's word: [`MIN_LEAF_LIFE`] and [`MAX_LEAF_LIFE`] bound what is
    /// asked for.
    pub default_lifetime: Duration,
}

/// Permission to issue one certificate. Only [`decide`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whom it is for, and its canonical identity.
    workload: Option<(Workload, SpiffeId)>,
    spiffe_id: SpiffeId,
    dns_names: Vec<DnsName>,
    lifetime: Duration,
}

impl Grant {
    /// The one URI SAN.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The DNS SANs.
    #[must_use]
    pub fn dns_names(&self) -> &[DnsName] {
        &self.dns_names
    }

    /// The longest life the certificate may have.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The workload it is for; `None` for the server's own certificate.
    #[must_use]
    pub fn workload(&self) -> Option<&Workload> {
        self.workload.as_ref().map(|(workload, _)| workload)
    }

    /// The canonical identity of that workload, whichever one was granted.
    #[must_use]
    pub fn canonical_id(&self) -> Option<&SpiffeId> {
        self.workload.as_ref().map(|(_, canonical)| canonical)
    }

    /// The server's grant to itself.
    #[must_use]
    pub fn for_server(terms: &Terms, dns_names: Vec<DnsName>) -> Self {
        Self {
            workload: None,
            spiffe_id: terms.trust_domain.server_id(),
            dns_names,
            lifetime: terms.default_lifetime,
        }
    }
}

/// Why a certificate was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Denied {
    /// No token and no certificate.
    #[error("the caller is not known: join with a token, or present a certificate")]
    Anonymous,
    /// An identity that names no workload, or of another trust domain.
    #[error("{0} is no workload of this trust domain")]
    NotAWorkload(SpiffeId),
    /// The virtual node or gateway does not exist (any more).
    #[error("{0} does not exist in the mesh")]
    Unregistered(Workload),
    /// An identity that the spec does not give it.
    #[error("{workload} may not hold {requested}")]
    Identity {
        /// Who asked.
        workload: Workload,
        /// For what.
        requested: SpiffeId,
    },
    /// A DNS name that the spec does not give it.
    #[error("{workload} may not hold the DNS name {requested}")]
    Dns {
        /// Who asked.
        workload: Workload,
        /// For what.
        requested: DnsName,
    },
    /// A life outside the bounds.
    #[error(
        "a life of {} s was asked for; it must be within {} s and {} s",
        .0.as_secs(), MIN_LEAF_LIFE.as_secs(), MAX_LEAF_LIFE.as_secs()
    )]
    Lifetime(Duration),
}

/// Names the workload that a caller is.
///
/// # Errors
/// [`Denied::Anonymous`], or [`Denied::NotAWorkload`] for an identity that is not a workload's.
pub fn workload_of(caller: &Caller, terms: &Terms) -> Result<Workload, Denied> {
    match caller {
        Caller::Anonymous => Err(Denied::Anonymous),
        Caller::Joining(workload) => Ok(workload.clone()),
        Caller::Holder(id) if *id.trust_domain() == terms.trust_domain => {
            Workload::from_spiffe_id(id).ok_or_else(|| Denied::NotAWorkload(id.clone()))
        }
        Caller::Holder(id) => Err(Denied::NotAWorkload(id.clone())),
    }
}

/// Decides whether `caller` gets what it asks for.
///
/// `registration` is what the mesh says of the caller's own workload now, so a deleted node renews nothing.
///
/// # Errors
/// The first rule that the request breaks.
pub fn decide(
    caller: &Caller,
    request: &Request,
    registration: Option<&Registration>,
    terms: &Terms,
) -> Result<Grant, Denied> {
    let workload = workload_of(caller, terms)?;
    let registration = registration
        .filter(|found| found.workload == workload)
        .ok_or_else(|| Denied::Unregistered(workload.clone()))?;
    let canonical = workload.spiffe_id(&terms.trust_domain);
    let spiffe_id = request.spiffe_id.clone().unwrap_or_else(|| canonical.clone());
    let named_by_spec =
        || *spiffe_id.trust_domain() == terms.trust_domain && registration.spiffe_ids.contains(&spiffe_id);
    // A spec must not hand out somebody else's canonical identity, nor the server's.
    let is_taken =
        || Workload::from_spiffe_id(&spiffe_id).is_some() || spiffe_id == terms.trust_domain.server_id();
    if spiffe_id != canonical && (is_taken() || !named_by_spec()) {
        return Err(Denied::Identity { workload, requested: spiffe_id });
    }
    if let Some(stranger) = request.dns_names.iter().find(|name| !registration.dns_names.contains(name)) {
        return Err(Denied::Dns { workload, requested: stranger.clone() });
    }
    if let Some(outside) = request.lifetime.filter(|life| !(MIN_LEAF_LIFE..=MAX_LEAF_LIFE).contains(life)) {
        return Err(Denied::Lifetime(outside));
    }
    let lifetime = request.lifetime.unwrap_or(terms.default_lifetime);
    let dns_names = registration.dns_names.clone();
    Ok(Grant { workload: Some((workload, canonical)), spiffe_id, dns_names, lifetime })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms { trust_domain: "signet.internal".parse().unwrap(), default_lifetime: DEFAULT_LEAF_LIFE }
    }

    fn node(name: &str) -> Workload {
        Workload::virtual_node("m", name).unwrap()
    }

    fn id(text: &str) -> SpiffeId {
        text.parse().unwrap()
    }

    fn registration() -> Registration {
        Registration {
            workload: node("a"),
            dns_names: vec!["a.apps.local".parse().unwrap()],
            spiffe_ids: vec![
                id("spiffe://signet.internal/team/a"),
                id("spiffe://other.test/team/a"),
                id("spiffe://signet.internal/mesh/m/virtual-node/b"),
                id("spiffe://signet.internal/signet/server"),
            ],
        }
    }

    fn asking(spiffe_id: Option<&str>) -> Request {
        Request { spiffe_id: spiffe_id.map(id), ..Request::default() }
    }

    #[test]
    fn a_node_gets_its_own_names_and_no_others() {
        let canonical = "spiffe://signet.internal/mesh/m/virtual-node/a";
        let holder = Caller::Holder(id(canonical));
        let cases = [
            (None, Some(canonical)),
            (Some(canonical), Some(canonical)),
            (Some("spiffe://signet.internal/team/a"), Some("spiffe://signet.internal/team/a")),
            (Some("spiffe://other.test/team/a"), None),
            (Some("spiffe://signet.internal/team/b"), None),
            (Some("spiffe://signet.internal/mesh/m/virtual-node/b"), None),
            (Some("spiffe://signet.internal/mesh/n/virtual-node/a"), None),
            (Some("spiffe://signet.internal/signet/server"), None),
        ];
        for caller in [holder, Caller::Joining(node("a"))] {
            for (requested, expected) in cases {
                let granted = decide(&caller, &asking(requested), Some(&registration()), &terms());
                let granted_id = granted.ok().map(|grant| grant.spiffe_id().to_string());
                assert_eq!(granted_id.as_deref(), expected, "{caller:?} asks for {requested:?}");
            }
        }
    }

    #[test]
    fn whoever_is_not_a_workload_of_this_trust_domain_gets_nothing() {
        let strangers = [
            Caller::Anonymous,
            Caller::Holder(id("spiffe://other.test/mesh/m/virtual-node/a")),
            Caller::Holder(id("spiffe://signet.internal/signet/server")),
            Caller::Holder(id("spiffe://signet.internal/team/a")),
            Caller::Holder(id("spiffe://signet.internal/mesh/m/virtual-node/b")),
        ];
        for caller in strangers {
            let denied = decide(&caller, &Request::default(), Some(&registration()), &terms());
            assert!(denied.is_err(), "{caller:?}");
        }
    }

    #[test]
    fn a_deleted_node_gets_nothing() {
        let denied = decide(&Caller::Joining(node("a")), &Request::default(), None, &terms());
        assert_eq!(denied, Err(Denied::Unregistered(node("a"))));
    }

    #[test]
    fn only_registered_dns_names_are_granted_and_always_all_of_them() {
        let caller = Caller::Joining(node("a"));
        let ask = |name: &str| Request { dns_names: vec![name.parse().unwrap()], ..Request::default() };
        let grant = decide(&caller, &ask("a.apps.local"), Some(&registration()), &terms()).unwrap();
        assert_eq!(grant.dns_names(), registration().dns_names);
        assert!(decide(&caller, &ask("b.apps.local"), Some(&registration()), &terms()).is_err());
    }

    #[test]
    fn lives_outside_the_bounds_are_refused() {
        let caller = Caller::Joining(node("a"));
        let ask = |lifetime| Request { lifetime: Some(lifetime), ..Request::default() };
        let second = Duration::from_secs(1);
        for (lifetime, fits) in [
            (MIN_LEAF_LIFE, true),
            (MAX_LEAF_LIFE, true),
            (MIN_LEAF_LIFE - second, false),
            (MAX_LEAF_LIFE + second, false),
            (Duration::ZERO, false),
        ] {
            let decided = decide(&caller, &ask(lifetime), Some(&registration()), &terms());
            assert_eq!(decided.is_ok(), fits, "{lifetime:?}");
        }
    }

    #[test]
    fn who_asks_for_no_life_gets_the_operators_however_short() {
        let short = Terms { default_lifetime: Duration::from_secs(20), ..terms() };
        let caller = Caller::Joining(node("a"));
        let grant = decide(&caller, &Request::default(), Some(&registration()), &short).unwrap();
        assert_eq!(grant.lifetime(), short.default_lifetime);
        let asked = Request { lifetime: Some(short.default_lifetime), ..Request::default() };
        assert!(decide(&caller, &asked, Some(&registration()), &short).is_err());
    }
}

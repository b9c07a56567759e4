//! Who may open an ADS stream, and what it is fed.
//!
//! A stream is fed the configuration of the node that its client certificate names, and no other's: what a
//! proxy says of itself must agree with what its certificate proves.

mod node;

use std::{
    fmt,
    future::pending,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::Extensions;
use signet_policies::{
    identity::{TrustDomain, Workload, WorkloadKind},
    issuance::Caller,
    time::Clock,
};
use signet_xds::{
    pb::envoy::config::core::v3::Node,
    server::{Feed, Source},
};
use thiserror::Error;
use tokio::sync::watch;
use tonic::Status as Refusal;

use crate::{
    model::Model,
    proxies::{Proxies, Said},
    quotas::{Quota, Quotas},
    translate::Proxy,
};

pub use node::{Misdescribed, describe};

/// The source of ADS streams; give it to [`signet_xds::server::ads`].
pub struct Ads {
    proxies: Arc<Proxies>,
    model: watch::Receiver<Arc<Model>>,
    trust_domain: TrustDomain,
    quotas: Quotas,
    clock: Clock,
}

/// When the peer's certificate ends to be valid; the transport puts it beside the [`Caller`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidUntil(pub SystemTime);

/// Why a peer is not served any more, though its certificate has not expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissed {
    /// Its certificate was revoked.
    Certificate,
    /// Its identity is banned.
    Identity,
}

/// Resolves once a peer is dismissed, and not before.
pub type Dismissal = Pin<Box<dyn Future<Output = Dismissed> + Send>>;

/// Whether a peer is still served; the transport puts it beside the [`Caller`], and each stream waits by itself.
#[derive(Clone)]
pub struct Welcome(Arc<dyn Fn() -> Dismissal + Send + Sync>);

impl Welcome {
    /// One that ends when what is given does.
    #[must_use]
    pub fn until(dismissal: impl Fn() -> Dismissal + Send + Sync + 'static) -> Self {
        Self(Arc::new(dismissal))
    }
}

/// How often a stream looks whether its certificate has expired: a clock may be set, and a machine may sleep.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Why a stream is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// No client certificate of ours.
    #[error(
        "an ADS stream needs a client certificate of this trust domain; the agent gets one when it joins"
    )]
    Unauthenticated,
    /// A client certificate that has expired, perhaps since the connection was made.
    #[error("the client certificate of {0} has expired; connect again with its successor")]
    Expired(Workload),
    /// A client certificate that was revoked, perhaps since the connection was made.
    #[error("the client certificate of {0} was revoked; its agent has to join again")]
    Revoked(Workload),
    /// An identity that may not be used for a while.
    #[error("{0} is banned until it is allowed with `signet ca allow`")]
    Banned(Workload),
    /// A certificate of ours that is no workload's.
    #[error("{0} is no workload of trust domain {1}")]
    NotAWorkload(String, TrustDomain),
    /// The node says that it is somebody else.
    #[error("the certificate is {proven}'s, but the node id is {claimed}'s")]
    Impostor {
        /// By its certificate.
        proven: Workload,
        /// By its word.
        claimed: Workload,
    },
    /// The node is described in a way that is not understood.
    #[error(transparent)]
    Node(#[from] Misdescribed),
    /// There is no such node or gateway (any more).
    #[error("{0} does not exist; create it, or mend APPMESH_RESOURCE_ARN")]
    Unknown(Workload),
    /// As many proxies of the workload are connected as may be.
    #[error(
        "{limit} proxies of {workload} are connected, which is the quota {quota} of this server; whoever runs it may \
         raise it with `signet server --quota {quota}=N`"
    )]
    TooMany {
        /// Of which workload.
        workload: Workload,
        /// What is bounded.
        quota: Quota,
        /// The most.
        limit: usize,
    },
}

impl From<Refused> for Refusal {
    /// The codes that App Mesh's own control plane used: 3 also for a node that does not exist.
    fn from(refused: Refused) -> Self {
        let text = refused.to_string();
        match refused {
            Refused::Unauthenticated | Refused::Expired(_) | Refused::Revoked(_) => {
                Self::unauthenticated(text)
            }
            Refused::NotAWorkload(..) | Refused::Impostor { .. } | Refused::Banned(_) => {
                Self::permission_denied(text)
            }
            Refused::Node(_) | Refused::Unknown(_) => Self::invalid_argument(text),
            Refused::TooMany { .. } => Self::resource_exhausted(text),
        }
    }
}

impl Ads {
    /// Feeds the nodes of `model` from `proxies`, which reconcile must be filling.
    #[must_use]
    pub fn new(
        proxies: Arc<Proxies>,
        model: watch::Receiver<Arc<Model>>,
        trust_domain: TrustDomain,
        clock: Clock,
    ) -> Self {
        Self { proxies, model, trust_domain, quotas: Quotas::default(), clock }
    }

    /// Within bounds for how many proxies a workload may have.
    #[must_use]
    pub fn within(self, quotas: Quotas) -> Self {
        Self { quotas, ..self }
    }

    fn admit(&self, extensions: &Extensions, node: Option<&Node>) -> Result<Feed, Refused> {
        let proven = self.workload(extensions)?;
        let valid_until = extensions.get::<ValidUntil>().copied();
        if valid_until.is_some_and(|ValidUntil(end)| (self.clock)() >= end) {
            return Err(Refused::Expired(proven));
        }
        let (proxy, said) = describe(node.ok_or(Misdescribed::Absent)?)?;
        if proxy.workload != proven {
            return Err(Refused::Impostor { proven, claimed: proxy.workload });
        }
        if !self.model.borrow().has(&proven) {
            return Err(Refused::Unknown(proven));
        }
        let mut feed = self.connect(proxy, said)?;
        let expiry = expiry(valid_until, Arc::clone(&self.clock));
        let dismissal = extensions.get::<Welcome>().map(|Welcome(until)| until());
        let told_to_end = feed.end;
        feed.end = Box::pin(async move {
            tokio::select! {
                biased;
                refusal = told_to_end => refusal,
                why = async { dismissal.unwrap_or_else(|| Box::pin(pending())).await } => match why {
                    Dismissed::Certificate => Refused::Revoked(proven).into(),
                    Dismissed::Identity => Refused::Banned(proven).into(),
                },
                () = expiry => Refused::Expired(proven).into(),
            }
        });
        Ok(feed)
    }

    /// Registers a proxy, if its workload may have one more.
    fn connect(&self, proxy: Proxy, said: Said) -> Result<Feed, Refused> {
        let quota = match proxy.workload.kind {
            WorkloadKind::VirtualNode => Quota::EnvoysPerVirtualNode,
            WorkloadKind::VirtualGateway => Quota::EnvoysPerVirtualGateway,
        };
        let Some(limit) = self.quotas.get(quota) else {
            return Ok(self.proxies.connect(proxy, said));
        };
        let workload = proxy.workload.clone();
        let feed = self.proxies.connect_within(limit, proxy, said);
        feed.ok_or(Refused::TooMany { workload, quota, limit })
    }

    /// Whom the transport proved the peer to be.
    fn workload(&self, extensions: &Extensions) -> Result<Workload, Refused> {
        match extensions.get::<Caller>() {
            Some(Caller::Holder(id)) => Workload::from_spiffe_id(id)
                .filter(|_| *id.trust_domain() == self.trust_domain)
                .ok_or_else(|| Refused::NotAWorkload(id.to_string(), self.trust_domain.clone())),
            // A token is for joining, not for configuration.
            Some(Caller::Anonymous | Caller::Joining(_)) | None => Err(Refused::Unauthenticated),
        }
    }
}

/// Waits until a certificate has expired; for ever, where nobody said when.
async fn expiry(valid_until: Option<ValidUntil>, clock: Clock) {
    let Some(ValidUntil(end)) = valid_until else {
        return pending().await;
    };
    while let Ok(left) = end.duration_since(clock()) {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK_AGAIN)).await;
    }
}

impl Source for Ads {
    fn open(&self, extensions: &Extensions, node: Option<&Node>) -> Result<Feed, Refusal> {
        Ok(self.admit(extensions, node)?)
    }
}

impl fmt::Debug for Ads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ads").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! The node service: how agents get their certificates over gRPC, and how they and the server keep each other told.

mod answer;
mod peer;
mod refusal;
mod server;
mod watch;

use std::{sync::Arc, time::Duration};

use signet_policies::{
    identity::Workload,
    issuance::{Caller, Registration, Terms, decide, workload_of},
    time::{Clock, Timestamp},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::{Admission, Issued, Issuing, JoinTokens, Nodes, Origin, TrustFeed, VerifiedCsr};
pub use peer::NodePeer;
use proto::{IssuedCertificate, JoinRequest, NodeReport, RenewRequest};
use refusal::Refusal;
pub use server::NodeServer;

/// The messages and the server of `proto/signet/node/v1/node.proto`.
pub(crate) mod proto {
    #![allow(
        clippy::all,
        clippy::wildcard_enum_match_arm,
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        reason = "generated"
    )]

    tonic::include_proto!("signet.node.v1");
}

/// The log target of refusals, so that one filter shows them all: `audit=info`.
const AUDIT: &str = "audit";

/// What the mesh says of a workload now.
pub trait Registry: Send + Sync + 'static {
    /// The workload's registration; `None` when there is no such workload (any more).
    fn registration(&self, workload: &Workload) -> Option<Registration>;
}

/// The node service's collaborators.
#[derive(Clone)]
pub struct NodeService {
    /// Signs and records.
    pub issuing: Issuing,
    /// Lets workloads in.
    pub tokens: JoinTokens,
    /// Says who is served next.
    pub admission: Admission,
    /// Says what a workload may hold.
    pub registry: Arc<dyn Registry>,
    /// What anybody may have.
    pub terms: Terms,
    /// Knows the agents that watch.
    pub nodes: Nodes,
    /// Says what they must trust.
    pub trust: TrustFeed,
    /// Tells when tokens end.
    pub clock: Clock,
    /// Cancelled when the server drains; node streams end then.
    pub drain: CancellationToken,
}

impl NodeService {
    /// The gRPC server of the service. Who calls, it reads from the [`NodePeer`] that the transport put into the request's
    /// extensions.
    #[must_use]
    pub fn into_server(self) -> NodeServer {
        NodeServer::new(self)
    }

    /// Trades a token for the first certificate of its workload.
    ///
    /// The token is used up only when the request is sound and granted: what an agent did wrong, it can do
    /// again. It is used up before the certificate is made, and for its key alone: whoever did not hear the answer
    /// asks again with the same key, and nobody gets a second identity out of it.
    async fn join_as(&self, workload: &Workload, request: &JoinRequest) -> Result<Issued, Refusal> {
        let identity = workload.spiffe_id(&self.terms.trust_domain);
        let _place = self.admission.admit(identity.as_str(), Duration::ZERO).await?;
        let csr = VerifiedCsr::from_der(&request.csr)?;
        let registration = self.registry.registration(workload);
        let caller = Caller::Joining(workload.clone());
        let grant = decide(&caller, &csr.request(None), registration.as_ref(), &self.terms)?;
        let token = self.tokens.redeem(&request.token, csr.key(), self.now()).await?;
        Ok(self.issuing.issue(&csr, &grant, Origin::join(token)).await?)
    }

    /// Issues the next certificate to the holder of a valid one.
    async fn renew_for(&self, peer: &NodePeer, request: &RenewRequest) -> Result<Issued, Refusal> {
        let NodePeer { caller, serial, end, .. } = peer;
        let (identity, workload) = match caller {
            // The canonical one, since it names a workload.
            Caller::Holder(id) => (id, workload_of(caller, &self.terms)?),
            // Tokens are for joining; no transport proves one.
            Caller::Anonymous | Caller::Joining(_) => return Err(Refusal::Unauthenticated),
        };
        let left = end.map(|end| end.since(self.now())).unwrap_or_default();
        let _place = self.admission.admit(identity.as_str(), left).await?;
        // The transport ends a connection with its certificate, but not while the machine sleeps.
        if let Some(end) = end.filter(|end| *end < self.now()) {
            return Err(Refusal::Ended(end));
        }
        let lifetime = (request.lifetime_secs != 0).then(|| Duration::from_secs(request.lifetime_secs));
        let csr = VerifiedCsr::from_der(&request.csr)?;
        let registration = self.registry.registration(&workload);
        let grant = decide(caller, &csr.request(lifetime), registration.as_ref(), &self.terms)?;
        Ok(self.issuing.issue(&csr, &grant, Origin::renew(*serial)).await?)
    }

    fn answer(&self, issued: &Issued) -> Response<IssuedCertificate> {
        let chain = issued.certificate().chain_der();
        Response::new(IssuedCertificate { chain, bundle: self.trust.now().bundle().to_vec() })
    }

    fn now(&self) -> Timestamp {
        (self.clock)().into()
    }
}

#[async_trait]
impl proto::node_service_server::NodeService for NodeService {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<IssuedCertificate>, Status> {
        let request = request.get_ref();
        // First, so that strangers cost no more than a hash.
        let workload = self.tokens.peek(&request.token, self.now());
        let workload = workload.map_err(|error| Refusal::from(error).log_and_tell("join", "nobody known"))?;
        let issued = self.join_as(&workload, request).await;
        issued
            .map(|issued| self.answer(&issued))
            .map_err(|refusal| refusal.log_and_tell("join", &workload.to_string()))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<IssuedCertificate>, Status> {
        let peer = NodePeer::who_sent(request.extensions());
        let issued = self.renew_for(&peer, request.get_ref()).await;
        issued
            .map(|issued| self.answer(&issued))
            .map_err(|refusal| refusal.log_and_tell("renew", &peer.name()))
    }

    type WatchStream = watch::Updates;

    async fn watch(
        &self,
        request: Request<Streaming<NodeReport>>,
    ) -> Result<Response<watch::Updates>, Status> {
        self.watch_for(request).await.map(Response::new)
    }
}

impl std::fmt::Debug for NodeService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeService").field("terms", &self.terms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! The node service: how agents get their certificates over gRPC, and how they and the server keep each other told.

mod answer;
mod refusal;
mod server;
mod watch;

use std::{net::IpAddr, sync::Arc, time::Duration};

use signet_policies::{
    identity::Workload,
    issuance::{Caller, Registration, Terms, decide, workload_of},
    time::{Clock, Timestamp},
};
use tokio_util::sync::CancellationToken;
use tonic::{Extensions, Request, Response, Status, Streaming, async_trait};

use crate::{Admission, Issued, Issuing, JoinTokens, Nodes, Origin, Serial, TrustFeed, VerifiedCsr};
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

/// The serial of the certificate with which a caller presented itself. The transport may put it beside the
/// [`Caller`] into a request's extensions; it then becomes the predecessor of what is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentedSerial(pub Serial);

/// Where a caller calls from. The transport may put it beside the [`Caller`] into a request's extensions; it is told of
/// the agents that watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// When the certificate with which a caller presented itself ends. The transport may put it beside the [`Caller`]
/// into a request's extensions; the less is left, the sooner the caller is served when many ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentedEnd(pub Timestamp);

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
    /// The gRPC server of the service. Who calls, it reads from the [`Caller`] that the transport put into
    /// the request's extensions; without one, nobody known calls.
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
        let _place = self.admission.admit(&workload.to_string(), Duration::ZERO).await?;
        let csr = VerifiedCsr::from_der(&request.csr)?;
        let registration = self.registry.registration(workload);
        let caller = Caller::Joining(workload.clone());
        let grant = decide(&caller, &csr.request(None), registration.as_ref(), &self.terms)?;
        let token = self.tokens.redeem(&request.token, csr.key(), self.now()).await?;
        Ok(self.issuing.issue(&csr, &grant, Origin::join(token)).await?)
    }

    /// Issues the next certificate to the holder of a valid one.
    async fn renew_for(
        &self,
        caller: &Caller,
        presented: Presented,
        request: &RenewRequest,
    ) -> Result<Issued, Refusal> {
        let workload = match caller {
            Caller::Holder(_) => workload_of(caller, &self.terms)?,
            // Tokens are for joining; no transport proves one.
            Caller::Anonymous | Caller::Joining(_) => return Err(Refusal::Unauthenticated),
        };
        let left = presented.end.map(|end| end.since(self.now())).unwrap_or_default();
        let _place = self.admission.admit(&workload.to_string(), left).await?;
        let lifetime = (request.lifetime_secs != 0).then(|| Duration::from_secs(request.lifetime_secs));
        let csr = VerifiedCsr::from_der(&request.csr)?;
        let registration = self.registry.registration(&workload);
        let grant = decide(caller, &csr.request(lifetime), registration.as_ref(), &self.terms)?;
        Ok(self.issuing.issue(&csr, &grant, Origin::renew(presented.serial)).await?)
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
        let caller = caller_of(request.extensions());
        let presented = Presented::of(request.extensions());
        let issued = self.renew_for(&caller, presented, request.get_ref()).await;
        issued
            .map(|issued| self.answer(&issued))
            .map_err(|refusal| refusal.log_and_tell("renew", &describe(&caller)))
    }

    type WatchStream = watch::Updates;

    async fn watch(
        &self,
        request: Request<Streaming<NodeReport>>,
    ) -> Result<Response<watch::Updates>, Status> {
        self.watch_for(request).await.map(Response::new)
    }
}

/// The certificate with which a caller presented itself, as far as the transport says.
#[derive(Clone, Copy)]
struct Presented {
    serial: Option<Serial>,
    end: Option<Timestamp>,
}

impl Presented {
    fn of(extensions: &Extensions) -> Self {
        let serial = extensions.get::<PresentedSerial>().map(|presented| presented.0);
        Self { serial, end: extensions.get::<PresentedEnd>().map(|presented| presented.0) }
    }
}

fn caller_of(extensions: &Extensions) -> Caller {
    extensions.get::<Caller>().cloned().unwrap_or(Caller::Anonymous)
}

/// As logs name a caller.
fn describe(caller: &Caller) -> String {
    match caller {
        Caller::Anonymous => "nobody known".to_owned(),
        Caller::Joining(workload) => workload.to_string(),
        Caller::Holder(id) => id.to_string(),
    }
}

impl std::fmt::Debug for NodeService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeService").field("terms", &self.terms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

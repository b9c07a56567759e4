//! One node stream: reports in, trust and advice out.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _, stream};
use signet_policies::{
    identity::{SpiffeId, Workload},
    issuance::{Caller, Denied, Registration, workload_of},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use tracing::warn;

use super::{AUDIT, NodePeer, NodeService, proto, refusal::Refusal};
use crate::{
    Trust,
    nodes::{self, Advice, InvalidReport, Line, NodeKey, Session, TooManyNodes, Window},
};
use proto::{NodeReport, NodeUpdate};

/// Updates of one stream.
pub(super) type Updates = Pin<Box<dyn Stream<Item = Result<NodeUpdate, Status>> + Send>>;

impl From<InvalidReport> for Status {
    fn from(invalid: InvalidReport) -> Self {
        Self::invalid_argument(invalid.to_string())
    }
}

impl From<TooManyNodes> for Status {
    fn from(many: TooManyNodes) -> Self {
        Self::resource_exhausted(many.to_string())
    }
}

/// An agent whose first report was good.
struct Watching<R> {
    service: NodeService,
    workload: Workload,
    session: Option<Session>,
    reports: R,
    trust: watch::Receiver<Arc<Trust>>,
    advice: watch::Receiver<Advice>,
    advised: Option<Window>,
    /// The further identities that the agent was told of; `None` before it was.
    told: Option<Vec<SpiffeId>>,
    replaced: CancellationToken,
}

impl NodeService {
    /// Opens the stream of whom the transport vouches for, once its first report is there.
    pub(super) async fn watch_for<R>(&self, request: Request<R>) -> Result<Updates, Status>
    where
        R: Stream<Item = Result<NodeReport, Status>> + Send + Unpin + 'static,
    {
        let (_, extensions, mut reports) = request.into_parts();
        let peer = NodePeer::who_sent(&extensions);
        let registration =
            self.watcher(&peer.caller).map_err(|refused| refused.log_and_tell("watch", &peer.name()))?;
        let workload = registration.workload;
        let first = tokio::select! {
            first = reports.next() => first.unwrap_or_else(|| Err(Status::cancelled("no report came")))?,
            () = self.drain.cancelled() => return Err(shutting_down()),
        };
        let session = self.open(&workload, &peer, first).await;
        let session = session.map_err(|status| told(&workload, status))?;
        let mut trust = self.trust.subscribe();
        trust.mark_changed();
        let mut advice = self.nodes.advice();
        advice.mark_changed();
        let watching = Watching {
            service: self.clone(),
            workload,
            replaced: session.replaced(),
            session: Some(session),
            reports,
            trust,
            advice,
            advised: None,
            told: None,
        };
        Ok(Box::pin(stream::unfold(Some(watching), |watching| async move {
            let mut watching = watching?;
            match watching.next().await {
                Ok(Some(update)) => Some((Ok(update), Some(watching))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })))
    }

    /// The registration of the workload that a caller is, if it exists.
    fn watcher(&self, caller: &Caller) -> Result<Registration, Refusal> {
        let workload = match caller {
            Caller::Holder(_) => workload_of(caller, &self.terms)?,
            Caller::Anonymous | Caller::Joining(_) => return Err(Refusal::Unauthenticated),
        };
        let registration = self.registry.registration(&workload);
        registration.ok_or_else(|| Denied::Unregistered(workload).into())
    }

    async fn open(&self, workload: &Workload, peer: &NodePeer, first: NodeReport) -> Result<Session, Status> {
        let NodePeer { serial, address, .. } = *peer;
        let (instance, report) = nodes::read(first)?;
        let key = NodeKey { workload: workload.clone(), instance };
        let now = (self.clock)();
        let session = self.nodes.connect(key, Line { serial, address }, report, now)?;
        let returned =
            self.nodes.note_returned(session.key(), serial, self.issuing.ledger(), now.into()).await;
        returned.map_err(|error| Status::unavailable(format!("the ledger does not remember: {error}")))?;
        Ok(session)
    }
}

impl<R> Watching<R>
where
    R: Stream<Item = Result<NodeReport, Status>> + Send + Unpin,
{
    /// The next update; `None` when the agent has ended the stream.
    ///
    /// Every arm only notes what is new, so the order in which `select!` sees them does not matter, but that an end
    /// comes before everything else.
    async fn next(&mut self) -> Result<Option<NodeUpdate>, Status> {
        loop {
            tokio::select! {
                biased;
                () = self.service.drain.cancelled() => return Err(shutting_down()),
                () = self.replaced.cancelled() => {
                    return Err(Status::aborted("another stream of this instance was opened"));
                }
                report = self.reports.next() => match report {
                    Some(report) => {
                        let Some(registration) = self.take(report?).await? else { return Ok(None) };
                        // Not before it knows what to trust, with which it is told the first time.
                        if self.told.is_some() && let Some(identities) = self.identities(&registration) {
                            return Ok(Some(NodeUpdate { identities: Some(identities), ..NodeUpdate::default() }));
                        }
                    }
                    None => return Ok(None),
                },
                Ok(()) = self.trust.changed() => {
                    let trust = self.trust.borrow_and_update().clone();
                    let identities = match self.told {
                        Some(_) => None,
                        None => {
                            let registration = self.registration()?;
                            self.identities(&registration)
                        }
                    };
                    return Ok(Some(NodeUpdate { trust: Some(wire(&trust)), renewal: None, identities }));
                }
                Ok(()) = self.advice.changed() => if let Some(window) = self.advice() {
                    return Ok(Some(NodeUpdate { renewal: Some(window), ..NodeUpdate::default() }));
                },
            }
        }
    }

    /// What the workload's spec says now. The error ends the stream: there is no such workload any more.
    fn registration(&self) -> Result<Registration, Status> {
        let caller = Caller::Holder(self.workload.spiffe_id(&self.service.terms.trust_domain));
        let registration = self.service.watcher(&caller);
        registration.map_err(|refused| refused.log_and_tell("watch", &self.workload.to_string()))
    }

    /// Takes a report in, and says what the spec is by then; nothing when it was the agent's last.
    async fn take(&mut self, report: NodeReport) -> Result<Option<Registration>, Status> {
        let leaving = report.leaving;
        let registration = self.registration()?;
        let (instance, report) =
            nodes::read(report).map_err(|invalid| told(&self.workload, invalid.into()))?;
        let session = self.session.as_ref().filter(|session| session.key().instance == instance);
        let session =
            session.ok_or_else(|| Status::invalid_argument("the instance changed within a stream"))?;
        session.report(report, (self.service.clock)());
        if leaving && let Some(session) = self.session.take() {
            session.leave(self.service.issuing.ledger(), (self.service.clock)()).await;
        }
        Ok((!leaving).then_some(registration))
    }

    /// The further identities that the agent may hold, where they are not those that it was told last.
    fn identities(&mut self, registration: &Registration) -> Option<proto::Identities> {
        let standing = self.service.issuing.guard().now();
        let may_hold = |id: &&SpiffeId| standing.check(None, id).is_ok();
        let now: Vec<SpiffeId> = registration.spiffe_ids.iter().filter(may_hold).cloned().collect();
        let spiffe_ids = now.iter().map(ToString::to_string).collect();
        (self.told.replace(now.clone()).as_ref() != Some(&now)).then_some(proto::Identities { spiffe_ids })
    }

    /// The advice for this agent, where it is new.
    fn advice(&mut self) -> Option<proto::RenewalWindow> {
        let advice = self.advice.borrow_and_update().clone();
        let window = self.session.as_ref().and_then(|session| advice.get(session.key())).cloned();
        if window == self.advised {
            return None;
        }
        self.advised.clone_from(&window);
        window.map(|Window { serial, start, end, reason }| proto::RenewalWindow {
            serial: hex::encode(significant(&serial.to_bytes())),
            start: start.unix(),
            end: end.unix(),
            reason: reason.to_string(),
        })
    }
}

/// Agents and Envoy write a serial without its leading zero octets.
fn significant(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]
}

fn wire(trust: &Trust) -> proto::Trust {
    proto::Trust {
        version: trust.version().to_owned(),
        bundle: trust.bundle().to_vec(),
        crls: trust.crls().to_vec(),
    }
}

fn shutting_down() -> Status {
    Status::unavailable("the server is shutting down")
}

fn told(workload: &Workload, status: Status) -> Status {
    warn!(target: AUDIT, rpc = "watch", caller = %workload, code = ?status.code(), reason = status.message(), "refused a report");
    status
}

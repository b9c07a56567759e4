//! The stream to the server that lasts as long as the agent: reports out, trust and advice in.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{Stream, stream};
use rand::rngs::StdRng;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use signet_policies::time::{Clock, Timestamp, Validity};
use signet_sds::{
    rotator::{Advice, Backoff, Command},
    secret::Secrets,
    signer::Trust,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};
use tracing::{debug, info, warn};

use crate::{
    evidence::{RefusedTrust, millis},
    further::Named,
    join::{
        CallError, Channel, DEADLINE, Server,
        pb::{self, NodeReport, NodeUpdate},
    },
};

/// A report is sent at least so often, changed or not.
const INTERVAL: Duration = Duration::from_secs(10);
/// A stream that lasted so long was good: the next failure is the first of its row.
const GOOD: Duration = Duration::from_secs(30);
/// A server that does not know the stream is an older one; it may have been replaced when it is asked again.
const OLD_SERVER: Duration = Duration::from_secs(60);

/// What the stream is between.
pub(crate) struct Watch {
    pub(crate) server: Server,
    pub(crate) secrets: watch::Receiver<Option<Arc<Secrets>>>,
    pub(crate) reports: watch::Receiver<Option<NodeReport>>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) refused: watch::Sender<RefusedTrust>,
    /// Told what the workload may hold beside its own identity.
    pub(crate) may_hold: watch::Sender<Named>,
    /// Cancelled when Envoy has ended and will not come back: the last report says so.
    pub(crate) leaving: CancellationToken,
    pub(crate) rng: StdRng,
}

/// Why a stream is over.
#[derive(Debug)]
enum End {
    /// The agent leaves, and has said so if it could.
    Left,
    /// There is another certificate to show.
    Renewed,
    Failed(CallError),
}

impl Watch {
    /// Keeps a stream open until the agent leaves.
    pub(crate) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let leaving = self.leaving.clone();
            let held = tokio::select! {
                held = self.secrets.wait_for(Option::is_some) => held.ok().and_then(|held| held.clone()),
                () = leaving.cancelled() => None,
            };
            let Some(held) = held else { return };
            let opened = Instant::now();
            match self.stream(&held).await {
                End::Left => return,
                End::Renewed => failures = 0,
                End::Failed(failure) => {
                    if opened.elapsed() > GOOD {
                        failures = 0;
                    }
                    let wait = self.wait(&failure, failures);
                    failures = failures.saturating_add(1);
                    if leaving.run_until_cancelled(sleep(wait)).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    fn wait(&mut self, failure: &CallError, earlier: u32) -> Duration {
        if let CallError::Refused { code: Code::Unimplemented, .. } = failure {
            debug!("the server is of an earlier release, which takes no reports");
            return OLD_SERVER;
        }
        let wait = Backoff::DEFAULT.after(earlier, &mut self.rng);
        let retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        match earlier {
            0 => info!(reason = %failure, retry_in_ms, "the stream to the server has ended"),
            _ => warn!(reason = %failure, retry_in_ms, "no stream to the server"),
        }
        wait
    }

    async fn stream(&mut self, held: &Secrets) -> End {
        let opening = timeout(DEADLINE, Channel::open(&self.server, Some(held))).await;
        let channel = match opening.unwrap_or(Err(CallError::Late(DEADLINE))) {
            Ok(channel) => channel,
            Err(failure) => return End::Failed(failure),
        };
        let clock = Arc::clone(&self.server.clock);
        let outgoing = outgoing(self.reports.clone(), clock, self.leaving.clone());
        let mut client = channel.client();
        let opened = timeout(DEADLINE, client.watch(Request::new(outgoing))).await;
        let opened = opened.map_err(|_| CallError::Late(DEADLINE));
        let updates = match opened.and_then(|opened| channel.settle(opened)) {
            Ok(updates) => updates,
            Err(failure) => return End::Failed(failure),
        };
        info!("watching: the server is told what the proxy holds, and tells what to trust");
        self.follow(held, updates, &channel).await
    }

    /// The updates of an open stream, in their order. A new certificate is shown to the server by another stream.
    async fn follow(
        &mut self,
        held: &Secrets,
        mut updates: tonic::Streaming<NodeUpdate>,
        channel: &Channel,
    ) -> End {
        let serial = held.leaf().serial().to_owned();
        let mut secrets = self.secrets.clone();
        let is_other =
            |now: &Option<Arc<Secrets>>| now.as_ref().is_none_or(|now| now.leaf().serial() != serial);
        let mut renewed = pin!(secrets.wait_for(is_other));
        loop {
            let update = tokio::select! {
                update = updates.message() => update,
                _ = &mut renewed => return End::Renewed,
            };
            match update {
                Ok(Some(update)) => self.obey(update).await,
                Ok(None) if self.leaving.is_cancelled() => return End::Left,
                Ok(None) => {
                    return End::Failed(channel.failure(&tonic::Status::unavailable("the server ended it")));
                }
                Err(status) => return End::Failed(channel.failure(&status)),
            }
        }
    }

    async fn obey(&self, update: NodeUpdate) {
        let NodeUpdate { trust, renewal, identities } = update;
        if let Some(pb::Identities { spiffe_ids }) = identities {
            // One that cannot be read is nobody's whose certificate is held.
            let named = spiffe_ids.iter().filter_map(|id| id.parse().ok()).collect();
            self.may_hold.send_replace(Some(named));
        }
        if let Some(trust) = trust {
            self.trust(trust).await;
        }
        let Some(pb::RenewalWindow { serial, start, end, reason }) = renewal else { return };
        match Validity::new(Timestamp::from_unix(start), Timestamp::from_unix(end)) {
            // Where the rotator has ended, so does the agent.
            Ok(window) => drop(self.commands.send(Command::Renew(Advice { serial, window, reason })).await),
            Err(empty) => warn!(%empty, "the server advises a window that is none"),
        }
    }

    async fn trust(&self, trust: pb::Trust) {
        let pb::Trust { version, bundle, crls } = trust;
        let roots = bundle.into_iter().map(CertificateDer::from).collect();
        let crls = crls.into_iter().map(CertificateRevocationListDer::from).collect();
        let (answer, answered) = oneshot::channel();
        if self.commands.send(Command::Trust(Trust { roots, crls }, answer)).await.is_err() {
            return;
        }
        let refused = match answered.await {
            Ok(Err(refused)) => {
                warn!(version, reason = %refused, "what the server says to trust is not handed on");
                Some((version, refused.to_string()))
            }
            Ok(Ok(())) | Err(_) => None,
        };
        self.refused.send_if_modified(|before| std::mem::replace(before, refused.clone()) != refused);
    }
}

/// What a stream of reports needs.
struct Outgoing {
    reports: watch::Receiver<Option<NodeReport>>,
    clock: Clock,
    leaving: CancellationToken,
}

/// Reports: the newest on every change, the same again when nothing changed for a while, and a last one.
fn outgoing(
    mut reports: watch::Receiver<Option<NodeReport>>,
    clock: Clock,
    leaving: CancellationToken,
) -> impl Stream<Item = NodeReport> + Send {
    reports.mark_changed();
    stream::unfold(Some(Outgoing { reports, clock, leaving }), |outgoing| async move {
        let mut outgoing = outgoing?;
        let is_last = outgoing.until_due().await?;
        let report = outgoing.reports.borrow_and_update().clone()?;
        let now_unix_ms = millis(now(&outgoing.clock));
        let report = NodeReport { now_unix_ms, leaving: is_last, ..report };
        Some((report, (!is_last).then_some(outgoing)))
    })
}

impl Outgoing {
    /// Waits until a report is due, and says whether it is the last; `None` when there can be none any more.
    async fn until_due(&mut self) -> Option<bool> {
        loop {
            let is_last = tokio::select! {
                biased;
                () = self.leaving.cancelled() => true,
                changed = self.reports.changed() => changed.map(|()| false).ok()?,
                () = sleep(INTERVAL) => false,
            };
            if is_last || self.reports.borrow().is_some() {
                return Some(is_last);
            }
        }
    }
}

fn now(clock: &Clock) -> SystemTime {
    clock()
}

#[cfg(test)]
mod tests;

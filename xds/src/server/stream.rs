//! One stream: moves requests and responses between a client and its session.

use std::{future::pending, sync::Arc};

use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use http::Extensions;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::Status as Refusal;
use tracing::{Instrument, Span, debug, info};

use super::{Feed, Observer, PATIENCE, Source, ends::Ends, log_refusal, refuse};
use crate::{
    pb::envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
    },
    session::{Request, Response, Session},
    snapshot::Snapshot,
};

/// A discovery request of either variant.
pub(super) trait Incoming: prost::Message + Default + Into<Request> + Send + 'static {
    fn node(&self) -> Option<&Node>;
}

impl Incoming for DiscoveryRequest {
    fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }
}

impl Incoming for DeltaDiscoveryRequest {
    fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }
}

/// What a stream came to.
pub(super) enum Turn {
    Send(Response),
    /// The server ends it.
    End(Refusal),
    /// The client has ended it.
    Closed,
}

impl Turn {
    /// The status of a stream that ended without an answer.
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::End(refusal) => refusal,
            Self::Send(_) | Self::Closed => Refusal::cancelled("the client has ended the call"),
        }
    }
}

/// A feed without its end.
struct Fed {
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// The newest as it was last looked at; nothing when there may be another.
    newest: Option<Arc<Snapshot>>,
    observer: Box<dyn Observer>,
}

impl Fed {
    /// Looks whether there is a newer snapshot: that is cheap, and to take the same again would be to count it where all
    /// streams do.
    fn look(&mut self) {
        if self.newest.is_none() || self.snapshots.has_changed().unwrap_or(false) {
            self.newest = self.snapshots.borrow_and_update().clone();
        }
    }
}

/// One stream and all that it owns; dropping it ends everything.
pub(super) struct Shell<S, R> {
    source: Arc<S>,
    extensions: Extensions,
    pub(super) requests: R,
    session: Session,
    /// What it is fed with, once the first request has said who asks.
    feed: Option<Fed>,
    /// The server's shutdown, and that feed's end.
    ends: Ends,
}

impl<S, R, I> Shell<S, R>
where
    S: Source,
    R: Stream<Item = Result<I, Refusal>> + Send + Unpin + 'static,
    I: Incoming,
{
    pub(super) fn new(
        source: Arc<S>,
        extensions: Extensions,
        requests: R,
        session: Session,
        shutdown: CancellationToken,
    ) -> Self {
        let shutting_down = async move {
            shutdown.cancelled().await;
            super::shutting_down()
        };
        let ends = Ends::new(Box::pin(shutting_down));
        Self { source, extensions, requests, session, feed: None, ends }
    }

    /// The responses, each made when the one before has been taken.
    pub(super) fn into_stream(self, span: Span) -> impl Stream<Item = Result<Response, Refusal>> + Send {
        let deadline = Instant::now() + PATIENCE;
        // Apart, as the future of a stream is moved about and holds it twice.
        stream::unfold(Some(Box::new(self)), move |shell| {
            let span = span.clone();
            async move {
                let mut shell = shell?;
                match shell.turn(deadline, &span).instrument(span.clone()).await {
                    Turn::Send(response) => Some((Ok(response), Some(shell))),
                    Turn::End(refusal) => Some((Err(refusal), None)),
                    Turn::Closed => None,
                }
            }
        })
    }

    /// Runs until there is something to send or the stream is over.
    async fn turn(&mut self, deadline: Instant, span: &Span) -> Turn {
        loop {
            if let Some(response) = self.next_response() {
                return Turn::Send(response);
            }
            let waiting = self.feed.is_none();
            // Requests come before snapshots: an ACK that is there already may let more of a snapshot go. A
            // client that never stops asking delays only itself.
            let turn = tokio::select! {
                biased;
                refusal = &mut self.ends => Some(Turn::End(refusal)),
                request = self.requests.next() => self.on_request(request, span),
                alive = next_snapshot(&mut self.feed) => (!alive).then(|| self.end_of_feed()),
                () = async { sleep_until(deadline).await }, if waiting => Some(Turn::End(no_request())),
            };
            if let Some(turn) = turn {
                return turn;
            }
        }
    }

    /// The answer to a request that has been taken in, as soon as there is something to answer from.
    pub(super) async fn first_answer(&mut self) -> Turn {
        loop {
            if self.feed.as_ref().is_some_and(|feed| feed.snapshots.borrow().is_some()) {
                let none = || Turn::End(Refusal::not_found("none of the resources asked for is known"));
                return self.next_response().map_or_else(none, Turn::Send);
            }
            tokio::select! {
                biased;
                refusal = &mut self.ends => return Turn::End(refusal),
                alive = next_snapshot(&mut self.feed) => if !alive {
                    return self.end_of_feed();
                },
            }
        }
    }

    /// Whoever lets go of the feed may have said why at the same moment.
    fn end_of_feed(&mut self) -> Turn {
        let why = (&mut self.ends).now_or_never();
        Turn::End(why.unwrap_or_else(super::end_of_feed))
    }

    fn next_response(&mut self) -> Option<Response> {
        let feed = self.feed.as_mut()?;
        feed.look();
        let Fed { newest: Some(snapshot), observer, .. } = feed else { return None };
        if self.session.has_nothing_for(snapshot) || !observer.may_send(snapshot) {
            return None;
        }
        let response = self.session.next_response(snapshot)?;
        debug!(
            kind = %response.kind, nonce = response.nonce, resources = response.resources.len(),
            removed = response.removed.len(), "response"
        );
        observer.sent(self.session.status());
        Some(response)
    }

    /// Takes a request in; gives a turn when it is the last.
    pub(super) fn on_request(&mut self, request: Option<Result<I, Refusal>>, span: &Span) -> Option<Turn> {
        let request = match request {
            Some(Ok(request)) => request,
            Some(Err(refusal)) => {
                debug!(code = ?refusal.code(), reason = refusal.message(), "stream broken");
                return Some(Turn::End(refusal));
            }
            None => return Some(Turn::Closed),
        };
        let node = if self.feed.is_none() { request.node().cloned() } else { None };
        if let Err(error) = self.session.on_request(request.into()) {
            return Some(Turn::End(refuse(error)));
        }
        if self.feed.is_none() {
            span.record("node", self.session.node_id());
            match self.source.open(&self.extensions, node.as_ref()) {
                Ok(Feed { snapshots, observer, end }) => {
                    self.ends.add(end);
                    self.feed = Some(Fed { snapshots, newest: None, observer });
                }
                Err(refusal) => {
                    log_refusal(&refusal);
                    return Some(Turn::End(refusal));
                }
            }
            info!("stream opened");
        }
        if let Some(feed) = &mut self.feed {
            feed.observer.changed(self.session.status());
        }
        None
    }
}

/// Waits for a newer snapshot; false when none can come any more.
async fn next_snapshot(feed: &mut Option<Fed>) -> bool {
    match feed {
        Some(feed) => {
            let alive = feed.snapshots.changed().await.is_ok();
            feed.newest = None;
            alive
        }
        None => pending().await,
    }
}

pub(super) fn no_request() -> Refusal {
    Refusal::deadline_exceeded("no request arrived")
}

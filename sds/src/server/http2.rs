//! HTTP/2 with each proxy, all of a connection on one task.
//!
//! A stream of HTTP/2 is commonly a task beside that of its connection, so that streams can work side by side. Ours do
//! not work: each waits for the same news, writes it and waits again, and would wake its connection to have it sent.
//! Here a connection looks after its own streams first and then sends what they had to say, all in one turn.

use std::{
    convert::Infallible,
    future::{Future, poll_fn, ready},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use hyper::{body::Incoming, rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;
use signet_xds::server::{Discovery, Secrets};
use tokio::{net::UnixStream, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    bell::{Bell, Part},
    connection::{Bond, Gate},
    gather::Socket,
    source::Own,
};

/// Streams that one connection may have open: Envoy opens one for each secret.
const MAX_STREAMS: u32 = 1024;

/// Serves whoever comes in, until `shutdown`; then until all connections have ended. Dropping it ends them at once.
pub(super) async fn serve_all(mut gate: Gate, service: Discovery<Secrets, Own>, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (socket, bond) = gate.next() => {
                connections.spawn(serve(socket, bond, service.clone(), shutdown.clone()));
            }
        }
    }
    drop(gate);
    while connections.join_next().await.is_some() {}
}

/// What a connection does beside moving bytes.
type Running = Pin<Box<dyn Future<Output = Happened> + Send>>;

enum Happened {
    /// A stream has ended.
    Ended,
    /// The connection is to end when its streams have.
    ShutDown,
}

/// How often streams and connection take turns before other tasks may: where all that a task may do has been done, both
/// would only ask for another turn.
const ROUNDS: usize = 4;

/// Streams that were opened and are not looked after yet, of which the bell tells.
#[derive(Clone)]
struct Opened(Arc<Mutex<Vec<Running>>>, Arc<Bell>);

impl Opened {
    fn take(&self) -> Vec<Running> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Opened {
    fn execute(&self, stream: F) {
        let stream = Box::pin(stream.map(|()| Happened::Ended));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        self.1.ring(Part::Opened);
    }
}

/// So many streams are looked at whenever anything happens on their connection; most have only one.
const FEW: usize = 4;

/// The streams of a connection.
struct Streams {
    few: [Option<Running>; FEW],
    /// The others, looked at when they ask for it; and the wait for the end.
    more: FuturesUnordered<Running>,
}

impl Streams {
    fn new(shutdown: CancellationToken) -> Self {
        let shut_down: Running = Box::pin(shutdown.cancelled_owned().map(|()| Happened::ShutDown));
        Self { few: Default::default(), more: [shut_down].into_iter().collect() }
    }

    fn add(&mut self, stream: Running) {
        match self.few.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(stream),
            None => self.more.push(stream),
        }
    }

    /// Looks after the few.
    fn poll(&mut self, cx: &mut Context<'_>) {
        for place in &mut self.few {
            if place.as_mut().is_some_and(|stream| stream.as_mut().poll(cx).is_ready()) {
                *place = None;
            }
        }
    }

    /// Looks after those of the others that asked for it; says whether it is time to end.
    fn poll_others(&mut self, cx: &mut Context<'_>) -> bool {
        let mut is_end = false;
        while let Poll::Ready(Some(happened)) = self.more.poll_next_unpin(cx) {
            is_end |= matches!(happened, Happened::ShutDown);
        }
        is_end
    }
}

/// One connection, until it ends.
async fn serve(
    socket: UnixStream,
    bond: Bond,
    service: Discovery<Secrets, Own>,
    shutdown: CancellationToken,
) {
    let answer = service_fn(move |mut call: http::Request<Incoming>| {
        call.extensions_mut().insert(bond.clone());
        ready(Ok::<_, Infallible>(service.answer(call)))
    });
    let bell = Bell::rung();
    let opened = Opened(Arc::default(), Arc::clone(&bell));
    let mut server = http2::Builder::new(opened.clone());
    server.max_concurrent_streams(MAX_STREAMS);
    let mut connection = pin!(server.serve_connection(TokioIo::new(Socket(socket)), answer));
    let mut streams = Streams::new(shutdown);
    let wakers = [Part::Streams, Part::Others, Part::Connection].map(|part| bell.ringer(part));
    let [for_streams, for_others, for_connection] = &wakers;
    // Most often it is the same for good.
    let mut known: Option<Waker> = None;
    let ended = poll_fn(|cx| {
        if !known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            bell.wakes(cx.waker());
            known = Some(cx.waker().clone());
        }
        for _ in 0..ROUNDS {
            bell.awake();
            if bell.answer(Part::Streams) {
                streams.poll(&mut Context::from_waker(for_streams));
            }
            if bell.answer(Part::Others) && streams.poll_others(&mut Context::from_waker(for_others)) {
                connection.as_mut().graceful_shutdown();
                bell.ring(Part::Connection);
            }
            if bell.answer(Part::Connection)
                && let Poll::Ready(ended) = connection.as_mut().poll(&mut Context::from_waker(for_connection))
            {
                return Poll::Ready(ended);
            }
            if bell.answer(Part::Opened) {
                opened.take().into_iter().for_each(|stream| streams.add(stream));
                bell.ring(Part::Streams);
                bell.ring(Part::Others);
            }
            if !bell.asleep() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    if let Err(error) = ended.await {
        debug!(%error, "a proxy's connection broke");
    }
}

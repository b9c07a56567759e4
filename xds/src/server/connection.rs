//! HTTP/2 with each client, all of a connection on one task.
//!
//! A stream of HTTP/2 is commonly a task beside that of its connection, so that streams can work side by side. Ours do
//! not work: each waits for news, writes it and waits again, and would wake its connection to have it sent.
//! Here a connection looks after its own streams first and then sends what they had to say, all in one turn.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Buf;
use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use http_body::Body;
use hyper::{
    body::Incoming,
    rt::{Executor, Read, Write},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::TokioTimer;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::bell::{Bell, Part};

/// Streams that one connection may have open: Envoy opens one for each secret.
const MAX_STREAMS: u32 = 1024;
/// How long a client may take to answer a ping.
const PATIENCE: Duration = Duration::from_secs(20);

/// Gives each connection that comes in a task, until `shutdown`; then waits until all of them have ended. Dropping it ends
/// them at once.
///
/// `next` waits for a connection, and whoever stops waiting must miss none; `serve` is what is to be done for it.
pub async fn serve_all<T, C>(
    mut next: impl AsyncFnMut() -> T,
    serve: impl Fn(T) -> C,
    shutdown: CancellationToken,
) where
    C: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            connection = next() => drop(connections.spawn(serve(connection))),
        }
    }
    drop(next);
    while connections.join_next().await.is_some() {}
}

/// One connection, until it ends, or until `shutdown` and the end of its streams. `ping`, if any, is how often a silent
/// client is asked whether it is still there; one that does not answer has gone.
pub async fn serve<I, A, F, B>(io: I, ping: Option<Duration>, answer: A, shutdown: CancellationToken)
where
    I: Read + Write + Unpin,
    A: Fn(http::Request<Incoming>) -> F,
    F: Future<Output = http::Response<B>> + Send + 'static,
    B: Body<Data: Buf + Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let answer = service_fn(|call| answer(call).map(Ok::<_, Infallible>));
    let bell = Bell::rung();
    let opened = Opened(Arc::default(), Arc::clone(&bell));
    let mut server = http2::Builder::new(opened.clone());
    server.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
    server.keep_alive_interval(ping).keep_alive_timeout(PATIENCE);
    let mut connection = pin!(server.serve_connection(io, answer));
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
        debug!(%error, "a connection broke");
    }
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

//! An application of HTTP/2 that resets streams, as one does that is full, ends, or breaks.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use anyhow::Result;
use bytes::Bytes;
use h2::{
    RecvStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use tokio::{net::TcpStream, task::JoinSet};

pub use h2::Reason;

use super::app::App;

/// A running one. It ends when dropped.
#[derive(Debug)]
pub struct Resetting {
    /// Where it listens, on loopback.
    pub port: u16,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    /// How many of the next streams are reset, and how.
    next: Mutex<Option<(u64, Reason)>>,
    streams: AtomicU64,
}

impl Resetting {
    /// Starts one that resets nothing yet.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start() -> Result<Self> {
        let listener = App::bind(0).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State::default());
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&state);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(Arc::clone(&shared), stream));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { port, state, _tasks: tasks })
    }

    /// The next `count` streams are reset with `reason` before anything is answered; those after are answered 200.
    pub fn reset(&self, count: u64, reason: Reason) {
        *lock(&self.state.next) = Some((count, reason));
    }

    /// Streams since it was last asked.
    pub fn take_streams(&self) -> u64 {
        self.state.streams.swap(0, Ordering::SeqCst)
    }
}

impl State {
    /// How the next stream is reset, if it is.
    fn next(&self) -> Option<Reason> {
        let mut next = lock(&self.next);
        let (left, reason) = next.take()?;
        *next = left.checked_sub(1).map(|left| (left, reason));
        (left > 0).then_some(reason)
    }
}

async fn serve(state: Arc<State>, stream: TcpStream) {
    drop(stream.set_nodelay(true));
    let Ok(mut connection) = server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        state.streams.fetch_add(1, Ordering::SeqCst);
        // What goes wrong on one stream is its caller's to see.
        drop(answer(&state, &request, respond));
    }
}

fn answer(
    state: &State,
    request: &Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    if let Some(reason) = state.next() {
        respond.send_reset(reason);
        return Ok(());
    }
    let kind = request.headers().get(CONTENT_TYPE).cloned();
    let is_grpc = kind.as_ref().is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let mut response = Response::new(());
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    let mut body = respond.send_response(response, false)?;
    if !is_grpc {
        return body.send_data(Bytes::from_static(b"{}"), true);
    }
    // One message, `{}`, and the status.
    body.send_data(Bytes::from_static(b"\0\0\0\0\x02{}"), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", 0.into());
    body.send_trailers(trailers)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

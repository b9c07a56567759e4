//! HTTP/2 with each proxy.

use std::future::ready;

use hyper_util::rt::TokioIo;
use signet_xds::server::{Discovery, Secrets, connection};
use tokio_util::sync::CancellationToken;

use super::{connection::Gate, gather::Socket, source::Own};

/// Serves whoever comes in, until `shutdown`; then until all connections have ended. Dropping it ends them at once.
pub(super) async fn serve_all(mut gate: Gate, service: Discovery<Secrets, Own>, shutdown: CancellationToken) {
    let stop = shutdown.clone();
    let serve = |(socket, bond)| {
        let service = service.clone();
        let answer = move |mut call: http::Request<_>| {
            call.extensions_mut().insert(Clone::clone(&bond));
            ready(service.answer(call))
        };
        connection::serve(TokioIo::new(Socket(socket)), None, answer, stop.clone())
    };
    connection::serve_all(async move || gate.next().await, serve, shutdown).await;
}

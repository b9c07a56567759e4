//! The HTTP/1.1 ports: bounded in connections, in the size of a head and the time that it may take, and in the
//! time that a peer may leave an answer unread. What is no HTTP is refused with a log line, as all else is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Connections at once; more wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 1024;
/// From the start of a connection, or the end of a request, to the end of the next request's head.
const HEAD: Duration = Duration::from_secs(30);
/// Longest head of a request, in bytes, and most headers in it.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// How long a peer may leave what was sent to it unread before its place is given to another.
const UNREAD: Duration = Duration::from_secs(30);
/// After a failed accept, so that a lack of file descriptors does not spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves `routes` until `stop`, then lets requests that are under way finish.
pub(super) async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) -> Result<()> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = async { (places.clone().acquire_owned().await, listener.accept().await) };
        let Some((place, accepted)) = stop.run_until_cancelled(accepted).await else { break };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((tcp, peer)) => {
                let connection = graceful.watch(connection(tcp, routes.clone(), UNREAD));
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        log(peer, &error);
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    graceful.shutdown().await;
    Ok(())
}

type Connection = http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>>;

/// `unread` is in milliseconds on the wire.
fn connection(tcp: TcpStream, routes: Router, unread: Duration) -> Connection {
    if let Err(error) = tcp.set_nodelay(true) {
        debug!(%error, "a connection goes on with delays");
    }
    // hyper bounds how long it waits for a request, and not how long a peer may take for an answer.
    let unread = u32::try_from(unread.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&tcp, unread) {
        debug!(%error, "a connection goes on without a bound for what is unread");
    }
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(tcp), TowerToHyperService::new(routes))
}

/// Peers that went away are every day's business; those that speak something else are refused.
fn log(peer: SocketAddr, error: &hyper::Error) {
    match error.is_parse() {
        true => info!(target: "audit", %peer, reason = %error, "request refused: it is no HTTP/1.1"),
        false => debug!(%peer, %error, "an http connection broke off"),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_reads_no_answers_loses_its_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stranger = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        let large = "x".repeat(1 << 20);
        let routes = Router::new().route("/", get(async move || large));
        let served = connection(tcp, routes, Duration::from_millis(500));
        let ask = async { while stranger.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {} };
        let ended = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(ask, served) });
        assert!(ended.await.expect("the connection is still held").1.is_err());
    }
}

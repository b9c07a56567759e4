//! The HTTP/1.1 ports: bounded in connections and in the time that a head may take.

use std::{sync::Arc, time::Duration};

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
use tracing::{debug, warn};

/// Connections at once; more wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 1024;
/// From the start of a connection, or the end of a request, to the end of the next request's head.
const HEAD: Duration = Duration::from_secs(30);
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
            Ok((tcp, _)) => {
                let connection = graceful.watch(connection(tcp, routes.clone()));
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        debug!(%error, "an http connection broke off");
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

fn connection(tcp: TcpStream, routes: Router) -> Connection {
    if let Err(error) = tcp.set_nodelay(true) {
        debug!(%error, "a connection goes on with delays");
    }
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(tcp), TowerToHyperService::new(routes))
}

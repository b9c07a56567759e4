//! Envoy's admin interface, as far as the agent needs it.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// Between two looks at whether Envoy is ready.
const INTERVAL: Duration = Duration::from_millis(50);

/// Envoy's admin interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admin {
    addr: SocketAddr,
}

/// Why Envoy's admin interface gave no answer.
#[derive(Debug, Error)]
pub(crate) enum AdminError {
    #[error("cannot connect")]
    Io(#[from] std::io::Error),
    #[error("not HTTP")]
    Http(#[from] hyper::Error),
    #[error("not a request")]
    Request(#[from] http::Error),
    #[error("no answer in time")]
    Late,
}

impl Admin {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self { addr }
    }

    /// Waits until Envoy says that it is live: its secrets, clusters and listeners are there.
    pub(crate) async fn live(self) {
        // The first look comes before Envoy listens; that it is refused is no news.
        while !matches!(self.ask(Method::GET, "/ready").await, Ok(StatusCode::OK)) {
            sleep(INTERVAL).await;
        }
    }

    /// Has Envoy close its listeners, and tell HTTP clients to go elsewhere with their next request.
    pub(crate) async fn drain(self) -> Result<StatusCode, AdminError> {
        self.ask(Method::POST, "/drain_listeners?graceful").await
    }

    async fn ask(self, method: Method, path: &str) -> Result<StatusCode, AdminError> {
        timeout(DEADLINE, self.exchange(method, path)).await.unwrap_or(Err(AdminError::Late))
    }

    async fn exchange(self, method: Method, path: &str) -> Result<StatusCode, AdminError> {
        let stream = TcpStream::connect(self.addr).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let request = Request::builder().method(method).uri(path).header("host", self.addr.to_string());
        let request = request.body(Empty::<Bytes>::new())?;
        // The response is dropped for its status, and the sender with it, which ends the connection.
        let answer = async move { sender.send_request(request).await.map(|response| response.status()) };
        let (status, _ended) = tokio::join!(answer, connection);
        Ok(status?)
    }
}

//! Envoy's admin interface, as far as the agent needs it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use thiserror::Error;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};

use crate::envoy::Turn;

/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// Between two looks at whether Envoy is ready.
const INTERVAL: Duration = Duration::from_millis(50);

/// Longest answer that is read, in bytes: Envoy names a certificate once for each chain and cluster that uses it.
const LONGEST: usize = 16 << 20;

/// Envoy's admin interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admin {
    addr: SocketAddr,
}

/// `/server_info` (`envoy.admin.v3.ServerInfo`), as far as it is needed.
#[derive(Deserialize)]
struct ServerInfo {
    command_line_options: CommandLineOptions,
}

#[derive(Deserialize)]
struct CommandLineOptions {
    config_path: PathBuf,
    #[serde(default)]
    restart_epoch: u32,
}

/// An Envoy among others that may answer in its place.
#[derive(Clone, Debug)]
pub(crate) struct Which {
    /// The bootstrap that it was started with.
    pub(crate) bootstrap: PathBuf,
    /// Which it is of those that take over from one another: the one before has the admin port until it is asked for it.
    /// `None` where it stays alone.
    pub(crate) turn: watch::Receiver<Option<Turn>>,
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
    #[error("no whole answer")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer of Envoy's")]
    Json(#[source] serde_json::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("no answer in time")]
    Late,
}

impl Admin {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self { addr }
    }

    /// Waits until this Envoy says that it is live: its secrets, clusters and listeners are there.
    pub(crate) async fn live(self, which: &Which) {
        // The first look comes before Envoy listens; that it is refused is no news.
        while !(matches!(self.ask(Method::GET, "/ready").await, Ok((StatusCode::OK, _)))
            && self.is_it(which).await.unwrap_or(false))
        {
            sleep(INTERVAL).await;
        }
    }

    /// Whether it is this Envoy that answers. Another may have the port, and ours then ends.
    pub(crate) async fn is_it(self, which: &Which) -> Result<bool, AdminError> {
        let page = self.page("/server_info").await?;
        let info: ServerInfo = serde_json::from_slice(&page).map_err(AdminError::Json)?;
        let CommandLineOptions { config_path, restart_epoch } = info.command_line_options;
        Ok(config_path == which.bootstrap
            && which.turn.borrow().is_none_or(|turn| turn.epoch == restart_epoch))
    }

    /// How far Envoy has come, in its own word: `LIVE`, `INITIALIZING`, …
    pub(crate) async fn state(self) -> Result<String, AdminError> {
        let (_, body) = self.ask(Method::GET, "/ready").await?;
        Ok(String::from_utf8_lossy(&body).trim().to_owned())
    }

    /// Has Envoy close its listeners, and tell HTTP clients to go elsewhere with their next request.
    pub(crate) async fn drain(self) -> Result<StatusCode, AdminError> {
        self.ask(Method::POST, "/drain_listeners?graceful").await.map(|(status, _)| status)
    }

    /// Every certificate that Envoy holds, `/certs`.
    pub(crate) async fn certs(self) -> Result<Bytes, AdminError> {
        self.page("/certs").await
    }

    /// The listeners that Envoy was told of, as they are in force.
    pub(crate) async fn listeners(self) -> Result<Bytes, AdminError> {
        self.page("/config_dump?resource=dynamic_listeners").await
    }

    async fn page(self, path: &str) -> Result<Bytes, AdminError> {
        match self.ask(Method::GET, path).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, _) => Err(AdminError::Status(status)),
        }
    }

    async fn ask(self, method: Method, path: &str) -> Result<(StatusCode, Bytes), AdminError> {
        timeout(DEADLINE, self.exchange(method, path)).await.unwrap_or(Err(AdminError::Late))
    }

    async fn exchange(self, method: Method, path: &str) -> Result<(StatusCode, Bytes), AdminError> {
        let stream = TcpStream::connect(self.addr).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let request = Request::builder().method(method).uri(path).header("host", self.addr.to_string());
        let request = request.body(Empty::<Bytes>::new())?;
        // The sender is dropped with the last byte of the answer, which ends the connection.
        let answer = async move {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            Ok((status, body.map_err(AdminError::Body)?.to_bytes()))
        };
        let (answer, _ended) = tokio::join!(answer, connection);
        answer
    }
}

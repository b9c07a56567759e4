//! Requests of a test: what is asked, and what came back.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use signet::local::app::NAME_HEADER;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The longest that any one call may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ports that tests are given.
const PORTS: Range<u32> = 2_000..10_000;
const SPAN: u32 = PORTS.end - PORTS.start;
/// How many were.
static GIVEN: AtomicU32 = AtomicU32::new(0);

/// A request that is being made.
#[derive(Clone, Debug)]
pub struct Call {
    address: SocketAddr,
    host: String,
    path: String,
    method: Method,
    headers: Vec<(String, String)>,
    body: Bytes,
    h2: bool,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as text.
    pub body: String,
}

impl Call {
    /// A GET for `/` in HTTP/1.1.
    #[must_use]
    pub fn to(address: SocketAddr, host: &str) -> Self {
        Self {
            address,
            host: host.to_owned(),
            path: "/".to_owned(),
            method: Method::GET,
            headers: Vec::new(),
            body: Bytes::new(),
            h2: false,
        }
    }

    /// Asks for another path, which may have a query.
    #[must_use]
    pub fn path(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// In another method.
    #[must_use]
    pub fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// With a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// In HTTP/2 with prior knowledge.
    #[must_use]
    pub fn h2(self) -> Self {
        Self { h2: true, ..self }
    }

    /// Sends it on a connection of its own.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn send(&self) -> Result<Answer> {
        let tcp = TcpStream::connect(self.address);
        let tcp = timeout(PATIENCE, tcp).await.context("connect")?.context("connect")?;
        self.send_on(tcp).await
    }

    /// Sends it on a connection that is there already, such as one of another network namespace.
    ///
    /// # Errors
    /// As [`Call::send`].
    pub async fn send_on(&self, tcp: TcpStream) -> Result<Answer> {
        tcp.set_nodelay(true)?;
        timeout(PATIENCE, self.exchange(tcp)).await.context("no answer in time")?
    }

    async fn exchange(&self, tcp: TcpStream) -> Result<Answer> {
        let authority = if self.h2 { format!("http://{}", self.host) } else { String::new() };
        let mut request = Request::builder().method(&self.method).uri(format!("{authority}{}", self.path));
        if !self.h2 {
            request = request.header("host", &self.host);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body.clone()))?;
        let answer = if self.h2 {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await?;
            driven(connection, async move { whole(sender.send_request(request).await?).await }).await
        } else {
            let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
            driven(connection, async move { whole(sender.send_request(request).await?).await }).await
        };
        answer.with_context(|| format!("{} {} of {}", self.method, self.path, self.host))
    }
}

/// Drives a connection until an exchange on it is over, whichever way that ends.
async fn driven<T>(
    connection: impl Future<Output = hyper::Result<()>>,
    exchange: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::pin!(connection, exchange);
    tokio::select! {
        done = &mut exchange => done,
        ended = &mut connection => {
            ended.context("connection")?;
            exchange.await
        }
    }
}

async fn whole(response: http::Response<hyper::body::Incoming>) -> Result<Answer> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.context("answer")?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

impl Answer {
    /// Which application answered; empty where it was a proxy.
    #[must_use]
    pub fn app(&self) -> &str {
        self.headers.get(NAME_HEADER).and_then(|name| name.to_str().ok()).unwrap_or_default()
    }

    /// What the application says that it was sent: `app`, `method`, `path`, `host`, `version` and `headers`.
    ///
    /// # Errors
    /// It was no application that answered.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("{} {:?}", self.status, self.body))
    }

    /// The status as a number.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.status.as_u16()
    }
}

/// Sends bytes over TCP and returns what came back until there were `wanted` bytes, or the end.
///
/// # Errors
/// The connection is refused, or nothing comes in time.
pub async fn tcp(address: SocketAddr, send: &str, wanted: usize) -> Result<String> {
    let stream = timeout(PATIENCE, TcpStream::connect(address)).await.context("connect")??;
    tcp_on(stream, send, wanted).await
}

/// As [`tcp`], on a connection that is there already.
///
/// # Errors
/// As [`tcp`].
pub async fn tcp_on(mut stream: TcpStream, send: &str, wanted: usize) -> Result<String> {
    let exchange = async {
        stream.write_all(send.as_bytes()).await?;
        let mut got = Vec::new();
        let mut buffer = [0; 1024];
        while got.len() < wanted {
            let read = stream.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            got.extend_from_slice(buffer.get(..read).unwrap_or_default());
        }
        ensure!(!got.is_empty(), "closed without a byte");
        Ok(String::from_utf8_lossy(&got).into_owned())
    };
    timeout(PATIENCE, exchange).await.context("no answer in time")?
}

/// Asks for a WebSocket, sends bytes over it, and returns the echo.
///
/// # Errors
/// The upgrade is refused, or no echo comes.
pub async fn websocket(stream: TcpStream, host: &str, send: &str) -> Result<String> {
    let request = format!(
        "GET /socket HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut stream = stream;
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.context("closed during the upgrade")?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        ensure!(head.starts_with("HTTP/1.1 101"), "no upgrade: {head}");
        stream.write_all(send.as_bytes()).await?;
        let mut echo = vec![0; send.len()];
        stream.read_exact(&mut echo).await.context("closed before the echo")?;
        Ok(String::from_utf8_lossy(&echo).into_owned())
    };
    timeout(PATIENCE, exchange).await.context("no answer in time")?
}

/// A port of loopback that nobody listens on now; see [`free_port_of`].
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    free_port_of(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// A port of an address that nobody listens on now, and that nobody is given before the test uses it: below those that
/// agents choose from, and those of the system, which any connection may come from.
///
/// # Errors
/// There is none.
pub fn free_port_of(address: IpAddr) -> Result<u16> {
    // Other processes start elsewhere.
    let first = std::process::id().wrapping_mul(61);
    let mut all =
        PORTS.map(|_| PORTS.start + first.wrapping_add(GIVEN.fetch_add(1, Ordering::SeqCst)) % SPAN);
    let free = all.find_map(|port| {
        let port = u16::try_from(port).ok()?;
        TcpListener::bind((address, port)).ok().map(|_| port)
    });
    free.with_context(|| format!("no port of {address} is free"))
}

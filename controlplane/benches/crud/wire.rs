//! A server on loopback, and clients that keep their connections and sign what they send.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    runtime::Runtime,
    task::JoinSet,
};

pub(crate) const ACCESS_KEY: &str = "AKIABENCH";
pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(crate) const REGION: &str = "us-east-1";
/// Longest head of an answer, in bytes.
const MAX_HEAD: usize = 4096;

/// What every clock says, so that requests can be signed before they are timed.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_392_000)
}

/// Serves for as long as the runtime lives, the way `signet server` does.
pub(crate) fn serve(runtime: &Runtime, router: Router) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
            let service = TowerToHyperService::new(router.clone());
            connections.spawn(builder.serve_connection(TokioIo::new(tcp), service));
            while connections.try_join_next().is_some() {}
        }
    });
    address
}

/// A request as bytes, signed.
pub(crate) fn signed(address: SocketAddr, method: &str, path: &str, body: &str) -> Vec<u8> {
    let credentials = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "bench").into();
    let params =
        v4::SigningParams::builder().identity(&credentials).region(REGION).name("appmesh").time(now());
    let params = params.settings(SigningSettings::default()).build().unwrap().into();
    let host = address.to_string();
    let headers = [("host", &*host), ("content-type", "application/json")];
    let uri = format!("http://{host}{path}");
    let signable =
        SignableRequest::new(method, &uri, headers.into_iter(), SignableBody::Bytes(body.as_bytes()));
    let (instructions, _) = sign(signable.unwrap(), &params).unwrap().into_parts();
    let more: String = instructions.headers().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    head(method, path, &host, &more, body)
}

/// The same without a signature.
pub(crate) fn plain(address: SocketAddr, method: &str, path: &str, body: &str) -> Vec<u8> {
    head(method, path, &address.to_string(), "", body)
}

fn head(method: &str, path: &str, host: &str, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{more}content-length: \
         {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The length of the head and of the whole answer, once the head is there.
fn lengths(answer: &[u8]) -> Option<(usize, usize)> {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).unwrap().to_ascii_lowercase();
    assert!(text.starts_with("http/1.1 200 "), "{}", String::from_utf8_lossy(answer));
    let length = text.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    Some((head, head + length.parse::<usize>().unwrap()))
}

/// One client that waits for each answer.
pub(crate) struct Client(TcpStream, Vec<u8>);

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream, vec![0; 1 << 20])
    }

    /// The time from the first byte sent to the last one read.
    pub(crate) fn time(&mut self, request: &[u8]) -> Duration {
        let start = tokio::time::Instant::now();
        self.0.write_all(request).unwrap();
        let mut read = 0;
        loop {
            read += self.0.read(&mut self.1[read..]).unwrap();
            match lengths(&self.1[..read]) {
                Some((_, whole)) if read >= whole => return start.elapsed(),
                Some(_) => {}
                None => assert!(read < MAX_HEAD),
            }
        }
    }
}

/// The time that clients at once take, each with its own requests.
pub(crate) fn crowd(runtime: &Runtime, address: SocketAddr, requests: Vec<Vec<Vec<u8>>>) -> Duration {
    runtime.block_on(async move {
        let mut streams = Vec::new();
        for requests in requests {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            streams.push((stream, requests));
        }
        let start = tokio::time::Instant::now();
        let mut clients = JoinSet::new();
        for (mut stream, requests) in streams {
            clients.spawn(async move {
                let mut answer = vec![0; 1 << 16];
                for request in requests {
                    stream.write_all(&request).await.unwrap();
                    let mut read = 0;
                    while lengths(&answer[..read]).is_none_or(|(_, whole)| read < whole) {
                        read += stream.read(&mut answer[read..]).await.unwrap();
                    }
                }
            });
        }
        clients.join_all().await;
        start.elapsed()
    })
}

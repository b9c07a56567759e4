//! What comes over the wire from those who are no AWS client: each is refused with a status and one log line, and
//! nothing is left behind.

use std::time::Duration;

use anyhow::{Context, Result};
use http::Method;
use serde_json::json;
use signet::{
    client::KeyPair,
    local::mesh::{Server, put},
};
use signet_tests::{clock, program};
use time::{OffsetDateTime, macros::format_description};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Sends bytes as they are and returns everything that comes back.
async fn exchange(server: &Server, request: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(server.ready.api.trim_start_matches("http://")).await?;
    // A server that has refused may close before all was written.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn refusals(log: &str) -> usize {
    log.lines().filter(|line| line.contains("request refused")).count()
}

/// The log, once it tells of so many refusals.
async fn log_with(server: &Server, lines: usize) -> Result<String> {
    let mut pulse = tokio::time::interval(Duration::from_millis(10));
    let wait = async {
        loop {
            pulse.tick().await;
            let log = server.log();
            if refusals(&log) >= lines {
                return log;
            }
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
    waited.with_context(|| format!("{lines} refusals were not logged:\n{}", server.log()))
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.split(' ').next()).collect()
}

/// The head of a request that names a key pair that exists; its signature is made up.
fn claimed(keys: &KeyPair, more: &str) -> Result<String> {
    let now = OffsetDateTime::from(clock()());
    let (day, time) = (
        now.format(format_description!("[year][month][day]"))?,
        now.format(format_description!("[year][month][day]T[hour][minute][second]Z"))?,
    );
    Ok(format!(
        "PUT /v20190125/meshes HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         x-amz-date: {time}\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential={}/{day}/us-east-1/appmesh/aws4_request, SignedHeaders=host;x-amz-date, Signature={}\r\n{more}\r\n",
        keys.access_key_id,
        "0".repeat(64),
    ))
}

#[tokio::test]
async fn what_is_no_http_is_refused_with_one_line_each() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let head = "GET /v20190125/meshes HTTP/1.1\r\nhost: x\r\n";
    let many: String = (0..101).map(|number| format!("x-{number}: y\r\n")).collect();
    let rows = [
        ("nonsense\r\n\r\n".to_owned(), &["400"][..], "request refused: it is no HTTP"),
        ("\0\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), &["400"], "request refused: it is no HTTP"),
        ("GET / HTTP/3.0\r\nhost: x\r\n\r\n".to_owned(), &["400"], "request refused: it is no HTTP"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[], "request refused: it is no HTTP"),
        (
            format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(70_000)),
            &["414"],
            "request refused: it is no HTTP",
        ),
        (format!("{head}x: {}\r\n\r\n", "y".repeat(300_000)), &["431"], "request refused: it is no HTTP"),
        (format!("{head}{many}\r\n"), &["431"], "request refused: it is no HTTP"),
        (format!("{head}a header without a colon\r\n\r\n"), &["400"], "request refused: it is no HTTP"),
        (
            format!("{head}content-length: 1\r\ncontent-length: 2\r\n\r\nx"),
            &["400"],
            "request refused: it is no HTTP",
        ),
        // A whole request, and then garbage in the same stream.
        (format!("{head}\r\ngarbage\r\n\r\n"), &["403", "400"], "MissingAuthenticationTokenException"),
        (
            format!("{head}connection: close\r\n\r\n{head}\r\n"),
            &["403"],
            "MissingAuthenticationTokenException",
        ),
        (
            "CONNECT x:1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(),
            &["403"],
            "MissingAuthenticationTokenException",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_owned(),
            &["403"],
            "MissingAuthenticationTokenException",
        ),
    ];
    let mut lines = 0;
    for (request, expected, reason) in rows {
        let shown: String = request.chars().take(60).collect();
        let before = server.log();
        let answer = exchange(&server, request.as_bytes()).await?;
        // What is far too long is not read to its end, and the rest may hit the answer on its way.
        if request.len() < 60_000 || !answer.is_empty() {
            assert_eq!(statuses(&answer), expected, "{shown:?}: {answer}");
        }
        // The line is written when the connection is done with, which may be after the answer was read.
        lines += expected.len().max(1);
        let log = log_with(&server, lines).await?;
        let new = log.strip_prefix(&before).context("the log was cut")?;
        assert!(new.contains(reason), "{shown:?} was logged as {new:?}");
    }
    assert_eq!(refusals(&server.log()), lines, "one for each refusal:\n{}", server.log());
    let client = server.client(clock())?;
    assert_eq!(client.call(Method::GET, "/v20190125/meshes", None).await?, json!({"meshes": []}));
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_body_of_two_mebibytes_is_refused_however_it_is_framed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let keys = KeyPair::from_file(&server.credentials(), "default")?;
    let piece = " ".repeat(64 * 1024);
    let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
    let chunked =
        format!("{}{}0\r\n\r\n", claimed(&keys, "transfer-encoding: chunked\r\n")?, chunk.repeat(32));
    let sized = format!("{}{}", claimed(&keys, "content-length: 2097152\r\n")?, piece.repeat(32));
    let expecting = format!(
        "{}{}",
        claimed(&keys, "expect: 100-continue\r\ncontent-length: 2097152\r\n")?,
        piece.repeat(32)
    );
    for (request, expected) in [(&chunked, &["413"][..]), (&sized, &["413"]), (&expecting, &["100", "413"])] {
        let answer = exchange(&server, request.as_bytes()).await?;
        assert_eq!(statuses(&answer), expected, "{answer}");
        assert!(answer.contains("RequestEntityTooLargeException"), "{answer}");
    }
    // Within the limit it is the signature that is looked at, and a chunk that is none is a bad body.
    let small = format!("{}2\r\n{{}}\r\n0\r\n\r\n", claimed(&keys, "transfer-encoding: chunked\r\n")?);
    assert!(exchange(&server, small.as_bytes()).await?.contains("InvalidSignatureException"));
    let broken = format!("{}zz\r\n{{}}\r\n0\r\n\r\n", claimed(&keys, "transfer-encoding: chunked\r\n")?);
    assert!(exchange(&server, broken.as_bytes()).await?.contains("the body cannot be read"));
    let cut = format!("{}{{", claimed(&keys, "content-length: 100\r\n")?);
    let mut stream = TcpStream::connect(server.ready.api.trim_start_matches("http://")).await?;
    stream.write_all(cut.as_bytes()).await?;
    stream.shutdown().await?;
    stream.read_to_end(&mut Vec::new()).await?;
    let client = server.client(clock())?;
    put(&client, "meshes", json!({"meshName": "still-there"})).await?;
    assert!(!server.log().contains("panicked"));
    server.stop().await;
    Ok(())
}

//! The bad inputs that advisories on other certificate systems teach, over the real ports: each is refused, is one line of
//! the audit log, changes nothing, and the server goes on. `docs/bad-input.md` says where the others are tried.

mod place;
mod requests;
mod secrets;
mod transport;

use std::error::Error as _;

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::{Value, json};
use tonic::Code;

use place::{Attack, Place};

type Row = (&'static str, &'static str, Attack);

/// What is sent to the API by somebody who may not, or is not what it should be.
fn api_rows() -> Vec<Row> {
    let by_admin = |method, path: &str, body, code| Attack::Api {
        method,
        path: path.into(),
        body,
        code,
        as_reader: false,
    };
    let by_reader = |method, path: &str, body| Attack::Api {
        method,
        path: path.into(),
        body,
        code: "ForbiddenException",
        as_reader: true,
    };
    let put_mesh = |name: &str| {
        by_admin(Method::PUT, "/v20190125/meshes", Some(json!({"meshName": name})), "BadRequestException")
    };
    let token = |node: &str| {
        let body = json!({"mesh": "m", "virtualNode": node});
        by_admin(Method::POST, "/v1/tokens", Some(body), "BadRequestException")
    };
    let csr = |issuer: &str| {
        by_admin(Method::POST, "/v1/ca/requests", Some(json!({"issuer": issuer})), "BadRequestException")
    };
    let install = |text: String| {
        let body = json!({"issuer": "mesh/m", "certificates": text});
        by_admin(Method::POST, "/v1/ca/certificates", Some(body), "BadRequestException")
    };
    // As much as a body may hold, its line breaks escaped.
    let small = "-----BEGIN CERTIFICATE-----\n".repeat(36_000);
    vec![
        ("B2", "a node that leads elsewhere", token("a/../b")),
        ("B2", "a node that is encoded", token("a%2fb")),
        ("B18", "a comma in a name", token("a,b")),
        ("B18", "a NUL in a name", token("a\0")),
        ("B24", "a quote in a name", put_mesh("m\"")),
        ("B24", "a slash in a name", put_mesh("m/n")),
        ("B24", "braces in a name", put_mesh("{{m}}")),
        ("B24", "a line break in a name", put_mesh("m\nn")),
        ("B24", "an issuer that is none", csr("mesh/../server")),
        ("B24", "an issuer of no kind", csr("root")),
        (
            "B30",
            "a reader asks for an issuer's key",
            by_reader(Method::POST, "/v1/ca/requests", Some(json!({"issuer": "mesh/m", "fresh": true}))),
        ),
        (
            "B30",
            "a reader installs an issuer",
            by_reader(
                Method::POST,
                "/v1/ca/certificates",
                Some(json!({"issuer": "mesh/m", "certificates": ""})),
            ),
        ),
        (
            "B30",
            "a reader makes a key pair",
            by_reader(Method::POST, "/v1/credentials", Some(json!({"name": "x", "policy": {}}))),
        ),
        (
            "B21",
            "a reader revokes",
            by_reader(
                Method::POST,
                "/v1/ca/revocations",
                Some(
                    json!({"subject": "spiffe://signet.internal/mesh/m/virtual-node/a", "reason": "keyCompromise"}),
                ),
            ),
        ),
        ("B25", "a reader asks for a backup", by_reader(Method::GET, "/v1/backup", None)),
        ("B35", "many blocks that never end", install(small)),
        ("B36", "nothing to install", install(String::new())),
    ]
}

/// What is sent to the API by nobody known.
fn stranger_rows() -> Vec<Row> {
    let stranger = |method: &str, path: &str| Attack::Stranger {
        request: format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        ),
        status: 403,
    };
    let mut rows: Vec<Row> = [
        ("GET", "/v1/ca"),
        ("POST", "/v1/ca/requests"),
        ("POST", "/v1/ca/certificates"),
        ("POST", "/v1/ca/revocations"),
        ("POST", "/v1/ca/release"),
        ("POST", "/v1/tokens"),
        ("GET", "/v1/backup"),
        ("POST", "/v1/credentials"),
        ("GET", "/v1/audit/entries"),
        ("PUT", "/v20190125/meshes"),
        ("PURGE", "/v1/ca"),
    ]
    .map(|(method, path)| ("B20", path, stranger(method, path)))
    .into();
    let from_a_page = "POST /v1/tokens HTTP/1.1\r\nhost: attacker.example\r\norigin: http://attacker.example\r\n\
                       content-length: 0\r\nconnection: close\r\n\r\n";
    rows.push((
        "B34",
        "a page in a browser",
        Attack::Stranger { request: from_a_page.to_owned(), status: 403 },
    ));
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_input_is_refused_with_one_audit_line_and_changes_nothing() -> Result<()> {
    let mut place = Place::new().await?;
    let rows = requests::rows(&place)?.into_iter().chain(transport::rows(&place)?);
    let rows = rows.chain(api_rows()).chain(stranger_rows());
    let before = place.state().await?;
    let mut lines = place.audit_lines();
    for (number, what, attack) in rows {
        place.refused(&attack).await.with_context(|| format!("{number}, {what}"))?;
        lines += 1;
        place.until_audited(lines).await.with_context(|| format!("{number}, {what}"))?;
        assert_eq!(place.state().await?, before, "{number}, {what}");
    }
    assert_eq!(place.audit_lines(), lines, "one for each:\n{}", place.server.log());
    assert!(!place.server.log().contains("panicked"), "{}", place.server.log());
    // The token that every request brought is still good, for a good one.
    place.joins().await?;
    place.server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_requests_at_once_on_one_connection_are_refused_or_end_it_and_the_next_is_served()
-> Result<()> {
    let mut place = Place::new().await?;
    let before = place.server.peak_memory()?;
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..3000 {
        let channel = place.channel.clone();
        senders.spawn(async move { place::join(&channel, "sgt_nonsense", Vec::new()).await });
    }
    let mut refusals = 0;
    for outcome in senders.join_all().await {
        let refused = outcome.err().context("nonsense was served")?;
        refusals += usize::from(refused.code() == Code::Unauthenticated);
        let is_turned_away =
            matches!(refused.code(), Code::Unauthenticated | Code::Unavailable | Code::ResourceExhausted);
        // HTTP/2's own guard against floods: the connection was ended (RFC 9113, ENHANCE_YOUR_CALM).
        let has_ended =
            || refused.source().is_some_and(<dyn std::error::Error>::is::<tonic::transport::Error>);
        assert!(is_turned_away || has_ended(), "{refused:?}");
    }
    assert!(refusals > 0, "the token is what is refused");
    let grown = place.server.peak_memory()?.saturating_sub(before);
    assert!(grown < MEMORY, "{grown} KiB more than before");
    place.joins().await?;
    place.server.stop().await;
    Ok(())
}

/// What 3,000 requests at once may add to a server, in KiB: 20 KiB each, if it held them all.
const MEMORY: u64 = 60 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_to_anybody_lets_a_page_of_another_site_read_it() -> Result<()> {
    let mut place = Place::new().await?;
    for base in [&place.server.ready.api, &place.server.ready.ops] {
        for (method, path) in
            [("GET", "/metrics"), ("GET", "/healthz"), ("OPTIONS", "/v1/ca"), ("GET", "/v1/ca")]
        {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: attacker.example\r\norigin: http://attacker.example\r\n\
                 access-control-request-method: POST\r\nconnection: close\r\n\r\n"
            );
            let answer = place::exchange(base, &request).await?.to_ascii_lowercase();
            assert!(
                answer.starts_with("http/1.1") && !answer.contains("access-control-allow"),
                "{path}: {answer}"
            );
        }
    }
    place.server.stop().await;
    Ok(())
}

/// What the API says of the CA, in the order of its places.
fn names(shown: &Value) -> Vec<String> {
    let all = shown["authorities"].as_array().into_iter().flatten();
    all.map(|one| format!("{} {}", one["name"], one["serial"])).collect()
}

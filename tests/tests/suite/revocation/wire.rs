//! A ban that reaches the wire: real Envoys, an open-loop load of others, and a thief who holds on to what it has.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use rustls::{
    ClientConfig,
    client::Resumption,
    pki_types::{CertificateDer, ServerName},
};
use serde_json::{Value, json};
use signet::local::{
    load::{Load, Plan},
    probe::{ClientCertificate, tls_connector},
};
use signet_tests::{
    Outsider,
    bed::{Bed, app::App, at, calling},
    eventually,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::Instant,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{id, told};

/// Connections that the thief holds open.
const HELD: usize = 100;
/// From the command to the last handshake that is let in, at most.
const HANDSHAKES: Duration = Duration::from_secs(5);
/// From the command to the end of the last connection: lists, then listeners, then Envoy's drain time of 10 s.
const CONNECTIONS: Duration = Duration::from_secs(20);

fn mutual() -> Value {
    json!({
        "mode": "STRICT",
        "certificate": {"sds": {"secretName": "default"}},
        "validation": {"trust": {"sds": {"secretName": "ROOTCA"}}}
    })
}

/// A client with a stolen certificate.
#[derive(Clone)]
pub(crate) struct Thief {
    tls: TlsConnector,
    server: SocketAddr,
}

impl Thief {
    pub(super) fn new(stolen: &Outsider, server: SocketAddr) -> Result<Self> {
        Self::trusting(stolen, stolen.roots(), server)
    }

    /// One that trusts roots of its own choice.
    pub(crate) fn trusting(
        stolen: &Outsider,
        roots: &[CertificateDer<'static>],
        server: SocketAddr,
    ) -> Result<Self> {
        let certificate: ClientCertificate = stolen.certificate();
        Ok(Self { tls: tls_connector(roots, Some(certificate), &[])?, server })
    }

    /// A new connection that was served once, since in TLS 1.3 a refusal shows only after the handshake.
    pub(crate) async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let mut stream = self.shake().await?;
        ask(&mut stream).await?;
        Ok(stream)
    }

    /// A handshake, by which it is not known yet whether the server lets it in.
    pub(super) async fn shake(&self) -> Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.server).await?;
        Ok(self.tls.connect(ServerName::IpAddress(self.server.ip().into()), tcp).await?)
    }

    /// The same, who resumes sessions where a server lets it.
    pub(super) fn resuming(&self) -> Self {
        let mut config = ClientConfig::clone(self.tls.config());
        config.resumption = Resumption::in_memory_sessions(8);
        Self { tls: TlsConnector::from(Arc::new(config)), server: self.server }
    }
}

/// A request on a connection that is kept; true when the server asks for it to be closed.
pub(super) async fn ask(stream: &mut TlsStream<TcpStream>) -> Result<bool> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: s.test\r\n\r\n").await?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let head = loop {
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "closed");
        answer.extend_from_slice(&buffer[..count]);
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    ensure!(text.starts_with("http/1.1 200"), "{text}");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.context("no length")?.trim().parse()?;
    while answer.len() < head + length {
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "closed");
        answer.extend_from_slice(&buffer[..count]);
    }
    Ok(text.contains("connection: close"))
}

/// Holds a connection until it ends. One in two is used all the time; the other is silent, and ignores what it is told.
async fn hold(mut stream: TlsStream<TcpStream>, is_busy: bool) -> Instant {
    let mut pulse = tokio::time::interval(Duration::from_millis(250));
    loop {
        if is_busy {
            pulse.tick().await;
            if ask(&mut stream).await.is_err() {
                return Instant::now();
            }
        } else if matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_)) {
            return Instant::now();
        }
    }
}

/// Shakes hands again and again, and tells when it was let in last.
async fn shake(thief: Thief, last: watch::Sender<Instant>) {
    let mut pulse = tokio::time::interval(Duration::from_millis(50));
    loop {
        pulse.tick().await;
        if thief.connect().await.is_ok() {
            last.send_replace(Instant::now());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_identity_loses_new_and_open_connections_and_nobody_else_loses_a_request() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let app = App::http("app").await?;
    let server =
        bed.served("m", "server", &app, "http", |spec| spec["listeners"][0]["tls"] = mutual()).await?;
    bed.service_of_node("m", "s.test", "server").await?;
    let honest = bed.caller("m", "honest", &["s.test"]).await?;
    bed.virtual_node("m", "thief", calling(&["s.test"])).await?;
    let accomplice = bed.node("m", "thief").await?;
    let stolen = Outsider::join(&bed.server, &bed.client, "m", "thief").await?;
    bed.synced().await?;

    let thief = Thief::new(&stolen, at(&server, app.port))?;
    let mut held = JoinSet::new();
    for number in 0..HELD {
        held.spawn(hold(thief.connect().await?, number % 2 == 0));
    }
    let (last, shaken) = watch::channel(Instant::now());
    let mut shakers = JoinSet::new();
    shakers.spawn(shake(thief.clone(), last));
    assert_eq!(accomplice.call("s.test").send().await?.code(), 200);
    let load = Load::start(&Plan {
        address: honest.sidecar.ready.egress,
        host: "s.test".to_owned(),
        new_connections: 50,
        kept_alive: 50,
        connections: 20,
    });
    let start = Instant::now();
    let said = tokio::task::block_in_place(|| {
        told(&bed.server, &["revoke", &id("thief"), "--reason", "keyCompromise"])
    })?;
    println!("{said}");
    assert!(said.contains("every connected proxy has accepted the lists"), "{said}");
    let ends = tokio::time::timeout(CONNECTIONS, held.join_all()).await;
    let ends = ends.context("connections of a banned identity go on")?;
    let last_end = ends.into_iter().max().context("no connection")? - start;
    let last_shake = *shaken.borrow() - start;
    println!(
        "the last handshake was let in after {last_shake:?}, the last connection ended after {last_end:?}"
    );
    assert!(last_shake < HANDSHAKES, "{last_shake:?}");

    // One revocation is one change of what is trusted, however long ago it was.
    let log = server.sidecar.log();
    let changes = log.matches("what is trusted has changed").count();
    assert_eq!(changes, 1, "what is trusted changed {changes} times in {:?}", start.elapsed());

    // The thief's own proxy: it has no stream any more, and its calls fail.
    eventually("its proxy is cut off", Duration::from_secs(20), || async {
        let listed = bed.proxies().await?;
        ensure!(!listed["proxies"].to_string().contains("virtualNode/thief"), "{listed}");
        let code = accomplice.call("s.test").send().await?.code();
        ensure!(code == 503, "its call came to {code}");
        Ok(())
    })
    .await?;
    bed.server.kill().await?;
    bed.server.restart().await?;
    bed.synced().await?;
    assert!(thief.connect().await.is_err(), "after a restart it is let in again");
    assert!(Outsider::join(&bed.server, &bed.client, "m", "thief").await.is_err());
    shakers.abort_all();
    let tally = load.stop().await;
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.requests(), tally.failures);
    assert!(tally.requests() > 500, "{}", tally.requests());

    // Whoever is allowed again gets a certificate that is taken; the stolen one is not.
    told(&bed.server, &["allow", &id("thief")])?;
    let anew = Outsider::join(&bed.server, &bed.client, "m", "thief").await?;
    Thief::new(&anew, thief.server)?.connect().await.context("a new certificate is refused")?;
    assert!(thief.connect().await.is_err());
    drop((honest, accomplice, server));
    bed.end().await;
    Ok(())
}

//! Signet's harness: a whole mesh on loopback, of real processes and real Envoys.
//!
//! What runs is `signet::local`, the very code behind `signet demo`; this crate adds what only tests need:
//! where the tools are, one mesh at a time, and waiting for conditions.
//!
//! A tool that is missing is a failure that says how to get it, never a test that passes silently.

pub mod asker;
pub mod bed;
pub mod ceremony;
pub mod conformance;
pub mod dice;
pub mod herd;
pub mod node_service {
    //! The node service: its client, for requests that no agent would send, and its server, for answers that no Signet
    //! server would give.
    #![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]
    tonic::include_proto!("signet.node.v1");
}
pub mod soak;

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use signet::{
    client::Client,
    demo::stage::Stage,
    local::{
        envoy,
        load::{Load, Tally},
        mesh::Server,
        probe::{ClientCertificate, tls_connector},
    },
};
use signet_policies::{identity::Workload, time::Clock};
use signet_sds::secret::Secrets;
use tempfile::TempDir;
use tokio::{
    net::TcpSocket,
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, interval},
};
use tonic::transport::{Channel, Endpoint};

/// A mesh under load wants the machine for itself; two at once would time each other.
static MACHINE: Semaphore = Semaphore::const_new(1);

/// Where the test tools are installed: `target/tools` of the workspace.
#[must_use]
pub fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools")
}

/// A program of the tools' Python environment, such as `aws`.
///
/// # Errors
/// It is not installed.
pub fn python_tool(name: &str) -> Result<PathBuf> {
    let path = tools().join("venv/bin").join(name);
    ensure!(path.exists(), "{} is not there; `cargo xtask setup` installs it", path.display());
    Ok(path)
}

/// The `signet` binary that was built beside this test, or beside this program.
///
/// # Errors
/// It was not built.
pub fn program() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    // Tests lie in a folder of their own below.
    let beside = test.ancestors().skip(1).take(2).map(|folder| folder.join("signet"));
    let found = beside.clone().find(|program| program.is_file());
    let wanted = || beside.map(|program| program.display().to_string()).collect::<Vec<_>>().join(" or ");
    found.with_context(|| format!("{} is not there; `cargo build --workspace` makes it", wanted()))
}

/// The Envoy that is tested with.
///
/// # Errors
/// It is not installed.
pub fn envoy_binary() -> Result<PathBuf> {
    let path = tools().join("envoy/envoy");
    ensure!(path.exists(), "{} is not there; `cargo xtask setup` installs it", path.display());
    envoy::find(Some(&path), |_| {})
}

/// The clock of this test.
#[must_use]
pub fn clock() -> Clock {
    signet::clock()
}

/// Exclusive use of the machine, for a test that starts Envoys or a load of its own.
///
/// # Errors
/// Never in practice: the semaphore is not closed.
pub async fn machine() -> Result<SemaphorePermit<'static>> {
    Ok(MACHINE.acquire().await?)
}

/// The demo's mesh, alone on the machine.
pub struct TestMesh {
    /// What runs.
    pub stage: Stage,
    /// Where it keeps everything.
    pub folder: TempDir,
    _machine: SemaphorePermit<'static>,
}

impl TestMesh {
    /// Starts the mesh of the demo: service-a → service-b-v1 and -v2, in DISABLED.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start() -> Result<Self> {
        let machine = machine().await?;
        let folder = tempfile::Builder::new().prefix("signet-test-").tempdir()?;
        let stage = Stage::set(&program()?, &envoy_binary()?, folder.path(), &clock(), |_| {}).await?;
        Ok(Self { stage, folder, _machine: machine })
    }

    /// Ends it in order.
    pub async fn end(self) {
        self.stage.strike().await;
    }
}

/// Looks until `condition` gives a value, and returns it.
///
/// # Errors
/// It gives none within `patience`; the error names what was waited for, and the last reason.
pub async fn eventually<T, F>(what: &str, patience: Duration, mut condition: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let started = Instant::now();
    let mut pulse = interval(Duration::from_millis(25));
    loop {
        pulse.tick().await;
        match condition().await {
            Ok(value) => return Ok(value),
            Err(last) if started.elapsed() > patience => {
                bail!("{what} did not come true within {} s: {last:#}", patience.as_secs())
            }
            Err(_) => {}
        }
    }
}

/// Lets a load run until `count` requests have come to an end, and stops it.
///
/// # Errors
/// That takes more than half a minute.
pub async fn tally_of(load: Load, count: u64) -> Result<Tally> {
    let (started, mut pulse) = (Instant::now(), interval(Duration::from_millis(50)));
    let mut tally = Tally::default();
    while tally.requests() < count {
        pulse.tick().await;
        tally.add(load.take());
        ensure!(started.elapsed() < Duration::from_secs(30), "{} of {count} requests", tally.requests());
    }
    tally.add(load.stop().await);
    Ok(tally)
}

/// A certificate of the mesh that no Envoy holds: joined with a token of its own.
pub struct Outsider(Secrets);

impl Outsider {
    /// Joins as a virtual node.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn join(server: &Server, client: &Client, mesh: &str, node: &str) -> Result<Self> {
        Ok(Self(server.join(client, &Workload::virtual_node(mesh, node)?, clock()).await?))
    }

    /// The roots of the mesh, DER.
    #[must_use]
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        self.0.bundle().roots()
    }

    /// As a client certificate.
    #[must_use]
    pub fn certificate(&self) -> ClientCertificate {
        ClientCertificate::of(&self.0)
    }
}

/// A gRPC channel to a server, with or without a client certificate.
///
/// # Errors
/// The handshake fails.
pub async fn channel(
    address: &str,
    roots: &[CertificateDer<'static>],
    certificate: Option<ClientCertificate>,
) -> Result<Channel> {
    channel_from(Ipv4Addr::UNSPECIFIED, address, roots, certificate).await
}

/// The same, from one of this host's addresses.
///
/// # Errors
/// The handshake fails.
pub async fn channel_from(
    own: Ipv4Addr,
    address: &str,
    roots: &[CertificateDer<'static>],
    certificate: Option<ClientCertificate>,
) -> Result<Channel> {
    let connector = tls_connector(roots, certificate, &[b"h2"])?;
    let target: SocketAddr = address.parse()?;
    let connect = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind((own, 0).into())?;
            let tcp = socket.connect(target).await?;
            let stream = connector.connect(ServerName::IpAddress(target.ip().into()), tcp).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_with_connector(connect).await?)
}

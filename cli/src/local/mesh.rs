//! The parts of a mesh on loopback: a server, and sidecars that are an agent with its Envoy.

mod observed;
mod restart;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context, Result};
use http::Method;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use signet_agent::{join::Token, trust::Anchors};
use signet_policies::{
    identity::{TrustDomain, Workload, WorkloadKind},
    time::Clock,
};
use signet_sds::secret::Secrets;

use super::{admin::Admin, process::Process};
use crate::client::{Client, KeyPair};

/// How long a part may take to be ready.
const READY: Duration = Duration::from_secs(30);
/// How long a part may take to end by itself.
const DRAIN: Duration = Duration::from_secs(12);
/// The trust domain that all of it is in: the server's default.
const TRUST_DOMAIN: &str = "signet.internal";
/// The region that all of it is in.
pub const REGION: &str = "us-east-1";

/// What `signet server` prints when it is ready.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerReady {
    /// The API's URL.
    pub api: String,
    /// The gRPC port's URL.
    pub grpc: String,
    /// The URL for health and metrics.
    pub ops: String,
    /// Its folder.
    pub data_dir: PathBuf,
}

/// What `signet agent` prints when its Envoy serves.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentReady {
    /// The SPIFFE ID.
    pub identity: String,
    /// Envoy's admin interface.
    pub admin: SocketAddr,
    /// Where applications send their calls.
    pub egress: SocketAddr,
    /// The SDS socket.
    pub socket: PathBuf,
    /// Envoy's process id.
    pub envoy_pid: i32,
}

/// A running `signet server`.
#[derive(Debug)]
pub struct Server {
    process: Process,
    program: PathBuf,
    folder: PathBuf,
    flags: Vec<String>,
    /// Where it is to be reached.
    pub ready: ServerReady,
}

impl Server {
    /// Starts a server with everything it keeps in `folder`, on free ports of loopback.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start(program: &Path, folder: &Path) -> Result<Self> {
        Self::start_on(program, folder, IpAddr::V4(Ipv4Addr::LOCALHOST)).await
    }

    /// As [`Server::start`], with the gRPC port on another address, for proxies in other network namespaces.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_on(program: &Path, folder: &Path, grpc: IpAddr) -> Result<Self> {
        let free = "127.0.0.1:0";
        let grpc = SocketAddr::new(grpc, 0).to_string();
        let (process, ready) = Self::launch(program, folder, [free, &grpc, free], &[]).await?;
        Ok(Self { process, program: program.to_owned(), folder: folder.to_owned(), flags: Vec::new(), ready })
    }

    async fn launch(
        program: &Path,
        folder: &Path,
        [api, grpc, ops]: [&str; 3],
        flags: &[String],
    ) -> Result<(Process, ServerReady)> {
        let data = folder.join("data").display().to_string();
        let addresses = ["--api-addr", api, "--grpc-addr", grpc, "--ops-addr", ops];
        // Nobody here waits any longer for a connection than Envoys that Signet configures.
        let all = [&["server", "--data-dir", &data, "--handshake-grace", "1"], &addresses[..]].concat();
        let args: Vec<String> = all.into_iter().map(str::to_owned).chain(flags.iter().cloned()).collect();
        let mut process = Process::start("server", program, &args, folder)?;
        let line = process.line(READY).await?;
        let ready = serde_json::from_str(&line).with_context(|| format!("the server printed {line:?}"))?;
        Ok((process, ready))
    }

    /// Kills it without warning.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Lets it drain and end.
    pub async fn stop(&mut self) {
        self.process.stop(DRAIN).await;
    }

    /// Sends SIGTERM and waits for its end.
    ///
    /// # Errors
    /// It is still there after `patience`.
    pub async fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.process.signal(Signal::TERM)?;
        self.process.wait(patience).await
    }

    /// A client with the administrator's key pair.
    ///
    /// # Errors
    /// The credentials file cannot be read.
    pub fn client(&self, clock: Clock) -> Result<Client> {
        let keys = KeyPair::from_file(&self.credentials(), "default")?;
        Client::new(&self.ready.api, REGION, keys, clock)
    }

    /// Joins as a workload that has no agent, and returns what it may hold.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn join(&self, client: &Client, workload: &Workload, clock: Clock) -> Result<Secrets> {
        let token = create_token(client, workload).await?;
        // An operator's own root may not name the trust domain; what it names is believed.
        let ca_file = self.ca_file();
        let trust_domain: TrustDomain = TRUST_DOMAIN.parse()?;
        let anchors =
            Anchors::read(&ca_file, None).or_else(|_| Anchors::read(&ca_file, Some(&trust_domain)))?;
        let server = signet_agent::join::Server { addr: self.grpc_address().parse()?, anchors, clock };
        Ok(signet_agent::join::obtain(server, workload, Token::new(&token.into())).await?)
    }

    /// The administrator's credentials file.
    #[must_use]
    pub fn credentials(&self) -> PathBuf {
        self.ready.data_dir.join("credentials")
    }

    /// The root certificate, PEM.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.ready.data_dir.join("ca.pem")
    }

    /// The gRPC address, host and port.
    #[must_use]
    pub fn grpc_address(&self) -> &str {
        self.ready.grpc.split("://").nth(1).unwrap_or(&self.ready.grpc)
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.process.log()).unwrap_or_default()
    }

    /// Where it logs.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.process.log().to_owned()
    }
}

/// Where a sidecar lives.
#[derive(Clone, Debug)]
pub struct SidecarPlan {
    /// The virtual node or gateway.
    pub workload: Workload,
    /// How traffic gets to it.
    pub traffic: Traffic,
    /// The Envoy to run.
    pub envoy: PathBuf,
    /// The network namespace that it lives in, by its name under `/run/netns`; this process's own without one.
    pub namespace: Option<String>,
    /// The user that agent and Envoy run as; this process's own without one.
    pub user: Option<u32>,
}

/// How traffic gets to a sidecar.
#[derive(Clone, Debug)]
pub enum Traffic {
    /// It is called where it listens.
    Called {
        /// The address of its ingress.
        ingress: IpAddr,
    },
    /// It is redirected, by rules that are there.
    Redirected,
}

impl Traffic {
    fn args(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Called { ingress } => vec![
                ("--interception", "none".to_owned()),
                ("--ingress-address", ingress.to_string()),
                ("--egress-port", "0".to_owned()),
            ],
            Self::Redirected => vec![("--interception", "iptables".to_owned())],
        }
    }
}

impl SidecarPlan {
    /// One on loopback, with a given address for its ingress.
    #[must_use]
    pub fn on_loopback(workload: Workload, ingress: IpAddr, envoy: PathBuf) -> Self {
        Self { workload, traffic: Traffic::Called { ingress }, envoy, namespace: None, user: None }
    }
}

/// A running `signet agent` with its Envoy.
#[derive(Debug)]
pub struct Sidecar {
    process: Process,
    program: PathBuf,
    folder: PathBuf,
    args: Vec<String>,
    /// What it said when it was ready.
    pub ready: AgentReady,
}

impl Sidecar {
    /// Joins with a fresh token and starts Envoy.
    ///
    /// # Errors
    /// The server gives no token, or the agent does not become ready.
    pub async fn start(program: &Path, server: &Server, client: &Client, plan: &SidecarPlan) -> Result<Self> {
        let SidecarPlan { workload, traffic, envoy, namespace, user } = plan;
        let folder = server.folder.join(workload.mesh.as_str()).join(workload.name.as_str());
        std::fs::create_dir_all(&folder)?;
        let token = create_token(client, workload).await?;
        let token_file = folder.join("token");
        std::fs::write(&token_file, token)?;
        // The server's own folder is the server's.
        let ca_file = folder.join("ca.pem");
        std::fs::copy(server.ca_file(), &ca_file)?;
        let path = |name: &str| folder.join(name).display().to_string();
        let args = [
            ("--server", server.grpc_address().to_owned()),
            ("--ca-file", ca_file.display().to_string()),
            ("--token-file", token_file.display().to_string()),
            ("--resource", workload.to_string()),
            ("--state-dir", path("state")),
            ("--socket", path("agent.sock")),
            ("--envoy", envoy.display().to_string()),
            ("--admin-port", "0".to_owned()),
        ];
        let args = args.into_iter().chain(traffic.args()).flat_map(|(flag, value)| [flag.to_owned(), value]);
        if let Some(user) = user {
            give_to(&folder, *user)?;
        }
        let (program, before) = wrapped(program, namespace.as_deref(), *user);
        let args: Vec<String> = before
            .into_iter()
            .chain(["agent".to_owned()])
            .chain(args)
            // One worker is plenty on one machine.
            .chain(["--", "--concurrency", "1"].map(str::to_owned))
            .collect();
        let (process, ready) = Self::launch(&program, &folder, &args).await?;
        Ok(Self { process, program, folder, args, ready })
    }

    async fn launch(program: &Path, folder: &Path, args: &[String]) -> Result<(Process, AgentReady)> {
        let mut process = Process::start("agent", program, args, folder)?;
        let line = process.line(READY).await?;
        let ready = serde_json::from_str(&line).with_context(|| format!("the agent printed {line:?}"))?;
        Ok((process, ready))
    }

    /// Kills the agent without warning. Its Envoy goes on.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill_agent(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Starts the agent again; it takes over the Envoy that runs.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn restart_agent(&mut self) -> Result<()> {
        (self.process, self.ready) = Self::launch(&self.program, &self.folder, &self.args).await?;
        Ok(())
    }

    /// Has the agent renew its certificate now.
    ///
    /// # Errors
    /// The agent has ended.
    pub fn rotate(&self) -> Result<()> {
        self.process.signal(Signal::HUP)
    }

    /// Lets Envoy drain, and ends both.
    pub async fn stop(&mut self) {
        self.process.stop(DRAIN).await;
    }

    /// Its Envoy's admin interface.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.ready.admin)
    }

    /// What agent and Envoy logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.process.log()).unwrap_or_default()
    }
}

/// Lets another user in, who makes files of their own there.
fn give_to(folder: &Path, user: u32) -> Result<()> {
    let files = std::fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    for path in files.iter().map(PathBuf::as_path).chain([folder]) {
        std::os::unix::fs::chown(path, Some(user), Some(user)).context("another user needs root")?;
    }
    for above in folder.ancestors().skip(1).take_while(|above| *above != std::env::temp_dir()) {
        let mode = std::fs::metadata(above)?.permissions().mode();
        std::fs::set_permissions(above, std::fs::Permissions::from_mode(mode | 0o011))?;
    }
    Ok(())
}

/// A program and the arguments before its own, to run it in another network namespace and as another user.
fn wrapped(program: &Path, namespace: Option<&str>, user: Option<u32>) -> (PathBuf, Vec<String>) {
    let mut words: Vec<String> = Vec::new();
    if let Some(name) = namespace {
        words.extend(["ip", "netns", "exec", name].map(str::to_owned));
    }
    if let Some(user) = user {
        let (uid, gid) = (format!("--reuid={user}"), format!("--regid={user}"));
        words.extend(["setpriv".to_owned(), uid, gid, "--clear-groups".to_owned()]);
    }
    words.push(program.display().to_string());
    (PathBuf::from(words.remove(0)), words)
}

/// Asks the server for a one-time token for a virtual node or gateway.
///
/// # Errors
/// The server refuses, or cannot be reached.
pub async fn create_token(client: &Client, workload: &Workload) -> Result<String> {
    let kind = match workload.kind {
        WorkloadKind::VirtualNode => "virtualNode",
        WorkloadKind::VirtualGateway => "virtualGateway",
    };
    let wanted = json!({"mesh": workload.mesh.as_str(), kind: workload.name.as_str()});
    let answer = client.call(Method::POST, "/v1/tokens", Some(&wanted)).await?;
    Ok(answer["token"].as_str().context("the answer holds no token")?.to_owned())
}

/// Creates or updates one App Mesh resource; `path` is relative to the API's version.
///
/// # Errors
/// The server refuses, or cannot be reached.
pub async fn put(client: &Client, path: &str, body: Value) -> Result<Value> {
    client.call(Method::PUT, &format!("/v20190125/{path}"), Some(&body)).await
}

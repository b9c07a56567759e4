//! `signet agent`: from flags and App Mesh's variables to a running agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use rand::SeedableRng as _;
use serde_json::json;
use signet_agent::{
    AgentCommand, AgentConfig, Controls, Environment, EnvoyCommand, Ready, ServerAddr,
    bootstrap::Interception, join::Token, state::CacheKey,
};
use signet_policies::{
    identity::{TrustDomain, Workload, WorkloadKind},
    time::Clock,
};
use signet_sds::server::EmptyList;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use crate::WrongUsage;

/// Examples for `--help`.
pub const HELP: &str = "Examples:\n  \
    signet token create --mesh my-mesh --virtual-node service-a > token\n  \
    signet agent --resource mesh/my-mesh/virtualNode/service-a --token-file token \\\n    \
    --server 10.0.0.5:7443 --ca-file ca.pem --envoy /usr/local/bin/envoy --ingress-address 10.0.0.12\n  \
    signet token create --mesh my-mesh --virtual-gateway front > token\n  \
    signet agent --resource mesh/my-mesh/virtualGateway/front --token-file token …\n  \
    signet interception apply --app-ports 8080 --ignore-uid 1337\n  \
    setpriv --reuid 1337 --regid 1337 --clear-groups signet agent … --interception iptables\n  \
    signet agent … -- --concurrency 2 --drain-time-s 60\n\n\
    What follows `--` goes to Envoy. Traces go where ENABLE_ENVOY_XRAY_TRACING, ENABLE_ENVOY_JAEGER_TRACING or \
    ENABLE_ENVOY_DATADOG_TRACING and the other variables of App Mesh's image say.\n\
    SIGHUP renews the certificate now. SIGTERM drains and ends Envoy, then the agent.\n\
    An agent that is killed leaves Envoy serving; started again with the same --state-dir, it needs no token and takes \
    Envoy over. When Envoy is live it prints one line of JSON. It ends with Envoy's exit code.";

/// How long Envoy waits for its first configuration where ENVOY_INITIAL_FETCH_TIMEOUT says nothing: for ever.
const INITIAL_FETCH_TIMEOUT: Duration = Duration::ZERO;
const DEFAULT_SERVER: &str = "127.0.0.1:7443";
const DEFAULT_ADMIN_PORT: u16 = 9901;
/// A terminal or a supervisor may repeat a signal; more than this many need not wait.
const WAITING_COMMANDS: usize = 4;

/// Flags of `signet agent`.
#[derive(Args, Clone, Debug)]
pub struct AgentArgs {
    /// Whose proxy this is: mesh/MESH/virtualNode/NAME, mesh/MESH/virtualGateway/NAME, or the ARN [env: APPMESH_RESOURCE_ARN]
    #[arg(long, env = "SIGNET_RESOURCE", value_name = "NAME")]
    resource: Option<Workload>,
    /// The server's gRPC address [env: APPMESH_XDS_ENDPOINT] [default: 127.0.0.1:7443]
    #[arg(long, env = "SIGNET_SERVER", value_name = "HOST:PORT")]
    server: Option<ServerAddr>,
    /// The root certificate that the server's must chain to; <data-dir>/ca.pem on the server
    #[arg(long, env = "SIGNET_CA_FILE", value_name = "FILE", default_value = "signet-data/ca.pem")]
    ca_file: PathBuf,
    /// The trust domain, where the root certificate does not name it: an operator's own may not [default: what it names]
    #[arg(long, env = "SIGNET_TRUST_DOMAIN", value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
    /// A file with the token of `signet token create`; needed for the first start only
    #[arg(long, env = "SIGNET_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Where key, certificate and bootstrap are kept, mode 0700
    #[arg(long, env = "SIGNET_STATE_DIR", value_name = "FOLDER", default_value = "/var/lib/signet/agent")]
    state_dir: PathBuf,
    /// A file with at least 32 random bytes, mode 0600, that seals the key and certificate in --state-dir: a copy of
    /// the folder alone is then of no use. An agent that is restarted while the server is down serves from there at once
    #[arg(long, env = "SIGNET_CACHE_KEY_FILE", value_name = "FILE")]
    cache_key_file: Option<PathBuf>,
    /// How long a sealed certificate may be used after it was kept, in seconds; its own life without this
    #[arg(long, env = "SIGNET_CACHE_MAX_AGE", value_name = "SECONDS", requires = "cache_key_file",
        value_parser = clap::value_parser!(u64).range(1..))]
    cache_max_age: Option<u64>,
    /// The SDS socket [env: APPMESH_SDS_SOCKET_PATH] [default: $XDG_RUNTIME_DIR/signet/agent.sock, or /run/signet/agent.sock]
    #[arg(long, env = "SIGNET_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// A user whose processes are served on the socket, beside the agent's own; may be repeated
    #[arg(long, env = "SIGNET_ALLOW_UID", value_name = "UID", value_delimiter = ',')]
    allow_uid: Vec<u32>,
    /// What a client of the socket gets that names no secret in its first request. nothing: xDS has no wildcard for
    /// secrets. everything: each certificate that the workload may hold, and the roots, once under its SPIFFE ID, as
    /// SPIRE's agent has it
    #[arg(long, env = "SIGNET_SDS_EMPTY_LIST", default_value = "nothing")]
    sds_empty_list: EmptyListArg,
    /// The Envoy to run
    #[arg(long, env = "SIGNET_ENVOY", value_name = "PATH", default_value = "envoy")]
    envoy: PathBuf,
    /// A file for Envoy's log; standard error without it
    #[arg(long, env = "SIGNET_ENVOY_LOG", value_name = "FILE")]
    envoy_log: Option<PathBuf>,
    /// How traffic gets to Envoy. none: callers use the egress port, and Envoy binds the node's ports itself.
    /// iptables: the rules of `signet interception apply` redirect it
    #[arg(long, env = "SIGNET_INTERCEPTION", default_value = "none")]
    interception: InterceptionArg,
    /// The address on which Envoy serves the listeners. Needed for a node, whose application listens on 127.0.0.1;
    /// a gateway serves on 0.0.0.0 if it is told nothing else
    #[arg(long, env = "SIGNET_INGRESS_ADDRESS", value_name = "IP")]
    ingress_address: Option<IpAddr>,
    /// The port for others' calls where they are redirected
    #[arg(long, env = "SIGNET_INGRESS_PORT", value_name = "PORT", default_value_t = 15000)]
    ingress_port: u16,
    /// The port on 127.0.0.1 for calls to other services, each agent of a host its own; 0 takes a free one
    #[arg(long, env = "SIGNET_EGRESS_PORT", value_name = "PORT", default_value_t = 15001)]
    egress_port: u16,
    /// Envoy's admin port on 127.0.0.1; 0 takes a free one [env: ENVOY_ADMIN_ACCESS_PORT] [default: 9901]
    #[arg(long, env = "SIGNET_ADMIN_PORT", value_name = "PORT")]
    admin_port: Option<u16>,
    /// Passed on to Envoy
    #[arg(last = true, value_name = "ENVOY ARGS")]
    envoy_args: Vec<String>,
}

/// `--interception`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InterceptionArg {
    /// Nothing is redirected.
    None,
    /// iptables rules redirect the application's traffic, as with App Mesh.
    Iptables,
}

/// `--sds-empty-list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EmptyListArg {
    /// It asks for nothing.
    Nothing,
    /// It asks for everything.
    Everything,
}

impl From<EmptyListArg> for EmptyList {
    fn from(asked: EmptyListArg) -> Self {
        match asked {
            EmptyListArg::Nothing => Self::Nothing,
            EmptyListArg::Everything => Self::Everything,
        }
    }
}

/// Runs the agent to its end.
///
/// # Errors
/// It cannot start, or a part of it fails.
pub async fn run(args: AgentArgs, clock: Clock) -> Result<ExitCode> {
    let config = config(args)?;
    let admin_host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let socket = config.sds_socket.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (commander, commands) = mpsc::channel(WAITING_COMMANDS);
    let (announce, ready) = oneshot::channel();
    let shutdown = CancellationToken::new();
    let controls = Controls { commands, shutdown: shutdown.clone(), ready: announce };
    let rng = rand::rngs::StdRng::from_rng(&mut rand::rng());
    let running = signet_agent::run(config, clock, rng, controls);
    tokio::pin!(running, ready);
    let mut announced = false;
    loop {
        tokio::select! {
            outcome = &mut running => return Ok(ExitCode::from(outcome?.exit_code())),
            Ok(ready) = &mut ready, if !announced => {
                announced = true;
                print_ready(&ready, admin_host, &socket);
            }
            _ = terminate.recv() => shutdown.cancel(),
            _ = interrupt.recv() => shutdown.cancel(),
            // A full queue holds such a command already.
            _ = hangup.recv() => drop(commander.try_send(AgentCommand::RotateNow)),
        }
    }
}

fn print_ready(ready: &Ready, host: IpAddr, socket: &std::path::Path) {
    let line = json!({
        "event": "ready",
        "identity": ready.spiffe_id.to_string(),
        "serial": ready.serial,
        "admin": SocketAddr::new(host, ready.admin_port),
        "egress": SocketAddr::new(host, ready.egress_port),
        "socket": socket,
        "envoyPid": ready.envoy_pid,
        "adopted": ready.adopted,
    });
    println!("{line}");
}

/// Flags win over App Mesh's variables.
fn config(args: AgentArgs) -> Result<AgentConfig> {
    let variables = variables();
    let environment = Environment::parse(&variables).map_err(|error| WrongUsage(error.to_string()))?;
    let Some(workload) = args.resource.or(environment.workload) else {
        let words =
            "whose proxy is this? Say --resource mesh/MESH/virtualNode/NAME, or set APPMESH_RESOURCE_ARN";
        bail!(WrongUsage(words.to_owned()));
    };
    let (interception, ingress_address) = match (args.interception, workload.kind) {
        (InterceptionArg::Iptables, WorkloadKind::VirtualGateway) => bail!(WrongUsage(
            "--interception iptables: nothing is redirected to a gateway, which stands alone; leave it out"
                .to_owned()
        )),
        (InterceptionArg::Iptables, WorkloadKind::VirtualNode) => {
            let ingress_port = args.ingress_port;
            (Interception::Iptables { ingress_port }, IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        }
        (InterceptionArg::None, kind) => (Interception::None, ingress_address(args.ingress_address, kind)?),
    };
    let server = match args.server.or(environment.server) {
        Some(server) => server,
        None => DEFAULT_SERVER.parse()?,
    };
    let token = args.token_file.map(|path| {
        let text = std::fs::read_to_string(&path);
        text.map(|text| Token::new(&text.into()))
            .with_context(|| format!("cannot read the token in {}", path.display()))
    });
    let max_age = args.cache_max_age.map(Duration::from_secs);
    let own_uid = rustix::process::geteuid().as_raw();
    Ok(AgentConfig {
        workload,
        cluster: environment.cluster,
        server,
        ca_pem: args.ca_file,
        trust_domain: args.trust_domain,
        token: token.transpose()?,
        state_dir: args.state_dir,
        cache_key: args.cache_key_file.map(|path| CacheKey::read(&path, max_age)).transpose()?,
        sds_socket: args
            .socket
            .or(environment.sds_socket.map(PathBuf::from))
            .unwrap_or_else(|| default_socket(&variables)),
        allowed_uids: args.allow_uid.into_iter().chain([own_uid]).collect::<BTreeSet<u32>>(),
        empty_list: args.sds_empty_list.into(),
        envoy: EnvoyCommand {
            path: args.envoy,
            args: args.envoy_args,
            log_level: environment.log_level.unwrap_or_default(),
            concurrency: environment.concurrency,
            log_file: args.envoy_log,
        },
        admin_port: args.admin_port.or(environment.admin_port).unwrap_or(DEFAULT_ADMIN_PORT),
        egress_port: args.egress_port,
        ingress_address,
        interception,
        initial_fetch_timeout: environment.initial_fetch_timeout.unwrap_or(INITIAL_FETCH_TIMEOUT),
        tracer: environment.tracer,
    })
}

/// Only beside a gateway is no application that Envoy could meet.
fn ingress_address(asked: Option<IpAddr>, kind: WorkloadKind) -> Result<IpAddr> {
    let hosts = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    match (kind, asked) {
        (WorkloadKind::VirtualGateway, asked) => Ok(asked.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
        (WorkloadKind::VirtualNode, None) => bail!(WrongUsage(
            "where should Envoy serve the node's ports? Say --ingress-address IP: an address of this host, such as \
             its own or 127.0.0.2, but not 127.0.0.1, where the application listens; or --interception iptables, if \
             `signet interception apply` has redirected its traffic"
                .to_owned()
        )),
        (WorkloadKind::VirtualNode, Some(ingress)) if ingress.is_unspecified() || hosts.contains(&ingress) => {
            bail!(WrongUsage(format!(
                "--ingress-address {ingress}: there Envoy would meet the application, which listens on 127.0.0.1; \
                 name another address of this host, such as its own or 127.0.0.2"
            )))
        }
        (WorkloadKind::VirtualNode, Some(ingress)) => Ok(ingress),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn variables() -> BTreeMap<String, String> {
    std::env::vars().collect()
}

fn default_socket(variables: &BTreeMap<String, String>) -> PathBuf {
    let runtime = variables.get("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
    let folder = runtime.map_or_else(|| PathBuf::from("/run"), PathBuf::from);
    folder.join("signet/agent.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_lies_in_the_users_runtime_folder_where_there_is_one() {
        let variables = |value: &str| BTreeMap::from([("XDG_RUNTIME_DIR".to_owned(), value.to_owned())]);
        assert_eq!(default_socket(&variables("/run/user/7")), PathBuf::from("/run/user/7/signet/agent.sock"));
        assert_eq!(default_socket(&variables("")), PathBuf::from("/run/signet/agent.sock"));
        assert_eq!(default_socket(&BTreeMap::new()), PathBuf::from("/run/signet/agent.sock"));
    }
}

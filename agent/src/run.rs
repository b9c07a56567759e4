//! The agent's life, from the first certificate to the end of its Envoy.

mod error;
mod ingress;
mod kept;
mod live;
mod proxy;
mod serving;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fs, net::IpAddr, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};
use signet_policies::{
    identity::{SpiffeId, TrustDomain, Workload},
    time::Clock,
};
use signet_sds::{
    attest::AllowedUsers,
    deliveries::Deliveries,
    rotator::{Backoff, Command, Handle, Rotation, rotator},
    server::{self, EmptyList, Serving},
    socket,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    admin::Admin,
    bootstrap::Interception,
    envoy::{EnvoyCommand, EnvoyEnd, Running},
    evidence::Evidence,
    further::{Further, Named},
    join::{NodeSigner, Server, Token, identity_of},
    server_addr::ServerAddr,
    state::{CacheKey, StateDir},
    tracer::Tracer,
    trust::Anchors,
    watch::Watch,
};

pub use error::AgentError;
use kept::{held_before, keep_in};
use proxy::Plan;

/// How long what is left may take to end once Envoy has.
const FINISH: Duration = Duration::from_millis(500);

/// What an agent is for, and where everything is.
#[derive(Debug)]
pub struct AgentConfig {
    /// Whose proxy this is.
    pub workload: Workload,
    /// Envoy's `node.cluster`; the node id where it is not said.
    pub cluster: Option<String>,
    /// Where the Signet server's gRPC listener is.
    pub server: ServerAddr,
    /// The roots that the server's certificate must chain to.
    pub ca_pem: PathBuf,
    /// Whose roots they are, where they do not say it themselves.
    pub trust_domain: Option<TrustDomain>,
    /// For the first certificate, and for when the server no longer accepts the one that is held.
    pub token: Option<Token>,
    /// Where certificate, bootstrap and Envoy's process are kept.
    pub state_dir: PathBuf,
    /// Seals the certificate and its key there; without it, the file's mode alone protects them.
    pub cache_key: Option<CacheKey>,
    /// The SDS socket.
    pub sds_socket: PathBuf,
    /// Users whose processes are served on it: at least the one that Envoy runs as.
    pub allowed_uids: BTreeSet<u32>,
    /// What a client of it gets that names nothing.
    pub empty_list: EmptyList,
    /// How Envoy is run.
    pub envoy: EnvoyCommand,
    /// Port of Envoy's admin interface on 127.0.0.1; 0 chooses one.
    pub admin_port: u16,
    /// Port of the egress listener on 127.0.0.1; 0 chooses one.
    pub egress_port: u16,
    /// Where the node's listeners are bound: any address of this host but 127.0.0.1 and `::1`, where the application
    /// listens.
    pub ingress_address: IpAddr,
    /// How traffic gets to Envoy.
    pub interception: Interception,
    /// How long Envoy waits for its first clusters and listeners before it serves without; zero is for ever.
    pub initial_fetch_timeout: Duration,
    /// Where Envoy sends its spans; nowhere without.
    pub tracer: Option<Tracer>,
}

/// What a running agent may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentCommand {
    /// Get a new certificate now.
    RotateNow,
}

/// How the agent is told things, and tells that it is ready.
#[derive(Debug)]
pub struct Controls {
    /// Commands; when every sender is gone there are no more.
    pub commands: mpsc::Receiver<AgentCommand>,
    /// Ends Envoy, then the agent.
    pub shutdown: CancellationToken,
    /// Told once, when Envoy is live.
    pub ready: oneshot::Sender<Ready>,
}

/// A live proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Envoy's process.
    pub envoy_pid: i32,
    /// Whether an earlier agent started it.
    pub adopted: bool,
    /// Envoy's admin port on 127.0.0.1.
    pub admin_port: u16,
    /// The egress port on 127.0.0.1.
    pub egress_port: u16,
    /// The identity that is held.
    pub spiffe_id: SpiffeId,
    /// The serial number of the certificate that is held now, as Envoy's `/certs` prints it.
    pub serial: String,
}

/// Why an agent ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to.
    Shutdown,
    /// Envoy ended by itself.
    Envoy(EnvoyEnd),
}

impl Outcome {
    /// What the agent's process ends with: Envoy's own code, 128 and the signal as a shell has it, or 1 where
    /// nobody knows.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Shutdown => 0,
            Self::Envoy(EnvoyEnd::Code(code)) => u8::try_from(code).unwrap_or(1),
            Self::Envoy(EnvoyEnd::Signal(signal)) => u8::try_from(signal.saturating_add(128)).unwrap_or(1),
            Self::Envoy(EnvoyEnd::Unknown) => 1,
        }
    }
}

/// Runs an agent to its end.
///
/// Envoy ends with the agent when that is told to shut down. When the agent fails, or its future is dropped, Envoy
/// goes on with its last secrets, and the next agent with the same state folder adopts it.
///
/// # Errors
/// [`AgentError`].
pub async fn run(
    mut config: AgentConfig,
    clock: Clock,
    rng: StdRng,
    controls: Controls,
) -> Result<Outcome, AgentError> {
    if config.interception == Interception::None {
        ingress::check(config.workload.kind, config.ingress_address)?;
    }
    let anchors = Anchors::read(&config.ca_pem, config.trust_domain.as_ref())?;
    let state = Arc::new(StateDir::open(&config.state_dir)?.sealed_with(config.cache_key.take()));
    let server = Server { addr: config.server.clone(), anchors, clock: Arc::clone(&clock) };
    let held = held_before(&config, &server, &state)?;
    let identity = identity_of(&server, &config.workload);
    let listener = socket::bind(&config.sds_socket)?;
    let plan = Plan::make(&config, &server.anchors.server_id(), &state).await?;

    let AgentConfig { workload, token, sds_socket, allowed_uids, empty_list, envoy, .. } = config;
    let mut renewing = rng;
    let mut rng = StdRng::from_rng(&mut renewing);
    let deliveries = Deliveries::new(Arc::clone(&clock));
    let on_behalf = Arc::new(NodeSigner::new(server.clone(), workload.clone(), None));
    let signer = Arc::new(NodeSigner::new(server.clone(), workload, token));
    let keeper = keep_in(Arc::clone(&state), Arc::clone(&clock));
    let rotation =
        Rotation { identity, signer, clock, rng: renewing, backoff: Backoff::DEFAULT, held, keeper };
    let (rotator, rotating) = rotator(rotation);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { rotating.await.map_err(AgentError::from) });
    let serving = CancellationToken::new();
    let users = AllowedUsers::new(allowed_uids);
    let ((served, further), (may_hold, named)) = (watch::channel(Vec::new()), watch::channel(None));
    let own = rotator.secrets.clone();
    let more = Further {
        signer: on_behalf,
        clock: Arc::clone(&server.clock),
        rng: StdRng::from_rng(&mut rng),
        deliveries: deliveries.clone(),
        own: own.clone(),
        named,
        served,
    };
    let (recheck, deliveries_too) = (server::RECHECK, deliveries.clone());
    let what = Serving { own, further, users, empty_list, recheck, deliveries: deliveries_too };
    serving::begin(&mut tasks, listener, what, more, &serving);
    let agent = Agent {
        state,
        envoy,
        server,
        deliveries,
        rng,
        rotator,
        may_hold,
        tasks,
        serving,
        leaving: CancellationToken::new(),
        sds_socket,
    };
    agent.run(plan, controls).await
}

/// An agent whose certificate is being rotated and whose socket is being served.
struct Agent {
    state: Arc<StateDir>,
    envoy: EnvoyCommand,
    server: Server,
    deliveries: Deliveries,
    rng: StdRng,
    rotator: Handle,
    /// Told what the workload may hold beside its own identity.
    may_hold: watch::Sender<Named>,
    tasks: JoinSet<Result<(), AgentError>>,
    /// Ends the socket's streams; only when Envoy has ended, so that it never sees them end.
    serving: CancellationToken,
    /// Has the server told that this proxy is gone; only when Envoy has ended.
    leaving: CancellationToken,
    sds_socket: PathBuf,
}

impl Agent {
    /// Starts to tell the server what the proxy holds, and to do what it says.
    fn watch(&mut self, admin: Admin) {
        let (refused, seen) = watch::channel(None);
        let (publish, reports) = watch::channel(None);
        let evidence = Evidence {
            instance: self.state.instance(),
            admin,
            clock: Arc::clone(&self.server.clock),
            secrets: self.rotator.secrets.clone(),
            renewal: self.rotator.renewal.clone(),
            refused: seen,
            deliveries: self.deliveries.clone(),
        };
        let watch = Watch {
            server: self.server.clone(),
            secrets: self.rotator.secrets.clone(),
            reports,
            commands: self.rotator.commands.clone(),
            refused,
            may_hold: self.may_hold.clone(),
            leaving: self.leaving.clone(),
            rng: self.rng.clone(),
        };
        let leaving = self.leaving.clone();
        self.tasks.spawn(async move {
            leaving.run_until_cancelled(evidence.run(publish)).await;
            Ok(())
        });
        self.tasks.spawn(async move {
            watch.run().await;
            Ok(())
        });
    }

    async fn run(mut self, mut plan: Plan, controls: Controls) -> Result<Outcome, AgentError> {
        let running = match plan.running.take() {
            Some(running) => running,
            // Without a certificate Envoy can do nothing, and a refusal would have to end it again.
            None if self.first_certificate(&controls.shutdown).await? => {
                plan.start(&self.envoy, &self.state).await?
            }
            None => {
                self.end_with(plan).await;
                return Ok(Outcome::Shutdown);
            }
        };
        self.follow(running, plan, controls).await
    }

    /// Waits until there is a certificate; `false` when the agent is told to end before.
    async fn first_certificate(&mut self, shutdown: &CancellationToken) -> Result<bool, AgentError> {
        tokio::select! {
            Ok(_) = self.rotator.secrets.wait_for(Option::is_some) => Ok(true),
            ended = self.tasks.join_next() => Err(task_end(ended)),
            () = shutdown.cancelled() => Ok(false),
        }
    }

    /// Waits for whatever comes first: Envoy's end, the agent's, or something to do.
    async fn follow(
        mut self,
        mut envoy: Running,
        mut plan: Plan,
        mut controls: Controls,
    ) -> Result<Outcome, AgentError> {
        let admin = plan.admin();
        self.watch(admin);
        let mut ready = Some(controls.ready);
        let mut secrets = self.rotator.secrets.clone();
        let (server_addr, which) = (self.server.addr.clone(), plan.which(&self.state));
        let mut live = pin!(async move {
            live::wait(admin, &which, &server_addr).await;
            secrets.wait_for(Option::is_some).await.ok().and_then(|held| held.clone())
        });
        loop {
            tokio::select! {
                end = envoy.ended() => {
                    if ready.is_some() && plan.has_old() {
                        warn!(?end, "envoy did not take over from the one before, which is stopped");
                        envoy = plan.start_alone(&self.envoy, &self.state).await?;
                        continue;
                    }
                    warn!(?end, pid = envoy.identity().pid, "envoy has ended");
                    self.end_with(plan).await;
                    return Ok(Outcome::Envoy(end));
                }
                () = plan.old_ended() => if ready.is_some() {
                    // It waits for an answer of the one before.
                    envoy.stop(admin).await;
                    envoy = plan.start_alone(&self.envoy, &self.state).await?;
                },
                () = controls.shutdown.cancelled() => {
                    let end = envoy.stop(admin).await;
                    info!(?end, "envoy was stopped");
                    self.end_with(plan).await;
                    return Ok(Outcome::Shutdown);
                }
                Some(AgentCommand::RotateNow) = controls.commands.recv() => {
                    // Whether the rotator has ended is seen below.
                    let _ = self.rotator.commands.send(Command::RotateNow).await;
                }
                held = &mut live, if ready.is_some() => {
                    if let (Some(ready), Some(held)) = (ready.take(), held) {
                        info!(pid = envoy.identity().pid, admin_port = plan.admin_port, "envoy is live");
                        let _ = ready.send(plan.ready(&envoy, &held));
                    }
                }
                ended = self.tasks.join_next() => return Err(task_end(ended)),
            }
        }
    }

    /// Envoy has ended, or was never started; so does the one before.
    async fn end_with(self, mut plan: Plan) {
        plan.stop_old().await;
        plan.clear();
        self.state.forget_envoy();
        self.finish().await;
    }

    /// Ends the socket. Envoy has ended, so nobody is waited for long.
    async fn finish(mut self) {
        self.serving.cancel();
        self.leaving.cancel();
        drop(self.rotator);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(FINISH, all).await.is_err() {
            warn!("some stream on the SDS socket was cut");
        }
        if let Err(error) = fs::remove_file(&self.sds_socket) {
            warn!(%error, socket = %self.sds_socket.display(), "the SDS socket cannot be removed");
        }
    }
}

/// No task ends by itself while the agent lives, so whatever ended did so with an error.
fn task_end(ended: Option<Result<Result<(), AgentError>, JoinError>>) -> AgentError {
    match ended {
        Some(Ok(Err(error))) => error,
        Some(Ok(Ok(()))) | None => AgentError::TaskEnded,
        Some(Err(error)) => AgentError::TaskFailed(error),
    }
}

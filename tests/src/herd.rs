//! F16: many agents that start within a second and join, each with a token of its own, and then renew all at once.
//!
//! ```text
//!  tokens, by the API ─▶ join, each at a moment of one second ─▶ renew, all at the same moment ─▶ what the ledger says
//! ```
//!
//! The server is the real one, in a process of its own. An agent is what it is in `signet agent` as far as the server sees
//! it: the rotator, its back-off, and a connection with its handshake for each call. Envoys and streams are left out.

mod report;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use signet::{
    client::Client,
    local::mesh::{Server, create_token, put},
};
use signet_agent::{
    join::{NodeSigner, Server as Door, Token, identity_of},
    trust::Anchors,
};
use signet_policies::identity::Workload;
use signet_sds::{
    rotator::{Backoff, Command, Handle, Rotation, rotator},
    secret::Secrets,
    signer::{Signed, Signer, SignerError},
};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use zeroize::Zeroizing;

use crate::{bed::ledger, clock, program};
pub use report::{Report, Wave, table};

/// Agents of one virtual node at most: each identity may ask 256 times at once, and each agent asks twice.
const REPLICAS: usize = 100;
/// Calls of the API at once.
const API_CALLS: usize = 32;
/// In which all agents start.
const START: Duration = Duration::from_secs(1);
/// Until a wave must be over.
const PATIENCE: Duration = Duration::from_secs(600);
const MESH: &str = "herd";

/// How large a herd is.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Agents.
    pub agents: usize,
    /// When each starts comes out of it.
    pub seed: u64,
}

/// What came of one call of one agent, and how long that took.
#[derive(Clone, Debug)]
struct Call {
    took: Duration,
    outcome: Result<(), SignerError>,
}

/// Notes each call of an agent.
struct Noting {
    signer: NodeSigner,
    calls: Arc<Mutex<Vec<Call>>>,
}

#[async_trait]
impl Signer for Noting {
    async fn sign(&self, request: Vec<u8>, current: Option<Arc<Secrets>>) -> Result<Signed, SignerError> {
        let asked = Instant::now();
        let answer = self.signer.sign(request, current).await;
        let outcome = answer.as_ref().map(drop).map_err(Clone::clone);
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Call { took: asked.elapsed(), outcome });
        answer
    }
}

/// Agents that hold a certificate, or will.
struct Herd {
    agents: Vec<Handle>,
    /// Rotators; each ends when its handle is gone.
    _running: JoinSet<Result<(), signet_sds::rotator::RotateError>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// Has a herd join a server of its own and renew, and says how that went.
///
/// # Errors
/// The server does not run, somebody is left without a certificate, or the ledger is not what was issued.
pub async fn run(wanted: &Wanted) -> Result<Report> {
    let _machine = crate::machine().await?;
    let folder = tempfile::Builder::new().prefix("signet-herd-").tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let client = server.client(clock())?;
    let workloads = workloads(&client, wanted.agents).await?;
    let asked = Instant::now();
    let tokens = tokens(&client, &workloads).await?;
    let tokens_took = asked.elapsed();

    let asked = Instant::now();
    let herd = Herd::start(&server, workloads.into_iter().zip(tokens), wanted.seed)?;
    let first = herd.hold_another_than(&BTreeSet::new()).await?;
    let joins = Wave::new(asked.elapsed(), herd.take_calls());
    let serials: BTreeSet<_> = first.iter().map(|held| held.leaf().serial().to_owned()).collect();
    let asked = Instant::now();
    for agent in &herd.agents {
        agent.commands.send(Command::RotateNow).await.context("an agent has ended")?;
    }
    let second = herd.hold_another_than(&serials).await?;
    let renewals = Wave::new(asked.elapsed(), herd.take_calls());

    let mut held = serials;
    held.extend(second.iter().map(|held| held.leaf().serial().to_owned()));
    ensure!(held.len() == 2 * wanted.agents, "{} certificates of {} agents", held.len(), wanted.agents);
    let recorded = ledger::serials(&ledger::entries(&client, 0).await?)?;
    let recorded: BTreeSet<_> = recorded.into_iter().map(|serial| plain(&serial)).collect();
    ensure!(
        held.iter().all(|serial| recorded.contains(&plain(serial))),
        "a certificate is not in the ledger"
    );
    server.stop().await;
    ledger::verified(&server)?;
    let spread = report::spread(&first)?;
    Ok(Report { agents: wanted.agents, tokens_took, joins, renewals, spread })
}

/// A serial number without what is written before it alone.
fn plain(serial: &str) -> String {
    serial.trim_start_matches('0').to_owned()
}

/// One for each agent: replicas of as few virtual nodes as one asks for.
async fn workloads(client: &Client, agents: usize) -> Result<Vec<Workload>> {
    put(client, "meshes", json!({"meshName": MESH})).await?;
    let nodes = agents.div_ceil(REPLICAS);
    for number in 0..nodes {
        let body = json!({"virtualNodeName": format!("n{number}"), "spec": {}});
        put(client, &format!("meshes/{MESH}/virtualNodes"), body).await?;
    }
    (0..agents).map(|agent| Ok(Workload::virtual_node(MESH, &format!("n{}", agent % nodes))?)).collect()
}

async fn tokens(client: &Client, workloads: &[Workload]) -> Result<Vec<String>> {
    let (places, mut calls) = (Arc::new(Semaphore::new(API_CALLS)), JoinSet::new());
    for (number, workload) in workloads.iter().enumerate() {
        let (client, workload, places) = (client.clone(), workload.clone(), Arc::clone(&places));
        calls.spawn(async move {
            let _place = places.acquire().await?;
            Ok::<_, anyhow::Error>((number, create_token(&client, &workload).await?))
        });
    }
    let mut tokens = calls.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    tokens.sort();
    Ok(tokens.into_iter().map(|(_, token)| token).collect())
}

impl Herd {
    /// Starts an agent for each workload and token.
    fn start(server: &Server, agents: impl Iterator<Item = (Workload, String)>, seed: u64) -> Result<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let door = Door {
            addr: server.grpc_address().parse()?,
            anchors: Anchors::read(&server.ca_file(), None)?,
            clock: clock(),
        };
        let mut herd = Self { agents: Vec::new(), _running: JoinSet::new(), calls: Arc::default() };
        for (workload, token) in agents {
            let token = Token::new(&Zeroizing::new(token));
            let signer = NodeSigner::new(door.clone(), workload.clone(), Some(token));
            let (handle, running) = rotator(Rotation {
                identity: identity_of(&door, &workload),
                signer: Arc::new(Noting { signer, calls: Arc::clone(&herd.calls) }),
                clock: clock(),
                rng: StdRng::from_rng(&mut rng),
                backoff: Backoff::DEFAULT,
                held: None,
                keeper: Box::new(|_| {}),
            });
            let moment = START.mul_f64(rng.random());
            herd.agents.push(handle);
            herd._running.spawn(async move {
                sleep(moment).await;
                running.await
            });
        }
        Ok(herd)
    }

    /// Waits until each agent holds a certificate that is none of these, and returns them.
    async fn hold_another_than(&self, old: &BTreeSet<String>) -> Result<Vec<Arc<Secrets>>> {
        let all = async {
            let mut held = Vec::new();
            for agent in &self.agents {
                let mut secrets = agent.secrets.clone();
                let another = |held: &Option<Arc<Secrets>>| {
                    held.as_ref().is_some_and(|held| !old.contains(held.leaf().serial()))
                };
                let one = secrets.wait_for(another).await.with_context(|| {
                    let refused = Wave::new(Duration::ZERO, self.take_calls()).refused.unwrap_or_default();
                    format!("an agent was turned away for good: {refused}")
                })?;
                held.extend(one.clone());
            }
            Ok(held)
        };
        timeout(PATIENCE, all).await.context("somebody has no certificate after ten minutes")?
    }

    fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

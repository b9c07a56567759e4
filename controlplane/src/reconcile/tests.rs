mod asking;
mod causes;
mod economy;
mod enforced;
mod envoy;
mod former;
mod generations;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use async_trait::async_trait;
use signet_durable::CommitError;
use signet_policies::{
    identity::{ResourceName, Workload},
    mtls::Mode,
};
use signet_xds::ResourceType;
use tokio::{
    task::{JoinSet, yield_now},
    time::advance,
};

use super::*;
use crate::{
    model::{
        Backend, Certificate, Discovery, DnsResponseType, Listener, ListenerTls, Mesh, PortMapping, Protocol,
        Provider, Trust, Validation, VirtualNode, VirtualService,
    },
    proxies::ProxyState,
    translate::{Interception, Proxy},
};
use envoy::{Envoy, Habit};

const PORT: u16 = 8080;
const CLUSTER: &str = "cds_egress_m_server_http_8080";

/// A memory that outlives the task.
#[derive(Clone, Default)]
struct Notes {
    kept: Arc<Mutex<BTreeMap<String, String>>>,
    is_full: Arc<AtomicBool>,
    /// Whoever holds it keeps a save from going on.
    gate: Arc<tokio::sync::Mutex<()>>,
}

#[async_trait]
impl Memory for Notes {
    async fn load(&self) -> Result<BTreeMap<String, String>, MemoryError> {
        Ok(self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn save(&self, records: Vec<(String, Option<String>)>) -> Result<(), MemoryError> {
        let _open = self.gate.lock().await;
        if self.is_full.load(Ordering::Relaxed) {
            return Err(MemoryError::Store(CommitError::Write("no space left on device".into())));
        }
        let mut notes = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for (port, record) in records {
            match record {
                Some(record) => drop(notes.insert(port, record)),
                None => drop(notes.remove(&port)),
            }
        }
        Ok(())
    }
}

/// A mesh in which `client` calls `server`, and its control plane.
struct World {
    generations: watch::Sender<Arc<Generations>>,
    model: watch::Sender<Arc<Model>>,
    proxies: Arc<Proxies>,
    progress: watch::Receiver<Ports>,
    memory: Notes,
    envoys: BTreeMap<&'static str, Envoy>,
    task: JoinSet<Result<(), MemoryError>>,
}

fn mesh(mode: Mode) -> Mesh {
    let certificate = Certificate::Acm { arn: "arn".into() };
    let port_mapping = PortMapping { port: PORT.try_into().unwrap(), protocol: Protocol::Http };
    let hostname = "server.local".to_owned();
    let server = VirtualNode {
        listeners: vec![Listener {
            tls: Some(ListenerTls { mode, certificate, validation: None }),
            ..Listener::new(port_mapping)
        }],
        discovery: Some(Discovery::Dns {
            hostname,
            response_type: DnsResponseType::LoadBalancer,
            ip_preference: None,
        }),
        ..VirtualNode::default()
    };
    let backend = Backend { virtual_service: "server.svc".parse().unwrap(), client_policy: None };
    let client = VirtualNode { backends: vec![backend], ..VirtualNode::default() };
    let mut mesh = Mesh::default();
    mesh.virtual_nodes.insert("server".parse().unwrap(), server.into());
    mesh.virtual_nodes.insert("client".parse().unwrap(), client.into());
    let provider = Some(Provider::VirtualNode("server".parse().unwrap()));
    mesh.virtual_services.insert("server.svc".parse().unwrap(), VirtualService { provider }.into());
    mesh
}

fn validation() -> Validation {
    let trust = Trust::Sds { secret_name: "ROOTCA".into() };
    Validation { trust, subject_alternative_names: Vec::new() }
}

fn model(mesh: Mesh) -> Arc<Model> {
    Arc::new(Model {
        revision: 1,
        meshes: [("m".parse().unwrap(), Arc::new(mesh))].into(),
        ..Model::default()
    })
}

fn proxy(node: &str, address: u8) -> Proxy {
    Proxy {
        workload: Workload::virtual_node("m", node).unwrap(),
        interception: Interception::None,
        ingress_address: [127, 0, 0, address].into(),
        egress_port: 15001.try_into().unwrap(),
    }
}

impl World {
    fn new(mode: Mode) -> Self {
        Self::with_memory(mode, Notes::default())
    }

    fn with_memory(mode: Mode, memory: Notes) -> Self {
        Self::start(mode, memory, watch::channel(Arc::default()).1)
    }

    fn start(mode: Mode, memory: Notes, instances: watch::Receiver<Arc<Instances>>) -> Self {
        let (model, seen) = watch::channel(model(mesh(mode)));
        let (progress, shown) = watch::channel(Ports::new());
        let (generations, seen_generations) = watch::channel(Arc::default());
        let proxies = Proxies::new(Arc::new(|| SystemTime::UNIX_EPOCH));
        let context = Reconcile {
            model: seen,
            instances,
            generations: seen_generations,
            proxies: Arc::clone(&proxies),
            memory: memory.clone(),
            trust_domain: "td".parse().unwrap(),
            pace: Pace::default(),
            progress,
        };
        let mut task = JoinSet::new();
        task.spawn(context.run(CancellationToken::new()));
        Self { model, generations, proxies, progress: shown, memory, envoys: BTreeMap::new(), task }
    }

    /// Connects `server` and `client`, and lets everything settle.
    async fn peopled(mode: Mode) -> Self {
        let mut world = Self::new(mode);
        world.join("server", proxy("server", 1)).await;
        world.join("client", proxy("client", 2)).await;
        world
    }

    async fn join(&mut self, name: &'static str, proxy: Proxy) {
        self.envoys.insert(name, Envoy::connect(&self.proxies, proxy));
        self.idle().await;
    }

    fn set(&self, mode: Mode) {
        self.model.send_replace(model(mesh(mode)));
    }

    fn envoy(&mut self, name: &str) -> &mut Envoy {
        self.envoys.get_mut(name).unwrap()
    }

    /// Lets everybody act until nobody has anything to do, and sees in between that nobody calls in vain.
    async fn idle(&mut self) {
        let mut quiet = 0;
        while quiet < 8 {
            yield_now().await;
            let mut busy = false;
            for name in self.envoys.keys().copied().collect::<Vec<_>>() {
                if self.envoy(name).turn() {
                    busy = true;
                    self.nobody_calls_in_vain();
                }
            }
            quiet = if busy { 0 } else { quiet + 1 };
        }
    }

    fn nobody_calls_in_vain(&self) {
        for (server, accepting) in &self.envoys {
            let accepts = accepting.accepts(PORT);
            for (client, dialing) in &self.envoys {
                let dials = dialing.dials(CLUSTER);
                let is_served = accepts.is_empty() || accepts.contains(dials);
                assert!(is_served, "{client} dials {dials} and {server} accepts {accepts}");
            }
        }
    }

    /// Lets time pass in small steps, with everybody acting in each.
    async fn pass(&mut self, time: Duration) {
        let step = Duration::from_millis(100).max(time / 60);
        let mut left = time;
        while !left.is_zero() {
            advance(step.min(left)).await;
            left = left.saturating_sub(step);
            self.idle().await;
        }
    }

    /// What everybody runs: `server accepts …` and `client dials …`.
    fn in_force(&self, server: &str, client: &str) -> (String, &'static str) {
        (self.envoys[server].accepts(PORT), self.envoys[client].dials(CLUSTER))
    }

    fn view(&self) -> PortView {
        self.progress.borrow().values().next().unwrap().clone()
    }

    /// The control plane dies; what it kept stays.
    async fn killed(mut self) -> (Notes, BTreeMap<&'static str, Envoy>) {
        self.task.shutdown().await;
        for envoy in self.envoys.values_mut() {
            envoy.vanish();
        }
        (self.memory, self.envoys)
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test(start_paused = true)]
async fn a_new_proxy_is_fed_at_once() {
    let world = World::peopled(Mode::Permissive).await;
    assert_eq!(world.in_force("server", "client"), ("tls+plaintext".into(), "tls"));
    let listed = world.proxies.list();
    let shown: Vec<_> = listed.iter().map(|view| (view.workload.as_str(), view.status)).collect();
    let expected = [
        ("mesh/m/virtualNode/client", ProxyState::Synced),
        ("mesh/m/virtualNode/server", ProxyState::Synced),
    ];
    assert_eq!(shown, expected);
}

#[tokio::test(start_paused = true)]
async fn every_change_of_mode_arrives_and_nobody_calls_in_vain() {
    use Mode::{Disabled, Permissive, Strict};
    let mut world = World::peopled(Disabled).await;
    for mode in [Strict, Disabled, Permissive, Strict, Permissive, Disabled] {
        world.set(mode);
        world.pass(seconds(3)).await;
        let expected = match mode {
            Disabled => ("plaintext".into(), "plaintext"),
            Permissive => ("tls+plaintext".into(), "tls"),
            Strict => ("tls".into(), "tls"),
        };
        assert_eq!(world.in_force("server", "client"), expected, "{mode}");
        assert!(world.view().settled, "{:?}", world.view());
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_mind_on_the_way_is_safe() {
    let mut world = World::peopled(Mode::Disabled).await;
    for (mode, after) in
        [(Mode::Strict, 0), (Mode::Disabled, 200), (Mode::Strict, 700), (Mode::Disabled, 1100)]
    {
        world.set(mode);
        world.pass(Duration::from_millis(after)).await;
    }
    world.pass(seconds(5)).await;
    assert_eq!(world.in_force("server", "client"), ("plaintext".into(), "plaintext"));
}

#[tokio::test(start_paused = true)]
async fn clients_do_not_speak_tls_while_one_server_is_silent() {
    let mut world = World::peopled(Mode::Disabled).await;
    world.join("second", proxy("server", 3)).await;
    world.envoy("second").habit = Habit::KeepsSilent;
    world.set(Mode::Strict);
    world.pass(seconds(60)).await;
    assert_eq!(world.in_force("server", "client"), ("tls+plaintext".into(), "plaintext"));
    assert_eq!(world.view().waiting_for, ["mesh/m/virtualNode/server on 127.0.0.3"]);
    world.envoy("second").habit = Habit::Accepts;
    world.pass(seconds(3)).await;
    assert_eq!(world.in_force("second", "client"), ("tls".into(), "tls"));
}

#[tokio::test(start_paused = true)]
async fn clients_do_not_speak_tls_to_a_server_that_refuses_its_listener() {
    let mut world = World::peopled(Mode::Disabled).await;
    world.envoy("server").habit = Habit::Refuses(ResourceType::Listener);
    world.set(Mode::Strict);
    world.pass(seconds(60)).await;
    assert_eq!(world.in_force("server", "client"), ("plaintext".into(), "plaintext"));
    let refusing: Vec<_> =
        world.proxies.list().into_iter().filter(|view| view.status == ProxyState::Rejected).collect();
    assert_eq!(refusing.len(), 1);
    assert_eq!(refusing[0].rejections[0].name, "lds_ingress_127.0.0.1_8080");
    // Taking the wish back needs nobody's consent.
    world.set(Mode::Disabled);
    world.pass(seconds(3)).await;
    assert!(world.view().settled, "{:?}", world.view());
}

#[tokio::test(start_paused = true)]
async fn plaintext_stays_while_one_client_is_silent_or_refuses() {
    for habit in [Habit::KeepsSilent, Habit::Refuses(ResourceType::Cluster)] {
        let mut world = World::peopled(Mode::Disabled).await;
        world.join("second", proxy("client", 3)).await;
        world.envoy("second").habit = habit;
        world.set(Mode::Strict);
        world.pass(seconds(60)).await;
        assert_eq!(world.in_force("server", "client"), ("tls+plaintext".into(), "tls"));
        assert_eq!(world.envoys["second"].dials(CLUSTER), "plaintext");
        assert_eq!(world.view().waiting_for, ["mesh/m/virtualNode/client on 127.0.0.3"]);
    }
}

#[tokio::test(start_paused = true)]
async fn plaintext_stays_while_a_client_has_not_let_go_of_what_was_taken_from_it() {
    let mut world = World::peopled(Mode::Disabled).await;
    world.envoy("client").habit = Habit::KeepsSilent;
    // One change: the port becomes strict, and the client loses its backend.
    let mut changed = mesh(Mode::Strict);
    changed.virtual_nodes.insert("client".parse().unwrap(), VirtualNode::default().into());
    world.model.send_replace(model(changed));
    world.pass(seconds(60)).await;
    assert_eq!(world.in_force("server", "client"), ("tls+plaintext".into(), "plaintext"));
    assert_eq!(world.view().waiting_for, ["mesh/m/virtualNode/client on 127.0.0.2"]);
    world.envoy("client").habit = Habit::Accepts;
    world.pass(seconds(5)).await;
    assert_eq!(world.envoys["server"].accepts(PORT), "tls");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_a_change_that_memory_does_not_keep_until_it_does() {
    let mut world = World::peopled(Mode::Disabled).await;
    world.memory.is_full.store(true, Ordering::Relaxed);
    world.set(Mode::Strict);
    world.pass(seconds(30)).await;
    assert_eq!(world.in_force("server", "client"), ("plaintext".into(), "plaintext"));
    world.memory.is_full.store(false, Ordering::Relaxed);
    world.pass(seconds(5)).await;
    assert_eq!(world.in_force("server", "client"), ("tls".into(), "tls"));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_of_a_node_that_only_a_newer_model_knows_is_fed_not_cut_off() {
    let mut world = World::peopled(Mode::Disabled).await;
    let gate = Arc::clone(&world.memory.gate);
    let closed = gate.lock().await;
    world.set(Mode::Permissive);
    world.idle().await;
    // The pass is between its model and its publishing.
    let mut more = mesh(Mode::Permissive);
    more.virtual_nodes.insert("late".parse().unwrap(), VirtualNode::default().into());
    world.model.send_replace(model(more));
    world.join("late", proxy("late", 4)).await;
    drop(closed);
    world.pass(seconds(5)).await;
    assert!(!world.envoys["late"].is_cut_off());
    let listed = world.proxies.list();
    assert!(listed.iter().all(|view| view.status == ProxyState::Synced), "{listed:?}");
    assert_eq!(listed.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_shown_with_the_revision_of_the_change_that_brought_it() {
    let at = |revision, mode| {
        let model = model(mesh(mode));
        Arc::new(Model { revision, ..Model::clone(&model) })
    };
    let mut world = World::peopled(Mode::Disabled).await;
    world.envoy("server").habit = Habit::Refuses(ResourceType::Listener);
    let refused_since = |world: &World| {
        let rejections = world.proxies.list().into_iter().flat_map(|view| view.rejections);
        rejections.map(|rejection| (rejection.name, rejection.revision)).collect::<Vec<_>>()
    };
    let expected = |revision| vec![("lds_ingress_127.0.0.1_8080".to_owned(), Some(revision))];
    for (revision, mode, since) in
        [(7, Mode::Permissive, 7), (8, Mode::Permissive, 7), (9, Mode::Disabled, 9), (10, Mode::Strict, 10)]
    {
        world.model.send_replace(at(revision, mode));
        world.pass(seconds(3)).await;
        match mode {
            Mode::Disabled => assert_eq!(refused_since(&world), []),
            Mode::Permissive | Mode::Strict => assert_eq!(refused_since(&world), expected(since)),
        }
    }
    // It comes back, and refuses the same again.
    world.envoy("server").vanish();
    world.model.send_replace(at(11, Mode::Strict));
    world.pass(seconds(1)).await;
    let proxies = Arc::clone(&world.proxies);
    world.envoy("server").reconnect(&proxies);
    world.pass(seconds(1)).await;
    assert_eq!(refused_since(&world), expected(10));
}

#[tokio::test(start_paused = true)]
async fn a_vanished_client_is_waited_for_until_its_time_to_come_back_is_over() {
    let mut world = World::peopled(Mode::Disabled).await;
    world.envoy("client").vanish();
    world.set(Mode::Strict);
    world.pass(seconds(9)).await;
    assert_eq!(world.envoys["server"].accepts(PORT), "tls+plaintext");
    // From now on it counts as dead, so what it would dial is no matter any more.
    world.envoys.remove("client");
    world.pass(seconds(3)).await;
    assert_eq!(world.envoys["server"].accepts(PORT), "tls");
    assert!(world.view().settled);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_in_time_loses_no_call() {
    let mut world = World::peopled(Mode::Disabled).await;
    world.envoy("client").vanish();
    world.set(Mode::Strict);
    world.pass(seconds(8)).await;
    let proxies = Arc::clone(&world.proxies);
    world.envoy("client").reconnect(&proxies);
    world.pass(seconds(5)).await;
    assert_eq!(world.in_force("server", "client"), ("tls".into(), "tls"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_joins_on_the_way_does_as_the_others_do() {
    let mut world = World::peopled(Mode::Disabled).await;
    world.envoy("server").habit = Habit::KeepsSilent;
    world.set(Mode::Strict);
    world.pass(seconds(1)).await;
    world.join("late", proxy("client", 4)).await;
    assert_eq!(world.envoys["late"].dials(CLUSTER), "plaintext");
    world.envoy("server").habit = Habit::Accepts;
    world.pass(seconds(3)).await;
    assert_eq!(world.in_force("server", "late"), ("tls".into(), "tls"));
}

#[tokio::test(start_paused = true)]
async fn a_restart_on_the_way_goes_on_where_it_was() {
    for killed_after in [0, 100, 600, 1200] {
        let mut world = World::peopled(Mode::Disabled).await;
        world.set(Mode::Strict);
        world.pass(Duration::from_millis(killed_after)).await;
        let (memory, envoys) = world.killed().await;
        let mut world = World::with_memory(Mode::Strict, memory);
        world.envoys = envoys;
        // They come back one after the other, the client first.
        for name in ["client", "server"] {
            world.pass(seconds(2)).await;
            let proxies = Arc::clone(&world.proxies);
            world.envoy(name).reconnect(&proxies);
        }
        world.pass(seconds(12)).await;
        assert_eq!(
            world.in_force("server", "client"),
            ("tls".into(), "tls"),
            "killed after {killed_after} ms"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_a_settled_mesh_wakes_nobody_and_opens_nothing() {
    let world = World::peopled(Mode::Strict).await;
    let (memory, envoys) = world.killed().await;
    for memory in [memory, Notes::default()] {
        let mut world = World::with_memory(Mode::Strict, memory);
        for (name, envoy) in &envoys {
            world.join(name, envoy.proxy.clone()).await;
        }
        world.pass(seconds(20)).await;
        assert_eq!(world.in_force("server", "client"), ("tls".into(), "tls"));
        assert!(world.view().settled);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mode_that_changed_while_nobody_watched_is_still_reached_in_steps() {
    let world = World::peopled(Mode::Disabled).await;
    let (memory, envoys) = world.killed().await;
    let mut world = World::with_memory(Mode::Strict, memory);
    world.envoys = envoys;
    for name in ["server", "client"] {
        let proxies = Arc::clone(&world.proxies);
        world.envoy(name).reconnect(&proxies);
    }
    world.pass(seconds(15)).await;
    assert_eq!(world.in_force("server", "client"), ("tls".into(), "tls"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_node_is_cut_off_and_its_port_forgotten() {
    let mut world = World::peopled(Mode::Strict).await;
    let mut without = mesh(Mode::Strict);
    without.virtual_nodes.remove(&"server".parse().unwrap());
    world.model.send_replace(model(without));
    world.idle().await;
    assert!(world.envoys["server"].is_cut_off());
    assert!(!world.envoys["client"].is_cut_off());
    assert!(world.progress.borrow().is_empty());
    assert!(world.memory.load().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_change_that_does_not_concern_a_proxy_does_not_wake_it() {
    let world = World::peopled(Mode::Strict).await;
    let mut more = mesh(Mode::Strict);
    more.virtual_nodes.insert("other".parse().unwrap(), VirtualNode::default().into());
    world.model.send_replace(model(more));
    for _ in 0..8 {
        yield_now().await;
    }
    assert!(!world.envoys.values().any(Envoy::is_woken));
}

/// An Envoy accepts a moment before it acts.
#[tokio::test(start_paused = true)]
async fn clients_are_told_only_when_the_server_has_had_time_to_act() {
    let mut world = World::peopled(Mode::Disabled).await;
    world.set(Mode::Strict);
    world.idle().await;
    world.pass(Pace::default().settle - Duration::from_millis(100)).await;
    assert_eq!(world.in_force("server", "client"), ("tls+plaintext".into(), "plaintext"));
    world.pass(Duration::from_millis(200)).await;
    assert_eq!(world.in_force("server", "client"), ("tls+plaintext".into(), "tls"));
}

#[tokio::test(start_paused = true)]
async fn what_is_still_on_its_way_to_a_proxy_is_not_taken_back_by_publishing_what_it_runs() {
    let mut world = World::peopled(Mode::Disabled).await;
    world.envoy("server").habit = Habit::KeepsSilent;
    world.set(Mode::Strict);
    world.pass(seconds(1)).await;
    world.set(Mode::Disabled);
    world.pass(seconds(5)).await;
    assert!(!world.view().settled, "the server has not said what it made of TLS");
    world.envoy("server").habit = Habit::Accepts;
    world.pass(seconds(3)).await;
    assert!(world.view().settled, "{:?}", world.view());
    assert_eq!(world.in_force("server", "client"), ("plaintext".into(), "plaintext"));
}

#[tokio::test]
async fn the_database_remembers_and_forgets() {
    let folder = tempfile::tempdir().unwrap();
    let note = |port: &str, record: Option<&str>| (port.to_owned(), record.map(str::to_owned));
    let database = signet_durable::Database::open(folder.path()).unwrap();
    database.save(vec![note("a", Some("1")), note("b", Some("2"))]).await.unwrap();
    database.save(vec![note("a", None), note("b", Some("3"))]).await.unwrap();
    drop(database);
    let database = signet_durable::Database::open(folder.path()).unwrap();
    assert_eq!(database.load().await.unwrap(), BTreeMap::from([("b".to_owned(), "3".to_owned())]));
}

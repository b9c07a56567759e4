//! An authority, its ledger, and agents that report what a test wants.

use std::{net::Ipv4Addr, sync::Mutex as BlockingMutex};

use signet_policies::{
    identity::Workload,
    issuance::{Caller, Registration, Request, decide},
};
use tempfile::TempDir;

use super::{ledger::TestLedger, *};
use crate::{
    Attestation, Custody, Import, ImportedKey, Ledger, Origin, PrivateKey, Random, Serial,
    fixtures::operator::Operator,
    nodes::{Line, Loaded, Presented, PresentedLeaf, Report, SecretState, Session},
};

pub(super) const SPREAD: Duration = Duration::from_secs(60);

pub(super) struct World {
    pub(super) folder: Arc<TempDir>,
    pub(super) rotations: Rotations,
    pub(super) old_issuer: Vec<u8>,
    /// Whether the server's own certificate follows whoever signs.
    pub(super) follows: bool,
    pub(super) ledger: Arc<TestLedger>,
    pub(super) nodes: Nodes,
    trust: TrustFeed,
    now: Arc<BlockingMutex<SystemTime>>,
    /// How long a change waits after each proof.
    grace: Duration,
}

/// An agent and its proxy.
pub(super) struct Agent {
    session: Session,
    workload: Workload,
    pub(super) leaf: PresentedLeaf,
    /// The version of what it hands on.
    pub(super) trust: String,
    /// What its proxy accepted, and what it refuses.
    accepted: String,
    rejected: String,
    pub(super) presents: Option<PresentedLeaf>,
    pub(super) loads: Option<Serial>,
}

impl World {
    pub(super) async fn new() -> Self {
        let now = Arc::new(BlockingMutex::new((fixtures::clock())()));
        Self::at(Arc::new(tempfile::tempdir().unwrap()), Arc::default(), now, Duration::ZERO).await
    }

    /// The same, where a change waits for so long after each proof.
    pub(super) async fn with_grace(grace: Duration) -> Self {
        let now = Arc::new(BlockingMutex::new((fixtures::clock())()));
        Self::at(Arc::new(tempfile::tempdir().unwrap()), Arc::default(), now, grace).await
    }

    /// The same below an operator's root that is elsewhere, and an intermediate of it that is here.
    pub(super) async fn of_operator(root: &Operator, intermediate: &Operator) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let key = PrivateKey::from_pem(&intermediate.key.serialize_pem(), None).unwrap();
        let (root, below) = (root.pem(), intermediate.pem());
        let import = Import { root: &root, intermediate: Some(&below), key: Some(ImportedKey::File(key)) };
        let (domain, random) = (fixtures::trust_domain(), Random::system());
        Authority::import(folder.path(), Custody::default(), import, &domain, &random, fixtures::NOW)
            .unwrap();
        let now = Arc::new(BlockingMutex::new((fixtures::clock())()));
        Self::at(folder, Arc::default(), now, Duration::ZERO).await
    }

    /// The same folder and ledger before a server that was just started.
    pub(super) async fn restarted(&self) -> Self {
        let (folder, ledger) = (Arc::clone(&self.folder), Arc::clone(&self.ledger));
        Self::at(folder, ledger, Arc::clone(&self.now), self.grace).await
    }

    async fn at(
        folder: Arc<TempDir>,
        ledger: Arc<TestLedger>,
        now: Arc<BlockingMutex<SystemTime>>,
        grace: Duration,
    ) -> Self {
        let clock: Clock = {
            let now = Arc::clone(&now);
            Arc::new(move || *now.lock().unwrap())
        };
        Rotations::recover(folder.path()).unwrap();
        let random = Random::system();
        let domain = fixtures::trust_domain();
        let authority =
            Authority::open(folder.path(), Custody::default(), &domain, random.clone(), clock().into())
                .unwrap();
        let trust = TrustFeed::new(authority.bundle());
        let issuing = Issuing::new(Arc::new(authority), ledger.clone(), random, Arc::clone(&clock));
        let nodes = Nodes::default();
        nodes.recall(&*ledger, clock().into()).await.unwrap();
        let rotations = Rotations::open(folder.path(), issuing, nodes.clone(), trust.clone(), clock, grace)
            .await
            .unwrap();
        let mut world = Self {
            folder,
            rotations,
            old_issuer: Vec::new(),
            follows: true,
            ledger,
            nodes,
            trust,
            now,
            grace,
        };
        world.follow();
        world.old_issuer = world.issuer_of_new_leaf().await;
        world
    }

    /// The clock is set back.
    pub(super) fn set_back(&self, time: Duration) {
        *self.now.lock().unwrap() -= time;
    }

    pub(super) fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }

    pub(super) fn root(&self) -> Vec<u8> {
        self.rotations.0.issuing.authority().bundle().remove(0)
    }

    pub(super) fn trusted(&self) -> Vec<Vec<u8>> {
        self.trust.now().bundle().to_vec()
    }

    pub(super) fn advice(&self) -> BTreeMap<NodeKey, Window> {
        (**self.nodes.advice().borrow()).clone()
    }

    pub(super) fn status(&self) -> Arc<Status> {
        self.rotations.status().borrow().clone()
    }

    pub(super) fn phase(&self) -> Phase {
        self.status().phase.unwrap()
    }

    pub(super) fn laggards(&self) -> Vec<String> {
        self.status().laggards.iter().map(|laggard| laggard.node.clone()).collect()
    }

    pub(super) fn why(&self) -> String {
        self.status().laggards.iter().map(|laggard| laggard.why.clone()).collect()
    }

    pub(super) async fn ledger_text(&self) -> String {
        format!("{:?}", self.ledger.events().await.unwrap())
    }

    pub(super) async fn start(&self, what: &Succession) {
        self.rotations.start(what, None, SPREAD, "me").await.unwrap();
        self.look().await;
    }

    /// Looks until nothing more goes on.
    pub(super) async fn look(&self) {
        loop {
            let before = self.phase();
            self.follow();
            self.rotations.look().await.unwrap();
            if self.phase() == before {
                return;
            }
        }
    }

    fn follow(&self) {
        if self.follows {
            self.rotations.followed(*self.rotations.signing().borrow());
        }
    }

    /// Who would sign for an agent now, by a certificate that no ledger knows.
    pub(super) async fn issuer_of_new_leaf(&self) -> Vec<u8> {
        let grant = fixtures::grant_for(&fixtures::node("a"), Duration::from_secs(300));
        let authority = self.rotations.0.issuing.authority();
        let serial = Serial::draw(&Random::system());
        let now = (self.rotations.0.clock)().into();
        let issued = authority.issue(&fixtures::csr(), &grant, serial, now).unwrap();
        PresentedLeaf::read(issued.leaf_der().to_vec()).unwrap().issuer_key.unwrap()
    }

    /// Issues a certificate that nobody reports.
    pub(super) async fn issue(&self, name: &str, predecessor: Option<Serial>) -> Serial {
        self.certificate(&fixtures::node(name), predecessor).await.serial.unwrap()
    }

    /// The server gets its own certificate.
    pub(super) async fn issue_to_the_server(&self) {
        let origin = Origin::of(Attestation::Server);
        self.rotations.0.issuing.issue_with_new_key(&fixtures::server_grant(), origin).await.unwrap();
    }

    /// Gives lists of what is revoked to everybody, where all are there.
    pub(super) fn give_lists(&self) {
        let now = (self.rotations.0.clock)();
        let (authority, standing) =
            (self.rotations.0.issuing.authority(), self.rotations.0.issuing.guard().now());
        let number = u64::try_from(millis(now)).unwrap();
        let lists = crate::crl::lists(&authority, &standing, number, now.into()).unwrap();
        if lists.iter().all(|list| list.der.is_ok()) {
            self.trust.set_crls(lists.into_iter().filter_map(|list| list.der.ok()).collect());
        }
    }

    /// Why a certificate is not issued.
    pub(super) async fn try_certificate(&self, mesh: &str, name: &str) -> Result<(), String> {
        let workload = Workload::virtual_node(mesh, name).unwrap();
        let grant = fixtures::grant_for(&workload, Duration::from_secs(300));
        let origin = Origin::of(Attestation::Join);
        let issued = self.rotations.0.issuing.issue(&fixtures::csr(), &grant, origin).await;
        issued.map(drop).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error} {}", source.unwrap_or_default())
        })
    }

    pub(super) async fn certificate(
        &self,
        workload: &Workload,
        predecessor: Option<Serial>,
    ) -> PresentedLeaf {
        let registration =
            Registration { workload: workload.clone(), dns_names: Vec::new(), spiffe_ids: Vec::new() };
        let caller = Caller::Joining(workload.clone());
        let grant = decide(&caller, &Request::default(), Some(&registration), &fixtures::terms()).unwrap();
        let attestation = if predecessor.is_some() { Attestation::Renew } else { Attestation::Join };
        let origin = Origin { predecessor, ..Origin::of(attestation) };
        let issued = self.rotations.0.issuing.issue(&fixtures::csr(), &grant, origin).await.unwrap();
        PresentedLeaf::read(issued.certificate().leaf_der().to_vec()).unwrap()
    }

    pub(super) async fn agent(&self, name: &str) -> Agent {
        self.agent_of("my-mesh", name).await
    }

    pub(super) async fn agent_of(&self, mesh: &str, name: &str) -> Agent {
        let workload = Workload::virtual_node(mesh, name).unwrap();
        let leaf = self.certificate(&workload, None).await;
        self.connect(workload, leaf)
    }

    /// An agent that is there again after a restart of the server.
    pub(super) fn reconnect(&self, agent: Agent) -> Agent {
        let Agent { workload, leaf, trust, accepted, .. } = agent;
        let mut agent = self.connect(workload, leaf);
        (agent.trust, agent.accepted) = (trust, accepted);
        agent.report(self);
        agent
    }

    /// An agent that had left, and is there again with what it held.
    pub(super) async fn comeback(&self, name: &str, leaf: PresentedLeaf) -> Agent {
        let serial = leaf.serial;
        let agent = self.connect(fixtures::node(name), leaf);
        let now = (self.rotations.0.clock)().into();
        self.nodes.note_returned(agent.session.key(), serial, &*self.ledger, now).await.unwrap();
        agent
    }

    fn connect(&self, workload: Workload, leaf: PresentedLeaf) -> Agent {
        let key = NodeKey { workload: workload.clone(), instance: "1".to_owned() };
        let now = (self.rotations.0.clock)();
        let session = self
            .nodes
            .connect(key, Line { serial: leaf.serial, address: None }, Report::default(), now)
            .unwrap();
        let trust = self.trust.now().version().to_owned();
        let agent = Agent {
            session,
            workload,
            leaf,
            accepted: trust.clone(),
            trust,
            rejected: String::new(),
            presents: None,
            loads: None,
        };
        agent.report(self);
        agent
    }

    /// The agent hands on what is to be trusted, and its proxy accepts it.
    pub(super) async fn accept(&self, agent: &mut Agent) {
        agent.accept(self);
        self.look().await;
    }

    /// The agent hands it on, and its proxy refuses it.
    pub(super) async fn refuse(&self, agent: &mut Agent) {
        agent.trust = self.trust.now().version().to_owned();
        agent.rejected.clone_from(&agent.trust);
        agent.report(self);
        self.look().await;
    }

    pub(super) async fn renew(&self, agent: &mut Agent) {
        agent.leaf = self.certificate(&agent.workload, agent.leaf.serial).await;
        agent.report(self);
        self.look().await;
    }
}

impl Agent {
    pub(super) fn name(&self) -> String {
        self.session.key().to_string()
    }

    pub(super) fn serial(&self) -> Serial {
        self.leaf.serial.unwrap()
    }

    /// As [`World::accept`], with nobody looking yet.
    pub(super) fn accept(&mut self, world: &World) {
        self.trust = world.trust.now().version().to_owned();
        self.accepted.clone_from(&self.trust);
        self.rejected.clear();
        self.report(world);
    }

    /// It hands on what is to be trusted, and its proxy has not answered yet.
    pub(super) fn hand_on(&mut self, world: &World) {
        self.trust = world.trust.now().version().to_owned();
        self.report(world);
    }

    /// Its proxy holds other roots than it accepted before.
    pub(super) fn forget_trust(&mut self, world: &World) {
        "others".clone_into(&mut self.accepted);
        self.report(world);
    }

    pub(super) async fn leave(self, world: &World) {
        self.session.leave(&*world.ledger, (world.rotations.0.clock)()).await;
    }

    pub(super) fn report(&self, world: &World) {
        let secret = SecretState {
            stream: "1".to_owned(),
            name: "ROOTCA".to_owned(),
            sent: self.trust.clone(),
            accepted: self.accepted.clone(),
            rejected: self.rejected.clone(),
            reason: "no such root for me".to_owned(),
            at_unix_ms: 0,
            ignores_lists: false,
        };
        let presented = Presented {
            address: (Ipv4Addr::LOCALHOST, 80).into(),
            leaf: Some(self.presents.clone().unwrap_or_else(|| self.leaf.clone())),
            chain: Vec::new(),
            error: String::new(),
            at_unix_ms: 0,
            protocol: String::new(),
        };
        let loaded = Loaded {
            serial: self.loads.or(self.leaf.serial),
            path: "<inline>".to_owned(),
            uris: self.leaf.uris.clone(),
            not_before: self.leaf.not_after,
            not_after: self.leaf.not_after,
        };
        let report = Report {
            trust_version: self.trust.clone(),
            secrets: vec![secret],
            presented: vec![presented],
            loaded: vec![loaded],
            held: Some(self.leaf.clone()),
            ..Report::default()
        };
        self.session.report(report, (world.rotations.0.clock)());
    }
}

//! The agent's SDS server with its clients.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use signet_sds::{
    attest::AllowedUsers,
    deliveries::Deliveries,
    secret::Secrets,
    server::{self, EmptyList, Serving},
    socket,
    translate::{Held, Validator, translate},
};
use signet_xds::ResourceType;
use tokio::{
    sync::watch,
    task::{JoinSet, block_in_place},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    authority::{Signing, now},
    clients::{Clients, Kind, name},
    meter::{Meter, cpu_us},
};

/// What a rotation took.
pub(super) struct Rotation {
    /// To make the keys and the certificates, and to verify them.
    pub(super) key_millis: f64,
    pub(super) push: Meter,
    /// From the push to the last acknowledgement.
    pub(super) acked_millis: f64,
}

pub(super) struct Ours {
    clients: Clients,
    streams: usize,
    kind: Kind,
    signing: Signing,
    own: watch::Sender<Option<Arc<Secrets>>>,
    further: watch::Sender<Vec<Arc<Secrets>>>,
    deliveries: Deliveries,
    /// Certificates that were made before, so that a push costs nothing else.
    ready: Vec<Vec<Arc<Secrets>>>,
    _tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl Ours {
    /// All streams for the same certificate, or each for one of its own, with so many DNS names in it; so many pushes are
    /// made ready.
    pub(super) async fn start(streams: usize, kind: Kind, names: usize, pushes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = socket::bind(&path).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a bench has the wall's clock")]
        let deliveries = Deliveries::new(Arc::new(SystemTime::now));
        let (own, further) = (watch::Sender::new(None), watch::Sender::new(Vec::new()));
        let serving = Serving {
            own: own.subscribe(),
            further: further.subscribe(),
            users: AllowedUsers::new([rustix::process::geteuid().as_raw()]),
            empty_list: EmptyList::default(),
            recheck: server::RECHECK,
            deliveries: deliveries.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(server::run(listener, serving, CancellationToken::new()));
        let mut ours = Self {
            clients: Clients::start(&path, streams, kind),
            streams,
            kind,
            signing: Signing::new(names),
            own,
            further,
            deliveries,
            ready: Vec::new(),
            _tasks: tasks,
            _folder: folder,
        };
        ours.ready = (0..pushes).map(|_| ours.make()).collect();
        if kind == Kind::Each {
            ours.own.send_replace(Some(ours.signing.make("own")));
        }
        ours.serve(ours.make());
        assert_eq!(ours.clients.hear(), "connected");
        ours.acknowledged().await;
        ours
    }

    /// What is served next.
    fn make(&self) -> Vec<Arc<Secrets>> {
        let names: Vec<String> = match self.kind {
            Kind::Each => (0..self.streams).map(name).collect(),
            Kind::Raw | Kind::Own => vec!["own".to_owned()],
        };
        block_in_place(|| self.signing.make_all(&names))
    }

    fn serve(&self, secrets: Vec<Arc<Secrets>>) {
        match self.kind {
            Kind::Each => self.further.send_replace(secrets),
            Kind::Raw | Kind::Own => self.own.send_replace(secrets.into_iter().next()).into_iter().collect(),
        };
    }

    /// A response with one certificate, with its gRPC framing.
    pub(super) fn bytes(&self) -> usize {
        let held = self.own.borrow().clone().unwrap();
        let snapshot = translate(&Held::of(held), Validator::TrustedCa);
        // Version, nonce, type URL twice, and what is around them.
        snapshot.get(ResourceType::Secret, "default").unwrap().value().len() + 210
    }

    /// Has what came acknowledged, and waits until the server has heard that of all streams.
    async fn acknowledged(&mut self) {
        let served = match self.kind {
            Kind::Each => self.further.borrow().clone(),
            Kind::Raw | Kind::Own => self.own.borrow().iter().cloned().collect(),
        };
        let serials: BTreeSet<_> = served.iter().map(|secrets| secrets.leaf().serial().to_owned()).collect();
        let mut changes = self.deliveries.changes();
        self.clients.acknowledge();
        let settled = self.deliveries.totals().sent;
        changes.until(|| self.deliveries.totals().accepted >= settled).await;
        assert_eq!(settled % u64::try_from(self.streams).unwrap(), 0, "one message to each stream");
        assert_eq!(self.deliveries.in_use(now()), serials);
    }

    async fn publish(&mut self, secrets: Vec<Arc<Secrets>>) -> Meter {
        self.clients.expect();
        let before = cpu_us();
        self.serve(secrets);
        let millis = self.clients.millis();
        Meter { millis, cpu_us: cpu_us() - before }
    }

    /// A certificate that was ready, to all.
    pub(super) async fn push(&mut self) -> Meter {
        let next = self.ready.pop().unwrap();
        let meter = self.publish(next).await;
        self.acknowledged().await;
        meter
    }

    /// New keys with their certificates.
    pub(super) async fn rotate(&mut self) -> Rotation {
        let start = Instant::now();
        let next = self.make();
        let key_millis = start.elapsed().as_secs_f64() * 1e3;
        let pushed = Instant::now();
        let push = self.publish(next).await;
        self.acknowledged().await;
        Rotation { key_millis, push, acked_millis: pushed.elapsed().as_secs_f64() * 1e3 }
    }
}

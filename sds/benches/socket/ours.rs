//! The agent's SDS server with its clients.

use std::{sync::Arc, time::Duration};

use signet_policies::identity::SpiffeId;
use signet_sds::{
    attest::AllowedUsers,
    deliveries::Deliveries,
    keypair::KeyPair,
    secret::Secrets,
    server::{self, Serving},
    socket,
    testing::{Answer, FakeSigner},
    translate::{Held, Validator, translate},
    verify::verify,
};
use signet_xds::ResourceType;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    clients::Clients,
    meter::{Meter, cpu_us},
};

/// What a rotation took.
pub(super) struct Rotation {
    /// To make the key and the certificate, and to verify it.
    pub(super) key_millis: f64,
    pub(super) push: Meter,
    /// From the push to the last acknowledgement.
    pub(super) acked_millis: f64,
}

pub(super) struct Ours {
    clients: Clients,
    streams: usize,
    identity: SpiffeId,
    signer: FakeSigner,
    secrets: watch::Sender<Option<Arc<Secrets>>>,
    deliveries: Deliveries,
    /// Certificates that were made before, so that a push costs nothing else.
    ready: Vec<Arc<Secrets>>,
    _tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl Ours {
    pub(super) async fn start(streams: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = socket::bind(&path).unwrap();
        let identity: SpiffeId = "spiffe://signet.internal/mesh/bench/virtual-node/a".parse().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a bench has the wall's clock")]
        let clock: signet_policies::time::Clock = Arc::new(std::time::SystemTime::now);
        let signer = FakeSigner::new(&identity, Arc::clone(&clock), Duration::from_secs(3600));
        let (secrets, own) = watch::channel(None);
        let deliveries = Deliveries::new(clock);
        let serving = Serving {
            own,
            further: watch::channel(Vec::new()).1,
            users: AllowedUsers::new([rustix::process::geteuid().as_raw()]),
            recheck: server::RECHECK,
            deliveries: deliveries.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { server::run(listener, serving, CancellationToken::new()).await.unwrap() });
        let mut ours = Self {
            streams,
            identity,
            signer,
            secrets,
            deliveries,
            ready: Vec::new(),
            clients: Clients::start(&path, streams, false),
            _tasks: tasks,
            _folder: folder,
        };
        ours.ready = (0..8).map(|_| ours.make()).collect();
        ours.secrets.send_replace(Some(ours.make()));
        assert_eq!(ours.clients.hear(), "connected");
        ours.acknowledged().await;
        ours
    }

    fn make(&self) -> Arc<Secrets> {
        let key = KeyPair::generate().unwrap();
        let signed = self.signer.certificate(Answer::Good, &key.request(&self.identity).unwrap());
        let now = signed_now();
        Arc::new(verify(signed, key, &self.identity, now).unwrap())
    }

    /// A response with one certificate, with its framing.
    pub(super) fn bytes(&self) -> usize {
        let held = self.secrets.borrow().clone().unwrap();
        let snapshot = translate(&Held::of(held), Validator::TrustedCa);
        // Version, nonce, type URL twice, and the frames around them.
        snapshot.get(ResourceType::Secret, "default").unwrap().value().len() + 220
    }

    /// Has what came acknowledged, and waits until the server has heard that of all streams.
    async fn acknowledged(&mut self) {
        let serial = self.secrets.borrow().clone().unwrap().leaf().serial().to_owned();
        let mut changes = self.deliveries.changes();
        self.clients.acknowledge();
        let wanted = u64::try_from(self.streams).unwrap();
        let before = self.deliveries.totals();
        let settled = before.sent.div_ceil(wanted) * wanted;
        changes.wait_for(|_| self.deliveries.totals().accepted >= settled).await.unwrap();
        assert!(self.deliveries.list().iter().all(|one| one.accepted.as_ref() == Some(&serial)));
    }

    async fn publish(&mut self, secrets: Arc<Secrets>) -> Meter {
        self.clients.expect(0);
        let before = cpu_us();
        self.secrets.send_replace(Some(secrets));
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

    /// A new key with its certificate, to all.
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

#[expect(clippy::disallowed_methods, reason = "a bench has the wall's clock")]
fn signed_now() -> signet_policies::time::Timestamp {
    std::time::SystemTime::now().into()
}

//! The fifty statements on SDS, before a scripted client on a real socket; the numbers are those of docs/sds.md.
//!
//! Those that need more parts than this crate has are elsewhere: a real Envoy hears them in the suite of
//! `signet-tests`, and 37 and 38 are about a change of roots, which the authority steers.

mod content;
mod faults;
mod names;
mod opening;
mod peer;
mod versions;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use prost::Message;
use signet_policies::identity::SpiffeId;
use signet_xds::{
    ResourceType,
    pb::envoy::{
        extensions::transport_sockets::tls::v3::{CertificateValidationContext, Secret, secret::Type},
        service::discovery::v3::DiscoveryRequest,
    },
};
use tokio::{
    net::UnixStream,
    sync::oneshot,
    task::JoinSet,
    time::{Instant, timeout},
};
use tonic::Code;

use super::*;
use crate::{
    deliveries::Delivery,
    keypair::KeyPair,
    secret::Leaf,
    signer::Trust,
    socket,
    testing::{Answer, FakeSigner, MiniCa},
    translate::{Held, Validator, translate},
    verify::{trust, verify},
};
use peer::{Peer, Sotw, fetch, request};

const OWN: &str = "spiffe://signet.internal/mesh/m/virtual-node/a";
const TEAM: &str = "spiffe://signet.internal/team/a";
const DOMAIN: &str = "spiffe://signet.internal";
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing must come before nothing is taken to come. Whatever was due would be there in a millisecond.
const QUIET: Duration = Duration::from_millis(150);
const START: i64 = 1_800_000_000;
const LIFE: Duration = Duration::from_secs(3600);

fn moment() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(START.unsigned_abs())
}

/// A certificate for an identity from an authority of its own.
fn secrets_of(identity: &str) -> Arc<Secrets> {
    let identity: SpiffeId = identity.parse().unwrap();
    let signer = FakeSigner::new(&identity, Arc::new(moment), LIFE);
    let key = KeyPair::generate().unwrap();
    let signed = signer.certificate(Answer::Good, &key.request(&identity).unwrap());
    Arc::new(verify(signed, key, &identity, moment().into()).unwrap())
}

fn secrets() -> Arc<Secrets> {
    secrets_of(OWN)
}

/// The same leaf beside other roots, too.
fn with_another_root(secrets: &Arc<Secrets>) -> Arc<Secrets> {
    let other = MiniCa::new(secrets.leaf().identity().trust_domain(), moment());
    let roots = secrets.bundle().roots().iter().chain([other.root()]).cloned().collect();
    Arc::new(trust(secrets, roots, Vec::new(), moment().into()).unwrap())
}

struct Served {
    folder: tempfile::TempDir,
    path: PathBuf,
    secrets: watch::Sender<Option<Arc<Secrets>>>,
    further: watch::Sender<Vec<Arc<Secrets>>>,
    deliveries: Deliveries,
    clock: Arc<AtomicI64>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

fn own_uid() -> u32 {
    let (one, _other) = UnixStream::pair().unwrap();
    one.peer_cred().unwrap().uid()
}

/// Serves `held` to processes of this user.
fn serve(held: Option<Arc<Secrets>>) -> Served {
    serve_to(held, own_uid())
}

fn serve_to(held: Option<Arc<Secrets>>, uid: u32) -> Served {
    serve_as(held, uid, EmptyList::Nothing)
}

fn serve_as(held: Option<Arc<Secrets>>, uid: u32, empty_list: EmptyList) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let listener = socket::bind(&path).unwrap();
    let (secrets, own) = watch::channel(held);
    let (further, others) = watch::channel(Vec::new());
    let (shutdown, clock) = (CancellationToken::new(), Arc::new(AtomicI64::new(START)));
    let reads = Arc::clone(&clock);
    let now = move || UNIX_EPOCH + Duration::from_secs(reads.load(Ordering::Relaxed).unsigned_abs());
    let deliveries = Deliveries::new(Arc::new(now));
    let serving = Serving {
        own,
        further: others,
        users: AllowedUsers::new([uid]),
        empty_list,
        recheck: Duration::from_millis(50),
        deliveries: deliveries.clone(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(run(listener, serving, shutdown.clone()));
    Served { folder, path, secrets, further, deliveries, clock, shutdown, tasks }
}

impl Served {
    fn publish(&self, secrets: &Arc<Secrets>) {
        self.secrets.send_replace(Some(Arc::clone(secrets)));
    }

    /// Waits until the deliveries are as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
        let mut changes = self.deliveries.changes();
        let told = timeout(PATIENCE, changes.until(|| wanted(&self.deliveries.list()))).await;
        told.unwrap_or_else(|_| panic!("{what}: {:?}", self.deliveries.list()));
        self.deliveries.list()
    }

    /// What the only stream of a name knows of it.
    async fn told_of(&self, name: &str, wanted: impl Fn(&Delivery) -> bool) -> Delivery {
        let is_it = |one: &&Delivery| one.name == name && wanted(one);
        let list = self.until(name, |list| list.iter().any(|one| is_it(&one))).await;
        list.iter().find(is_it).unwrap().clone()
    }
}

fn expected(secrets: &Arc<Secrets>, name: &str) -> Secret {
    let snapshot = translate(&Held::of(Arc::clone(secrets)), Validator::TrustedCa);
    Secret::decode(snapshot.get(ResourceType::Secret, name).unwrap().value().clone()).unwrap()
}

fn names_of(secrets: &[Secret]) -> Vec<&str> {
    secrets.iter().map(|secret| secret.name.as_str()).collect()
}

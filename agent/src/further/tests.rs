//! Before a real socket and a client that asks it for names.

use signet_policies::identity::TrustDomain;
use signet_sds::{
    attest::AllowedUsers,
    keypair::KeyPair,
    server::{self, Serving},
    socket,
    testing::{Answer, FakeSigner, MiniCa, Order},
    verify::verify,
};
use tokio::{io::AsyncWriteExt as _, net::UnixStream, time::timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::testing::wall_clock;

const OWN: &str = "spiffe://signet.internal/mesh/m/virtual-node/a";
const TEAM: &str = "spiffe://signet.internal/team/a";
const PATIENCE: Duration = Duration::from_secs(10);

/// Grants whatever is asked for but `…/refused`, to whoever proves to be [`OWN`].
struct Granting {
    ca: MiniCa,
    life: Duration,
    allowed: watch::Receiver<bool>,
    asked: watch::Sender<Vec<String>>,
}

#[async_trait]
impl Signer for Granting {
    async fn sign(&self, request: Vec<u8>, current: Option<Arc<Secrets>>) -> Result<Signed, SignerError> {
        use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        let proved = current.expect("somebody asks").leaf().identity().to_string();
        assert_eq!(proved, OWN, "the own certificate proves who asks");
        let names = String::from_utf8_lossy(&request).into_owned();
        let name = ["spiffe://signet.internal/refused", TEAM].into_iter().find(|name| names.contains(name));
        let name = name.expect("a name that is asked for");
        self.asked.send_modify(|asked| asked.push(name.to_owned()));
        if name != TEAM || !*self.allowed.borrow() {
            return Err(SignerError::Refused("as the spec does not name it".to_owned()));
        }
        let now = wall_clock()();
        let usages = [ServerAuth, ClientAuth];
        let not_after = now + self.life;
        Ok(self.ca.issue(&request, &Order { uris: &[name], not_before: now, not_after, usages: &usages }))
    }
}

fn own_secrets() -> Arc<Secrets> {
    let (identity, clock) = (OWN.parse().unwrap(), wall_clock());
    let signer = FakeSigner::new(&identity, Arc::clone(&clock), Duration::from_secs(3600));
    let key = KeyPair::generate().unwrap();
    let signed = signer.certificate(Answer::Good, &key.request(&identity).unwrap());
    Arc::new(verify(signed, key, &identity, clock().into()).unwrap())
}

/// Opens an HTTP/2 stream that asks for a name, and keeps it open.
async fn ask(path: &std::path::Path, name: &str) -> UnixStream {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let frame = |kind: u8, flags: u8, id: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, id], payload].concat()
    };
    // Headers without compression (RFC 7541, section 6.2.2), each a literal of one that is not indexed.
    let literal = |name: &str, value: &str| {
        let part = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [vec![0], part(name), part(value)].concat()
    };
    let headers = [
        literal(":method", "POST"),
        literal(":scheme", "http"),
        literal(":path", "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"),
        literal(":authority", "x"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
    ]
    .concat();
    let name = [&[0x1a, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
    let message = [&[0, 0, 0, 0, u8::try_from(name.len()).unwrap()], &name[..]].concat();
    let bytes = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &headers),
        frame(0, 0, 1, &message),
    ];
    stream.write_all(&bytes.concat()).await.unwrap();
    stream
}

/// An agent's socket before a server that grants [`TEAM`] for as long as it may.
struct World {
    path: std::path::PathBuf,
    further: watch::Receiver<Vec<Arc<Secrets>>>,
    allow: watch::Sender<bool>,
    named: watch::Sender<Named>,
    asked: watch::Receiver<Vec<String>>,
    _own: watch::Sender<Option<Arc<Secrets>>>,
    _tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl World {
    /// Certificates live for so many seconds.
    fn new(life: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let listener = socket::bind(&path).unwrap();
        let (deliveries, (_own, own)) = (Deliveries::new(wall_clock()), watch::channel(Some(own_secrets())));
        let (served, further) = watch::channel(Vec::new());
        let users = AllowedUsers::new([rustix::process::geteuid().as_raw()]);
        let (recheck, own_again) = (server::RECHECK, own.clone());
        let what = Serving { own, further: further.clone(), users, recheck, deliveries: deliveries.clone() };
        let mut tasks = JoinSet::new();
        tasks.spawn(server::run(listener, what, CancellationToken::new()));
        let domain: TrustDomain = "signet.internal".parse().unwrap();
        let (allow, allowed) = watch::channel(true);
        let (heard, asked) = watch::channel(Vec::new());
        let ca = MiniCa::new(&domain, wall_clock()());
        let life = Duration::from_secs(life);
        let signer = Arc::new(Granting { ca, life, allowed, asked: heard });
        let rng = StdRng::seed_from_u64(1);
        let (named, seen) = watch::channel(None);
        let more =
            Further { signer, clock: wall_clock(), rng, deliveries, own: own_again, named: seen, served };
        tasks.spawn(more.run());
        Self { path, further, allow, named, asked, _own, _tasks: tasks, _folder: folder }
    }

    /// Waits until what the socket serves beside the own certificate is so, and returns it.
    async fn served(&mut self, is_so: impl Fn(&[Arc<Secrets>]) -> bool) -> Vec<Arc<Secrets>> {
        timeout(PATIENCE, self.further.wait_for(|held| is_so(held))).await.unwrap().unwrap().clone()
    }

    /// The server says what the spec names.
    fn name(&self, identities: &[&str]) {
        let names = identities.iter().map(|identity| identity.parse().unwrap()).collect();
        self.named.send_replace(Some(names));
    }
}

fn identities(held: &[Arc<Secrets>]) -> Vec<String> {
    held.iter().map(|secrets| secrets.leaf().identity().to_string()).collect()
}

#[tokio::test]
async fn an_identity_that_the_proxy_asks_for_is_got_served_renewed_and_given_up_when_it_is_refused() {
    let mut world = World::new(2);
    let names = ["not-a-spiffe-id", "spiffe://other.test/team/a", "spiffe://signet.internal/refused", TEAM];
    let mut streams = Vec::new();
    for name in names {
        streams.push(ask(&world.path, name).await);
    }
    let held = world.served(|held| !held.is_empty()).await;
    assert_eq!(identities(&held), [TEAM]);
    let first = held[0].leaf().serial().to_owned();
    let held = world.served(|held| held.iter().any(|secrets| secrets.leaf().serial() != first)).await;
    assert_eq!(identities(&held), [TEAM], "one of each identity");
    world.allow.send_replace(false);
    world.served(<[_]>::is_empty).await;
    let refused = |asked: &Vec<String>| asked.iter().filter(|name| name.ends_with("refused")).count();
    assert_eq!(refused(&world.asked.borrow_and_update()), 1, "what was refused is left alone for a while");
}

/// 4 of docs/sds.md.
#[tokio::test]
async fn s04_an_identity_goes_when_the_server_says_that_no_spec_names_it_and_comes_when_one_does_again() {
    let mut world = World::new(3600);
    // Older than the spec for which the proxy asks.
    world.name(&[]);
    let _stream = ask(&world.path, TEAM).await;
    let first = world.served(|held| !held.is_empty()).await;
    assert_eq!(identities(&first), [TEAM]);
    world.name(&[TEAM, "spiffe://signet.internal/team/b"]);
    world.name(&["spiffe://signet.internal/team/b"]);
    world.served(<[_]>::is_empty).await;
    // Not a minute later.
    world.name(&[TEAM]);
    let second = world.served(|held| !held.is_empty()).await;
    assert_ne!(second[0].leaf().serial(), first[0].leaf().serial());
    assert_eq!(world.asked.borrow().len(), 2, "nobody asked for it meanwhile");
}

//! Before a real socket and a client that asks it for names.

use signet_policies::{identity::TrustDomain, time::Timestamp};
use signet_sds::{
    attest::AllowedUsers,
    keypair::KeyPair,
    server::{self, EmptyList, Serving},
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

/// Refused to everybody.
const REFUSED: &str = "spiffe://signet.internal/refused";

/// Grants what is below `…/team/`, to whoever proves to be [`OWN`].
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
        // The only name in the request; the octet before it is its length.
        let at = request.windows(9).position(|part| part == b"spiffe://").expect("a name that is asked for");
        let name = String::from_utf8_lossy(&request[at..at + usize::from(request[at - 1])]).into_owned();
        self.asked.send_modify(|asked| asked.push(name.clone()));
        if !name.starts_with("spiffe://signet.internal/team/") || !*self.allowed.borrow() {
            return Err(SignerError::Refused("as the spec does not name it".to_owned()));
        }
        let now = wall_clock()();
        let usages = [ServerAuth, ClientAuth];
        let not_after = now + self.life;
        Ok(self.ca.issue(&request, &Order { uris: &[&name], not_before: now, not_after, usages: &usages }))
    }
}

fn own_secrets() -> Arc<Secrets> {
    let (identity, clock) = (OWN.parse().unwrap(), wall_clock());
    let signer = FakeSigner::new(&identity, Arc::clone(&clock), Duration::from_secs(3600));
    let key = KeyPair::generate().unwrap();
    let signed = signer.certificate(Answer::Good, &key.request(&identity).unwrap());
    Arc::new(verify(signed, key, &identity, clock().into()).unwrap())
}

/// Opens an HTTP/2 stream that asks for a name, or for none where that is empty, and keeps it open.
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
    let name = match name {
        "" => Vec::new(),
        name => [&[0x1a, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat(),
    };
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
        let (others, empty_list) = (further.clone(), EmptyList::Everything);
        let deliveries_too = deliveries.clone();
        let what = Serving { own, further: others, users, empty_list, recheck, deliveries: deliveries_too };
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

    /// Waits until the server was asked so many times.
    async fn heard(&mut self, times: usize) {
        timeout(PATIENCE, self.asked.wait_for(|asked| asked.len() >= times)).await.unwrap().unwrap();
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
    let mut world = World::new(3);
    let names = ["not-a-spiffe-id", "spiffe://other.test/team/a", OWN, REFUSED, TEAM];
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
    let end = held[0].leaf().validity().not_after();
    assert!(Timestamp::from(wall_clock()()) <= end, "when it is refused, and not when it ends");
    let asked = world.asked.borrow_and_update().clone();
    assert!(asked.iter().all(|name| [REFUSED, TEAM].contains(&name.as_str())), "{asked:?}");
    let refused = asked.iter().filter(|name| *name == REFUSED).count();
    assert_eq!(refused, 1, "what was refused is left alone for a while");
}

/// Lets everybody do what there is to do.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_refused_is_asked_for_again_a_minute_later_or_when_a_spec_names_it() {
    let mut world = World::new(3600);
    let named = format!("{REFUSED}/named");
    world.name(&[&named]);
    let _streams = [ask(&world.path, &named).await, ask(&world.path, REFUSED).await];
    world.heard(2).await;
    settle().await;
    tokio::time::pause();
    // Time went on before it was stopped, by as much as the machine was busy.
    tokio::time::advance(AGAIN - Duration::from_secs(20)).await;
    settle().await;
    assert_eq!(world.asked.borrow().len(), 2);
    tokio::time::advance(Duration::from_secs(20)).await;
    tokio::time::resume();
    world.heard(4).await;
    settle().await;
    world.name(&[&named, REFUSED]);
    world.heard(5).await;
    assert_eq!(world.asked.borrow().last().map(String::as_str), Some(REFUSED), "not a minute later");
}

#[tokio::test]
async fn what_nobody_heard_of_the_server_yet_is_asked_for_again_when_it_is_named() {
    let mut world = World::new(3600);
    let _stream = ask(&world.path, REFUSED).await;
    world.heard(1).await;
    settle().await;
    world.name(&[REFUSED]);
    world.heard(2).await;
}

#[tokio::test]
async fn eight_further_identities_are_held_at_once_and_each_goes_by_itself() {
    let mut world = World::new(3600);
    let names: Vec<String> =
        (1..=9).map(|number| format!("spiffe://signet.internal/team/{number}")).collect();
    let mut streams = Vec::new();
    for name in &names {
        streams.push(ask(&world.path, name).await);
    }
    let held = world.served(|held| held.len() == 8).await;
    assert_eq!(world.asked.borrow().len(), 8);
    let held = identities(&held);
    let rest: Vec<&str> = held.iter().skip(1).map(String::as_str).collect();
    world.name(&rest);
    let left = world.served(|held| held.len() < 8).await;
    assert_eq!(identities(&left), rest);
}

/// 28 of docs/sds.md.
#[tokio::test]
async fn s28_who_asks_for_everything_is_got_what_the_spec_names_and_nothing_that_it_does_not() {
    let mut world = World::new(3600);
    world.name(&[TEAM, OWN]);
    settle().await;
    assert!(world.asked.borrow().is_empty(), "nobody asks");
    let _stream = ask(&world.path, "").await;
    let held = world.served(|held| !held.is_empty()).await;
    assert_eq!(identities(&held), [TEAM]);
    world.name(&[TEAM, "spiffe://signet.internal/team/b"]);
    let held = world.served(|held| held.len() == 2).await;
    assert_eq!(identities(&held), [TEAM, "spiffe://signet.internal/team/b"]);
    world.name(&["spiffe://signet.internal/team/b"]);
    let held = world.served(|held| held.len() == 1).await;
    assert_eq!(identities(&held), ["spiffe://signet.internal/team/b"]);
}

#[tokio::test]
async fn what_is_held_stays_when_the_server_says_no_more() {
    let mut world = World::new(3600);
    let _stream = ask(&world.path, TEAM).await;
    world.served(|held| held.len() == 1).await;
    // The task that heard the server is gone.
    drop(std::mem::replace(&mut world.named, watch::channel(None).0));
    let _another = ask(&world.path, "spiffe://signet.internal/team/b").await;
    let held = world.served(|held| held.len() == 2).await;
    assert_eq!(identities(&held), [TEAM, "spiffe://signet.internal/team/b"]);
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

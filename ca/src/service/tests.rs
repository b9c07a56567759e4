mod herd;
mod refusals;
mod versions;
mod watch;
mod wire;

use std::{io, sync::Mutex};

use rcgen::SanType;
use signet_durable::Database;
use signet_policies::identity::SpiffeId;
use tonic::Code;
use tracing::subscriber::DefaultGuard;

use super::{proto::node_service_server::NodeService as _, *};
use crate::{
    Ledger, MemoryLedger, Random, Record, Serial, TokenError,
    admission::Limits,
    fixtures,
    fixtures::{NOW, csr_of, csr_params, csr_params_for, node, registration, serial},
};

/// A mesh with the virtual nodes `a` and `b`.
struct TwoNodes;

impl Registry for TwoNodes {
    fn registration(&self, workload: &Workload) -> Option<Registration> {
        ["a", "b"].map(node).contains(workload).then(|| registration(workload))
    }
}

struct Fixture {
    service: NodeService,
    random: Random,
    _folders: [tempfile::TempDir; 2],
}

impl Fixture {
    fn new() -> Self {
        Self::with(Arc::new(MemoryLedger::default()))
    }

    fn with(ledger: Arc<dyn Ledger>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = JoinTokens::new(Database::open(folder.path()).unwrap()).unwrap();
        let (keys, issuing) = fixtures::issuing(ledger);
        let bundle = issuing.authority().bundle();
        let service = NodeService {
            issuing,
            tokens,
            admission: Admission::new(Limits::DEFAULT, fixtures::clock()),
            registry: Arc::new(TwoNodes),
            terms: fixtures::terms(),
            nodes: Nodes::default(),
            trust: TrustFeed::new(bundle),
            clock: fixtures::clock(),
            drain: CancellationToken::new(),
        };
        Self { service, random: Random::dangerously_from_seed(3), _folders: [folder, keys] }
    }

    async fn token(&self, node: &Workload) -> String {
        let life = crate::DEFAULT_TOKEN_LIFE;
        self.service.tokens.create(node, life, "AKIA1", NOW, &self.random).await.unwrap().reveal().to_owned()
    }

    async fn join(&self, token: &str, csr: Vec<u8>) -> Result<IssuedCertificate, Status> {
        let request = JoinRequest { token: token.to_owned(), csr };
        self.service.join(Request::new(request)).await.map(Response::into_inner)
    }

    async fn renew(
        &self,
        caller: Option<Caller>,
        csr: Vec<u8>,
        lifetime_secs: u64,
    ) -> Result<IssuedCertificate, Status> {
        let mut request = Request::new(RenewRequest { csr, lifetime_secs });
        if let Some(caller) = caller {
            request.extensions_mut().insert(presenting(caller));
        }
        self.service.renew(request).await.map(Response::into_inner)
    }

    async fn records(&self) -> Vec<Record> {
        self.service.issuing.ledger().list(None, 100).await.unwrap()
    }
}

/// A caller who presents a certificate.
fn presenting(caller: Caller) -> Arc<NodePeer> {
    Arc::new(NodePeer { serial: Some(serial(77)), ..NodePeer::of(caller) })
}

fn holder(node: &Workload) -> Caller {
    Caller::Holder(node.spiffe_id(&fixtures::trust_domain()))
}

fn sound_csr(name: &str) -> Vec<u8> {
    csr_of(&csr_params_for(&node(name)))
}

/// What this thread logs while it lives.
struct Log {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

#[derive(Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn new() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink(lines.clone());
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || sink.clone())
            .finish();
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines of this crate since the last call.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.lines.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        text.lines()
            .filter(|line| line.contains("signet_ca") || line.contains(AUDIT))
            .map(str::to_owned)
            .collect()
    }
}

#[tokio::test]
async fn a_token_gets_the_first_certificate_and_that_certificate_the_next() {
    let fixture = Fixture::new();
    let token = fixture.token(&node("a")).await;
    let first = fixture.join(&token, sound_csr("a")).await.unwrap();
    assert_eq!((first.chain.len(), first.bundle.len()), (2, 1));
    assert_eq!(first.bundle, fixture.service.issuing.authority().bundle());
    let next = fixture.renew(Some(holder(&node("a"))), sound_csr("a"), 300).await.unwrap();
    assert_ne!(next.chain[0], first.chain[0]);

    let mut records = fixture.records().await;
    records.sort_by_key(|record| record.origin.attestation);
    let [joined, renewed] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(joined.workload, Some(node("a")));
    assert_eq!(joined.origin.attestation, crate::Attestation::Join);
    let token = joined.origin.token.as_ref().unwrap();
    assert_eq!((token.id.len(), token.made_by.as_deref()), (16, Some("AKIA1")));
    assert_eq!(joined.validity.length(), fixtures::terms().default_lifetime + crate::BACKDATE);
    assert_eq!(renewed.origin, Origin::renew(Some(serial(77))));
    assert_eq!(renewed.validity.length(), Duration::from_secs(300) + crate::BACKDATE);
}

#[tokio::test]
async fn a_join_whose_answer_got_lost_is_answered_again_to_the_same_key_and_to_no_other() {
    let fixture = Fixture::new();
    let token = fixture.token(&node("a")).await;
    let csr = sound_csr("a");
    fixture.join(&token, csr.clone()).await.unwrap();
    let thief = fixture.join(&token, sound_csr("a")).await.unwrap_err();
    assert_eq!(thief.code(), Code::Unauthenticated);
    fixture.join(&token, csr).await.unwrap();
    let records = fixture.records().await;
    let [first, second] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((first.key_hash, &first.origin), (second.key_hash, &second.origin));
}

#[tokio::test]
async fn an_identity_that_asks_too_often_is_told_when_to_come_back_and_no_token_is_used_up() {
    let mut fixture = Fixture::new();
    let limits = Limits { burst: 1, per_second: 1, ..Limits::DEFAULT };
    fixture.service.admission = Admission::new(limits, fixtures::clock());
    let log = Log::new();
    let token = fixture.token(&node("a")).await;
    let after = Some(Caller::Holder(node("a").spiffe_id(&fixtures::trust_domain())));
    fixture.renew(after.clone(), sound_csr("a"), 0).await.unwrap();
    log.take();
    let refused = [
        fixture.renew(after, sound_csr("a"), 0).await.unwrap_err(),
        fixture.join(&token, sound_csr("a")).await.unwrap_err(),
    ];
    for status in refused {
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
    }
    assert_eq!(log.take().len(), 2, "a line for each");
    assert_eq!(fixture.records().await.len(), 1, "nothing was issued");
    fixture.renew(Some(holder(&node("b"))), sound_csr("b"), 0).await.unwrap();
    fixture.service.admission = Admission::new(Limits::DEFAULT, fixtures::clock());
    fixture.join(&token, sound_csr("a")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_who_join_with_one_token_exactly_one_gets_a_certificate() {
    let fixture = Arc::new(Fixture::new());
    let token = fixture.token(&node("a")).await;
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (fixture, token) = (fixture.clone(), token.clone());
        racers
            .spawn(async move { fixture.join(&token, sound_csr("a")).await.map_err(|status| status.code()) });
    }
    let results = racers.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(
        results.iter().flat_map(|result| result.as_ref().err()).all(|code| *code == Code::Unauthenticated)
    );
    assert_eq!(fixture.records().await.len(), 1);
}

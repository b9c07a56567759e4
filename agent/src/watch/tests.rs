//! A stream before a real server over TLS, with a rotator's ends in the test's hands.

use std::collections::BTreeSet;

use rand::SeedableRng as _;
use signet_sds::{keypair::KeyPair, testing::Answer, verify::verify};
use tokio::task::JoinSet;
use tonic::Status;

use super::*;
use crate::{
    testing::{NODE, Setup, TestServer, start},
    trust::Anchors,
};

const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    server: TestServer,
    secrets: watch::Sender<Option<Arc<Secrets>>>,
    reports: watch::Sender<Option<NodeReport>>,
    commands: mpsc::Receiver<Command>,
    refused: watch::Receiver<RefusedTrust>,
    named: watch::Receiver<Named>,
    leaving: CancellationToken,
    tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

async fn world() -> World {
    let server = start(Setup::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, signet_sds::translate::certificates(std::slice::from_ref(&server.root))).unwrap();
    let (secrets, held) = watch::channel(None);
    let (reports, seen) = watch::channel(None);
    let (sender, commands) = mpsc::channel(4);
    let (refused, told) = watch::channel(None);
    let (may_hold, named) = watch::channel(None);
    let leaving = CancellationToken::new();
    let watch = Watch {
        server: Server {
            addr: server.addr.to_string().parse().unwrap(),
            anchors: Anchors::read(&file, None).unwrap(),
            clock: Arc::clone(&server.clock),
        },
        secrets: held,
        reports: seen,
        commands: sender,
        refused,
        may_hold,
        leaving: leaving.clone(),
        rng: StdRng::seed_from_u64(1),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(watch.run());
    World { server, secrets, reports, commands, refused: told, named, leaving, tasks, _folder: folder }
}

impl World {
    /// Holds another certificate from now on.
    fn hold(&self) {
        let identity = NODE.parse().unwrap();
        let key = KeyPair::generate().unwrap();
        let signed = self.server.signer.certificate(Answer::Good, &key.request(&identity).unwrap());
        let held = verify(signed, key, &identity, (self.server.clock)().into()).unwrap();
        self.secrets.send_replace(Some(Arc::new(held)));
    }

    fn report(&self, trust_version: &str) {
        let report = NodeReport {
            instance: "1".to_owned(),
            trust_version: trust_version.to_owned(),
            ..NodeReport::default()
        };
        self.reports.send_replace(Some(report));
    }

    async fn reported(&self, what: &str, wanted: impl Fn(&NodeReport) -> bool) {
        let mut reports = self.server.reports.subscribe();
        let seen = reports.wait_for(|all| all.iter().any(&wanted));
        timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("{what} within {PATIENCE:?}")).unwrap();
    }

    async fn command(&mut self) -> Command {
        timeout(PATIENCE, self.commands.recv()).await.expect("in time").expect("the stream lives")
    }

    fn send(&self, update: NodeUpdate) {
        self.server.updates.send(Ok(update)).unwrap();
    }
}

fn trust(version: &str) -> NodeUpdate {
    let trust = pb::Trust { version: version.to_owned(), bundle: vec![vec![1]], crls: vec![vec![2]] };
    NodeUpdate { trust: Some(trust), ..NodeUpdate::default() }
}

#[tokio::test]
async fn reports_go_out_when_there_is_a_certificate_and_on_every_change_with_the_last_one_marked() {
    let mut world = world().await;
    world.report("a");
    world.hold();
    world.reported("the first", |report| report.trust_version == "a" && report.now_unix_ms > 0).await;
    world.report("b");
    world.reported("the next", |report| report.trust_version == "b" && !report.leaving).await;
    world.leaving.cancel();
    timeout(PATIENCE, world.tasks.join_next()).await.expect("it ends when it has said so").unwrap().unwrap();
    world.reported("the last", |report| report.trust_version == "b" && report.leaving).await;
}

#[tokio::test]
async fn a_report_that_did_not_change_goes_out_again_after_ten_seconds() {
    let mut world = world().await;
    world.report("a");
    world.hold();
    world.reported("the first", |_| true).await;
    // The stream is open on both sides.
    world.send(trust("v1"));
    let Command::Trust(_, answer) = world.command().await else { panic!("trust") };
    answer.send(Ok(())).unwrap();
    let mut reports = world.server.reports.subscribe();
    let settle = async || {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    };
    settle().await;
    tokio::time::pause();
    // Time went on before it was stopped, by as much as the machine was busy.
    tokio::time::advance(Duration::from_secs(5)).await;
    settle().await;
    assert_eq!(reports.borrow_and_update().len(), 1);
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    timeout(PATIENCE, reports.wait_for(|all| all.len() == 2)).await.expect("the next").unwrap();
}

#[tokio::test]
async fn trust_and_advice_become_commands_and_what_is_refused_is_told() {
    let mut world = world().await;
    world.report("a");
    world.hold();
    world.reported("the first", |_| true).await;
    world.send(trust("v1"));
    let Command::Trust(Trust { roots, crls }, answer) = world.command().await else { panic!("trust") };
    assert_eq!((roots[0].as_ref(), crls[0].as_ref()), (&[1_u8][..], &[2_u8][..]));
    let refused = signet_sds::verify::Refused::BundleLength(0);
    answer.send(Err(refused.clone())).unwrap();
    let told = timeout(PATIENCE, world.refused.wait_for(Option::is_some)).await.unwrap().unwrap().clone();
    assert_eq!(told, Some(("v1".to_owned(), refused.to_string())));
    world.send(trust("v2"));
    let Command::Trust(_, answer) = world.command().await else { panic!("trust") };
    answer.send(Ok(())).unwrap();
    timeout(PATIENCE, world.refused.wait_for(Option::is_none))
        .await
        .expect("it is no longer refused")
        .unwrap();

    let window = |start, end| {
        let window = pb::RenewalWindow { serial: "ab".to_owned(), start, end, reason: "why".to_owned() };
        NodeUpdate { renewal: Some(window), ..NodeUpdate::default() }
    };
    world.send(window(9, 5));
    world.send(window(5, 9));
    let Command::Renew(advice) = world.command().await else {
        panic!("a window that is none is passed over")
    };
    assert_eq!(
        (advice.serial.as_str(), advice.window.not_before().unix(), advice.window.not_after().unix()),
        ("ab", 5, 9)
    );
}

#[tokio::test]
async fn what_the_workload_may_hold_is_handed_on_and_what_is_no_identity_is_passed_over() {
    let mut world = world().await;
    world.report("a");
    world.hold();
    world.reported("the first", |_| true).await;
    for spiffe_ids in [vec!["spiffe://signet.internal/team/a".to_owned(), "team/b".to_owned()], Vec::new()] {
        let expected: BTreeSet<_> = spiffe_ids.iter().filter_map(|id| id.parse().ok()).collect();
        assert_eq!(expected.len(), spiffe_ids.len() / 2);
        world.send(NodeUpdate { identities: Some(pb::Identities { spiffe_ids }), ..NodeUpdate::default() });
        let told = world.named.wait_for(|named| named.as_ref() == Some(&expected));
        timeout(PATIENCE, told).await.expect("it is handed on").unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again_and_so_is_one_for_another_certificate() {
    let world = world().await;
    world.report("a");
    world.hold();
    world.reported("the first", |_| true).await;
    world.server.updates.send(Err(Status::unavailable("down"))).unwrap();
    let mut reports = world.server.reports.subscribe();
    let again = reports.wait_for(|all| all.len() >= 2);
    timeout(PATIENCE, again).await.expect("again").unwrap();
    world.hold();
    timeout(PATIENCE, reports.wait_for(|all| all.len() >= 3)).await.expect("for the other").unwrap();
}

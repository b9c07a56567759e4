use std::time::Duration;

use super::*;
use crate::Ledger as _;
use crate::{MemoryLedger, fixtures, service::proto};

fn now() -> SystemTime {
    (fixtures::clock())()
}

fn key(name: &str, instance: &str) -> NodeKey {
    NodeKey { workload: fixtures::node(name), instance: instance.to_owned() }
}

fn told(trust_version: &str) -> Report {
    Report { trust_version: trust_version.to_owned(), ..Report::default() }
}

fn connect(nodes: &Nodes, instance: &str) -> Session {
    nodes.connect(key("a", instance), Line::default(), told("1"), now()).unwrap()
}

#[test]
fn the_last_report_of_each_instance_is_kept_and_who_is_connected_is_known() {
    let nodes = Nodes::default();
    let mut views = nodes.subscribe();
    let (one, other) = (connect(&nodes, "one"), connect(&nodes, "other"));
    one.report(told("2"), now() + Duration::from_secs(7));
    assert!(views.has_changed().unwrap());
    let seen = views.borrow_and_update().clone();
    assert_eq!(seen.len(), 2);
    let view = seen.get(&key("a", "one")).unwrap();
    assert_eq!(view.report.trust_version, "2");
    assert_eq!(view.reported_at, now() + Duration::from_secs(7));
    drop(other);
    assert!(nodes.connected(&key("a", "one")) && !nodes.connected(&key("a", "other")));
    assert_eq!(views.borrow_and_update().len(), 2, "who is gone is known while its certificate may be used");
    assert_eq!(seen.iter().filter(|view| view.connected).count(), 2, "what was read does not change");
}

#[test]
fn a_clock_that_is_more_than_a_minute_from_the_servers_in_either_direction_is_apart_by_the_last_report() {
    let nodes = Nodes::default();
    let session = connect(&nodes, "one");
    let view = || nodes.subscribe().borrow().get(&key("a", "one")).unwrap().clone();
    let at = i64::try_from(now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap();
    for (ahead, apart) in [(0, false), (60_000, false), (60_001, true), (-60_000, false), (-60_001, true)] {
        session.report(Report { now_unix_ms: at + ahead, ..told("1") }, now());
        assert_eq!((view().clock_ahead_ms(), view().is_clock_apart()), (ahead, apart));
    }
}

#[test]
fn another_stream_of_an_instance_takes_the_place_of_the_first_whose_end_changes_nothing() {
    let nodes = Nodes::default();
    let first = connect(&nodes, "one");
    let second = connect(&nodes, "one");
    assert!(first.replaced().is_cancelled() && !second.replaced().is_cancelled());
    first.report(told("late"), now());
    drop(first);
    assert!(nodes.connected(&key("a", "one")));
    assert_eq!(nodes.subscribe().borrow().get(&key("a", "one")).unwrap().report.trust_version, "1");
    drop(second);
    assert!(!nodes.connected(&key("a", "one")));
    let third = connect(&nodes, "one");
    assert!(!third.replaced().is_cancelled());
}

/// A report of who holds a certificate that ends so many seconds from now.
fn holding(serial: Option<Serial>, secs: u64) -> Report {
    let not_after = Timestamp::from(now() + Duration::from_secs(secs));
    let leaf = PresentedLeaf { der: vec![], serial, issuer_key: None, uris: vec![], not_after };
    Report { held: Some(leaf), ..Report::default() }
}

#[test]
fn two_that_claim_to_be_one_instance_from_two_addresses_are_told_of_with_each_turn() {
    let nodes = Nodes::default();
    let connect = |last: u8, at: u64| {
        let line = Line { serial: None, address: Some([10, 0, 0, last].into()) };
        nodes.connect(key("a", "one"), line, told("1"), now() + Duration::from_secs(at)).unwrap()
    };
    let rival = || nodes.subscribe().borrow().get(&key("a", "one")).unwrap().rival;
    let first = connect(1, 0);
    drop(first);
    let second = connect(2, 1);
    assert_eq!(rival(), None, "the first had gone: its host has another address now");
    let third = connect(2, 2);
    assert_eq!(rival(), None, "a stream anew from the same host, as a renewed certificate makes one");
    let fourth = connect(1, 3);
    let turns = |turns, last: u8, at| {
        Some(Rival { address: [10, 0, 0, last].into(), turns, at: now() + Duration::from_secs(at) })
    };
    assert_eq!(rival(), turns(1, 2, 3));
    let fifth = connect(2, 4);
    assert_eq!(rival(), turns(2, 1, 4));
    fifth.report(told("2"), now() + Duration::from_secs(5));
    assert_eq!(rival(), turns(2, 1, 4), "it is remembered");
    drop((second, third, fourth));
}

#[tokio::test]
async fn who_leaves_is_forgotten_at_once_and_who_is_gone_when_its_certificate_has_ended() {
    let nodes = Nodes::default();
    connect(&nodes, "one").leave(&MemoryLedger::default(), now()).await;
    assert!(nodes.subscribe().borrow().is_empty());
    drop(nodes.connect(key("a", "one"), Line::default(), holding(None, 100), now()).unwrap());
    let at_the_end = now() + Duration::from_secs(100);
    let _other = nodes.connect(key("a", "other"), Line::default(), told("1"), at_the_end).unwrap();
    assert_eq!(nodes.subscribe().borrow().len(), 2, "its last second is not over");
    let after = at_the_end + Duration::from_secs(1);
    let _third = nodes.connect(key("a", "third"), Line::default(), told("1"), after).unwrap();
    assert!(nodes.subscribe().borrow().get(&key("a", "one")).is_none());
}

/// The same after a restart of the server.
async fn restarted(ledger: &MemoryLedger) -> Nodes {
    let nodes = Nodes::default();
    nodes.recall(ledger, now().into()).await.unwrap();
    nodes
}

#[tokio::test]
async fn who_left_is_known_after_a_restart_until_it_is_back_or_its_certificate_has_ended() {
    let (ledger, serial, nodes) = (MemoryLedger::default(), fixtures::serial(7), Nodes::default());
    let connect = |nodes: &Nodes| {
        nodes.connect(key("a", "one"), Line::default(), holding(Some(serial), 100), now()).unwrap()
    };
    connect(&nodes).leave(&ledger, now()).await;
    for nodes in [&nodes, &restarted(&ledger).await] {
        assert_eq!(nodes.departed().keys().copied().collect::<Vec<_>>(), [serial]);
    }
    let later = Nodes::default();
    later.recall(&ledger, Timestamp::from(now() + Duration::from_secs(101))).await.unwrap();
    assert!(later.departed().is_empty(), "nobody can use it");
    let nodes = restarted(&ledger).await;
    let back = connect(&nodes);
    nodes.note_returned(back.key(), None, &ledger, now().into()).await.unwrap();
    assert!(nodes.departed().is_empty());
    assert!(restarted(&ledger).await.departed().is_empty(), "and that is known after a restart, too");
}

#[tokio::test]
async fn who_is_connected_is_not_forgotten_and_who_was_killed_is_by_its_name_or_its_workloads() {
    let (ledger, nodes) = (MemoryLedger::default(), Nodes::default());
    let connect = |instance: &str, serial: u64| {
        let report = holding(Some(fixtures::serial(serial)), 100);
        nodes.connect(key("a", instance), Line::default(), report, now()).unwrap()
    };
    let (one, two, three) = (connect("one", 1), connect("two", 2), connect("three", 3));
    let name = |instance: &str| key("a", instance).to_string();
    let forget = async |name: &str| {
        nodes.forget(name, &|key| key.instance == "five", &ledger, "me", now().into()).await
    };
    assert!(matches!(forget(&name("one")).await, Err(NotForgotten::Connected(_))));
    for stranger in ["", "mesh", &name("four"), &fixtures::serial(9).to_string()] {
        assert!(matches!(forget(stranger).await, Err(NotForgotten::Unknown(_))), "{stranger}");
    }
    drop(connect("five", 5));
    assert!(matches!(forget(&name("five")).await, Err(NotForgotten::Running(_))), "its proxy lives");
    assert_eq!(nodes.subscribe().borrow().len(), 4);
    nodes.forget(&name("five"), &|_| false, &ledger, "me", now().into()).await.unwrap();
    drop((one, two));
    assert_eq!(forget(&name("one")).await.unwrap(), [name("one")]);
    assert_eq!(forget(&fixtures::node("a").to_string()).await.unwrap(), [name("two")]);
    let left: Vec<String> = nodes.subscribe().borrow().iter().map(|view| view.key.to_string()).collect();
    assert_eq!(left, [name("three")]);
    assert_eq!(restarted(&ledger).await.departed().len(), 3);
    let told = format!("{:?}", ledger.events().await.unwrap());
    assert!(told.contains("one") && told.contains("by: \"me\""), "{told}");
    drop(three);
}

#[test]
fn a_report_that_is_out_of_bounds_is_refused_by_what_is_too_much() {
    let good = || proto::NodeReport { instance: "host-1".to_owned(), ..proto::NodeReport::default() };
    let (instance, report) = read(good()).unwrap();
    assert_eq!((instance.as_str(), report), ("host-1", Report::default()));
    type Damage = fn(&mut proto::NodeReport);
    let damages: [(&str, Damage); 9] = [
        ("instance", |report| report.instance.clear()),
        ("instance", |report| report.instance = "a/b".to_owned()),
        ("instance", |report| report.instance = "x".repeat(MAX_TEXT + 1)),
        ("secrets", |report| report.secrets = vec![proto::SecretStatus::default(); MAX_SECRETS + 1]),
        ("certificates", |report| {
            report.loaded = vec![proto::LoadedCertificate::default(); MAX_CERTIFICATES + 1];
        }),
        ("refused trust", |report| report.refused_trust_reason = "x".repeat(MAX_TEXT + 1)),
        ("certificate", |report| report.held = vec![0; MAX_DER + 1]),
        ("address", |report| report.presented = vec![proto::PresentedCertificate::default()]),
        ("URIs", |report| {
            let uris = vec![String::new(); MAX_CHAIN + 1];
            report.loaded = vec![proto::LoadedCertificate { uris, ..proto::LoadedCertificate::default() }];
        }),
    ];
    for (what, damage) in damages {
        let mut report = good();
        damage(&mut report);
        let refused = read(report).unwrap_err();
        assert!(refused.to_string().contains(what), "{what}: {refused}");
    }
    let address = "127.0.0.1:80".to_owned();
    let presented = proto::PresentedCertificate { address, leaf: vec![1, 2, 3], ..Default::default() };
    let (_, report) = read(proto::NodeReport { presented: vec![presented], ..good() }).unwrap();
    assert_eq!(report.presented[0].leaf, None, "a proxy may present anything; junk is told as nothing");
}

#[test]
fn a_leaf_of_ours_says_its_serial_its_names_its_end_and_the_key_that_signed_it() {
    let (_folder, authority) = fixtures::authority();
    let grant = fixtures::grant_for(&fixtures::node("a"), Duration::from_secs(300));
    let issued = authority.issue(&fixtures::csr(), &grant, fixtures::serial(9), fixtures::NOW).unwrap();
    let leaf = PresentedLeaf::read(issued.leaf_der().to_vec()).unwrap();
    assert_eq!(leaf.serial, Some(fixtures::serial(9)));
    assert_eq!(leaf.uris, ["spiffe://signet.internal/mesh/my-mesh/virtual-node/a"]);
    assert_eq!(leaf.not_after, issued.validity().not_after());
    let next = authority.issue(&fixtures::csr(), &grant, fixtures::serial(10), fixtures::NOW).unwrap();
    let next = PresentedLeaf::read(next.leaf_der().to_vec()).unwrap();
    assert_eq!(leaf.issuer_key.as_ref().map(Vec::len), Some(20));
    assert_eq!(leaf.issuer_key, next.issuer_key);
}

/// As many agents of `a` as may be known, of which one is there, and each of the others is gone a second longer than the next.
fn full(nodes: &Nodes) {
    let first = connect(nodes, "0");
    let view = nodes.subscribe().borrow().get(&key("a", "0")).unwrap().clone();
    let gone = (1..MAX_OF_WORKLOAD).map(|number| {
        let since = now() + Duration::from_secs(u64::try_from(number).unwrap());
        let report = Arc::new(holding(None, 86_400));
        NodeView {
            key: key("a", &number.to_string()),
            connected: false,
            since,
            report,
            ..NodeView::clone(&view)
        }
    });
    let all = gone.chain([NodeView::clone(&view)]).map(|view| (view.key.clone(), Arc::new(view)));
    nodes.0.views.send_replace(Arc::new(NodeViews(all.collect())));
    // Its stream stays open.
    std::mem::forget(first);
}

#[test]
fn a_workload_with_ever_new_state_folders_takes_nobody_elses_place() {
    let nodes = Nodes::default();
    full(&nodes);
    let known = |name: &str| {
        let views = nodes.subscribe().borrow().clone();
        views.iter().filter(|view| view.key.workload == fixtures::node(name)).count()
    };
    assert_eq!(known("a"), MAX_OF_WORKLOAD);
    let come = |name: &str, instance: &str| {
        nodes.connect(key(name, instance), Line::default(), told("1"), now() + Duration::from_secs(20_000))
    };
    let next = come("a", "next").unwrap();
    assert_eq!(known("a"), MAX_OF_WORKLOAD);
    let is_there = |instance: &str| nodes.subscribe().borrow().get(&key("a", instance)).is_some();
    assert!(!is_there("1") && is_there("2") && is_there("0"), "who is gone the longest goes");
    let again = come("a", "2").unwrap();
    assert!(is_there("3"), "who was known takes its own place");
    let other = come("b", "one").unwrap();
    assert_eq!((known("a"), known("b")), (MAX_OF_WORKLOAD, 1));
    drop((next, again, other));
}

#[test]
fn a_workload_whose_agents_are_all_there_gets_no_more_and_each_of_them_may_come_again() {
    let nodes = Nodes::default();
    full(&nodes);
    let views = nodes.subscribe().borrow().clone();
    let there = views.iter().map(|view| NodeView { connected: true, ..NodeView::clone(view) });
    let there = there.map(|view| (view.key.clone(), Arc::new(view)));
    nodes.0.views.send_replace(Arc::new(NodeViews(there.collect())));
    let come = |name: &str, instance: &str| {
        nodes.connect(key(name, instance), Line::default(), told("1"), now()).map(drop)
    };
    assert_eq!(come("a", "more"), Err(TooManyNodes::Of(fixtures::node("a"))));
    assert!(!nodes.connected(&key("a", "more")) && nodes.connected(&key("a", "0")));
    assert_eq!((come("a", "7"), come("b", "one")), (Ok(()), Ok(())));
}

#[tokio::test]
async fn who_was_away_until_its_certificate_had_ended_is_shown_for_a_day_or_until_it_is_back_or_forgotten() {
    let nodes = Nodes::default();
    let serial = Serial::from_be_bytes(&[7]);
    let second = Duration::from_secs(1);
    let from = |number: u8| Line { serial: None, address: Some([10, 0, 0, number].into()) };
    for (name, number) in [("one", 1), ("two", 2), ("three", 3)] {
        drop(nodes.connect(key("a", name), from(number), holding(serial, 100), now()).unwrap());
    }
    let end = Timestamp::from(now() + 100 * second);
    nodes.forget_ended(end);
    assert!(nodes.lapsed().is_empty(), "its last second is not over");
    nodes.forget_ended(end + second);
    let lapsed = nodes.lapsed();
    assert_eq!(lapsed.iter().map(|one| &*one.key.instance).collect::<Vec<_>>(), ["one", "three", "two"]);
    let Lapsed { ended, serial: held, address, reported_at, .. } = lapsed[0].clone();
    assert_eq!((ended, held, address, reported_at), (end, serial, from(1).address, now()));

    let back = nodes.connect(key("a", "one"), Line::default(), holding(serial, 900), now() + 200 * second);
    let ledger = MemoryLedger::default();
    let name = key("a", "two").to_string();
    let forgotten = nodes.forget(&name, &|_| false, &ledger, "AKIA1", end + second).await.unwrap();
    assert_eq!(
        (forgotten, ledger.size()),
        (vec![name], 0),
        "nobody waits for it, so the ledger need not know"
    );
    let shown = || nodes.lapsed().into_iter().map(|one| one.key.instance).collect::<Vec<_>>();
    assert_eq!(shown(), ["three"]);
    nodes.forget_ended(end + LAPSED_FOR);
    assert_eq!(shown(), ["three"]);
    nodes.forget_ended(end + LAPSED_FOR + second);
    assert_eq!(shown(), Vec::<String>::new());
    drop(back);
}

#[test]
fn of_very_many_whose_certificates_ended_those_that_ended_first_are_shown_no_more() {
    let nodes = Nodes::default();
    let lapsed = |number: usize| {
        let ended = Timestamp::from_unix(i64::try_from(number).unwrap());
        let (key, agent_version) = (key("a", &number.to_string()), String::new());
        Lapsed { key, ended, serial: None, reported_at: now(), address: None, agent_version }
    };
    nodes.note_lapsed((0..MAX_LAPSED + 3).map(lapsed).collect(), Timestamp::from_unix(0));
    let shown = nodes.lapsed();
    assert_eq!(shown.len(), MAX_LAPSED);
    assert_eq!(shown.iter().map(|one| one.ended.unix()).min(), Some(3));
}

/// What is logged meanwhile.
fn logged(what: impl FnOnce()) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let writer = Arc::new(file.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    tracing::subscriber::with_default(subscriber, what);
    std::fs::read_to_string(file.path()).unwrap()
}

#[test]
fn an_agent_that_told_of_no_certificate_counts_as_ended_when_it_was_last_seen_and_the_way_back_is_logged() {
    let (nodes, second) = (Nodes::default(), Duration::from_secs(1));
    let workload: Workload = "mesh/my-mesh/virtualGateway/g".parse().unwrap();
    let key = NodeKey { workload, instance: "one".to_owned() };
    let line = Line { serial: Some(fixtures::serial(7)), address: None };
    let report = Report { agent_version: "1.2.3".to_owned(), ..Report::default() };
    let session = nodes.connect(key.clone(), line, report.clone(), now()).unwrap();
    session.report(report, now() + 5 * second);
    drop(session);
    let seen = now() + 5 * second;
    let said = logged(|| nodes.forget_ended((now() + 6 * second).into()));
    let agent_version = "1.2.3".to_owned();
    let lapsed =
        Lapsed { key, ended: seen.into(), serial: None, reported_at: seen, address: None, agent_version };
    assert_eq!(nodes.lapsed(), [lapsed]);
    assert!(nodes.subscribe().borrow().is_empty());
    let hint = "signet token create --mesh my-mesh --virtual-gateway g > FILE";
    assert!(said.contains("WARN") && said.contains(hint), "{said}");
    for (seconds, shown) in [(86_400, 1), (86_401, 0)] {
        nodes.forget_ended((seen + seconds * second).into());
        assert_eq!(nodes.lapsed().len(), shown, "a day, and no longer");
    }
}

#[tokio::test]
async fn those_whose_certificates_ended_are_forgotten_by_instance_workload_or_serial_whatever_else_has_that_name()
 {
    let (ledger, nodes) = (Arc::new(MemoryLedger::default()), Nodes::default());
    let (_folder, issuing) = fixtures::issuing(ledger.clone());
    let grant = fixtures::grant_for(&fixtures::node("a"), Duration::from_secs(300));
    let issued = issuing.issue(&fixtures::csr(), &grant, crate::Origin::of(crate::Attestation::Join)).await;
    let known = issued.unwrap().certificate().serial();
    let later = now() + Duration::from_secs(1000);
    let connect = |name: &str, instance: &str, serial: Option<Serial>, seconds: u64| {
        nodes.connect(key(name, instance), Line::default(), holding(serial, seconds), now()).unwrap()
    };
    let there = connect("a", "there", Some(fixtures::serial(9)), 9000);
    for (instance, serial) in [("1", Some(known)), ("2", Some(fixtures::serial(3))), ("3", None), ("4", None)]
    {
        drop(connect("a", instance, serial, 300));
    }
    drop(connect("b", "1", None, 300));
    nodes.forget_ended(later.into());
    let forget = async |name: &str| {
        let forgotten = nodes.forget(name, &|_| false, &*ledger, "me", later.into()).await;
        forgotten.map(|names| names.join(" ")).map_err(|refused| refused.to_string())
    };
    let name = |instance: &str| Ok(key("a", instance).to_string());
    assert_eq!(forget(&known.to_string()).await, name("1"), "one that the ledger knows, and that ended");
    assert_eq!(forget(&fixtures::serial(3).to_string()).await, name("2"));
    assert_eq!(forget(&key("a", "3").to_string()).await, name("3"));
    assert_eq!(forget(&fixtures::node("a").to_string()).await, name("4"), "beside one that is connected");
    assert!(forget(&fixtures::node("a").to_string()).await.unwrap_err().contains("connected"));
    let left: Vec<_> = nodes.lapsed().into_iter().map(|one| one.key).collect();
    assert_eq!((left, nodes.subscribe().borrow().len()), (vec![key("b", "1")], 1));
    drop(there);
}

//! Node streams: who may open one, what comes down it, and what ends it.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::{StreamExt as _, channel::mpsc};

use super::*;
use crate::nodes::{NodeKey, Window};
use proto::{NodeReport, NodeUpdate};

/// Every node exists until all are deleted.
#[derive(Default)]
struct Fleeting(AtomicBool);

impl Registry for Fleeting {
    fn registration(&self, workload: &Workload) -> Option<Registration> {
        (!self.0.load(Ordering::SeqCst)).then(|| registration(workload))
    }
}

type Reports = mpsc::UnboundedSender<Result<NodeReport, Status>>;

fn report(instance: &str) -> NodeReport {
    NodeReport { instance: instance.to_owned(), ..NodeReport::default() }
}

async fn open(
    service: &NodeService,
    caller: Option<Caller>,
    first: NodeReport,
) -> Result<(Reports, super::super::watch::Updates), Status> {
    let (reports, incoming) = mpsc::unbounded();
    reports.unbounded_send(Ok(first)).unwrap();
    let mut request = Request::new(incoming);
    if let Some(caller) = caller {
        request.extensions_mut().insert(Arc::new(NodePeer::of(caller)));
    }
    service.watch_for(request).await.map(|updates| (reports, updates))
}

async fn update(updates: &mut super::super::watch::Updates) -> NodeUpdate {
    updates.next().await.unwrap().unwrap()
}

async fn end(mut updates: super::super::watch::Updates) -> Code {
    loop {
        if let Err(status) = updates.next().await.expect("a status") {
            return status.code();
        }
    }
}

fn key(instance: &str) -> NodeKey {
    NodeKey { workload: node("a"), instance: instance.to_owned() }
}

#[tokio::test]
async fn an_agent_is_told_what_to_trust_at_once_and_whenever_that_changes() {
    let Fixture { service, _folders, .. } = Fixture::new();
    let (_reports, mut updates) = open(&service, Some(holder(&node("a"))), report("1")).await.unwrap();
    let first = update(&mut updates).await.trust.unwrap();
    assert_eq!(first.bundle, service.issuing.authority().bundle());
    assert_eq!(first.version, service.trust.now().version());
    service.trust.set_crls(vec![b"crl".to_vec()]);
    let second = update(&mut updates).await.trust.unwrap();
    assert_eq!((second.bundle, second.crls), (first.bundle, vec![b"crl".to_vec()]));
    assert_ne!(second.version, first.version);
}

/// Every node exists, with the further identities that are said.
struct Naming(Mutex<Vec<SpiffeId>>);

impl Registry for Naming {
    fn registration(&self, workload: &Workload) -> Option<Registration> {
        Some(Registration { spiffe_ids: self.0.lock().unwrap().clone(), ..registration(workload) })
    }
}

#[tokio::test]
async fn an_agent_is_told_what_it_may_hold_with_the_first_trust_and_again_when_its_spec_or_a_ban_changed_it()
{
    let Fixture { service, _folders, .. } = Fixture::new();
    let team = |name: &str| -> SpiffeId { format!("spiffe://signet.internal/team/{name}").parse().unwrap() };
    let registry = Arc::new(Naming(Mutex::new(vec![team("a"), team("b")])));
    let service = NodeService { registry: registry.clone(), ..service };
    let (reports, mut updates) = open(&service, Some(holder(&node("a"))), report("1")).await.unwrap();
    let told = |update: NodeUpdate| update.identities.map(|identities| identities.spiffe_ids);
    let names = |all: &[&str]| Some(all.iter().map(|name| team(name).to_string()).collect::<Vec<_>>());
    // A report is no reason to tell anything before the trust.
    reports.unbounded_send(Ok(report("1"))).unwrap();
    let first = update(&mut updates).await;
    assert!(first.trust.is_some(), "{first:?}");
    assert_eq!(told(first), names(&["a", "b"]));
    let alone = |update: NodeUpdate| {
        assert!(update.trust.is_none(), "{update:?}");
        told(update)
    };
    let next = async |updates: &mut super::super::watch::Updates| {
        reports.unbounded_send(Ok(report("1"))).unwrap();
        // Whatever is no answer to the report.
        service.trust.set_crls(vec![service.trust.now().version().as_bytes().to_vec()]);
        update(updates).await
    };
    let same = next(&mut updates).await;
    assert!(same.trust.is_some() && same.identities.is_none(), "the same again is not told: {same:?}");
    registry.0.lock().unwrap().remove(0);
    assert_eq!(alone(next(&mut updates).await), names(&["b"]));
    assert!(update(&mut updates).await.trust.is_some());
    registry.0.lock().unwrap().push(team("c"));
    assert_eq!(alone(next(&mut updates).await), names(&["b", "c"]));
    assert!(update(&mut updates).await.trust.is_some());
    let subject = crate::ledger::Subject::Identity(team("b"));
    let reason = crate::ledger::Reason::KeyCompromise;
    service.issuing.guard().revoke(subject, reason, "test", NOW).await.unwrap();
    assert_eq!(alone(next(&mut updates).await), names(&["c"]));
    assert!(update(&mut updates).await.trust.is_some());
    // One that comes back is told anew.
    let (_reports, mut again) = open(&service, Some(holder(&node("a"))), report("2")).await.unwrap();
    assert_eq!(told(update(&mut again).await), names(&["c"]));
}

#[tokio::test]
async fn advice_reaches_the_one_that_is_meant_and_once() {
    let Fixture { service, _folders, .. } = Fixture::new();
    let caller = || Some(holder(&node("a")));
    let (_one, mut meant) = open(&service, caller(), report("1")).await.unwrap();
    let (_two, mut other) = open(&service, caller(), report("2")).await.unwrap();
    for updates in [&mut meant, &mut other] {
        assert!(update(updates).await.trust.is_some());
    }
    let window = |end: i64| Window {
        serial: Serial::from_be_bytes(&[0, 7]).unwrap(),
        start: NOW,
        end: Timestamp::from_unix(end),
        reason: "why".into(),
    };
    service.nodes.advise([(key("1"), window(5))].into());
    let told = update(&mut meant).await.renewal.unwrap();
    assert_eq!(
        (told.serial.as_str(), told.start, told.end, told.reason.as_str()),
        ("07", NOW.unix(), 5, "why")
    );
    service.nodes.advise([(key("1"), window(5)), (key("3"), window(5))].into());
    service.nodes.advise([(key("1"), window(6))].into());
    assert_eq!(update(&mut meant).await.renewal.unwrap().end, 6, "the same again is not sent");
    service.trust.set_crls(vec![b"crl".to_vec()]);
    let next = update(&mut other).await;
    assert!(next.renewal.is_none() && next.trust.is_some(), "the other was advised nothing: {next:?}");
}

#[tokio::test]
async fn reports_are_kept_and_a_stream_that_ends_is_seen_as_gone() {
    let Fixture { service, _folders, .. } = Fixture::new();
    let (reports, mut updates) = open(&service, Some(holder(&node("a"))), report("1")).await.unwrap();
    assert!(service.nodes.connected(&key("1")));
    let later = NodeReport { trust_version: "abc".to_owned(), ..report("1") };
    reports.unbounded_send(Ok(later)).unwrap();
    assert!(update(&mut updates).await.trust.is_some());
    reports.close_channel();
    assert!(updates.next().await.is_none());
    drop(updates);
    assert!(!service.nodes.connected(&key("1")));
    assert_eq!(service.nodes.subscribe().borrow().get(&key("1")).unwrap().report.trust_version, "abc");
}

#[tokio::test]
async fn an_agent_that_leaves_is_not_waited_for() {
    let Fixture { service, _folders, .. } = Fixture::new();
    let (reports, mut updates) = open(&service, Some(holder(&node("a"))), report("1")).await.unwrap();
    reports.unbounded_send(Ok(NodeReport { leaving: true, ..report("1") })).unwrap();
    while updates.next().await.is_some() {}
    assert!(service.nodes.subscribe().borrow().is_empty());
}

#[tokio::test]
async fn strangers_the_unregistered_and_reports_out_of_bounds_are_turned_away() {
    let Fixture { service, _folders, .. } = Fixture::new();
    let code = async |caller, first| open(&service, caller, first).await.map(drop).unwrap_err().code();
    assert_eq!(code(None, report("1")).await, Code::Unauthenticated);
    assert_eq!(code(Some(Caller::Joining(node("a"))), report("1")).await, Code::Unauthenticated);
    assert_eq!(code(Some(holder(&node("absent"))), report("1")).await, Code::PermissionDenied);
    assert_eq!(code(Some(holder(&node("a"))), report("")).await, Code::InvalidArgument);
    assert!(service.nodes.subscribe().borrow().is_empty());
}

#[tokio::test]
async fn a_stream_ends_with_its_node_with_the_server_with_a_second_one_and_with_a_changed_instance() {
    let Fixture { service, _folders, .. } = Fixture::new();
    let caller = || Some(holder(&node("a")));
    let (reports, updates) = open(&service, caller(), report("1")).await.unwrap();
    reports.unbounded_send(Ok(report("2"))).unwrap();
    assert_eq!(end(updates).await, Code::InvalidArgument);

    let (_first, updates) = open(&service, caller(), report("1")).await.unwrap();
    let (_second, _updates) = open(&service, caller(), report("1")).await.unwrap();
    assert_eq!(end(updates).await, Code::Aborted);

    let registry = Arc::new(Fleeting::default());
    let fleeting = NodeService { registry: registry.clone(), ..service.clone() };
    let (_early, untold) = open(&fleeting, caller(), report("1")).await.unwrap();
    let (reports, mut updates) = open(&fleeting, caller(), report("2")).await.unwrap();
    assert!(update(&mut updates).await.trust.is_some());
    registry.0.store(true, Ordering::SeqCst);
    assert_eq!(end(untold).await, Code::PermissionDenied, "before it is told anything");
    reports.unbounded_send(Ok(report("2"))).unwrap();
    assert_eq!(end(updates).await, Code::PermissionDenied, "with its next report");

    let (_reports, updates) = open(&service, caller(), report("1")).await.unwrap();
    service.drain.cancel();
    assert_eq!(end(updates).await, Code::Unavailable);
}

//! What every back end must do. Each test runs on all of them.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use signet_durable::Database;
use tokio::task::JoinSet;

use super::*;
use crate::{
    model::{Provider, Spec},
    quotas::{Quota, Quotas},
};

/// Runs each test on every back end.
macro_rules! on_every_back_end {
    ($($test:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(std::sync::Arc::new(super::MemoryStore::default())).await;
            })*
        }
        mod sled {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let folder = tempfile::tempdir().unwrap();
                super::$test(std::sync::Arc::new(super::open(folder.path()))).await;
            })*
        }
    };
}

mod feed;
mod ports;
mod quotas;
mod reference;
mod references;
mod tags;
mod tokens;

on_every_back_end! {
    a_resource_lives_from_its_creation_to_its_deletion
    a_name_is_taken_once_and_free_again_after_deletion
    a_repeated_write_gets_the_same_answer_and_another_spec_under_its_token_is_refused
    a_write_that_expects_another_version_changes_nothing
    a_list_is_in_the_order_of_names_and_goes_on_after_any_name
    the_model_follows_every_write
    a_clock_that_goes_back_makes_nothing_older_than_it_is
    of_racing_updates_that_expect_one_version_one_wins
}

/// sled's own threads let go of a folder a moment after the last handle, so a reopening waits for them.
pub(super) fn database(folder: &std::path::Path) -> Database {
    Database::open(folder).unwrap()
}

pub(super) fn open(folder: &std::path::Path) -> SledStore {
    open_within(folder, Quotas::default())
}

fn open_within(folder: &std::path::Path, quotas: Quotas) -> SledStore {
    SledStore::open(database(folder), quotas).unwrap()
}

type AnyStore = Arc<dyn Store>;

pub(super) fn model(store: &dyn Store) -> Arc<Model> {
    store.subscribe().borrow().clone()
}

pub(super) fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn document(key_text: &str, spec: Value) -> Document {
    Document::parse(key(key_text), spec).unwrap()
}

pub(super) fn creation(key_text: &str, spec: Value) -> Write {
    Write::Create {
        document: document(key_text, spec),
        uid: Uuid::new_v4(),
        token: None,
        tags: Tags::default(),
        at: 1000,
    }
}

pub(super) fn update(key_text: &str, spec: Value) -> Write {
    Write::Update { document: document(key_text, spec), token: None, expected: None, at: 2000 }
}

fn deletion(key_text: &str) -> Write {
    Write::Delete { key: key(key_text), expected: None, at: 3000 }
}

pub(super) fn node(ports: &[u16]) -> Value {
    let listener = |port: &u16| json!({"portMapping": {"port": port, "protocol": "http"}});
    let listeners: Vec<Value> = ports.iter().map(listener).collect();
    json!({"listeners": listeners, "serviceDiscovery": {"dns": {"hostname": "a.local"}}})
}

fn router(ports: &[u16]) -> Value {
    let listener = |port: &u16| json!({"portMapping": {"port": port, "protocol": "http"}});
    json!({"listeners": ports.iter().map(listener).collect::<Vec<_>>()})
}

fn route(target: &str) -> Value {
    json!({"httpRoute": {"match": {}, "action": {"weightedTargets": [{"virtualNode": target, "weight": 1}]}}})
}

const GATEWAY: &str = "mesh/m/virtualGateway/g";

fn gateway(ports: &[u16]) -> Value {
    let listener = |port: &u16| json!({"portMapping": {"port": port, "protocol": "http"}});
    json!({"listeners": ports.iter().map(listener).collect::<Vec<_>>()})
}

fn gateway_route(service: &str) -> Value {
    let target = json!({"virtualService": {"virtualServiceName": service}});
    json!({"httpRoute": {"match": {"prefix": "/"}, "action": {"target": target}}})
}

/// What refers to others must find them, but for backends.
fn check_nothing_dangles(model: &Model) {
    for mesh in model.meshes.values() {
        for router in mesh.virtual_routers.values() {
            for target in router.routes.values().flat_map(|route| &route.targets) {
                assert!(mesh.virtual_nodes.contains_key(&target.virtual_node), "{target:?}");
            }
        }
        for service in mesh.virtual_services.values() {
            let is_there = match &service.provider {
                Some(Provider::VirtualNode(name)) => mesh.virtual_nodes.contains_key(name),
                Some(Provider::VirtualRouter(name)) => mesh.virtual_routers.contains_key(name),
                None => true,
            };
            assert!(is_there, "{service:?}");
        }
        for route in mesh.virtual_gateways.values().flat_map(|gateway| gateway.routes.values()) {
            assert!(mesh.virtual_services.contains_key(&route.virtual_service), "{route:?}");
        }
    }
}

/// Mesh `m` with nodes `a` and `b`, router `r`, route `x` to `a`, and service `s.local` by `r`.
async fn furnish(store: &AnyStore) {
    let writes = [
        creation("mesh/m", json!({})),
        creation("mesh/m/virtualNode/a", node(&[80])),
        creation("mesh/m/virtualNode/b", node(&[80])),
        creation("mesh/m/virtualRouter/r", router(&[80])),
        creation("mesh/m/virtualRouter/r/route/x", route("a")),
        creation(
            "mesh/m/virtualService/s.local",
            json!({"provider": {"virtualRouter": {"virtualRouterName": "r"}}}),
        ),
    ];
    for write in writes {
        store.write(write).await.unwrap();
    }
}

async fn refusal(store: &AnyStore, write: Write) -> Refusal {
    let (revision, name) = (model(&**store).revision, write.key().clone());
    match store.write(write).await {
        Err(StoreError::Refused(refusal)) => {
            assert_eq!(model(&**store).revision, revision, "a refusal changes nothing");
            refusal
        }
        other => panic!("{name}: {other:?}"),
    }
}

async fn a_resource_lives_from_its_creation_to_its_deletion(store: AnyStore) {
    let created = store.write(creation("mesh/m", json!({}))).await.unwrap();
    assert_eq!(
        (created.metadata.version, created.metadata.created_at, created.metadata.updated_at),
        (1, 1000, 1000)
    );
    let allow = json!({"egressFilter": {"type": "ALLOW_ALL"}});
    let updated = store.write(update("mesh/m", allow.clone())).await.unwrap();
    let metadata = Metadata { version: 2, updated_at: 2000, ..created.metadata.clone() };
    assert_eq!(updated.metadata, metadata);
    assert_eq!(updated.document.text().get(), allow.to_string());
    let found = store.get(&key("mesh/m")).await.unwrap();
    assert_eq!((&found.metadata, found.document.text().get()), (&metadata, &*allow.to_string()));
    let deleted = store.write(deletion("mesh/m")).await.unwrap();
    assert_eq!(deleted.metadata, Metadata { updated_at: 3000, ..metadata });
    let gone = StoreError::Refused(Refusal::Missing(key("mesh/m")));
    assert_eq!(store.get(&key("mesh/m")).await.unwrap_err(), gone);
    assert_eq!(refusal(&store, deletion("mesh/m")).await, Refusal::Missing(key("mesh/m")));
    assert_eq!(refusal(&store, update("mesh/m", json!({}))).await, Refusal::Missing(key("mesh/m")));
}

async fn a_name_is_taken_once_and_free_again_after_deletion(store: AnyStore) {
    furnish(&store).await;
    let again = || creation("mesh/m/virtualNode/b", node(&[81]));
    assert_eq!(refusal(&store, again()).await, Refusal::Exists(key("mesh/m/virtualNode/b")));
    let first = store.get(&key("mesh/m/virtualNode/b")).await.unwrap();
    let deleted = store.write(deletion("mesh/m/virtualNode/b")).await.unwrap();
    assert_eq!(deleted.metadata.version, 2);
    let second = store.write(again()).await.unwrap();
    assert_eq!(second.metadata.version, 1);
    assert_ne!(second.metadata.uid, first.metadata.uid);
}

async fn a_repeated_write_gets_the_same_answer_and_another_spec_under_its_token_is_refused(store: AnyStore) {
    let create = |spec| Write::Create {
        document: document("mesh/m", spec),
        uid: Uuid::new_v4(),
        token: Some("t1".into()),
        tags: Tags::default(),
        at: 1000,
    };
    let update = |token: &str, spec| Write::Update {
        document: document("mesh/m", spec),
        token: Some(token.into()),
        expected: None,
        at: 2000,
    };
    let allow = || json!({"egressFilter": {"type": "ALLOW_ALL"}});
    let created = store.write(create(json!({}))).await.unwrap();
    let repeated = store.write(create(json!({}))).await.unwrap();
    assert_eq!(repeated.metadata, created.metadata);
    assert_eq!(refusal(&store, create(allow())).await, Refusal::TokenReused(key("mesh/m")));
    for _ in 0..2 {
        let updated = store.write(update("t2", allow())).await.unwrap();
        assert_eq!(updated.metadata.version, 2);
    }
    assert_eq!(refusal(&store, update("t2", json!({}))).await, Refusal::TokenReused(key("mesh/m")));
    assert_eq!(store.write(update("t3", json!({}))).await.unwrap().metadata.version, 3);
    // Later versions do not change what the creation was answered.
    let repeated = store.write(create(json!({}))).await.unwrap();
    assert_eq!((&repeated.metadata, repeated.document.text().get()), (&created.metadata, "{}"));
}

async fn a_write_that_expects_another_version_changes_nothing(store: AnyStore) {
    store.write(creation("mesh/m", json!({}))).await.unwrap();
    let update = |expected| Write::Update {
        document: document("mesh/m", json!({})),
        token: None,
        expected: Some(expected),
        at: 2000,
    };
    let stale = |expected, found| Refusal::Version { key: key("mesh/m"), expected, found };
    assert_eq!(refusal(&store, update(2)).await, stale(2, 1));
    assert_eq!(store.write(update(1)).await.unwrap().metadata.version, 2);
    assert_eq!(refusal(&store, update(1)).await, stale(1, 2));
    let delete = |expected| Write::Delete { key: key("mesh/m"), expected: Some(expected), at: 3000 };
    assert_eq!(refusal(&store, delete(1)).await, stale(1, 2));
    store.write(delete(2)).await.unwrap();
}

async fn a_list_is_in_the_order_of_names_and_goes_on_after_any_name(store: AnyStore) {
    store.write(creation("mesh/m", json!({}))).await.unwrap();
    for name in ["d", "a", "c", "b"] {
        store.write(creation(&format!("mesh/m/virtualNode/{name}"), json!({}))).await.unwrap();
    }
    let nodes = Collection::VirtualNodes("m".parse().unwrap());
    let names = async |after, limit| {
        let found = store.list(&nodes, after, limit).await.unwrap();
        found.iter().map(|found| found.document.key().name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 100).await, ["a", "b", "c", "d"]);
    assert_eq!(names(None, 2).await, ["a", "b"]);
    assert_eq!(names(Some("b"), 2).await, ["c", "d"]);
    assert_eq!(names(Some("bb"), 100).await, ["c", "d"]);
    assert!(names(Some("d"), 100).await.is_empty());
    let routers = Collection::VirtualRouters("m".parse().unwrap());
    assert_eq!(store.list(&routers, None, 100).await.unwrap().len(), 0);
    let elsewhere = Collection::VirtualNodes("n".parse().unwrap());
    let missing = StoreError::Refused(Refusal::Missing(key("mesh/n")));
    assert_eq!(store.list(&elsewhere, None, 100).await.unwrap_err(), missing);
}

async fn the_model_follows_every_write(store: AnyStore) {
    let mut models = store.subscribe();
    furnish(&store).await;
    let model = models.borrow_and_update().clone();
    assert_eq!(model.revision, 6);
    let mesh = &model.meshes[&"m".parse().unwrap()];
    let (a, r, x) = ("a".parse().unwrap(), "r".parse().unwrap(), "x".parse().unwrap());
    let Spec::VirtualNode(parsed) = document("mesh/m/virtualNode/a", node(&[80])).spec().clone() else {
        panic!()
    };
    assert_eq!(mesh.virtual_nodes[&a], parsed);
    assert_eq!(mesh.virtual_routers[&r].routes[&x].targets[0].virtual_node, a);
    assert!(mesh.virtual_services.contains_key("s.local"));
    // The router keeps its routes when its listeners change, and whoever holds the old model keeps it.
    store.write(update("mesh/m/virtualRouter/r", router(&[81]))).await.unwrap();
    assert!(models.has_changed().unwrap());
    let later = models.borrow_and_update().clone();
    let changed = &later.meshes[&"m".parse().unwrap()].virtual_routers[&r];
    assert_eq!((changed.listeners[0].port.get(), changed.routes.len()), (81, 1));
    assert_eq!(mesh.virtual_routers[&r].listeners[0].port.get(), 80);
    store.write(deletion("mesh/m/virtualRouter/r/route/x")).await.unwrap();
    assert!(models.borrow().meshes[&"m".parse().unwrap()].virtual_routers[&r].routes.is_empty());
    assert_eq!(models.borrow().revision, 8);
}

async fn a_clock_that_goes_back_makes_nothing_older_than_it_is(store: AnyStore) {
    let mut create = creation("mesh/m", json!({}));
    if let Write::Create { at, .. } = &mut create {
        *at = 5000;
    }
    store.write(create).await.unwrap();
    let updated = store.write(update("mesh/m", json!({}))).await.unwrap();
    assert_eq!((updated.metadata.created_at, updated.metadata.updated_at), (5000, 5000));
}

async fn of_racing_updates_that_expect_one_version_one_wins(store: AnyStore) {
    store.write(creation("mesh/m", json!({}))).await.unwrap();
    let mut racers = JoinSet::new();
    for _ in 0..32 {
        let write = Write::Update {
            document: document("mesh/m", json!({})),
            token: None,
            expected: Some(1),
            at: 2000,
        };
        let store = store.clone();
        racers.spawn(async move { store.write(write).await.is_ok() });
    }
    assert_eq!(racers.join_all().await.into_iter().filter(|won| *won).count(), 1);
    assert_eq!(store.get(&key("mesh/m")).await.unwrap().metadata.version, 2);
}

/// A write out of a small world, so that names meet.
fn any_write() -> impl Strategy<Value = Write> {
    let name = || prop::sample::select(vec!["a", "b"]);
    let ports = || prop::sample::select(vec![vec![80], vec![80, 81], vec![]]);
    let mesh = name().prop_map(|mesh| format!("mesh/{mesh}"));
    let place =
        (mesh, name(), name(), 0..5, ports(), 0..3).prop_map(|(mesh, name, other, kind, ports, action)| {
            let (place, spec) = match kind {
                0 => (mesh, json!({})),
                1 => (format!("{mesh}/virtualNode/{name}"), node(&ports)),
                2 => (format!("{mesh}/virtualRouter/{name}"), router(&ports)),
                3 => {
                    let spec = json!({"provider": {"virtualRouter": {"virtualRouterName": other}}});
                    (format!("{mesh}/virtualService/{name}"), spec)
                }
                _ => (format!("{mesh}/virtualRouter/{name}/route/{other}"), route(other)),
            };
            match action {
                0 => creation(&place, spec),
                1 => update(&place, spec),
                _ => deletion(&place),
            }
        });
    place.boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn after_any_writes_both_back_ends_agree_and_a_reopened_one_is_the_same(
        writes in prop::collection::vec(any_write(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let memory = MemoryStore::default();
        let durable = open(folder.path());
        runtime.block_on(async {
            for write in writes {
                let [one, other] = [memory.write(write.clone()).await, durable.write(write).await];
                prop_assert_eq!(one.map(|found| found.metadata.clone()), other.map(|found| found.metadata.clone()));
            }
            prop_assert_eq!(model(&memory), model(&durable));
            Ok(())
        })?;
        drop(durable);
        let reopened = open(folder.path());
        prop_assert_eq!(model(&memory), model(&reopened));
        check_nothing_dangles(&model(&memory));
    }
}

//! A mesh in which some nodes call one that changes, and others do not.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::{Value, json};
use signet_controlplane::{
    discovery::{Discovery, InstanceKey, Registry},
    model::{Document, Tags, key::Key},
    store::{SledStore, Store, Write},
};
use tokio::task::JoinSet;
use uuid::Uuid;

/// What changes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// The health check of a node that is called.
    Node,
    /// The address of an instance of another one.
    Instance,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "one changed node",
            Self::Instance => "one changed instance",
        })
    }
}

/// Writers at once while a mesh is made.
const WRITERS: usize = 64;

pub(super) fn caller(number: usize) -> String {
    format!("caller-{number:05}")
}

fn node(name: &str) -> Key {
    format!("mesh/m/virtualNode/{name}").parse().unwrap()
}

fn document(key: Key, spec: Value) -> Document {
    Document::parse(key, spec).unwrap()
}

/// A node that is called, the `round`th time that it changes.
fn called(round: usize) -> Value {
    json!({
        "listeners": [{
            "portMapping": {"port": 8080, "protocol": "http"},
            "healthCheck": {
                "protocol": "http", "path": format!("/health/{round}"), "healthyThreshold": 2,
                "unhealthyThreshold": 2, "intervalMillis": 5000, "timeoutMillis": 2000,
            },
        }],
        "serviceDiscovery": {"dns": {"hostname": "server.local"}},
    })
}

fn found(service: &str) -> Value {
    json!({
        "listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}],
        "serviceDiscovery": {"awsCloudMap": {"namespaceName": "ns", "serviceName": service}},
    })
}

fn provided_by(node: &str) -> Value {
    json!({"provider": {"virtualNode": {"virtualNodeName": node}}})
}

fn calling() -> Value {
    let backend = |name: &str| json!({"virtualService": {"virtualServiceName": name}});
    json!({"backends": [backend("server.svc"), backend("found.svc")]})
}

async fn create(store: &SledStore, key: Key, spec: Value) {
    let document = document(key, spec);
    let write = Write::Create { document, tags: Tags::default(), token: None, uid: Uuid::new_v4(), at: 0 };
    store.write(write).await.map(drop).unwrap();
}

/// Makes the mesh: so many nodes that nobody calls, each with an instance, and so many callers.
pub(super) async fn furnish(store: &Arc<SledStore>, registry: &Arc<Registry>, others: usize, callers: usize) {
    create(store, "mesh/m".parse().unwrap(), json!({})).await;
    create(store, node("server"), called(0)).await;
    create(store, node("found"), found("found")).await;
    for (service, node) in [("server.svc", "server"), ("found.svc", "found")] {
        create(store, format!("mesh/m/virtualService/{service}").parse().unwrap(), provided_by(node)).await;
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, registry) = (Arc::clone(store), Arc::clone(registry));
        writers.spawn(async move {
            for number in (writer..others).step_by(WRITERS) {
                let name = format!("other-{number:05}");
                create(&store, node(&name), found(&name)).await;
                register(&registry, &name, number).await;
            }
            for number in (writer..callers).step_by(WRITERS) {
                create(&store, node(&caller(number)), calling()).await;
            }
        });
    }
    writers.join_all().await;
    register(registry, "found", 0).await;
}

/// Puts a service's one instance at another address.
pub(super) async fn register(registry: &Registry, service: &str, round: usize) {
    let key = InstanceKey::new("ns", service, "i").unwrap();
    let address = format!("10.{}.{}.{}", round >> 16 & 255, round >> 8 & 255, round & 255);
    let attributes = BTreeMap::from([("AWS_INSTANCE_IPV4".to_owned(), address)]);
    registry.register(key, attributes, 0).await.map(drop).unwrap();
}

/// Another spec for the node that is called.
pub(super) fn update(round: usize) -> Write {
    Write::Update { document: document(node("server"), called(round)), token: None, expected: None, at: 0 }
}

/// A write of the same size that concerns nobody.
pub(super) fn aside(round: usize) -> Write {
    Write::Update {
        document: document(node("other-00000"), called(round)),
        token: None,
        expected: None,
        at: 0,
    }
}

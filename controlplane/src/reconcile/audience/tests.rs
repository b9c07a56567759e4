//! What is said to be untouched must come out of translation as before, whatever else is written.

use std::sync::Arc;

use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};
use signet_policies::identity::WorkloadKind;
use signet_xds::Snapshot;

use super::*;
use crate::{
    discovery::Instances,
    model::{Deed, Document, Mesh, Spec},
    translate::{Forge, Given, InForce, Interception, Proxy},
};

const NODES: usize = 6;
const SERVICES: usize = 4;
const ROUTERS: usize = 3;
const GATEWAYS: usize = 2;

/// A write to the mesh: a key, and a spec or nothing for a deletion.
type Write = (Key, Option<Value>);

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn node() -> impl Strategy<Value = Write> {
    let discovered = 0..3u8;
    (0..NODES, 8080..8083u16, proptest::collection::vec(0..SERVICES, 0..3), any::<bool>(), discovered)
        .prop_map(|(number, port, backends, is_deleted, discovered)| {
            let backends: Vec<Value> = backends
                .iter()
                .map(|service| json!({"virtualService": {"virtualServiceName": format!("s{service}.local")}}))
                .collect();
            let spec = json!({
                "listeners": [{"portMapping": {"port": port, "protocol": "http"}}],
                "serviceDiscovery": match discovered {
                    0 => json!({"awsCloudMap": {"namespaceName": "ns", "serviceName": format!("n{number}")}}),
                    _ => json!({"dns": {"hostname": format!("n{number}-{discovered}.local")}}),
                },
                "backends": backends,
            });
            let key = Key::VirtualNode { mesh: name("m"), name: name(&format!("n{number}")) };
            (key, (!is_deleted).then_some(spec))
        })
}

fn service() -> impl Strategy<Value = Write> {
    (0..SERVICES, 0..NODES, 0..ROUTERS, 0..4u8).prop_map(|(number, node, router, provider)| {
        let spec = match provider {
            0 => Some(json!({"provider": {"virtualNode": {"virtualNodeName": format!("n{node}")}}})),
            1 | 2 => {
                Some(json!({"provider": {"virtualRouter": {"virtualRouterName": format!("r{router}")}}}))
            }
            _ => None,
        };
        (Key::VirtualService { mesh: name("m"), name: name(&format!("s{number}.local")) }, spec)
    })
}

fn router() -> impl Strategy<Value = Write> {
    (0..ROUTERS, 8080..8083u16).prop_map(|(number, port)| {
        let spec = json!({"listeners": [{"portMapping": {"port": port, "protocol": "http"}}]});
        (Key::VirtualRouter { mesh: name("m"), name: name(&format!("r{number}")) }, Some(spec))
    })
}

fn route() -> impl Strategy<Value = Write> {
    let targets = proptest::collection::btree_map(0..NODES, 1..30u8, 1..3);
    (0..ROUTERS, 0..2usize, targets).prop_map(|(router, number, targets)| {
        let targets: Vec<Value> = targets
            .iter()
            .map(|(node, weight)| json!({"virtualNode": format!("n{node}"), "weight": weight}))
            .collect();
        let spec = json!({"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": targets}}});
        let (router, name) = (name(&format!("r{router}")), name(&format!("route{number}")));
        (Key::Route { mesh: name_of_mesh(), router, name }, Some(spec))
    })
}

fn gateway() -> impl Strategy<Value = Write> {
    (0..GATEWAYS, 9080..9082u16).prop_map(|(number, port)| {
        let spec = json!({"listeners": [{"portMapping": {"port": port, "protocol": "http"}}]});
        (Key::VirtualGateway { mesh: name("m"), name: name(&format!("g{number}")) }, Some(spec))
    })
}

fn gateway_route() -> impl Strategy<Value = Write> {
    (0..GATEWAYS, 0..2usize, 0..SERVICES).prop_map(|(gateway, number, service)| {
        let target = json!({"virtualService": {"virtualServiceName": format!("s{service}.local")}});
        let route = json!({"match": {"prefix": "/"}, "action": {"target": target}});
        let (gateway, name) = (name(&format!("g{gateway}")), name(&format!("route{number}")));
        (Key::GatewayRoute { mesh: name_of_mesh(), gateway, name }, Some(json!({"httpRoute": route})))
    })
}

fn name_of_mesh() -> ResourceName {
    name("m")
}

/// Makes the write, as the store does.
fn apply(model: &mut Model, (key, spec): Write) {
    model.revision += 1;
    let deed = if spec.is_some() { Deed::Update } else { Deed::Delete };
    model.changes.push(Written { revision: model.revision, key: key.clone(), deed, by: None, at: 0 });
    let mesh: &mut Mesh = Arc::make_mut(model.meshes.entry(name("m")).or_default());
    let spec = spec.map(|spec| Document::parse(key.clone(), spec).unwrap().spec().clone());
    match (key, spec) {
        (Key::VirtualNode { name, .. }, Some(Spec::VirtualNode(node))) => {
            mesh.virtual_nodes.insert(name, node)
        }
        (Key::VirtualNode { name, .. }, None) => drop(mesh.virtual_nodes.remove(&name)),
        (Key::VirtualService { name, .. }, Some(Spec::VirtualService(service))) => {
            mesh.virtual_services.insert(name, service);
        }
        (Key::VirtualService { name, .. }, None) => drop(mesh.virtual_services.remove(name.as_str())),
        (Key::VirtualRouter { name, .. }, Some(Spec::VirtualRouter(router))) => {
            mesh.virtual_routers.edit(&name, |edited| edited.listeners.clone_from(&router.listeners));
        }
        (Key::Route { router, name, .. }, Some(Spec::Route(route))) => {
            mesh.virtual_routers.edit(&router, |edited| drop(edited.routes.insert(name, route)));
        }
        (Key::VirtualGateway { name, .. }, Some(Spec::VirtualGateway(gateway))) => {
            mesh.virtual_gateways.edit(&name, |edited| edited.listeners.clone_from(&gateway.listeners));
        }
        (Key::GatewayRoute { gateway, name, .. }, Some(Spec::GatewayRoute(route))) => {
            mesh.virtual_gateways.edit(&gateway, |edited| drop(edited.routes.insert(name, route)));
        }
        other => panic!("{other:?}"),
    }
}

fn snapshots(model: &Model, workload: &Workload) -> [Snapshot; 2] {
    proxies(workload).map(|proxy| given(model, |given| given.snapshot(&proxy, &mut Forge::default())))
}

/// What the workload's proxies are told after a change, made from what they were told before; nothing where that is not
/// possible.
fn patched(before: &Model, model: &Model, touched: &Touched, workload: &Workload) -> [Option<Snapshot>; 2] {
    proxies(workload).map(|proxy| {
        let nodes = touched.nodes(&workload.mesh).filter(|_| !touched.has(workload))?;
        let old = given(before, |given| given.snapshot(&proxy, &mut Forge::default()));
        let elsewhere = touched.may_lead_elsewhere(workload);
        given(model, |given| {
            let since = given.since(before, &workload.mesh, nodes, elsewhere)?;
            given.scope(&proxy)?.patch(&old, &since, &mut Forge::default())
        })
    })
}

fn given<T>(model: &Model, then: impl FnOnce(Given<'_>) -> T) -> T {
    let (in_force, instances, trust_domain) = (InForce::default(), Instances::default(), name("td"));
    then(Given { model, in_force: &in_force, instances: &instances, trust_domain: &trust_domain })
}

fn proxies(workload: &Workload) -> [Proxy; 2] {
    let redirected = Interception::Redirected { ingress_port: 15000.try_into().unwrap() };
    [Interception::None, redirected].map(|interception| Proxy {
        workload: workload.clone(),
        interception,
        ingress_address: [127, 0, 0, 9].into(),
        egress_port: 15001.try_into().unwrap(),
    })
}

fn workloads() -> Vec<Workload> {
    let workload = |kind, text: String| Workload { mesh: name("m"), kind, name: name(&text) };
    let nodes = (0..NODES).map(|number| workload(WorkloadKind::VirtualNode, format!("n{number}")));
    let gateways = (0..GATEWAYS).map(|number| workload(WorkloadKind::VirtualGateway, format!("g{number}")));
    nodes.chain(gateways).collect()
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let write = prop_oneof![
        4 => node(), 2 => service(), 1 => router(), 2 => route(), 1 => gateway(), 1 => gateway_route()
    ];
    proptest::collection::vec(write, 1..60)
}

/// Makes a write, and says what it touches.
fn write(model: &mut Model, write: Write) -> Touched {
    let before = model.revision;
    apply(model, write);
    let mut touched = Touched::default();
    let keys = model.changes.between(before, model.revision).unwrap();
    keys.into_iter().for_each(|key| touched.add(key));
    touched
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn whoever_is_not_concerned_by_a_write_is_told_the_same_as_before(
        writes in writes(),
        half in any::<Index>(),
    ) {
        let mut model = Model::default();
        let (mut audience, mut spared) = (Audience::default(), 0);
        for (number, next) in writes.iter().enumerate() {
            let before = model.clone();
            let touched = write(&mut model, next.clone());
            let concerned = audience.of(&touched);
            for workload in &workloads() {
                if concerned.contains_key(workload) || number == 0 {
                    if number == 0 || touched.may_lead_elsewhere(workload) {
                        audience.note(&model, workload);
                    }
                } else {
                    spared += 1;
                    prop_assert_eq!(
                        snapshots(&before, workload), snapshots(&model, workload), "{} by {:?}", workload, next
                    );
                }
            }
            if number == half.index(writes.len()) {
                audience.keep(|_| true, 0);
            }
        }
        prop_assert!(writes.len() < 30 || spared > 0, "everybody is always concerned");
    }

    #[test]
    fn what_is_made_from_what_was_told_before_is_what_would_be_made_anew(writes in writes()) {
        let mut model = Model::default();
        for next in writes {
            let before = model.clone();
            let touched = write(&mut model, next.clone());
            for workload in &workloads() {
                let patched = patched(&before, &model, &touched, workload);
                for (patched, anew) in patched.into_iter().zip(snapshots(&model, workload)) {
                    prop_assert!(patched.is_none_or(|patched| patched == anew), "{} by {:?}", workload, next);
                }
            }
        }
    }
}

#[test]
fn whom_several_writes_concern_is_told_because_of_all_of_them() {
    let mut model = Model::default();
    let node = |number: usize, backends: Value| {
        let key = Key::VirtualNode { mesh: name("m"), name: name(&format!("n{number}")) };
        (key, Some(json!({"backends": backends})))
    };
    let provided = json!({"provider": {"virtualNode": {"virtualNodeName": "n0"}}});
    let service = (Key::VirtualService { mesh: name("m"), name: name("s0.local") }, Some(provided));
    let calls = json!([{"virtualService": {"virtualServiceName": "s0.local"}}]);
    let writes = [node(0, json!([])), service, node(1, calls), node(2, json!([]))];
    let mut touched = Touched::default();
    for next in writes {
        let before = model.revision;
        apply(&mut model, next);
        let writes = model.changes.between(before, model.revision).unwrap();
        writes.into_iter().for_each(|write| touched.add(write));
    }
    let mut audience = Audience::default();
    workloads().iter().for_each(|workload| audience.note(&model, workload));
    let revisions = |touched: &Touched| {
        let of = audience.of(touched).into_iter();
        let revisions = |writes: &Writes| writes.iter().map(|write| write.revision).collect::<Vec<_>>();
        of.map(|(workload, writes)| (workload.name.to_string(), revisions(&writes))).collect::<Vec<_>>()
    };
    let expected = [("n0", vec![1]), ("n1", vec![1, 3, 2]), ("n2", vec![4])];
    assert_eq!(revisions(&touched), expected.map(|(name, writes)| (name.to_owned(), writes)));
    // A mesh that changed as a whole concerns everybody in it as well.
    touched.add_mesh(&name("m"));
    assert_eq!(revisions(&touched).len(), NODES + GATEWAYS);
}

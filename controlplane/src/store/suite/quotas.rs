use super::*;

/// Runs each test on every back end, within some bounds.
macro_rules! within {
    ($($test:ident: $quotas:expr;)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(std::sync::Arc::new(super::MemoryStore::new(super::quotas($quotas)))).await;
            })*
        }
        mod sled {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let folder = tempfile::tempdir().unwrap();
                super::$test(std::sync::Arc::new(super::open_within(folder.path(), super::quotas($quotas)))).await;
            })*
        }
    };
}

within! {
    one_resource_more_than_a_quota_is_refused_until_one_is_gone: &[
        "meshes=1", "virtual-nodes-per-mesh=2", "virtual-services-per-mesh=1", "virtual-routers-per-mesh=1",
        "routes-per-virtual-router=1", "virtual-gateways-per-mesh=1", "gateway-routes-per-virtual-gateway=1",
    ];
    what_a_spec_and_its_tags_hold_is_bounded: &[
        "backends-per-virtual-node=1", "weighted-targets-per-route=1", "tags-per-resource=2",
    ];
    sixty_four_racing_callers_never_exceed_a_quota: &["virtual-nodes-per-mesh=10"];
}

fn quotas(texts: &[&str]) -> Quotas {
    let mut quotas = Quotas::default();
    texts.iter().for_each(|text| quotas.set(text).unwrap());
    quotas
}

fn exceeded(at: &str, quota: Quota, limit: usize) -> Refusal {
    Refusal::Quota { key: key(at), quota, limit }
}

async fn one_resource_more_than_a_quota_is_refused_until_one_is_gone(store: AnyStore) {
    furnish(&store).await;
    store.write(creation(GATEWAY, gateway(&[80]))).await.unwrap();
    let x = "mesh/m/virtualGateway/g/gatewayRoute/x";
    store.write(creation(x, gateway_route("s.local"))).await.unwrap();
    let more = [
        ("mesh/n", json!({}), Quota::Meshes, 1),
        ("mesh/m/virtualNode/c", node(&[80]), Quota::VirtualNodesPerMesh, 2),
        ("mesh/m/virtualService/t", json!({}), Quota::VirtualServicesPerMesh, 1),
        ("mesh/m/virtualRouter/q", router(&[80]), Quota::VirtualRoutersPerMesh, 1),
        ("mesh/m/virtualRouter/r/route/y", route("a"), Quota::RoutesPerVirtualRouter, 1),
        ("mesh/m/virtualGateway/h", gateway(&[80]), Quota::VirtualGatewaysPerMesh, 1),
        (
            "mesh/m/virtualGateway/g/gatewayRoute/y",
            gateway_route("s.local"),
            Quota::GatewayRoutesPerVirtualGateway,
            1,
        ),
    ];
    for (at, spec, quota, limit) in more {
        assert_eq!(refusal(&store, creation(at, spec)).await, exceeded(at, quota, limit));
    }
    store.write(deletion("mesh/m/virtualNode/b")).await.unwrap();
    store.write(creation("mesh/m/virtualNode/c", node(&[80]))).await.unwrap();
    store.write(update("mesh/m/virtualNode/c", node(&[81]))).await.unwrap();
}

async fn what_a_spec_and_its_tags_hold_is_bounded(store: AnyStore) {
    furnish(&store).await;
    let calling = |services: &[&str]| {
        let backend = |name: &&str| json!({"virtualService": {"virtualServiceName": name}});
        let mut spec = node(&[80]);
        spec["backends"] = services.iter().map(backend).collect();
        spec
    };
    let a = "mesh/m/virtualNode/a";
    store.write(update(a, calling(&["s"]))).await.unwrap();
    let refused = refusal(&store, update(a, calling(&["s", "t"]))).await;
    assert_eq!(refused, exceeded(a, Quota::BackendsPerVirtualNode, 1));
    let x = "mesh/m/virtualRouter/r/route/x";
    let mut split = route("a");
    let targets = json!([{"virtualNode": "a", "weight": 1}, {"virtualNode": "b", "weight": 1}]);
    split["httpRoute"]["action"]["weightedTargets"] = targets;
    assert_eq!(refusal(&store, update(x, split)).await, exceeded(x, Quota::WeightedTargetsPerRoute, 1));
    let tagging = |names: &[&str]| {
        let tags = names.iter().map(|name| (*name, "")).collect();
        Write::Tag { key: key(a), tags }
    };
    store.write(tagging(&["a"])).await.unwrap();
    assert_eq!(refusal(&store, tagging(&["b", "c"])).await, exceeded(a, Quota::TagsPerResource, 2));
    store.write(tagging(&["a", "b"])).await.unwrap();
}

async fn sixty_four_racing_callers_never_exceed_a_quota(store: AnyStore) {
    store.write(creation("mesh/m", json!({}))).await.unwrap();
    let mut racers = JoinSet::new();
    for racer in 0..64 {
        let (store, write) = (store.clone(), creation(&format!("mesh/m/virtualNode/n{racer}"), node(&[80])));
        racers.spawn(async move { store.write(write).await.is_ok() });
    }
    assert_eq!(racers.join_all().await.into_iter().filter(|won| *won).count(), 10);
    assert_eq!(model(&*store).meshes[&"m".parse().unwrap()].virtual_nodes.len(), 10);
}

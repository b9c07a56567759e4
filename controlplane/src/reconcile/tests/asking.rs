//! What a proxy has not asked for yet it does not run.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_proxy_that_has_asked_for_its_clusters_alone_is_not_synced_though_it_took_them() {
    let mut world = World::new(Mode::Disabled);
    world.join("server", proxy("server", 1)).await;
    let half = Envoy::asking(&world.proxies, proxy("client", 2), &[ResourceType::Cluster]);
    world.envoys.insert("client", half);
    world.pass(seconds(5)).await;
    assert_eq!(world.in_force("server", "client"), ("plaintext".into(), "plaintext"), "it took them");
    let listed = world.proxies.list();
    let of = |name: &str| listed.iter().find(|it| it.workload.ends_with(name)).map(|it| it.status);
    assert_eq!((of("/server"), of("/client")), (Some(ProxyState::Synced), Some(ProxyState::Pending)));
}

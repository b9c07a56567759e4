//! Connections that are to be renewed.

use super::*;

/// Versions of what a proxy wants, by resource.
fn versions(world: &World, name: &str) -> BTreeMap<(String, String), String> {
    let workload = Workload::virtual_node("m", name).unwrap();
    let [detail] = &world.proxies.details(&workload)[..] else { panic!("one proxy of {name}") };
    let shown = detail.resources.iter();
    shown.map(|shown| ((shown.kind.clone(), shown.name.clone()), shown.wanted.clone().unwrap())).collect()
}

fn changed(world: &World, before: [BTreeMap<(String, String), String>; 2]) -> Vec<String> {
    let mut changed = Vec::new();
    for (name, before) in ["server", "client"].into_iter().zip(before) {
        for (key, version) in versions(world, name) {
            if before[&key] != version {
                changed.push(format!("{name}: {}", key.1));
            }
        }
    }
    changed
}

#[tokio::test(start_paused = true)]
async fn a_revoked_server_moves_the_connections_to_it_and_no_others() {
    let mut world = World::peopled(Mode::Strict).await;
    let before = ["server", "client"].map(|name| versions(&world, name));
    let to_servers = BTreeMap::from([(Workload::virtual_node("m", "server").unwrap(), 7)]);
    world.generations.send_replace(Arc::new(Generations { verified_clients: 0, to_servers }));
    world.pass(seconds(1)).await;
    assert_eq!(changed(&world, before.clone()), [format!("client: {CLUSTER}")]);
    world.generations.send_replace(Arc::default());
    world.pass(seconds(1)).await;
    assert!(changed(&world, before).is_empty(), "equal content has equal versions");
}

#[tokio::test(start_paused = true)]
async fn a_revoked_client_moves_those_connections_whose_clients_were_verified() {
    for (validation, expected) in
        [(None, vec![]), (Some(validation()), vec!["server: lds_ingress_127.0.0.1_8080".to_owned()])]
    {
        let mut verifying = mesh(Mode::Strict);
        let server: ResourceName = "server".parse().unwrap();
        let mut node = VirtualNode::clone(&verifying.virtual_nodes[&server]);
        node.listeners[0].tls.as_mut().unwrap().validation = validation;
        verifying.virtual_nodes.insert(server, node.into());
        let mut world = World::peopled(Mode::Strict).await;
        world.model.send_replace(model(verifying));
        world.pass(seconds(5)).await;
        let before = ["server", "client"].map(|name| versions(&world, name));
        let generations = Generations { verified_clients: 3, ..Generations::default() };
        world.generations.send_replace(Arc::new(generations));
        world.pass(seconds(1)).await;
        assert_eq!(world.proxies.generation(), 3);
        assert_eq!(changed(&world, before), expected);
    }
}

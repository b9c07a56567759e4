//! What a change costs does not grow with the number of proxies that are told of it.

use signet_policies::identity::ResourceName;
use signet_xds::Resource;

use super::*;
use crate::{
    discovery::{Attributes, Health, Instance, InstanceKey},
    model::{Changes, Deed, HealthCheck, Written},
};

/// A mesh in which so many nodes call `server`, which is found by DNS or by its name in the registry.
fn callers(count: usize, mode: Mode, discovery: Option<Discovery>, changed: bool) -> Mesh {
    let mut mesh = mesh(mode);
    let client = Arc::clone(&mesh.virtual_nodes[&"client".parse::<ResourceName>().unwrap()]);
    for number in 0..count {
        mesh.virtual_nodes.insert(caller(number).parse().unwrap(), Arc::clone(&client));
    }
    mesh.virtual_nodes.edit(&"server".parse().unwrap(), |server| {
        server.discovery = discovery.or(server.discovery.take());
        let timeout = Duration::from_secs(2);
        server.listeners[0].health_check = changed.then(|| HealthCheck {
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            timeout,
            interval: timeout * 3,
            protocol: Protocol::Http,
            port: PORT.try_into().unwrap(),
            path: Some("/".into()),
        });
    });
    mesh
}

fn caller(number: usize) -> String {
    format!("client-{number}")
}

/// Connects so many callers, each a node of its own, and lets everything settle.
async fn connected(world: &mut World, count: usize) {
    for number in 0..count {
        let name: &'static str = caller(number).leak();
        let proxy = Proxy { ingress_address: [127, 1, 0, 1].into(), ..proxy(name, 1) };
        world.envoys.insert(name, Envoy::connect(&world.proxies, proxy));
    }
    world.idle().await;
}

/// A resource as every caller is told of it, once.
fn told(world: &World, kind: ResourceType) -> Vec<Resource> {
    let mut told: Vec<Resource> = Vec::new();
    world.proxies.look(|entries| {
        for (_, entry) in entries {
            let resource = entry.wanted().and_then(|it| it.get(kind, CLUSTER)).expect("a resource");
            if !told.iter().any(|known| known.is_same(resource)) {
                told.push(resource.clone());
            }
        }
    });
    told
}

/// Whether what all callers are told of a kind is the very same in memory.
fn is_shared(world: &World, kind: ResourceType) -> bool {
    let all =
        world.proxies.look(|entries| entries.filter_map(|(_, it)| it.wanted().cloned()).collect::<Vec<_>>());
    all.windows(2).all(|pair| pair[0].shares(kind, &pair[1]))
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_node_is_encoded_once_for_all_who_call_it() {
    for count in [1, 40] {
        let mut world = World::new(Mode::Strict);
        world.model.send_replace(model(callers(count, Mode::Strict, None, false)));
        connected(&mut world, count).await;
        let [before] = &told(&world, ResourceType::Cluster)[..] else { panic!("it is one in memory") };
        assert!(is_shared(&world, ResourceType::Cluster), "{count} callers");
        let (before, encoded) = (before.version().to_owned(), world.proxies.encoded());
        let changed = model(callers(count, Mode::Strict, None, true));
        let mut changes = Changes::default();
        let key = "mesh/m/virtualNode/server".parse().unwrap();
        changes.push(Written { revision: 2, key, deed: Deed::Update, by: None, at: 0 });
        world.model.send_replace(Arc::new(Model { revision: 2, changes, ..Model::clone(&changed) }));
        world.idle().await;
        let after = told(&world, ResourceType::Cluster);
        assert!(after.len() == 1 && after[0].version() != before, "{count} callers: {after:?}");
        assert!(is_shared(&world, ResourceType::Cluster), "{count} callers");
        assert_eq!(world.proxies.encoded() - encoded, 1, "{count} callers");
        assert!(world.proxies.list().iter().all(|it| it.status == ProxyState::Synced), "{count} callers");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_instances_is_encoded_once_for_all_who_call_them() {
    for count in [1, 40] {
        let (sender, seen) = watch::channel(Arc::new(Instances::default()));
        let mut world = World::start(Mode::Strict, Notes::default(), seen);
        let discovery = Discovery::CloudMap {
            namespace: "ns".into(),
            service: "server".into(),
            attributes: BTreeMap::new(),
            ip_preference: None,
        };
        world.model.send_replace(model(callers(count, Mode::Strict, Some(discovery), false)));
        connected(&mut world, count).await;
        let encoded = world.proxies.encoded();
        let of_their_own = 2 * u64::try_from(count).unwrap();
        assert_eq!(
            encoded,
            of_their_own + 2,
            "a listener and routes each, one cluster and its endpoints for all"
        );
        let mut instances = Instances::default();
        let attributes = BTreeMap::from([("AWS_INSTANCE_IPV4".to_owned(), "127.0.0.9".to_owned())]);
        let attributes = Attributes::parse(attributes).unwrap();
        let instance = Instance { attributes, health: Health::Healthy, registered_at: 0 };
        let key = InstanceKey::new("ns", "server", "i").unwrap();
        instances.insert(&key, instance);
        sender.send_replace(Arc::new(instances));
        world.idle().await;
        assert_eq!(told(&world, ResourceType::Endpoint).len(), 1, "{count} callers: it is one in memory");
        assert_eq!(world.proxies.encoded() - encoded, 1, "{count} callers");
    }
}

//! A port whose callers' policies enforce TLS keeps it, whatever its spec says.

use signet_policies::identity::ResourceName;

use super::*;
use crate::model::{ClientPolicy, ClientTls};

/// A mesh in which the client enforces TLS.
fn enforcing(mode: Mode) -> Mesh {
    let mut mesh = mesh(mode);
    let tls = ClientTls { enforce: true, ports: Vec::new(), certificate: None, validation: validation() };
    let policy = ClientPolicy { tls: Some(tls) };
    mesh.virtual_nodes.edit(&"client".parse().unwrap(), |client| client.client_policy = Some(policy));
    mesh
}

#[tokio::test(start_paused = true)]
async fn tls_is_kept_for_as_long_as_a_caller_enforces_it() {
    let mut world = World::peopled(Mode::Strict).await;
    world.model.send_replace(model(enforcing(Mode::Strict)));
    world.pass(seconds(5)).await;
    world.model.send_replace(model(enforcing(Mode::Disabled)));
    world.pass(seconds(60)).await;
    assert_eq!(world.in_force("server", "client"), ("tls+plaintext".into(), "tls"));
    let waits = "mesh/m/virtualNode/client, whose client policy enforces TLS";
    assert!(world.view().waiting_for.iter().any(|one| one == waits), "{:?}", world.view());
    world.set(Mode::Disabled);
    world.pass(seconds(20)).await;
    assert_eq!(world.in_force("server", "client"), ("plaintext".into(), "plaintext"));
    assert!(world.view().settled);
}

/// In which these clients call the server, each enforcing TLS or not.
fn called_by(callers: &[(&str, bool)], mode: Mode) -> Mesh {
    let mut mesh = enforcing(mode);
    let client = Arc::clone(&mesh.virtual_nodes[&"client".parse::<ResourceName>().unwrap()]);
    for name in ["client", "second"] {
        let mut node = VirtualNode::clone(&client);
        match callers.iter().find(|(caller, _)| *caller == name) {
            Some((_, true)) => {}
            Some((_, false)) => node.client_policy = None,
            None => node.backends.clear(),
        }
        mesh.virtual_nodes.insert(name.parse().unwrap(), node.into());
    }
    mesh
}

/// A server that is to take plaintext alone, and takes TLS too because its one caller enforces it.
async fn held_up() -> World {
    let mut world = World::new(Mode::Strict);
    world.model.send_replace(model(called_by(&[("client", true)], Mode::Strict)));
    for (address, name) in (1..).zip(["server", "client", "second"]) {
        world.join(name, proxy(name, address)).await;
    }
    world.model.send_replace(model(called_by(&[("client", true)], Mode::Disabled)));
    world.pass(seconds(20)).await;
    assert_eq!(world.in_force("server", "client"), ("tls+plaintext".into(), "tls"));
    world
}

#[tokio::test(start_paused = true)]
async fn tls_is_kept_after_a_restart_until_those_who_may_enforce_it_have_had_the_time_to_come_back() {
    let (memory, envoys) = held_up().await.killed().await;
    let mut world = World::with_memory(Mode::Disabled, memory);
    world.model.send_replace(model(called_by(&[("client", true)], Mode::Disabled)));
    world.envoys = envoys;
    let proxies = Arc::clone(&world.proxies);
    world.envoy("server").reconnect(&proxies);
    world.pass(seconds(8)).await;
    assert_eq!(world.envoys["server"].accepts(PORT), "tls+plaintext");
    assert_eq!(world.view().waiting_for, ["whoever was connected before the restart"]);
    world.envoy("client").reconnect(&proxies);
    world.pass(seconds(20)).await;
    assert_eq!(world.in_force("server", "client"), ("tls+plaintext".into(), "tls"));
    assert_eq!(world.view().waiting_for, ["mesh/m/virtualNode/client, whose client policy enforces TLS"]);
}

#[tokio::test(start_paused = true)]
async fn tls_is_kept_when_another_caller_enforces_it_from_the_moment_on_when_the_last_one_does_not() {
    let mut world = held_up().await;
    let handed_over = called_by(&[("client", false), ("second", true)], Mode::Disabled);
    world.model.send_replace(model(handed_over));
    world.pass(seconds(20)).await;
    assert_eq!(world.in_force("server", "client"), ("tls+plaintext".into(), "plaintext"));
    assert_eq!(world.in_force("server", "second"), ("tls+plaintext".into(), "tls"));
    assert_eq!(world.view().waiting_for, ["mesh/m/virtualNode/second, whose client policy enforces TLS"]);
    world.model.send_replace(model(called_by(&[("client", false)], Mode::Disabled)));
    world.pass(seconds(20)).await;
    assert_eq!(world.in_force("server", "client"), ("plaintext".into(), "plaintext"));
    assert!(world.view().settled);
}

//! Whoever called a port and has not let go of it is waited for, though nothing in the model leads there any more.

use super::*;

/// A mesh in which nobody calls `server`.
fn uncalled(mode: Mode) -> Mesh {
    let mut mesh = mesh(mode);
    mesh.virtual_nodes.edit(&"client".parse().unwrap(), |client| client.backends.clear());
    mesh
}

/// The client has to let go of the server, keeps silent about it, and the port is to take TLS alone.
async fn is_waited_for_until_it_lets_go(mut world: World) {
    world.model.send_replace(model(uncalled(Mode::Strict)));
    world.pass(seconds(20)).await;
    assert_eq!(world.in_force("server", "client"), ("tls+plaintext".into(), "plaintext"));
    assert_eq!(world.view().waiting_for, ["mesh/m/virtualNode/client on 127.0.0.2"]);
    world.envoy("client").habit = Habit::Accepts;
    world.pass(seconds(3)).await;
    assert_eq!(world.envoys["server"].accepts(PORT), "tls");
    assert!(world.view().settled);
}

#[tokio::test(start_paused = true)]
async fn a_former_caller_is_waited_for_until_it_has_let_go() {
    let mut world = World::peopled(Mode::Disabled).await;
    world.envoy("client").habit = Habit::KeepsSilent;
    world.model.send_replace(model(uncalled(Mode::Disabled)));
    world.pass(seconds(1)).await;
    is_waited_for_until_it_lets_go(world).await;
}

#[tokio::test(start_paused = true)]
async fn a_former_caller_that_only_itself_remembers_is_waited_for_too() {
    let (memory, envoys) = World::peopled(Mode::Disabled).await.killed().await;
    let mut world = World::with_memory(Mode::Disabled, memory);
    world.model.send_replace(model(uncalled(Mode::Disabled)));
    world.envoys = envoys;
    let proxies = Arc::clone(&world.proxies);
    world.envoy("client").habit = Habit::KeepsSilent;
    for name in ["server", "client"] {
        world.envoy(name).reconnect(&proxies);
    }
    world.pass(seconds(15)).await;
    is_waited_for_until_it_lets_go(world).await;
}

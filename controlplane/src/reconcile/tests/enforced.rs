//! A port whose callers' policies enforce TLS keeps it, whatever its spec says.

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

//! Which write is named for what a proxy refuses.

use super::*;
use crate::model::{Author, Changes, Deed, Written};

fn written(revision: u64, key: &str, deed: Deed) -> Written {
    let by = Author { access_key_id: "AKIA1".into(), user: "alice".into() };
    Written { revision, key: key.parse().unwrap(), deed, by: Some(by), at: revision * 1000 }
}

/// The model with these writes made to it; the last one's revision is the model's.
fn after(before: &Arc<Model>, mode: Mode, writes: &[(u64, &str, Deed)]) -> Arc<Model> {
    let mut changes = before.changes.clone();
    writes.iter().for_each(|(revision, key, deed)| changes.push(written(*revision, key, *deed)));
    let revision = writes.last().unwrap().0;
    Arc::new(Model { revision, changes, ..Model::clone(&model(mesh(mode))) })
}

/// What is refused, since which revision, and what is said to have brought it.
fn blamed(world: &World) -> Vec<(String, Option<u64>, Vec<String>)> {
    let rejections = world.proxies.list().into_iter().flat_map(|view| view.rejections);
    let change = |change: &crate::proxies::ChangeView| format!("{} {}", change.operation, change.resource);
    rejections
        .map(|one| (one.name, one.revision, one.changes.iter().map(change).collect::<Vec<_>>()))
        .collect()
}

const LISTENER: &str = "lds_ingress_127.0.0.1_8080";
const SERVER: &str = "mesh/m/virtualNode/server";

fn of_listener(revision: u64, changes: &[&str]) -> Vec<(String, Option<u64>, Vec<String>)> {
    vec![(LISTENER.to_owned(), Some(revision), changes.iter().map(|change| (*change).to_owned()).collect())]
}

async fn refusing() -> World {
    let mut world = World::peopled(Mode::Disabled).await;
    let loaded = Model { changes: Changes::since(1), ..Model::clone(&world.model.borrow()) };
    world.model.send_replace(Arc::new(loaded));
    world.envoy("server").habit = Habit::Refuses(ResourceType::Listener);
    world
}

impl World {
    async fn write(&mut self, mode: Mode, writes: &[(u64, &str, Deed)]) {
        let next = after(&self.model.borrow(), mode, writes);
        self.model.send_replace(next);
        self.pass(seconds(3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_write_that_brought_a_refused_resource_is_named_and_others_are_not() {
    let mut world = refusing().await;
    // Writes that come together: one that the server depends on, and others.
    let writes = [
        (2, SERVER, Deed::Update),
        (3, "mesh/m/virtualNode/client", Deed::Update),
        (4, SERVER, Deed::Tag),
        (5, "mesh/n", Deed::Create),
    ];
    world.write(Mode::Permissive, &writes).await;
    assert_eq!(blamed(&world), of_listener(2, &["UpdateVirtualNode mesh/m/virtualNode/server"]));
    let history = world.proxies.refusals();
    let change = &history[0].rejection.changes[0];
    assert_eq!(
        change.to_string(),
        "UpdateVirtualNode mesh/m/virtualNode/server by alice (AKIA1), 1970-01-01T00:00:02Z, revision 2"
    );
    // What is written later, and changes nothing for it, is not to blame.
    world.write(Mode::Permissive, &[(6, SERVER, Deed::Update)]).await;
    assert_eq!(blamed(&world), of_listener(2, &["UpdateVirtualNode mesh/m/virtualNode/server"]));
}

#[tokio::test(start_paused = true)]
async fn where_several_writes_come_together_each_that_may_have_been_the_one_is_named() {
    let mut world = refusing().await;
    world.write(Mode::Permissive, &[(2, SERVER, Deed::Update), (3, "mesh/m", Deed::Update)]).await;
    let both = ["UpdateMesh mesh/m", "UpdateVirtualNode mesh/m/virtualNode/server"];
    assert_eq!(blamed(&world), of_listener(3, &both));
}

#[tokio::test(start_paused = true)]
async fn a_later_step_of_a_change_is_of_the_write_that_asked_for_it() {
    let mut world = World::peopled(Mode::Disabled).await;
    let next = after(&world.model.borrow(), Mode::Strict, &[(2, SERVER, Deed::Update)]);
    world.model.send_replace(next);
    world.pass(Duration::from_millis(200)).await;
    assert_eq!(world.in_force("server", "client"), ("tls+plaintext".into(), "plaintext"));
    // The first step is taken; the one in which plaintext ends is refused, after a write that has nothing to do with it.
    world.envoy("server").habit = Habit::Refuses(ResourceType::Listener);
    world.write(Mode::Strict, &[(3, "mesh/n", Deed::Create)]).await;
    world.pass(seconds(30)).await;
    assert_eq!(blamed(&world), of_listener(2, &["UpdateVirtualNode mesh/m/virtualNode/server"]));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_is_new_may_refuse_because_of_any_write_that_it_depends_on() {
    let mut world = World::new(Mode::Disabled);
    let writes = [(2, "mesh/m/virtualNode/client", Deed::Update), (3, SERVER, Deed::Update)];
    world.write(Mode::Disabled, &writes).await;
    let mut envoy = Envoy::connect(&world.proxies, proxy("server", 1));
    envoy.habit = Habit::Refuses(ResourceType::Listener);
    world.envoys.insert("server", envoy);
    world.pass(seconds(1)).await;
    let own = vec!["UpdateVirtualNode mesh/m/virtualNode/server".to_owned()];
    let listeners = ["lds_egress_127.0.0.1_15001", LISTENER];
    assert_eq!(blamed(&world), listeners.map(|name| (name.to_owned(), Some(3), own.clone())));
}

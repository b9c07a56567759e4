use super::*;

fn key(id: &str) -> InstanceKey {
    InstanceKey::new("apps.local", "b", id).unwrap()
}

fn at(address: &str) -> BTreeMap<String, String> {
    [("AWS_INSTANCE_IPV4".to_owned(), address.to_owned()), ("stack".to_owned(), "blue".to_owned())].into()
}

fn open(folder: &std::path::Path) -> Registry {
    Registry::open(Database::open(folder).unwrap()).unwrap()
}

#[tokio::test]
async fn a_restarted_registry_knows_its_instances_and_their_health_from_the_first_look() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    registry.register(key("i-1"), at("127.0.0.1"), 7).await.unwrap();
    registry.register(key("i-2"), at("127.0.0.2"), 8).await.unwrap();
    registry.set_health(key("i-2"), Health::Unhealthy).await.unwrap();
    registry.register(key("i-3"), at("127.0.0.3"), 9).await.unwrap();
    registry.deregister(key("i-3")).await.unwrap();
    let before = Arc::clone(&registry.subscribe().borrow());
    drop(registry);
    let after = Arc::clone(&open(folder.path()).subscribe().borrow());
    assert_eq!(before, after);
    assert_eq!(after.len(), 2);
    assert_eq!(after.get(&key("i-2")).unwrap().health, Health::Unhealthy);
    assert_eq!(after.get(&key("i-1")).unwrap().registered_at, 7);
}

#[tokio::test]
async fn every_change_can_be_repeated_and_the_repetition_wakes_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let mut seen = registry.subscribe();
    assert!(registry.register(key("i-1"), at("127.0.0.1"), 7).await.unwrap().1, "it is new");
    seen.mark_unchanged();
    let (again, is_new) = registry.register(key("i-1"), at("127.0.0.1"), 9).await.unwrap();
    assert_eq!((again.registered_at, is_new), (7, false));
    registry.set_health(key("i-1"), Health::Healthy).await.unwrap();
    assert_eq!(registry.deregister(key("other")).await.unwrap(), None);
    assert!(!seen.has_changed().unwrap());
    assert!(registry.deregister(key("i-1")).await.unwrap().is_some());
    assert!(seen.has_changed().unwrap());
    assert!(registry.subscribe().borrow().is_empty());
}

#[tokio::test]
async fn registering_anew_changes_attributes_and_leaves_the_health_that_was_reported() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    registry.register(key("i-1"), at("127.0.0.1"), 7).await.unwrap();
    registry.set_health(key("i-1"), Health::Unhealthy).await.unwrap();
    let (moved, _) = registry.register(key("i-1"), at("127.0.0.9"), 9).await.unwrap();
    assert_eq!(moved.attributes.address(None), Some([127, 0, 0, 9].into()));
    assert_eq!((moved.health, moved.registered_at), (Health::Unhealthy, 7));
    let mut unready = at("127.0.0.2");
    unready.insert("AWS_INIT_HEALTH_STATUS".into(), "UNHEALTHY".into());
    assert_eq!(registry.register(key("i-2"), unready, 9).await.unwrap().0.health, Health::Unhealthy);
}

#[tokio::test]
async fn the_health_of_nobody_cannot_be_set() {
    let folder = tempfile::tempdir().unwrap();
    let refused = open(folder.path()).set_health(key("i-1"), Health::Healthy).await.unwrap_err();
    assert_eq!(refused.to_string(), "instance i-1 of b.apps.local is not registered");
}

#[tokio::test]
async fn a_service_that_is_full_takes_no_more_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Arc::new(open(folder.path()));
    // All at once, so that they share a sync.
    let mut fill = tokio::task::JoinSet::new();
    for id in 0..MAX_PER_SERVICE {
        let registry = Arc::clone(&registry);
        fill.spawn(async move { registry.register(key(&format!("i-{id}")), at("127.0.0.1"), 1).await });
    }
    for registered in fill.join_all().await {
        registered.unwrap();
    }
    let refused = registry.register(key("more"), at("127.0.0.1"), 1).await.unwrap_err();
    assert!(refused.to_string().starts_with("b.apps.local holds 1000 instances already"), "{refused}");
    // Who is there already may change.
    registry.register(key("i-7"), at("127.0.0.2"), 1).await.unwrap();
}

use super::*;

on_every_back_end! {
    a_token_is_remembered_for_a_day_by_the_clock_of_the_writes
    a_token_belongs_to_one_request_for_one_resource
    a_token_ends_with_its_resource
}

const DAY: u64 = 24 * 60 * 60 * 1000;
const START: u64 = 1_700_000_000_000;

fn asked(at_key: &str, spec: Value, token: &str, at: u64) -> Write {
    Write::Create {
        document: document(at_key, spec),
        uid: Uuid::new_v4(),
        token: Some(token.into()),
        tags: Tags::default(),
        at,
    }
}

fn asked_update(at_key: &str, spec: Value, token: &str, at: u64) -> Write {
    Write::Update { document: document(at_key, spec), token: Some(token.into()), expected: None, at }
}

fn allow() -> Value {
    json!({"egressFilter": {"type": "ALLOW_ALL"}})
}

async fn a_token_is_remembered_for_a_day_by_the_clock_of_the_writes(store: AnyStore) {
    let created = store.write(asked("mesh/m", json!({}), "t1", START)).await.unwrap();
    let updated = store.write(asked_update("mesh/m", allow(), "t2", START + 1)).await.unwrap();
    store.write(asked_update("mesh/m", json!({}), "t3", START + 2)).await.unwrap();
    let late = START + DAY - 1;
    let again = store.write(asked("mesh/m", json!({}), "t1", late)).await.unwrap();
    assert_eq!(again.metadata, created.metadata);
    let again = store.write(asked_update("mesh/m", allow(), "t2", late)).await.unwrap();
    assert_eq!((&again.metadata, again.document.text().get()), (&updated.metadata, &*allow().to_string()));
    assert_eq!(store.get(&key("mesh/m")).await.unwrap().metadata.version, 3, "nothing was written anew");
    // A day later both are new requests.
    let exists = Refusal::Exists(key("mesh/m"));
    assert_eq!(refusal(&store, asked("mesh/m", json!({}), "t1", START + DAY)).await, exists);
    let anew = store.write(asked_update("mesh/m", allow(), "t2", START + DAY + 1)).await.unwrap();
    assert_eq!(anew.metadata.version, 4);
    let again = store.write(asked_update("mesh/m", allow(), "t2", START + DAY + 2)).await.unwrap();
    assert_eq!(again.metadata, anew.metadata);
}

async fn a_token_belongs_to_one_request_for_one_resource(store: AnyStore) {
    let spec = json!({"listeners": [{"portMapping": {"port": 80, "protocol": "http"}}],
        "serviceDiscovery": {"dns": {"hostname": "a.local"}}});
    let reordered = json!({"serviceDiscovery": {"dns": {"hostname": "a.local"}},
        "listeners": [{"portMapping": {"protocol": "http", "port": 80}}]});
    store.write(asked("mesh/m", json!({}), "t", START)).await.unwrap();
    // The same token elsewhere is another one.
    let (a, b) = ("mesh/m/virtualNode/a", "mesh/m/virtualNode/b");
    let created = store.write(asked(a, spec.clone(), "t", START)).await.unwrap();
    store.write(asked(b, spec.clone(), "t", START)).await.unwrap();
    let again = store.write(asked(a, reordered, "t", START)).await.unwrap();
    assert_eq!(again.document.text().get(), created.document.text().get(), "members have no order");
    let reused = || Refusal::TokenReused(key(a));
    assert_eq!(refusal(&store, asked(a, node(&[81]), "t", START)).await, reused());
    assert_eq!(refusal(&store, asked_update(a, spec.clone(), "t", START)).await, reused());
    assert_eq!(refusal(&store, asked_update(a, node(&[81]), "t", START)).await, reused());
    let tagged = Write::Create {
        document: document(a, spec.clone()),
        uid: Uuid::new_v4(),
        token: Some("t".into()),
        tags: [("k", "v")].into_iter().collect(),
        at: START,
    };
    assert_eq!(refusal(&store, tagged).await, reused());
    // What is refused is not remembered.
    assert_eq!(refusal(&store, asked(a, spec.clone(), "u", START)).await, Refusal::Exists(key(a)));
    store.write(asked_update(a, node(&[81]), "u", START)).await.unwrap();
}

async fn a_token_ends_with_its_resource(store: AnyStore) {
    let first = store.write(asked("mesh/m", json!({}), "t", START)).await.unwrap();
    store.write(deletion("mesh/m")).await.unwrap();
    let second = store.write(asked("mesh/m", json!({}), "t", START + 1)).await.unwrap();
    assert_ne!(second.metadata.uid, first.metadata.uid, "it was made anew");
    let again = store.write(asked("mesh/m", json!({}), "t", START + 2)).await.unwrap();
    assert_eq!(again.metadata, second.metadata);
    store.write(deletion("mesh/m")).await.unwrap();
    store.write(asked("mesh/m", allow(), "t", START + 3)).await.unwrap();
    // Its namesake knows nothing of it, whatever it was used for: another creation, or the same update.
    store.write(asked_update("mesh/m", allow(), "u", START + 2)).await.unwrap();
    store.write(Write::Delete { key: key("mesh/m"), expected: None, at: START + 3 }).await.unwrap();
    store.write(asked("mesh/m", json!({}), "v", START + 4)).await.unwrap();
    let exists = Refusal::Exists(key("mesh/m"));
    assert_eq!(refusal(&store, asked("mesh/m", allow(), "t", START + 5)).await, exists);
    let anew = store.write(asked_update("mesh/m", allow(), "u", START + 6)).await.unwrap();
    assert_eq!((anew.metadata.version, anew.metadata.updated_at), (2, START + 6));
}

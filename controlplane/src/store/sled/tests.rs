use std::time::Duration;

use serde_json::json;

use crate::model::Document;

use super::{
    super::{
        Metadata, Refusal,
        format::{self, Place},
        suite::{creation, database, key, model, node, open, update},
    },
    *,
};

/// Far longer than a write takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A record with this spec, as a version wrote it that asked less of it.
fn record(spec: &serde_json::Value) -> String {
    let metadata =
        r#""uid":"2b5b2b0e-63a0-4d5c-8d63-1e6f0a4f9b11","version":1,"createdAtMillis":1,"updatedAtMillis":1"#;
    format!(r#"{{"v1":{{{metadata},"spec":{spec}}}}}"#)
}

async fn raw_insert(folder: &std::path::Path, key: &str, value: &str) {
    let database = database(folder);
    let tree = database.tree(TREE).unwrap();
    let (key, value) = (key.to_owned(), value.to_owned());
    database.commit(move || tree.insert(key, value.as_bytes()).map(drop)).await.unwrap();
}

fn refused(folder: &std::path::Path) -> OpenError {
    SledStore::open(database(folder), Quotas::default()).unwrap_err()
}

#[tokio::test]
async fn everything_answered_is_there_after_a_restart_and_revisions_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let created =
        store.write(creation("mesh/m", json!({"egressFilter": {"type": "ALLOW_ALL"}}))).await.unwrap();
    store.write(creation("mesh/n", json!({}))).await.unwrap();
    store.write(Write::Delete { key: key("mesh/n"), expected: None, at: 1 }).await.unwrap();
    let before = model(&store);
    drop(store);
    let store = open(folder.path());
    assert_eq!(model(&store), before);
    assert_eq!(model(&store).revision, 3);
    let found = store.get(&key("mesh/m")).await.unwrap();
    assert_eq!(found.metadata, created.metadata);
    assert_eq!(found.document.text().get(), created.document.text().get());
    store.write(Write::Delete { key: key("mesh/m"), expected: None, at: 1 }).await.unwrap();
    drop(store);
    assert_eq!(model(&open(folder.path())).revision, 4);
}

#[tokio::test]
async fn a_write_whose_caller_went_away_is_published_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut models = store.subscribe();
    let mut abandoned = store.write(creation("mesh/m", json!({})));
    // Polled once, so that the write is on its way, and dropped.
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(abandoned.as_mut().poll(&mut context).is_pending());
    drop(abandoned);
    let published = tokio::time::timeout(PATIENCE, models.wait_for(|model| model.revision == 1)).await;
    assert_eq!(published.unwrap().unwrap().meshes.len(), 1);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_named_and_nothing_is_served() {
    let cases = [
        ("mesh/m", r#"{"v9":{}}"#, "mesh/m"),
        ("mesh/m", "junk", "mesh/m"),
        (
            "mesh/m",
            r#"{"v1":{"uid":"2b5b2b0e-63a0-4d5c-8d63-1e6f0a4f9b11","version":1,"createdAtMillis":1,"updatedAtMillis":1,"spec":{"egressFilter":{}}}}"#,
            "mesh/m",
        ),
        (
            "mesh/m/virtualNode/a",
            r#"{"v1":{"uid":"2b5b2b0e-63a0-4d5c-8d63-1e6f0a4f9b11","version":1,"createdAtMillis":1,"updatedAtMillis":1,"spec":{}}}"#,
            "mesh/m/virtualNode/a",
        ),
        ("planet/m", "{}", "planet/m"),
    ];
    for (key, value, named) in cases {
        let folder = tempfile::tempdir().unwrap();
        raw_insert(folder.path(), key, value).await;
        match refused(folder.path()) {
            OpenError::Record { key, .. } => assert_eq!(key, named),
            other @ (OpenError::Database(_) | OpenError::Revision(_)) => panic!("{other:?}"),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    raw_insert(folder.path(), format::REVISION, "many").await;
    assert!(matches!(refused(folder.path()), OpenError::Revision(text) if text == "many"));
}

#[tokio::test]
async fn what_was_accepted_by_fewer_rules_is_served_as_it_was_and_held_to_them_when_it_is_written_again() {
    // Each breaks a rule of today that an earlier version might not have had: bounds, texts, and rules of their own.
    let listener = json!({"portMapping": {"port": 80, "protocol": "http"}});
    let route = |regex: &str| {
        json!({"priority": 5000, "httpRoute": {"match": {"path": {"regex": regex}}, "action": {
            "weightedTargets": [{"virtualNode": "a", "weight": 90}, {"virtualNode": "a", "weight": 90}]}}})
    };
    let broken = [
        (
            "mesh/m/virtualNode/a",
            json!({"listeners": [listener.clone(), listener.clone()],
            "backends": [{"virtualService": {"virtualServiceName": "s"}}],
            "logging": {"accessLog": {"file": {"path": "x".repeat(300), "format": {"text": "%UNKNOWN()%"}}}}}),
        ),
        ("mesh/m/virtualRouter/r", json!({"listeners": [listener.clone(), listener]})),
        ("mesh/m/virtualRouter/r/route/x", route("(?=a)")),
    ];
    let folder = tempfile::tempdir().unwrap();
    raw_insert(folder.path(), "mesh/m", &record(&json!({}))).await;
    for (name, spec) in &broken {
        assert!(Document::parse(key(name), spec.clone()).is_err(), "{name} breaks no rule");
        raw_insert(folder.path(), name, &record(spec)).await;
    }
    let store = open(folder.path());
    for (name, spec) in broken {
        let found = store.get(&key(name)).await.unwrap();
        assert_eq!(found.document.text().get(), spec.to_string());
    }
    let mesh = &model(&store).meshes[&"m".parse().unwrap()];
    assert_eq!((mesh.virtual_nodes.len(), mesh.virtual_routers.iter().count()), (1, 1));
    // And they can be mended.
    store.write(update("mesh/m/virtualNode/a", node(&[80]))).await.unwrap();
    drop(store);
    open(folder.path());
}

#[tokio::test]
async fn what_an_earlier_version_took_is_served_on_and_only_a_write_is_held_to_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let route = json!({"httpRoute": {"match": {"prefix": "/"}, "action": {
        "weightedTargets": [{"virtualNode": "a", "weight": 1, "port": 81}],
    }}});
    let listener = json!({"portMapping": {"port": 80, "protocol": "http"}});
    for (key, spec) in [
        ("mesh/m", json!({})),
        ("mesh/m/virtualNode/a", node(&[81])),
        ("mesh/m/virtualRouter/r", json!({"listeners": [listener]})),
        ("mesh/m/virtualRouter/r/route/x", route.clone()),
    ] {
        store.write(creation(key, spec)).await.unwrap();
    }
    drop(store);
    let moved = r#"{"v1":{"uid":"2b5b2b0e-63a0-4d5c-8d63-1e6f0a4f9b11","version":1,"createdAtMillis":1,"updatedAtMillis":1,"spec":{"listeners":[{"portMapping":{"port":80,"protocol":"http"}}],"serviceDiscovery":{"dns":{"hostname":"a.local"}}}}}"#;
    raw_insert(folder.path(), "mesh/m/virtualNode/a", moved).await;
    let store = open(folder.path());
    assert_eq!(model(&store).meshes.len(), 1);
    // The route is at odds with the node already, so the node may change in what does not concern it.
    store.write(update("mesh/m/virtualNode/a", node(&[80]))).await.unwrap();
    let answer = store.write(update("mesh/m/virtualRouter/r/route/x", route)).await;
    assert!(matches!(answer, Err(StoreError::Refused(Refusal::Disagrees(_)))), "{answer:?}");
}

#[tokio::test]
async fn records_of_every_form_ever_written_are_read() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records");
    let mut files = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // The first line is the key, the rest the record.
        let (key, record) = text.split_once('\n').unwrap();
        let name = path.display();
        let place = Place::parse(key.as_bytes()).unwrap();
        assert_eq!(place.text(), key, "{name}");
        let record = record.as_bytes();
        let read = match place {
            Place::Resource(key) => format::decode(key, record).map(|(resource, _)| {
                let metadata = &resource.metadata;
                assert!(metadata.version > 0 && metadata.created_at > 0, "{name}");
            }),
            Place::Tags(_) => format::decode_tags(record).map(|tags| assert!(!tags.is_empty(), "{name}")),
            Place::Tokens(_) => format::decode_tokens(record).map(|uses| {
                assert!(!uses.is_empty() && uses.iter().all(|used| used.at > 0), "{name}");
            }),
            Place::Revision => {
                load::parse_revision(record).map(drop).map_err(|error| panic!("{name}: {error}"))
            }
        };
        read.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        files += 1;
    }
    assert!(files >= 9, "one record of each form");
}

#[tokio::test]
async fn tags_and_tokens_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |uid| {
        let Write::Create { document, .. } = creation("mesh/m", json!({})) else { panic!() };
        let tags = [("team", "x")].into_iter().collect();
        Write::Create { document, uid, token: Some("t".into()), tags, at: 5 }
    };
    let store = open(folder.path());
    let created = store.write(ask(uuid::Uuid::new_v4())).await.unwrap();
    store.write(update("mesh/m", json!({"egressFilter": {"type": "ALLOW_ALL"}}))).await.unwrap();
    store.write(creation("mesh/n", json!({}))).await.unwrap();
    let tags = [("gone", "")].into_iter().collect();
    store.write(Write::Tag { key: key("mesh/n"), tags }).await.unwrap();
    store.write(Write::Untag { key: key("mesh/n"), names: vec!["gone".into()] }).await.unwrap();
    drop(store);
    let store = open(folder.path());
    let again = store.write(ask(uuid::Uuid::new_v4())).await.unwrap();
    assert_eq!(again.metadata, created.metadata);
    assert_eq!(store.tags(&key("mesh/m")).await.unwrap().iter().collect::<Vec<_>>(), [("team", "x")]);
    assert!(store.tags(&key("mesh/n")).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_writers_at_once_share_records_and_each_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |number: usize| {
        let Write::Create { document, tags, .. } = creation(&format!("mesh/m{number}"), json!({})) else {
            panic!()
        };
        Write::Create { document, uid: uuid::Uuid::new_v4(), token: Some("t".into()), tags, at: 5 }
    };
    let store = Arc::new(open(folder.path()));
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..64 {
        let (store, write) = (store.clone(), ask(number));
        writers.spawn(async move { (number, store.write(write).await.unwrap()) });
    }
    let created = writers.join_all().await;
    drop(store);
    let store = open(folder.path());
    let records = store.tree.scan_prefix("token/").count();
    assert!((1..64).contains(&records), "{records} records of tokens");
    for (number, created) in created {
        assert_eq!(store.write(ask(number)).await.unwrap().metadata, created.metadata);
    }
}

#[tokio::test]
async fn a_token_in_an_older_record_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let old = r#"{"v1":{"uid":"2b5b2b0e-63a0-4d5c-8d63-1e6f0a4f9b11","version":2,"createdAtMillis":1,"updatedAtMillis":2,"clientToken":"t","spec":{}}}"#;
    raw_insert(folder.path(), "mesh/m", old).await;
    let store = open(folder.path());
    let ask = |spec| {
        let Write::Update { document, .. } = update("mesh/m", spec) else { panic!() };
        Write::Update { document, token: Some("t".into()), expected: None, at: 5 }
    };
    assert_eq!(store.write(ask(json!({}))).await.unwrap().metadata.version, 2);
    let other = store.write(ask(json!({"egressFilter": {"type": "ALLOW_ALL"}}))).await;
    assert_eq!(other.unwrap_err(), StoreError::Refused(Refusal::TokenReused(key("mesh/m"))));
}

#[test]
fn a_record_has_the_form_that_is_promised() {
    let write = creation("mesh/m/virtualNode/a", node(&[80]));
    let Write::Create { document, .. } = write else { panic!() };
    let metadata = Metadata {
        uid: "2b5b2b0e-63a0-4d5c-8d63-1e6f0a4f9b11".parse().unwrap(),
        version: 3,
        created_at: 1_606_022_091_476,
        updated_at: 1_606_022_091_477,
    };
    let record = format::encode(&Resource { document, metadata }).unwrap();
    let expected = concat!(
        r#"{"v1":{"uid":"2b5b2b0e-63a0-4d5c-8d63-1e6f0a4f9b11","version":3,"createdAtMillis":1606022091476,"#,
        r#""updatedAtMillis":1606022091477,"spec":{"listeners":[{"portMapping":{"port":80,"#,
        r#""protocol":"http"}}],"serviceDiscovery":{"dns":{"hostname":"a.local"}},"backends":[]}}}"#,
    );
    assert_eq!(String::from_utf8(record).unwrap(), expected);
}

use super::*;

on_every_back_end! {
    tags_are_added_replaced_and_taken_away_beside_the_spec
    a_resource_has_fifty_tags_at_most_and_a_call_for_more_adds_none
    tags_die_with_their_resource
    tags_of_what_is_not_there_name_the_topmost_thing_that_is_missing
}

const NODE: &str = "mesh/m/virtualNode/a";

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().copied().collect()
}

fn numbered(numbers: std::ops::Range<usize>) -> Tags {
    numbers.map(|number| (format!("k{number}"), "v")).collect()
}

fn tagging(at: &str, tags: Tags) -> Write {
    Write::Tag { key: key(at), tags }
}

fn tagged_creation(at: &str, spec: Value, tags: Tags) -> Write {
    Write::Create { document: document(at, spec), uid: Uuid::new_v4(), token: None, tags, at: 1000 }
}

async fn tags_of(store: &AnyStore, at: &str) -> Tags {
    Tags::clone(&*store.tags(&key(at)).await.unwrap())
}

async fn tags_are_added_replaced_and_taken_away_beside_the_spec(store: AnyStore) {
    furnish(&store).await;
    assert_eq!(tags_of(&store, NODE).await, Tags::default());
    let before = store.get(&key(NODE)).await.unwrap();
    let answer = store.write(tagging(NODE, tags(&[("team", "x"), ("env", "dev")]))).await.unwrap();
    assert_eq!(answer.metadata, before.metadata, "tags are no new version");
    store.write(tagging(NODE, tags(&[("team", "y"), ("tier", "")]))).await.unwrap();
    assert_eq!(tags_of(&store, NODE).await, tags(&[("env", "dev"), ("team", "y"), ("tier", "")]));
    // A new spec keeps them.
    store.write(update(NODE, node(&[80]))).await.unwrap();
    let names = vec!["env".to_owned(), "absent".to_owned(), "tier".to_owned()];
    let untagging = || Write::Untag { key: key(NODE), names: names.clone() };
    store.write(untagging()).await.unwrap();
    assert_eq!(tags_of(&store, NODE).await, tags(&[("team", "y")]));
    let revision = model(&*store).revision;
    store.write(untagging()).await.unwrap();
    store.write(tagging(NODE, tags(&[("team", "y")]))).await.unwrap();
    assert_eq!(model(&*store).revision, revision, "what is so already is no change");
    let after = store.get(&key(NODE)).await.unwrap();
    assert_eq!(after.metadata.version, before.metadata.version + 1);
}

async fn a_resource_has_fifty_tags_at_most_and_a_call_for_more_adds_none(store: AnyStore) {
    let too_many = |count| Refusal::TooManyTags { key: key("mesh/m"), count };
    let create = |with| tagged_creation("mesh/m", json!({}), with);
    assert_eq!(refusal(&store, create(numbered(0..51))).await, too_many(51));
    store.write(create(numbered(0..49))).await.unwrap();
    assert_eq!(refusal(&store, tagging("mesh/m", numbered(48..51))).await, too_many(51));
    assert_eq!(tags_of(&store, "mesh/m").await, numbered(0..49));
    store.write(tagging("mesh/m", numbered(40..50))).await.unwrap();
    assert_eq!(tags_of(&store, "mesh/m").await, numbered(0..50));
}

async fn tags_die_with_their_resource(store: AnyStore) {
    furnish(&store).await;
    store.write(tagged_creation("mesh/m/virtualNode/c", node(&[80]), tags(&[("a", "1")]))).await.unwrap();
    assert_eq!(tags_of(&store, "mesh/m/virtualNode/c").await, tags(&[("a", "1")]));
    store.write(deletion("mesh/m/virtualNode/c")).await.unwrap();
    store.write(creation("mesh/m/virtualNode/c", node(&[80]))).await.unwrap();
    assert_eq!(tags_of(&store, "mesh/m/virtualNode/c").await, Tags::default());
}

async fn tags_of_what_is_not_there_name_the_topmost_thing_that_is_missing(store: AnyStore) {
    let missing = |at| Refusal::Missing(key(at));
    assert_eq!(refusal(&store, tagging(NODE, tags(&[]))).await, missing("mesh/m"));
    furnish(&store).await;
    let absent = "mesh/m/virtualNode/z";
    assert_eq!(refusal(&store, tagging(absent, tags(&[("a", "1")]))).await, missing(absent));
    let untagging = Write::Untag { key: key(absent), names: vec!["a".into()] };
    assert_eq!(refusal(&store, untagging).await, missing(absent));
    assert_eq!(store.tags(&key(absent)).await, Err(StoreError::Refused(missing(absent))));
}

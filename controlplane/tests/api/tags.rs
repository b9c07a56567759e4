use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::client::{Api, node};

const ARN: &str = "arn:aws:appmesh:us-east-1:000000000000:";

fn path(operation: &str, resource: &str) -> String {
    let arn = format!("{ARN}{resource}");
    format!("/{operation}?resourceArn={}", utf8_percent_encode(&arn, NON_ALPHANUMERIC))
}

fn tags(pairs: &[(&str, &str)]) -> Value {
    json!({"tags": pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect::<Vec<_>>()})
}

#[tokio::test]
async fn tags_are_put_on_taken_off_and_listed_on_every_kind_and_are_in_no_description() {
    let api = Api::new();
    api.furnish().await;
    let resources = ["mesh/m", "mesh/m/virtualNode/a", "mesh/m/virtualRouter/r"];
    for resource in resources {
        let tag = tags(&[("b", "2"), ("a", "")]);
        assert_eq!(api.must("PUT", &path("tag", resource), Some(&tag)).await, json!({}));
        let listed = api.must("GET", &path("tags", resource), None).await;
        assert_eq!(listed, json!({"tags": [{"key": "a", "value": ""}, {"key": "b", "value": "2"}]}));
        let gone = json!({"tagKeys": ["b", "never there"]});
        assert_eq!(api.must("PUT", &path("untag", resource), Some(&gone)).await, json!({}));
        let listed = api.must("GET", &path("tags", resource), None).await;
        assert_eq!(listed, json!({"tags": [{"key": "a", "value": ""}]}));
    }
    let described = api.must("GET", "/meshes/m/virtualNodes/a", None).await;
    assert_eq!((described.get("tags"), &described["metadata"]["version"]), (None, &json!(1)));
    let with_owner = path("tags", "mesh/m@000000000000/virtualNode/a");
    assert_eq!(api.must("GET", &with_owner, None).await["tags"][0]["key"], "a");
}

#[tokio::test]
async fn tags_come_with_a_creation_and_end_with_the_resource() {
    let api = Api::new();
    api.furnish().await;
    let mut creation = json!({"virtualNodeName": "c", "spec": node(80)});
    creation["tags"] = tags(&[("team", "shop")])["tags"].clone();
    let (create, item) = ("/meshes/m/virtualNodes", "/meshes/m/virtualNodes/c");
    api.must("PUT", create, Some(&creation)).await;
    let listed = api.must("GET", &path("tags", "mesh/m/virtualNode/c"), None).await;
    assert_eq!(listed["tags"], creation["tags"]);
    api.must("DELETE", item, None).await;
    let answer = api.call("GET", &path("tags", "mesh/m/virtualNode/c"), None).await;
    assert_eq!((answer.error().0, answer.error().1), (404, "NotFoundException"));
    creation["tags"] = json!([]);
    api.must("PUT", create, Some(&creation)).await;
    assert_eq!(api.must("GET", &path("tags", "mesh/m/virtualNode/c"), None).await, json!({"tags": []}));
}

#[tokio::test]
async fn pages_of_tags_hold_50_at_most_and_their_tokens_fit_no_other_list() {
    let api = Api::new();
    api.furnish().await;
    let names: Vec<String> = (0..50).map(|index| format!("k{index:02}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "v")).collect();
    api.must("PUT", &path("tag", "mesh/m"), Some(&tags(&pairs))).await;
    let all = api.must("GET", &path("tags", "mesh/m"), None).await;
    assert_eq!((all["tags"].as_array().unwrap().len(), all.get("nextToken")), (50, None));
    let first = api.must("GET", &format!("{}&limit=49", path("tags", "mesh/m")), None).await;
    let token = first["nextToken"].as_str().unwrap();
    let rest = api.must("GET", &format!("{}&nextToken={token}", path("tags", "mesh/m")), None).await;
    assert_eq!(rest, json!({"tags": [{"key": "k49", "value": "v"}]}));
    for elsewhere in [path("tags", "mesh/m/virtualNode/a"), "/meshes?".into()] {
        let answer = api.call("GET", &format!("{elsewhere}&nextToken={token}"), None).await;
        assert_eq!(answer.error().2, "nextToken: it is not one that this list gave");
    }
    for limit in ["0", "51", "x"] {
        let answer = api.call("GET", &format!("{}&limit={limit}", path("tags", "mesh/m")), None).await;
        assert_eq!(answer.error(), (400, "BadRequestException", "limit: must be 1 to 50"));
    }
}

#[tokio::test]
async fn too_many_and_malformed_tags_are_refused_and_none_of_them_is_applied() {
    let api = Api::new();
    api.furnish().await;
    let names: Vec<String> = (0..51).map(|index| format!("k{index}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "v")).collect();
    api.must("PUT", &path("tag", "mesh/m"), Some(&tags(&[("first", "v")]))).await;
    for too_many in [tags(&many), tags(&many[..50])] {
        let answer = api.call("PUT", &path("tag", "mesh/m"), Some(&too_many)).await;
        assert_eq!((answer.error().0, answer.error().1), (400, "TooManyTagsException"));
    }
    let long = "x".repeat(129);
    let rows = [
        ("tag", json!({}), "tags: is required"),
        ("tag", json!({"tags": {}}), "tags: must be a list"),
        ("tag", json!({"tags": [{"key": "k"}]}), "tags[0].value: is required"),
        ("tag", json!({"tags": [{"key": "", "value": ""}]}), "tags[0].key: must have 1 to 128 characters"),
        ("tag", tags(&[("k", &"v".repeat(257))]), "tags[0].value: must have 0 to 256 characters"),
        ("untag", json!({}), "tagKeys: is required"),
        ("untag", json!({"tagKeys": [7]}), "tagKeys[0]: must be a string"),
        ("untag", json!({"tagKeys": [long]}), "tagKeys[0]: must have 1 to 128 characters"),
        ("untag", json!({"tagKeys": names}), "tagKeys: must have 0 to 50 items"),
    ];
    for (operation, body, expected) in rows {
        let answer = api.call("PUT", &path(operation, "mesh/m"), Some(&body)).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, "BadRequestException"), "{message}");
        assert!(message.starts_with(expected), "{message:?} does not start with {expected:?}");
    }
    let creation = json!({"meshName": "x", "tags": tags(&many)["tags"]});
    let answer = api.call("PUT", "/meshes", Some(&creation)).await;
    assert_eq!(
        answer.error(),
        (400, "BadRequestException", "tags: must have 0 to 50 items; this one has 51")
    );
    let listed = api.must("GET", &path("tags", "mesh/m"), None).await;
    assert_eq!(listed, json!({"tags": [{"key": "first", "value": "v"}]}));
}

#[tokio::test]
async fn arns_that_name_nothing_are_told_from_those_that_are_none() {
    let api = Api::new();
    api.furnish().await;
    for (query, status) in [
        ("/tags".to_owned(), 400),
        ("/tags?resourceArn=".to_owned(), 400),
        ("/tags?resourceArn=m".to_owned(), 400),
        (path("tags", "mesh/m/virtualNode/absent"), 404),
        (path("tags", "mesh/absent/virtualNode/a"), 404),
        (path("tags", "mesh/m@111111111111/virtualNode/a"), 404),
        (format!("{}&resourceArn=x", path("tags", "mesh/m")), 400),
    ] {
        let answer = api.call("GET", &query, None).await;
        assert_eq!(answer.error().0, status, "{query}: {}", answer.error().2);
    }
}

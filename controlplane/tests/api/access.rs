use serde_json::{Value, json};
use signet_controlplane::access::Policy;

use crate::client::{ACCESS_KEY, Answer, Api, HOST, SECRET_KEY, node, request, route, signed_by, signer};
use aws_sigv4::http_request::SigningSettings;

/// An API with a furnished mesh `m`, and a second key pair that has a policy.
async fn api(policy: Value) -> Api {
    let admin = signer(ACCESS_KEY, SECRET_KEY, Policy::administrator());
    let api = Api::with_keys([admin, signer("AKIAOTHER", SECRET_KEY, policy)]);
    api.furnish().await;
    api
}

async fn by_other(api: &Api, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = request(method, &format!("/v20190125{path}"), body.as_bytes());
    let keys = ("AKIAOTHER", SECRET_KEY);
    api.send(signed_by(request, api.now(), SigningSettings::default(), keys, ("us-east-1", "appmesh"))).await
}

#[tokio::test]
async fn what_a_policy_does_not_allow_is_forbidden_in_the_words_of_aws_and_changes_nothing() {
    let api = api(Policy::read_only()).await;
    let revision = api.store.subscribe().borrow().revision;
    let node = json!({"virtualNodeName": "n", "spec": node(80)});
    let rows = [
        ("PUT", "/meshes", Some(json!({"meshName": "x"})), "appmesh:CreateMesh", "mesh/x"),
        ("PUT", "/meshes/m", Some(json!({})), "appmesh:UpdateMesh", "mesh/m"),
        ("DELETE", "/meshes/m", None, "appmesh:DeleteMesh", "mesh/m"),
        ("PUT", "/meshes/m/virtualNodes", Some(node), "appmesh:CreateVirtualNode", "mesh/m/virtualNode/n"),
        (
            "PUT",
            "/meshes/m/virtualRouter/r/routes",
            Some(json!({"routeName": "x", "spec": route("a")})),
            "appmesh:CreateRoute",
            "mesh/m/virtualRouter/r/route/x",
        ),
        (
            "PUT",
            "/tag?resourceArn=arn:aws:appmesh:us-east-1:000000000000:mesh/m",
            Some(json!({"tags": []})),
            "appmesh:TagResource",
            "mesh/m",
        ),
        // Whether it is there is not told.
        ("DELETE", "/meshes/absent", None, "appmesh:DeleteMesh", "mesh/absent"),
    ];
    for (method, path, body, action, resource) in rows {
        let answer = by_other(&api, method, path, body.as_ref()).await;
        let expected = format!(
            "User: arn:aws:iam::000000000000:user/tester is not authorized to perform: {action} on resource: \
             arn:aws:appmesh:us-east-1:000000000000:{resource} because no identity-based policy allows the {action} \
             action"
        );
        assert_eq!(answer.error(), (403, "ForbiddenException", &*expected));
    }
    assert_eq!(api.store.subscribe().borrow().revision, revision);
    for path in ["/meshes", "/meshes/m", "/meshes/m/virtualNodes", "/meshes/m/virtualRouter/r/routes"] {
        assert_eq!(by_other(&api, "GET", path, None).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_key_for_one_mesh_sees_and_changes_that_mesh_alone() {
    let api = api(Policy::one_mesh(&"mine".parse().unwrap(), false)).await;
    let create = json!({"meshName": "mine"});
    assert_eq!(by_other(&api, "PUT", "/meshes", Some(&create)).await.status, 200);
    let node = json!({"virtualNodeName": "n", "spec": node(80)});
    assert_eq!(by_other(&api, "PUT", "/meshes/mine/virtualNodes", Some(&node)).await.status, 200);
    assert_eq!(by_other(&api, "GET", "/meshes/mine/virtualNodes", None).await.status, 200);
    let foreign = [
        ("PUT", "/meshes/m/virtualNodes"),
        ("GET", "/meshes/m/virtualNodes"),
        ("GET", "/meshes/m"),
        ("GET", "/meshes/minerva"),
        ("DELETE", "/meshes/m/virtualNodes/a"),
        // IAM knows no list of meshes that is limited to some of them.
        ("GET", "/meshes"),
    ];
    for (method, path) in foreign {
        let answer = by_other(&api, method, path, Some(&node)).await;
        assert_eq!((answer.error().0, answer.error().1), (403, "ForbiddenException"), "{method} {path}");
    }
    assert!(by_other(&api, "GET", "/meshes", None).await.error().2.contains("on resource: * because"));
}

#[tokio::test]
async fn an_explicit_deny_wins_and_is_said_to_be_one() {
    let api = api(json!({"Statement": [
        {"Effect": "Allow", "Action": "appmesh:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "appmesh:Delete*", "Resource": "arn:aws:appmesh:*:*:mesh/m/*"},
    ]}))
    .await;
    let answer = by_other(&api, "DELETE", "/meshes/m/virtualNodes/a", None).await;
    let (status, code, message) = answer.error();
    assert_eq!((status, code), (403, "ForbiddenException"));
    assert!(
        message.ends_with("mesh/m/virtualNode/a with an explicit deny in an identity-based policy"),
        "{message}"
    );
}

#[tokio::test]
async fn an_api_without_a_signature_check_allows_nothing() {
    let api = Api::new();
    let settings = signet_controlplane::api::ApiSettings::new("000000000000", "us-east-1", [0; 32]);
    let clock: signet_policies::time::Clock = std::sync::Arc::new(|| std::time::UNIX_EPOCH);
    let open = signet_controlplane::api::router(api.store.clone(), settings, clock);
    let request = http::Request::builder().uri("/v20190125/meshes").header("host", HOST);
    let answer =
        tower::ServiceExt::oneshot(open, request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn a_creation_with_tags_also_needs_the_right_to_tag() {
    let api =
        api(json!({"Statement": [{"Effect": "Allow", "Action": "appmesh:CreateMesh", "Resource": "*"}]}))
            .await;
    let tagged = json!({"meshName": "x", "tags": [{"key": "k", "value": "v"}]});
    let answer = by_other(&api, "PUT", "/meshes", Some(&tagged)).await;
    assert!(answer.error().2.contains("is not authorized to perform: appmesh:TagResource"), "{answer:?}");
    assert_eq!(by_other(&api, "PUT", "/meshes", Some(&json!({"meshName": "x"}))).await.status, 200);
}

use std::time::Duration;

use aws_sigv4::http_request::SigningSettings;
use axum::body::{Body, Bytes};
use http::{HeaderValue, header::CONTENT_TYPE};
use serde_json::json;
use tokio::time::timeout;

use crate::client::{Api, node, request, signed};

#[tokio::test]
async fn bodies_that_are_no_json_object_of_the_right_form_are_refused_and_leave_nothing() {
    let api = Api::new();
    let deep = format!("{{\"meshName\":\"m\",\"spec\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let cases: Vec<(&[u8], &str)> = vec![
        (b"", "meshName: is required"),
        (b"{}", "meshName: is required"),
        (b"null", "the request body: must be an object, not null"),
        (b"[]", "the request body: must be an object, not a list"),
        (b"\"m\"", "the request body: must be an object, not a string"),
        (b"{", "the request body is not JSON"),
        (b"{\"meshName\":\"m\"} x", "the request body is not JSON"),
        (b"\x00\x01", "the request body is not JSON"),
        (b"{\"meshName\":\"\xff\xfe\"}", "the request body is not JSON"),
        (b"{\"meshName\":\"\\ud800\"}", "the request body is not JSON"),
        (b"{\"meshName\":\"m\",\"spec\":{\"x\":1e999}}", "the request body is not JSON"),
        (deep.as_bytes(), "the request body is not JSON"),
        (
            b"{\"meshName\":\"m\",\"meshName\":\"n\"}",
            "the request body is not JSON: the member \"meshName\" is there twice",
        ),
        (
            b"{\"meshName\":\"m\",\"spec\":{\"a\":1,\"a\":2}}",
            "the request body is not JSON: the member \"a\" is there twice",
        ),
        (b"{\"meshName\":7}", "meshName: must be a string, not a number"),
        (b"{\"meshName\":null}", "meshName: is required"),
        (b"{\"meshName\":\"\"}", "meshName: must have 1 to 255 characters; this one has 0"),
        (b"{\"meshName\":\"a/b\"}", "meshName: the resource name holds '/'"),
        (b"{\"meshName\":\"m\",\"spec\":7}", "spec: must be an object, not a number"),
        (b"{\"meshName\":\"m\",\"clientToken\":\"\"}", "clientToken: must have 1 to 36 characters"),
        (b"{\"meshName\":\"m\",\"clientToken\":\"a b\"}", "clientToken: must be of letters"),
        (b"{\"meshName\":\"m\",\"tags\":[{\"key\":\"k\"}]}", "tags[0].value: is required"),
    ];
    for (body, expected) in cases {
        let answer = api.call_raw("PUT", "/v20190125/meshes", body).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, "BadRequestException"), "{message}");
        assert!(message.starts_with(expected), "{message:?} does not start with {expected:?}");
    }
    assert_eq!(api.must("GET", "/meshes", None).await, json!({"meshes": []}));
    assert_eq!(api.store.subscribe().borrow().revision, 0);
}

#[tokio::test]
async fn empty_tags_and_unknown_members_are_let_pass() {
    let api = Api::new();
    let body = json!({"meshName": "m", "tags": [], "unknown": {"x": [1]}, "clientToken": null});
    api.must("PUT", "/meshes", Some(&body)).await;
}

#[tokio::test]
async fn a_body_of_two_mebibytes_is_too_large() {
    let api = Api::new();
    let body = vec![b' '; 2 * 1024 * 1024];
    let answer = api.call_raw("PUT", "/v20190125/meshes", &body).await;
    assert_eq!((answer.error().0, answer.error().1), (413, "RequestEntityTooLargeException"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let api = Api::new();
    for stranger in [false, true] {
        let head = request("PUT", "/v20190125/meshes", b"{}");
        let head = if stranger { head } else { signed(head, api.now(), SigningSettings::default()) };
        let never = Body::from_stream(tokio_stream::pending::<Result<Bytes, std::io::Error>>());
        let answer = timeout(Duration::from_secs(31), api.send_body(head.map(|_| never))).await;
        let answer = answer.unwrap();
        let expected =
            if stranger { "MissingAuthenticationTokenException" } else { "RequestTimeoutException" };
        assert_eq!(answer.error().1, expected);
        assert_eq!(answer.status == 408, !stranger);
    }
    assert!(api.store.subscribe().borrow().meshes.is_empty());
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_so() {
    let api = Api::new();
    let paths = [
        "/",
        "/v20190125",
        "/v20190125/",
        "/v20190125/meshes/",
        "/v20190125/nodes",
        "/v20190125/meshes/m/virtualRouters/r/routes",
        "/v20190125/meshes/m/virtualThings",
        "/v20190125/tags/",
    ];
    for path in paths {
        let answer = api.call_raw("GET", path, b"").await;
        assert_eq!((answer.error().0, answer.error().1), (404, "UnknownOperationException"), "{path}");
    }
    for (method, path) in
        [("POST", "/meshes"), ("DELETE", "/meshes"), ("PATCH", "/meshes/m"), ("OPTIONS", "/meshes")]
    {
        let answer = api.call(method, path, None).await;
        assert_eq!(
            (answer.error().0, answer.error().1),
            (405, "UnknownOperationException"),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn names_in_paths_that_no_resource_can_have_are_refused() {
    let api = Api::new();
    api.furnish().await;
    let cases = [
        ("/meshes/a%2Fb", "meshName: the resource name holds '/'"),
        ("/meshes/a%00b", "meshName: the resource name holds '\\0'"),
        ("/meshes/%C3%A9", "meshName: the resource name holds 'é'"),
        ("/meshes/a.b/virtualNodes/x", "meshName: the resource name holds '.'"),
        ("/meshes/m/virtualNodes/a.b", "virtualNodeName: the resource name holds '.'"),
        ("/meshes/m/virtualServices/%2E%2E", "virtualServiceName: a virtual service name has"),
        ("/meshes/m/virtualRouter/a%20b/routes/x", "virtualRouterName: the resource name holds ' '"),
        (
            "/meshes/arn%3Aaws%3Aappmesh%3Aus-east-1%3A000000000000%3Amesh%2Fm",
            "meshName: the resource name holds ':'",
        ),
    ];
    for (path, expected) in cases {
        let answer = api.call("GET", path, None).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, "BadRequestException"), "{path}");
        assert!(message.starts_with(expected), "{message:?} does not start with {expected:?}");
    }
    let not_text = api.call("GET", "/meshes/%FF%FE", None).await;
    assert_eq!((not_text.error().0, not_text.error().1), (400, "BadRequestException"));
}

#[tokio::test]
async fn only_json_is_a_content_type_and_none_will_do() {
    let api = Api::new();
    let body = json!({"virtualNodeName": "c", "spec": node(80)}).to_string();
    let send = async |content_type: Option<&'static str>| {
        let mut request = request("PUT", "/v20190125/meshes/m/virtualNodes", body.as_bytes());
        request.headers_mut().remove(CONTENT_TYPE);
        if let Some(content_type) = content_type {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        api.send(signed(request, api.now(), SigningSettings::default())).await
    };
    for fine in [
        None,
        Some("application/json"),
        Some("Application/JSON; charset=utf-8"),
        Some("application/x-amz-json-1.1"),
    ] {
        assert_eq!(send(fine).await.error().1, "NotFoundException", "{fine:?}");
    }
    for wrong in ["application/x-www-form-urlencoded", "text/plain", "application/jsonp", ""] {
        let answer = send(Some(wrong)).await;
        assert_eq!((answer.error().0, answer.error().1), (415, "UnsupportedMediaTypeException"), "{wrong}");
    }
}

#[tokio::test]
async fn a_member_that_breaks_a_rule_is_named_and_nothing_is_stored() {
    let api = Api::new();
    api.furnish().await;
    let mut spec = node(80);
    spec["listeners"][0]["healthCheck"] = json!({"protocol": "grpc"});
    let answer = api.call("PUT", "/meshes/m/virtualNodes/a", Some(&json!({"spec": spec}))).await;
    let message =
        "spec.listeners[0].healthCheck.protocol: GRPC HealthCheck requires listener type of HTTP2 or GRPC.";
    assert_eq!(answer.error(), (400, "BadRequestException", message));
    assert_eq!(api.must("GET", "/meshes/m/virtualNodes/a", None).await["metadata"]["version"], 1);
}

#[tokio::test]
async fn a_secret_of_another_trust_domain_is_refused_in_a_creation_and_in_an_update() {
    let api = Api::new();
    api.furnish().await;
    let with = |domain: &str, name: &str| {
        let mut spec = node(80);
        let secret = format!("spiffe://{domain}/mesh/m/virtual-node/{name}");
        spec["listeners"][0]["tls"] =
            json!({"mode": "STRICT", "certificate": {"sds": {"secretName": secret}}});
        json!({"virtualNodeName": name, "spec": spec})
    };
    for (path, name) in [("/meshes/m/virtualNodes", "n"), ("/meshes/m/virtualNodes/a", "a")] {
        let answer = api.call("PUT", path, Some(&with("elsewhere", name))).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (400, "BadRequestException"), "{path}");
        let ours = format!(
            "must be \"default\", \"spiffe://signet.internal/mesh/m/virtual-node/{name}\" or a SPIFFE ID of its \
             trust domain that is nobody's own"
        );
        assert!(message.contains(&ours), "{message}");
        api.must("PUT", path, Some(&with("signet.internal", name))).await;
    }
}

//! Writes that name the version that they are for.

use aws_sigv4::http_request::SigningSettings;
use serde_json::{Value, json};

use crate::client::{Answer, Api, node, request, signed};

const NODE: &str = "/v20190125/meshes/m/virtualNodes/a";

async fn write(api: &Api, method: &str, body: &Value, version: &str) -> Answer {
    let mut request = request(method, NODE, body.to_string().as_bytes());
    request.headers_mut().insert("if-match", version.parse().unwrap());
    api.send(signed(request, api.now(), SigningSettings::default())).await
}

#[tokio::test]
async fn a_write_for_another_version_is_refused_and_changes_nothing() {
    let api = Api::new();
    api.furnish().await;
    let body = json!({"spec": node(80)});
    assert_eq!(write(&api, "PUT", &body, "\"1\"").await.status, 200);
    for (method, body) in [("PUT", &body), ("DELETE", &Value::Null)] {
        let answer = write(&api, method, body, "1").await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (409, "ConflictException"), "{method}");
        assert!(message.contains("is at version 2, not 1"), "{message}");
    }
    for nonsense in ["*", "", "x", "-1", "\"1\", \"2\"", "W/\"2\"", "99999999999999999999"] {
        let answer = write(&api, "PUT", &body, nonsense).await;
        assert_eq!(answer.error().1, "BadRequestException", "{nonsense}");
    }
    let found = api.must("GET", "/meshes/m/virtualNodes/a", None).await;
    assert_eq!(found["metadata"]["version"], 2);
    assert_eq!(write(&api, "DELETE", &Value::Null, "2").await.status, 200);
}

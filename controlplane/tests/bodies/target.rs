//! What is fuzzed: the whole API below the check of signatures, with one body for every create and update.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use axum::{Router, body::Body};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use signet_controlplane::{
    access::Policy,
    api::{self, ApiSettings, sigv4::Principal},
    store::MemoryStore,
};
use signet_policies::time::Clock;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

/// Where resources of each kind are made, parents before children, and what their name is called.
const COLLECTIONS: [(&str, &str); 7] = [
    ("/meshes", "meshName"),
    ("/meshes/m/virtualNodes", "virtualNodeName"),
    ("/meshes/m/virtualServices", "virtualServiceName"),
    ("/meshes/m/virtualRouters", "virtualRouterName"),
    ("/meshes/m/virtualRouter/r/routes", "routeName"),
    ("/meshes/m/virtualGateways", "virtualGatewayName"),
    ("/meshes/m/virtualGateway/g/gatewayRoutes", "gatewayRouteName"),
];

/// Sends one body to every create and update of the API, and counts the creates that take it.
///
/// # Panics
/// An answer is a 5xx, or is no JSON object; or what was taken is not shown as it was answered, or is not taken again
/// when it is sent back.
pub(crate) fn check(body: &[u8]) -> usize {
    let everything = Policy::parse(Policy::administrator());
    let (Ok(runtime), Ok(policy)) = (Builder::new_current_thread().enable_all().build(), everything) else {
        return 0;
    };
    let principal = Principal { access_key_id: "AKIA".into(), user: "u".into(), policy: Arc::new(policy) };
    let api = Api::furnished(&runtime, principal);
    let mut taken = 0;
    for (collection, name) in COLLECTIONS {
        if let Some(made) = api.send("PUT", collection, body) {
            taken += 1;
            let item = format!("{collection}/{}", made[name].as_str().unwrap_or_default());
            assert_eq!(
                api.send("GET", &item, b"").map(|found| found["spec"].clone()),
                Some(made["spec"].clone())
            );
            let again = api.send("PUT", &item, json!({"spec": made["spec"]}).to_string().as_bytes());
            assert_eq!(again.map(|found| found["spec"].clone()), Some(made["spec"].clone()));
        }
        api.send("PUT", &format!("{collection}/x"), body);
    }
    taken
}

struct Api<'a> {
    runtime: &'a Runtime,
    router: Router,
    principal: Principal,
}

impl<'a> Api<'a> {
    /// An API with one resource of each kind that others live in or refer to.
    fn furnished(runtime: &'a Runtime, principal: Principal) -> Self {
        let clock: Clock = Arc::new(|| UNIX_EPOCH + Duration::from_secs(1_606_022_091));
        let settings = ApiSettings::new("000000000000", "us-east-1", [1; 32]);
        let router = api::router(Arc::new(MemoryStore::default()), settings, clock);
        let api = Self { runtime, router, principal };
        let listeners = |protocols: &[&str]| {
            let ports = protocols.iter().zip(80..);
            let listeners =
                ports.map(|(name, port)| json!({"portMapping": {"port": port, "protocol": name}}));
            Value::from(listeners.collect::<Vec<_>>())
        };
        let all = listeners(&["http", "http2", "grpc", "tcp"]);
        let node = json!({"listeners": all, "serviceDiscovery": {"dns": {"hostname": "a"}}});
        for (index, name, spec) in [
            (0, "m", json!({})),
            (1, "a", node),
            (2, "s", json!({"provider": {"virtualNode": {"virtualNodeName": "a"}}})),
            (3, "r", json!({"listeners": all})),
            (5, "g", json!({"listeners": listeners(&["http", "http2", "grpc"])})),
        ] {
            let (collection, member) = COLLECTIONS[index];
            let made =
                api.send("PUT", collection, json!({member: name, "spec": spec}).to_string().as_bytes());
            assert!(made.is_some(), "{collection} takes no {name}");
        }
        api
    }

    /// The answer to a request that was done.
    fn send(&self, method: &str, path: &str, body: &[u8]) -> Option<Value> {
        // A name that is no path by itself cannot have been made.
        let request = Request::builder()
            .method(method)
            .uri(format!("/v20190125{path}"))
            .extension(self.principal.clone());
        let Ok(request) = request.body(Body::from(body.to_vec())) else { return None };
        let (status, body) = self.runtime.block_on(async {
            let Ok(response) = self.router.clone().oneshot(request).await;
            let (parts, body) = response.into_parts();
            (parts.status, body.collect().await.map(|body| body.to_bytes()).unwrap_or_default())
        });
        assert!(!status.is_server_error(), "{method} {path}: {status}");
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        assert!(answer.is_object(), "{method} {path}: {status} {body:?}");
        (status == StatusCode::OK).then_some(answer)
    }
}

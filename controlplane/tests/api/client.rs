//! An API in this process, and a client that signs with `aws-sigv4`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use axum::{Router, body::Body};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use signet_controlplane::{
    access::Policy,
    api::{
        self, ApiSettings,
        sigv4::{KeyPairs, Principal, Secret, Signer},
    },
    quotas::Quotas,
    store::{MemoryStore, Store},
};
use tower::ServiceExt;

pub(crate) const ACCESS_KEY: &str = "AKIASIGNETTEST";
pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const HOST: &str = "127.0.0.1:7080";
/// What the clock says at first, in milliseconds since the epoch.
pub(crate) const START: u64 = 1_606_022_091_476;

/// An API, its store, and a clock that tests turn.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) router: Router,
    pub(crate) store: Arc<dyn Store>,
    now: Arc<AtomicU64>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Api {
    pub(crate) fn new() -> Self {
        Self::with_keys([signer(ACCESS_KEY, SECRET_KEY, Policy::administrator())])
    }

    pub(crate) fn within(quotas: Quotas) -> Self {
        let keys = [signer(ACCESS_KEY, SECRET_KEY, Policy::administrator())];
        Self::over(MemoryStore::new(quotas), keys)
    }

    pub(crate) fn with_keys(keys: impl IntoIterator<Item = Signer>) -> Self {
        Self::over(MemoryStore::default(), keys)
    }

    fn over(store: MemoryStore, keys: impl IntoIterator<Item = Signer>) -> Self {
        let store: Arc<dyn Store> = Arc::new(store);
        let now = Arc::new(AtomicU64::new(START));
        let clock: signet_policies::time::Clock = {
            let now = now.clone();
            Arc::new(move || at(now.load(Ordering::Relaxed)))
        };
        let settings =
            ApiSettings::new("000000000000", REGION, [1; 32]).within("signet.internal".parse().unwrap());
        let keys: KeyPairs = keys.into_iter().collect();
        let router = api::router(store.clone(), settings, clock.clone());
        Self { router: api::signed(router, Arc::new(keys), REGION, clock), store, now }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.now.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> SystemTime {
        at(self.now.load(Ordering::Relaxed))
    }

    /// Sends a signed request; `path` is below `/v20190125`.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.call_raw(method, &format!("/v20190125{path}"), body.as_bytes()).await
    }

    pub(crate) async fn call_raw(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.send(signed(request(method, path, body), self.now(), SigningSettings::default())).await
    }

    pub(crate) async fn send(&self, request: Request<Vec<u8>>) -> Answer {
        self.send_body(request.map(Body::from)).await
    }

    pub(crate) async fn send_body(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request that must succeed.
    pub(crate) async fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.call(method, path, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{method} {path}: {}", answer.body);
        answer.body
    }

    /// Mesh `m`, nodes `a` and `b`, router `r`.
    pub(crate) async fn furnish(&self) {
        self.must("PUT", "/meshes", Some(&json!({"meshName": "m"}))).await;
        self.furnish_rest().await;
    }

    /// As [`Api::furnish`], in a mesh that is there.
    pub(crate) async fn furnish_rest(&self) {
        for name in ["a", "b"] {
            self.must(
                "PUT",
                "/meshes/m/virtualNodes",
                Some(&json!({"virtualNodeName": name, "spec": node(80)})),
            )
            .await;
        }
        let listener = json!({"portMapping": {"port": 80, "protocol": "http"}});
        let router = json!({"virtualRouterName": "r", "spec": {"listeners": [listener]}});
        self.must("PUT", "/meshes/m/virtualRouters", Some(&router)).await;
    }
}

impl Answer {
    /// Status, code and message of a refusal, which must have the form of one.
    pub(crate) fn error(&self) -> (u16, &str, &str) {
        assert_eq!(self.headers["content-type"], "application/json", "{self:?}");
        assert_eq!(self.headers["x-amzn-requestid"].len(), 36);
        let code = self.headers["x-amzn-errortype"].to_str().unwrap();
        assert_eq!(self.body.as_object().unwrap().len(), 1);
        (self.status.as_u16(), code, self.body["message"].as_str().unwrap())
    }
}

/// A key pair of the user `tester`, with a policy of IAM's JSON.
pub(crate) fn signer(access_key_id: &str, secret: &str, policy: Value) -> Signer {
    let policy = Arc::new(Policy::parse(policy).unwrap());
    let principal = Principal { access_key_id: access_key_id.to_owned(), user: "tester".into(), policy };
    Signer { secret: Secret::new(secret.to_owned()), principal }
}

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

pub(crate) fn node(port: u16) -> Value {
    json!({
        "listeners": [{"portMapping": {"port": port, "protocol": "http"}}],
        "serviceDiscovery": {"dns": {"hostname": "a.local"}},
    })
}

pub(crate) fn route(target: &str) -> Value {
    json!({"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": [{"virtualNode": target, "weight": 1}]}}})
}

pub(crate) fn request(method: &str, path: &str, body: &[u8]) -> Request<Vec<u8>> {
    let request = Request::builder().method(method).uri(path).header("host", HOST);
    request.header("content-type", "application/json").body(body.to_vec()).unwrap()
}

/// Signs as AWS's SDK for Rust does.
pub(crate) fn signed(
    request: Request<Vec<u8>>,
    at: SystemTime,
    settings: SigningSettings,
) -> Request<Vec<u8>> {
    signed_by(request, at, settings, (ACCESS_KEY, SECRET_KEY), (REGION, "appmesh"))
}

pub(crate) fn signed_by(
    mut request: Request<Vec<u8>>,
    at: SystemTime,
    settings: SigningSettings,
    (access_key, secret_key): (&str, &str),
    (region, service): (&str, &str),
) -> Request<Vec<u8>> {
    let credentials = Credentials::builder().access_key_id(access_key).secret_access_key(secret_key);
    let identity = credentials.provider_name("test").build().into();
    let params = v4::SigningParams::builder().identity(&identity).region(region).name(service).time(at);
    let params = params.settings(settings).build().unwrap().into();
    let instructions = {
        let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let uri = format!("http://{HOST}{}", request.uri());
        let body = SignableBody::Bytes(request.body());
        let signable = SignableRequest::new(request.method().as_str(), uri, headers, body).unwrap();
        sign(signable, &params).unwrap().into_parts().0
    };
    instructions.apply_to_request_http1x(&mut request);
    request
}

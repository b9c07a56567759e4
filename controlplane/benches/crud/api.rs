//! Whole requests.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    routing::{get, post},
};
use http::Request;
use serde_json::{Value, json};
use signet_controlplane::{
    access::Policy,
    api::{
        self, ApiSettings,
        sigv4::{KeyPairs, Principal, Secret, Signer},
    },
    quotas::Quotas,
    store::SledStore,
};
use signet_durable::Database;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use super::{
    Row, median,
    wire::{self, ACCESS_KEY, Client, REGION, SECRET_KEY, plain, signed},
};

/// Requests of one client, for a median.
const CALLS: usize = 600;
/// Clients at once, and what each sends.
const CROWD: usize = 32;
const CROWD_CALLS: usize = 60;
const ROUNDS: usize = 7;

/// What is measured, and what bounds it.
struct Fixture {
    /// Serves; clients have one of their own.
    server: Runtime,
    clients: Runtime,
    /// Beside the store's own, so that neither writes what the other left over.
    plain: Database,
    api: SocketAddr,
    /// A POST that reads JSON, keeps it in memory and answers with it, and a GET that does nothing; unsigned.
    bare: SocketAddr,
    _folder: tempfile::TempDir,
}

fn credentials() -> Arc<KeyPairs> {
    let policy = Arc::new(Policy::parse(Policy::administrator()).unwrap());
    let principal = Principal { access_key_id: ACCESS_KEY.into(), user: "bench".into(), policy };
    Arc::new([Signer { secret: Secret::new(SECRET_KEY.into()), principal }].into_iter().collect())
}

fn checked(router: Router) -> Router {
    api::signed(router, credentials(), REGION, Arc::new(wire::now))
}

fn bare() -> Router {
    let kept = Arc::<Mutex<HashMap<String, Value>>>::default();
    let keep = async move |body: Bytes| {
        let value: Value = serde_json::from_slice(&body).unwrap();
        let name = value["virtualNodeName"].as_str().unwrap().to_owned();
        let answer = Json(value.clone());
        kept.lock().unwrap().insert(name, value);
        answer
    };
    Router::new().route("/healthz", get(async || "ok\n")).route("/post", post(keep))
}

fn node_spec() -> String {
    json!({
        "listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}],
        "serviceDiscovery": {"dns": {"hostname": "service-a.apps.local"}},
        "backends": [{"virtualService": {"virtualServiceName": "service-b.apps.local"}}],
    })
    .to_string()
}

fn creation(name: &str) -> String {
    format!("{{\"virtualNodeName\":\"{name}\",\"clientToken\":\"token-{name}\",\"spec\":{}}}", node_spec())
}

impl Fixture {
    fn new() -> Self {
        let runtime =
            || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (server, clients) = (runtime(), runtime());
        // On the disk of the build, and not in a temporary file system that syncs for nothing.
        let folder = tempfile::tempdir_in(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))).unwrap();
        let [database, plain] =
            ["store", "plain"].map(|name| Database::open(&folder.path().join(name)).unwrap());
        let settings = ApiSettings::new("000000000000", REGION, [1; 32]);
        let store = Arc::new(SledStore::open(database, Quotas::default()).unwrap());
        let api = wire::serve(&server, checked(api::router(store, settings, Arc::new(wire::now))));
        let bare = wire::serve(&server, bare());
        let fixture = Self { server, clients, plain, api, bare, _folder: folder };
        for mesh in ["few", "many", "writes"] {
            fixture.put("/meshes", &json!({"meshName": mesh}).to_string());
        }
        fixture
    }

    fn put(&self, path: &str, body: &str) {
        Client::new(self.api).time(&self.request("PUT", path, body));
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        signed(self.api, method, &format!("/v20190125{path}"), body)
    }

    /// Creates nodes with as many clients as there may be.
    fn fill(&self, mesh: &str, count: usize) {
        let path = format!("/meshes/{mesh}/virtualNodes");
        let mut requests: Vec<Vec<Vec<u8>>> = vec![Vec::new(); CROWD];
        for number in 0..count {
            let body = creation(&format!("node-{number:05}"));
            requests[number % CROWD].push(self.request("PUT", &path, &body));
        }
        wire::crowd(&self.clients, self.api, requests);
    }

    /// Medians of two requests that take turns.
    fn compare(&self, ours: &[u8], bound: (&SocketAddr, &[u8])) -> (Duration, Duration) {
        let (mut first, mut second) = (Client::new(self.api), Client::new(*bound.0));
        let pairs = (0..CALLS).map(|_| (first.time(ours), second.time(bound.1)));
        let (ours, bounds) = pairs.skip(CALLS / 10).unzip();
        (median(ours), median(bounds))
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let fixture = Fixture::new();
    let mut rows = vec![one_writer(&fixture), many_writers(&fixture), read(&fixture)];
    fixture.fill("few", 100);
    fixture.fill("many", 10_000);
    rows.extend(sizes(&fixture));
    rows
}

fn one_writer(fixture: &Fixture) -> Row {
    let (mut api, mut bare) = (Client::new(fixture.api), Client::new(fixture.bare));
    let post = plain(fixture.bare, "POST", "/post", &creation("node"));
    let tree = fixture.plain.tree("bench").unwrap();
    let (mut ours, mut bounds) = (Vec::new(), Vec::new());
    for number in 0..CALLS {
        let body = creation(&format!("one-{number}"));
        ours.push(api.time(&fixture.request("PUT", "/meshes/writes/virtualNodes", &body)));
        let (tree, key) = (tree.clone(), format!("mesh/writes/virtualNode/one-{number}"));
        let start = tokio::time::Instant::now();
        let insert = fixture.plain.commit(move || tree.insert(key, body.as_bytes()).map(drop));
        fixture.server.block_on(insert).unwrap();
        bounds.push(start.elapsed() + bare.time(&post));
    }
    Row {
        what: "a write, one client, p50",
        limit: "a durable insert and a plain POST",
        goal: 1.5,
        ours: median(ours),
        bound: median(bounds),
    }
}

/// The goal is a throughput of 0.33 of the limit's at least.
fn many_writers(fixture: &Fixture) -> Row {
    let (mut ours, mut bounds) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let names =
            |client: usize| (0..CROWD_CALLS).map(move |call| format!("crowd-{round}-{client}-{call}"));
        let create = |name: String| fixture.request("PUT", "/meshes/writes/virtualNodes", &creation(&name));
        let requests = (0..CROWD).map(|client| names(client).map(create).collect()).collect();
        ours.push(wire::crowd(&fixture.clients, fixture.api, requests));
        let post = plain(fixture.bare, "POST", "/post", &creation("node"));
        let requests = vec![vec![post; CROWD_CALLS]; CROWD];
        bounds.push(wire::crowd(&fixture.clients, fixture.bare, requests));
    }
    let each = |times| median(times) / u32::try_from(CROWD * CROWD_CALLS).unwrap();
    Row {
        what: "a write, 32 clients at once",
        limit: "a plain POST of the same JSON, kept in memory",
        goal: 1.0 / 0.33,
        ours: each(ours),
        bound: each(bounds),
    }
}

fn read(fixture: &Fixture) -> Row {
    fixture.put("/meshes/few/virtualNodes", &creation("read"));
    let describe = fixture.request("GET", "/meshes/few/virtualNodes/read", "");
    let health = plain(fixture.bare, "GET", "/healthz", "");
    let (ours, health) = fixture.compare(&describe, (&fixture.bare, &health));
    Row {
        what: "a describe, one client, p50",
        limit: "a health check and one signature check",
        goal: 1.3,
        ours,
        bound: health + signature_check(fixture),
    }
}

/// What the check of a signature adds to a request that does nothing, without any network.
fn signature_check(fixture: &Fixture) -> Duration {
    let describe = fixture.request("GET", "/meshes/few/virtualNodes/read", "");
    let text = String::from_utf8(describe).unwrap();
    let request = || {
        let mut lines = text.lines();
        let path = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.take_while(|line| !line.is_empty()).map(|line| line.split_once(": ").unwrap());
        let builder = Request::builder().uri(path);
        headers
            .fold(builder, |builder, (name, value)| builder.header(name, value))
            .body(Body::empty())
            .unwrap()
    };
    let nothing = || Router::new().fallback(async || "");
    let (with, without) = (checked(nothing()), nothing());
    let time = |router: &Router| {
        let (router, request) = (router.clone(), request());
        fixture.server.block_on(async move {
            let start = tokio::time::Instant::now();
            assert_eq!(router.oneshot(request).await.unwrap().status(), 200);
            start.elapsed()
        })
    };
    let (with, without) = (0..4 * CALLS).map(|_| (time(&with), time(&without))).unzip();
    median(with).saturating_sub(median(without))
}

fn sizes(fixture: &Fixture) -> [Row; 2] {
    let row = |what, path: &str, more: &str| {
        let request =
            |mesh: &str| fixture.request("GET", &format!("/meshes/{mesh}/virtualNodes{path}{more}"), "");
        let (ours, bound) = fixture.compare(&request("many"), (&fixture.api, &request("few")));
        Row { what, limit: "the same in a mesh of 100", goal: 1.1, ours, bound }
    };
    [
        row("a describe in a mesh of 10,000 nodes", "/node-00050", ""),
        row("a page of a list in a mesh of 10,000 nodes", "", "?limit=90"),
    ]
}

//! What the store costs without the API, each way beside the limit that it cannot pass.
//!
//! `cargo bench -p signet-controlplane --bench store` measures limit and ours in turn, so that a slow moment of the
//! machine hits both: durable writes beside a plain insert and sync, 10,000 resources beside 100, start-up and
//! memory beside their bounds. The process ends with 1 when a ratio misses its goal.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot run may end, and prints")]

mod large;
mod writes;

use std::{hint::black_box, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use criterion::measurement::{Measurement, WallTime};
use serde_json::{Value, json};
use signet_controlplane::{
    model::{Document, Tags, key::Key},
    store::{Store, Write},
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, task::JoinSet};
use uuid::Uuid;

/// Nodes of a small and of a large store.
const FEW: usize = 100;
const MANY: usize = 10_000;
const ROUNDS: usize = 7;

/// A measured thing beside what bounds it.
struct Row {
    what: &'static str,
    limit: &'static str,
    /// Ours over the limit: at most this.
    goal: f64,
    ours: Duration,
    bound: Duration,
}

impl Row {
    /// Says whether the goal is met.
    fn print(&self) -> bool {
        let Self { what, limit, goal, ours, bound } = self;
        let ratio = ours.as_secs_f64() / bound.as_secs_f64();
        let verdict = if ratio <= *goal { "PASS" } else { "FAIL" };
        println!(
            "{what:36} {ratio:>6.3} of the limit, at most {goal:.2} wanted: {verdict}; {ours:.1?}, the limit {bound:.1?}: {limit}"
        );
        ratio <= *goal
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some([_, folder]) = arguments.windows(2).find(|pair| pair[0] == large::MEMORY) {
        large::print_memory(folder);
        return ExitCode::SUCCESS;
    }
    let runtime = Runtime::new().unwrap();
    let rows = [writes::rows(&runtime), large::rows(&runtime)].into_iter().flatten();
    let met: Vec<bool> = rows.map(|row| row.print()).chain([large::is_small_enough()]).collect();
    match met.iter().filter(|is_met| !**is_met).count() {
        0 => ExitCode::SUCCESS,
        missed => {
            println!("{missed} of {} goals were missed", met.len());
            ExitCode::FAILURE
        }
    }
}

/// The middle one.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The time that a call takes.
fn time<T>(call: impl FnOnce() -> T) -> Duration {
    let start = WallTime.start();
    black_box(call());
    WallTime.end(start)
}

/// On the disk of the build, and not in a temporary file system that syncs for nothing.
fn folder() -> TempDir {
    tempfile::tempdir_in(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))).unwrap()
}

fn spec(port: usize) -> Value {
    let service =
        |number: usize| json!({"virtualService": {"virtualServiceName": format!("svc-{number}.apps.local")}});
    json!({
        "listeners": [{
            "portMapping": {"port": 1024 + port % 60_000, "protocol": "http"},
            "healthCheck": {"protocol": "http", "path": "/ping", "healthyThreshold": 2, "unhealthyThreshold": 2,
                "timeoutMillis": 2000, "intervalMillis": 5000},
            "tls": {"mode": "STRICT", "certificate": {"sds": {"secretName": "default"}},
                "validation": {"trust": {"sds": {"secretName": "ROOTCA"}}}},
        }],
        "serviceDiscovery": {"dns": {"hostname": format!("node-{port}.apps.local")}},
        "backends": (0..6).map(service).collect::<Vec<_>>(),
        "logging": {"accessLog": {"file": {"path": "/dev/stdout"}}},
    })
}

fn key(number: usize) -> Key {
    format!("mesh/m/virtualNode/node-{number:05}").parse().unwrap()
}

fn creation(key: Key, spec: Value) -> Write {
    let document = Document::parse(key, spec).unwrap();
    let token = Some(Uuid::new_v4().to_string());
    Write::Create { document, uid: Uuid::new_v4(), token, tags: Tags::default(), at: 1 }
}

/// As an SDK sends it: with a token of its own.
fn update(number: usize, port: usize) -> Write {
    let document = Document::parse(key(number), spec(port)).unwrap();
    Write::Update { document, token: Some(Uuid::new_v4().to_string()), expected: None, at: 2 }
}

/// Many writers at once, so that it does not take a sync for each node.
async fn furnish(store: Arc<dyn Store>, nodes: usize) {
    store.write(creation("mesh/m".parse().unwrap(), json!({}))).await.unwrap();
    let mut writers = JoinSet::new();
    for number in 0..nodes {
        let store = store.clone();
        writers
            .spawn(async move { store.write(creation(key(number), spec(number))).await.map(drop).unwrap() });
    }
    writers.join_all().await;
}

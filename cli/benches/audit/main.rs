//! How long `signet audit` takes, as people call it, where a real server has issued ten thousand certificates.
//!
//! `cargo bench -p signet --bench audit` has a thousand workloads renew ten times each over gRPC, and then runs the command:
//! it reads the server's state and every entry of its ledger, and verifies all of it. Beside it stands the same audit of
//! what was saved, without a server. The process ends with 1 when the command takes two seconds or more.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot run may end, and prints")]

#[path = "../issuing/limit.rs"]
#[expect(dead_code, reason = "the other bench uses the rest of it")]
mod limit;
#[path = "../issuing/place.rs"]
mod place;
#[path = "../issuing/proxies.rs"]
mod proxies;
#[path = "../issuing/servers.rs"]
#[expect(dead_code, reason = "the other bench uses the rest of it")]
mod servers;

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use place::Place;
use proxies::Proxies;
use servers::Server;

const WORKLOADS: usize = 1000;
/// Workloads that renew at once.
const AT_ONCE: usize = 100;
/// Certificates of each.
const RENEWALS: usize = 10;
const ROUNDS: usize = 5;
/// Seconds that the command may take.
const GOAL: f64 = 2.0;

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let place = Place::new(WORKLOADS, RENEWALS);
    let server = Server::signet(&place);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for shift in 0..WORKLOADS / AT_ONCE {
        let proxies = runtime.block_on(Proxies::connect(server.port, &place, shift, AT_ONCE));
        runtime.block_on(proxies.renew(&place, RENEWALS));
    }
    let saved = place.folder.path().join("inventory.json");
    let credentials = place.folder.path().join("data/credentials");
    let text = |path: &Path| path.display().to_string();
    audit(&["--endpoint", &server.api, "--credentials", &text(&credentials), "--save", &text(&saved)]);
    let [mut whole, mut alone] = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        whole.push(audit(&["--endpoint", &server.api, "--credentials", &text(&credentials)]));
        alone.push(audit(&["--inventory", &text(&saved)]));
    }
    let (whole, alone) = (middle(whole), middle(alone));
    let (is_met, count) = (whole < GOAL, WORKLOADS * RENEWALS);
    println!(
        "signet audit of a server with {count} certificates   {whole:>6.3} s, less than {GOAL:.1} s wanted: {}; of a file \
         without the server {alone:.3} s",
        if is_met { "PASS" } else { "FAIL" },
    );
    ExitCode::from(u8::from(!is_met))
}

/// Seconds of one audit. It must have looked at everything, and all of it must be in order.
fn audit(args: &[&str]) -> f64 {
    let start = limit::now();
    let output =
        Command::new(env!("CARGO_BIN_EXE_signet")).args(["audit", "--format", "json"]).args(args).output();
    let took = limit::now() - start;
    let output = output.unwrap();
    assert!(!output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let certificates = usize::try_from(report["coverage"]["certificates"].as_u64().unwrap()).unwrap();
    assert!(certificates >= WORKLOADS * RENEWALS, "{certificates}");
    assert_eq!(output.status.code(), Some(0), "{}", report["findings"][0]);
    took
}

fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

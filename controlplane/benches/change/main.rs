//! What a change costs on its way from the API's store to the proxies.
//!
//! `cargo bench -p signet-controlplane --bench change` measures the whole way, a durable write, reconciliation and the
//! push to 100 and to 1,000 streams, beside the two things that it cannot do without, a durable write and a push of what
//! is ready; and what one change costs in a mesh of 10,000 nodes beside a mesh of 100. `-- --proxies 10000` measures the
//! whole way to as many streams as are asked for and the limit of open files allows, one for each and a few. The streams
//! are real, over loopback; what is ready is pushed by a process of its own, and the clients of each are another. The
//! process ends with 1 when a ratio misses its goal.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench that cannot run may end, and prints"
)]

#[path = "../../../xds/benches/fleet/client.rs"]
mod client;
mod fleet;
mod mesh;
#[path = "../../../xds/benches/fleet/meter.rs"]
#[expect(dead_code, reason = "memory is the fleet's to measure")]
mod meter;
#[path = "../../../xds/benches/fleet/process.rs"]
mod process;
mod ready;
mod server;
#[path = "../../../xds/benches/fleet/tls.rs"]
#[expect(dead_code, reason = "nothing is encrypted here")]
mod tls;

use std::process::ExitCode;

use mesh::Change;
use meter::Start;
use process::Process;
use server::World;
use tokio::runtime::{Builder, Runtime};

/// The fewest rounds, and the most: what takes a few milliseconds needs many to tell it from what else runs.
const ROUNDS: [usize; 2] = [15, 99];
/// The nodes of a small mesh and of a large one.
const FEW: usize = 100;
const MANY: usize = 10_000;
/// How many proxies call what changes there.
const CALLERS: usize = 20;
/// Changes that are measured at once.
const CHANGES: usize = 20;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).filter(|arg| *arg != "--bench").collect();
    match *args {
        ["--client"] => {
            client::run();
            ExitCode::SUCCESS
        }
        ["--ready", streams] => {
            runtime().block_on(ready::serve(streams.parse().unwrap()));
            ExitCode::SUCCESS
        }
        ["--proxies", streams] => measure(&[streams.parse().unwrap()], &[]),
        [] => measure(&[100, 1000], &[Change::Node, Change::Instance]),
        _ => {
            println!("usage: cargo bench -p signet-controlplane --bench change [-- --proxies COUNT]");
            ExitCode::FAILURE
        }
    }
}

/// Changes that so many proxies are told of, and changes in a large mesh.
fn measure(fleets: &[usize], in_a_large_mesh: &[Change]) -> ExitCode {
    let rows = runtime().block_on(async {
        let mut rows = Vec::new();
        for streams in fleets {
            rows.push(to_all(*streams).await);
        }
        for change in in_a_large_mesh {
            rows.push(among_many(*change).await);
        }
        rows
    });
    let missed = rows.iter().filter(|is_met| !**is_met).count();
    if missed == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{missed} of {} goals were missed", rows.len());
    ExitCode::FAILURE
}

/// Prints the median of ratios from pairs of ours and the limit; says whether it is small enough.
#[must_use]
fn report(what: &str, limit: &str, unit: &str, most: f64, mut rounds: Vec<(f64, f64)>) -> bool {
    let ratio = |(ours, limit): &(f64, f64)| ours / limit;
    rounds.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let middle = &rounds[rounds.len() / 2];
    let is_met = ratio(middle) <= most;
    println!(
        "{what:48} {:>6.2} of the limit, at most {most:.2} wanted: {}; {:.2} {unit}, the limit {:.2}: {limit}",
        ratio(middle),
        if is_met { "PASS" } else { "FAIL" },
        middle.0,
        middle.1,
    );
    is_met
}

/// From the beginning of a write to the last of many proxies that has what it changes, each of another node.
async fn to_all(proxies: usize) -> bool {
    let mut ours = World::start(FEW, proxies).await;
    let mut ready = Process::start(&["--ready", &proxies.to_string()]);
    assert_eq!(ready.hear(), "ready");
    let (mut rounds, mut encoded) = (Vec::new(), 0);
    let [fewest, most] = ROUNDS;
    for _ in 0..(33_000 / proxies).clamp(fewest, most) {
        let write = ours.time_a_write().await;
        ready.say("push");
        let push = ready.seconds();
        let before = ours.encoded();
        rounds.push((ours.change(Change::Node).await * 1e3, (write + push) * 1e3));
        encoded = encoded.max(ours.encoded() - before);
    }
    println!("a changed cluster of {proxies} proxies, each of another node: {encoded} resources encoded");
    let limit = "a durable write, and a push of what is ready";
    report(&format!("a write until {proxies} proxies have it"), limit, "ms", 1.5, rounds) && encoded == 1
}

/// The server's work for changes that a few proxies are told of, in a large mesh beside a small one.
async fn among_many(change: Change) -> bool {
    let (mut small, mut large) = (World::start(FEW, CALLERS).await, World::start(MANY, CALLERS).await);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS[0] {
        let mut cpu = [0.0, 0.0];
        for (world, cpu) in [&mut small, &mut large].into_iter().zip(&mut cpu) {
            let start = Start::now();
            for _ in 0..CHANGES {
                world.change(change).await;
            }
            *cpu = start.end(0.0).cpu_us / f64::from(u32::try_from(CHANGES).unwrap());
        }
        rounds.push((cpu[1], cpu[0]));
    }
    let what = format!("{change}, CPU, among {MANY} nodes");
    report(&what, &format!("the same among {FEW}"), "us", 1.2, rounds)
}

//! What a fleet of Envoys costs, each row beside the limit that it cannot pass, measured in the same run.
//!
//! `cargo bench -p signet-xds --bench fleet` serves 100 and 1,000 streams, and `-- --proxies 10000` as many as are
//! asked for and the limit of open files allows, one for each and a few: real HTTP/2 connections over loopback, plain
//! and with mutual TLS. Our server, the limit's, and the clients of each are four processes, and every lane has its
//! own, so that no memory that another has freed is counted for nothing. The goals are those that were set for 10,000
//! proxies; few streams may miss them, as what a push costs once is divided among them. The process ends with 1 when a
//! ratio misses its goal.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench that cannot run may end, and prints"
)]

mod client;
/// What the gRPC port speaks.
#[path = "../../../cli/src/server/tls/frugal.rs"]
mod frugal;
mod limit;
mod meter;
mod process;
mod server;
mod tls;

use std::{
    fs,
    process::{Command, ExitCode},
};

use tokio::runtime::{Builder, Runtime};

use limit::{Kind, Limit};
use meter::Meter;
use server::Fleet;

/// One cluster, and its bytes.
const SMALL: (usize, usize) = (1, 4 << 10);
/// The clusters of the large push, and the bytes of each: 430 KB in all.
const LARGE: (usize, usize) = (1000, 371);
/// The fewest rounds of a push, and the most: what takes two milliseconds needs many to tell it from what else runs.
const ROUNDS: [usize; 2] = [9, 99];
/// How many clients more connect, fleet by fleet, where one fleet is too few to tell what that costs.
const CONNECTS: usize = 2000;

const PLAIN: &str = "plain";
const MUTUAL_TLS: &str = "mTLS";

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
        ["--lane", what, streams, security] => lane(what, streams.parse().unwrap(), security == MUTUAL_TLS),
        ["--limit", kind, streams, security] => {
            let (is_raw, mutual_tls) = (kind == Kind::Raw.to_string(), security == MUTUAL_TLS);
            runtime().block_on(limit::serve(is_raw, streams.parse().unwrap(), mutual_tls));
            ExitCode::SUCCESS
        }
        ["--proxies", streams] => fleets(&[streams.parse().unwrap()]),
        [] => fleets(&[100, 1000]),
        _ => {
            println!("usage: cargo bench -p signet-xds --bench fleet [-- --proxies COUNT]");
            ExitCode::FAILURE
        }
    }
}

/// Every lane in a process of its own.
fn fleets(sizes: &[usize]) -> ExitCode {
    let own = std::env::current_exe().unwrap();
    let mut missed = 0;
    for streams in sizes {
        // A process has one socket a stream.
        let (needed, most) = (streams + 100, open_files());
        if needed > most {
            println!("{streams} streams need {needed} open files and {most} are allowed: raise `ulimit -n`");
            return ExitCode::FAILURE;
        }
        let lanes =
            [("idle", PLAIN), ("push", PLAIN), ("idle", MUTUAL_TLS), ("large", PLAIN), ("large", MUTUAL_TLS)];
        for (what, security) in lanes {
            let lane = ["--lane", what, &streams.to_string(), security];
            let code = Command::new(&own).args(lane).status().unwrap().code().unwrap();
            assert_ne!(code, 101, "{lane:?} broke off");
            missed += code;
        }
    }
    if missed == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{missed} goals were missed");
    ExitCode::FAILURE
}

fn open_files() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX)
}

/// One lane; the process ends with the number of goals that it missed.
fn lane(what: &str, streams: usize, mutual_tls: bool) -> ExitCode {
    let rows = runtime().block_on(async {
        match what {
            "idle" => idle(streams, mutual_tls).await,
            "push" => push(streams).await,
            _ => large(streams, mutual_tls).await,
        }
    });
    ExitCode::from(u8::try_from(rows.iter().filter(|is_met| !**is_met).count()).unwrap())
}

/// A kind of row in one lane.
struct Row<'a> {
    lane: &'a str,
    what: &'a str,
    limit: &'a str,
    unit: &'a str,
    most: f64,
}

impl Row<'_> {
    /// Prints the median of ratios from pairs of ours and the limit; says whether it is small enough.
    #[must_use]
    fn report(&self, mut rounds: Vec<(f64, f64)>) -> bool {
        let ratio = |(ours, limit): &(f64, f64)| ours / limit;
        rounds.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        let middle = &rounds[rounds.len() / 2];
        let is_met = ratio(middle) <= self.most;
        let Self { lane, what, limit, unit, most } = self;
        println!(
            "{lane:20} {what:34} {:>6.2} of the limit, at most {most:.2} wanted: {}; {:.1} {unit}, the limit {:.1}: {limit}",
            ratio(middle),
            if is_met { "PASS" } else { "FAIL" },
            middle.0,
            middle.1,
        );
        is_met
    }
}

fn rounds_of(streams: usize) -> usize {
    let [fewest, most] = ROUNDS;
    (9_900 / streams).clamp(fewest, most)
}

fn name(streams: usize, mutual_tls: bool) -> String {
    format!("{streams} proxies, {}", security(mutual_tls))
}

const fn security(mutual_tls: bool) -> &'static str {
    if mutual_tls { MUTUAL_TLS } else { PLAIN }
}

/// What a stream costs that is idle; of mutual TLS also what it costs to connect, and one changed cluster to everybody.
async fn idle(streams: usize, mutual_tls: bool) -> Vec<bool> {
    let lane = &name(streams, mutual_tls);
    let row = |what, limit, unit, most| Row { lane, what, limit, unit, most };
    let count = f64::from(u32::try_from(streams).unwrap());
    // What the first stream costs once is no part of what one more costs.
    let _first = Fleet::start(2, mutual_tls, SMALL, false).await;
    let mut bare = Limit::start(Kind::Bare, streams, security(mutual_tls));
    let handshake = || tls::handshake().as_secs_f64() * 1e6;
    let limit = if mutual_tls { handshake() } else { 0.0 };
    let mut fleet = Fleet::start(streams, mutual_tls, SMALL, false).await;
    let kilobytes = |bytes: f64| bytes / count / 1024.0;
    let most = if mutual_tls { 1.25 } else { 1.35 };
    let idle = row("memory of an idle stream", "a bare stream of tonic's", "KB", most);
    let mut rows = vec![idle.report(vec![(kilobytes(fleet.idle_memory), kilobytes(bare.idle_memory))])];
    if !mutual_tls {
        return rows;
    }
    let mut rounds = Vec::new();
    for _ in 0..rounds_of(streams) {
        let limit = bare.push(fleet.bytes_per_push);
        rounds.push((fleet.push().await.seconds * 1e3, limit.seconds * 1e3));
    }
    rows.push(
        row("one changed cluster, all delivered", "ready bytes in a bare stream", "ms", 1.25).report(rounds),
    );
    let mut connects = vec![(fleet.opened().cpu_us / count, limit)];
    for _ in 0..CONNECTS / streams {
        // They go before others come, so that there are files for all.
        drop(fleet);
        let limit = handshake();
        fleet = Fleet::start(streams, mutual_tls, SMALL, false).await;
        connects.push((fleet.opened().cpu_us / count, limit));
    }
    let connect = row("connect, CPU", "the handshake of rustls in memory", "us", 1.9);
    rows.push(connect.report(connects));
    rows
}

/// One changed cluster to everybody.
async fn push(streams: usize) -> Vec<bool> {
    let lane = &name(streams, false);
    let row = |what, unit, most| Row { lane, what, limit: "write of ready bytes", unit, most };
    let count = f64::from(u32::try_from(streams).unwrap());
    let mut raw = Limit::start(Kind::Raw, streams, PLAIN);
    let mut fleet = Fleet::start(streams, false, SMALL, false).await;
    let mut rounds: Vec<[Meter; 2]> = Vec::new();
    for _ in 0..rounds_of(streams) {
        rounds.push([raw.push(fleet.bytes_per_push), fleet.push().await]);
    }
    let cpu = rounds.iter().map(|[raw, ours]| (ours.cpu_us / count, raw.cpu_us / count)).collect();
    let delivered = rounds.iter().map(|[raw, ours]| (ours.seconds * 1e3, raw.seconds * 1e3)).collect();
    vec![
        row("one changed cluster, CPU a message", "us", 2.0).report(cpu),
        row("one changed cluster, all delivered", "ms", 1.6).report(delivered),
    ]
}

/// A thousand clusters to everybody, and what is kept of them.
async fn large(streams: usize, mutual_tls: bool) -> Vec<bool> {
    let lane = &name(streams, mutual_tls);
    let row = |what, limit, unit, most| Row { lane, what, limit, unit, most };
    let count = f64::from(u32::try_from(streams).unwrap());
    let _first = Fleet::start(2, mutual_tls, SMALL, true).await;
    let mut bare = Limit::start(Kind::Bare, streams, security(mutual_tls));
    let mut fleet = Fleet::start(streams, mutual_tls, LARGE, true).await;
    // The first push is for memory alone: what both have to grow once is no part of the others.
    bare.push(fleet.bytes_per_push);
    let before = fleet.memory_now();
    fleet.push().await;
    let kept = fleet.idle_memory + fleet.memory_now() - before;
    let mut rounds = Vec::new();
    for _ in 0..5 {
        let limit = bare.push(fleet.bytes_per_push);
        rounds.push((fleet.push().await.cpu_us / count, limit.cpu_us / count));
    }
    let what = format!("1000 clusters ({} KB) SotW, CPU", fleet.bytes_per_push / 1000);
    let memory = (kept / count / 1024.0, fleet.idle_memory / count / 1024.0);
    vec![
        row(&what, "ready bytes in a bare stream", "us", 1.15).report(rounds),
        row("memory after 1000 clusters", "the same stream, idle", "KB", 1.2).report(vec![memory]),
    ]
}

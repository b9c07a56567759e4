//! What serving secrets to many streams of one socket costs, each row beside the limit that it cannot pass, measured in
//! the same run.
//!
//! `cargo bench -p signet-sds --bench socket` opens 1,000 streams, `-- --streams 10000` as many as are asked for and the
//! limit of open files allows; each is a connection of its own, as that of an Envoy. The clients are a process of their
//! own, and so is each measurement of memory. The process ends with 1 when a ratio misses its goal; the goals are those
//! for 10,000 streams.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench that cannot run may end, and prints"
)]

mod clients;
mod limits;
mod meter;
mod ours;

use std::process::{Command, ExitCode};

use tokio::runtime::Builder;

use limits::{Bare, Raw};
use meter::{Row, memory};
use ours::Ours;

const ROUNDS: usize = 7;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = || Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match args[..] {
        ["--clients", socket, count, kind] => {
            clients::run(socket, count.parse().unwrap(), kind == "raw");
            ExitCode::SUCCESS
        }
        ["--memory", what, count] => {
            let count = count.parse().unwrap();
            let [idle, later] = runtime().block_on(async move {
                match what {
                    "bare" => bare_memory(count).await,
                    _ => our_memory(count).await,
                }
            });
            println!("{idle} {later}");
            ExitCode::SUCCESS
        }
        [] => runtime().block_on(rows(1000)),
        ["--streams", count] => runtime().block_on(rows(count.parse().unwrap())),
        _ => {
            println!("usage: cargo bench -p signet-sds --bench socket [-- --streams COUNT]");
            ExitCode::FAILURE
        }
    }
}

async fn bare_memory(streams: usize) -> [f64; 2] {
    let _first = Bare::start(2).await;
    let before = memory();
    let _bare = Bare::start(streams).await;
    [memory() - before, 0.0]
}

async fn our_memory(streams: usize) -> [f64; 2] {
    let _first = Ours::start(2).await;
    let before = memory();
    let mut ours = Ours::start(streams).await;
    let idle = memory() - before;
    for _ in 0..3 {
        ours.rotate().await;
    }
    [idle, memory() - before]
}

/// Memory of a process that does nothing else, in KB a stream: idle, and after three rotations.
fn memory_of(what: &str, streams: usize) -> [f64; 2] {
    let own = std::env::current_exe().unwrap();
    let output = Command::new(own).args(["--memory", what, &streams.to_string()]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let count = f64::from(u32::try_from(streams).unwrap());
    let mut numbers = text.split_whitespace().map(|number| number.parse::<f64>().unwrap() / count / 1024.0);
    [numbers.next().unwrap(), numbers.next().unwrap()]
}

async fn rows(streams: usize) -> ExitCode {
    let count = f64::from(u32::try_from(streams).unwrap());
    let (bare_memory, our_memory) = (memory_of("bare", streams), memory_of("ours", streams));
    let message = vec![7; Ours::start(1).await.bytes()];
    // One after the other: together they would need more open files than are allowed.
    let mut raw = Vec::new();
    {
        let mut limit = Raw::start(streams).await;
        for _ in 0..ROUNDS {
            raw.push(limit.push(&message).await);
        }
    }
    let mut bare = Vec::new();
    {
        let mut limit = Bare::start(streams).await;
        for _ in 0..ROUNDS {
            bare.push(limit.push(&message).await);
        }
    }
    let (mut pushes, mut rotations) = (Vec::new(), Vec::new());
    {
        let mut ours = Ours::start(streams).await;
        for _ in 0..ROUNDS {
            pushes.push(ours.push().await);
            rotations.push(ours.rotate().await);
        }
    }
    let rounds: Vec<_> = raw.into_iter().zip(pushes).collect();
    let rotations: Vec<_> = bare.into_iter().zip(rotations).collect();
    println!("{streams} streams on a Unix socket, {} bytes a message", message.len());
    let row = |what, limit, unit, most| Row { what, limit, unit, most };
    let is_met = [
        row("memory of an idle stream", "a bare stream of tonic's", "KB", 1.35)
            .report(vec![(our_memory[0], bare_memory[0])]),
        row("memory after three rotations", "the same stream, idle", "KB", 1.2)
            .report(vec![(our_memory[1], our_memory[0])]),
        row("push to all, CPU a message", "write of ready bytes", "us", 1.9)
            .report(rounds.iter().map(|(raw, ours)| (ours.cpu_us / count, raw.cpu_us / count)).collect()),
        row("push to all, delivered", "write of ready bytes", "ms", 1.6)
            .report(rounds.iter().map(|(raw, ours)| (ours.millis, raw.millis)).collect()),
        row("rotation with a new key, delivered", "the key, the certificate, and ready bytes", "ms", 1.25)
            .report(
                rotations
                    .iter()
                    .map(|(bare, ours)| (ours.key_millis + ours.push.millis, ours.key_millis + bare.millis))
                    .collect(),
            ),
    ];
    let acked = rotations.iter().map(|(_, ours)| ours.acked_millis).fold(0.0, f64::max);
    println!("  the slowest of {ROUNDS} rotations was acknowledged by all streams after {acked:.0} ms");
    ExitCode::from(u8::from(is_met.contains(&false)))
}

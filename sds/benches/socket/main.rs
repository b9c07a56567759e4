//! What serving secrets to many streams of one socket costs, each row beside the limit that it cannot pass, measured in
//! the same run.
//!
//! `cargo bench -p signet-sds --bench socket` opens 1,000 streams, `-- --streams 10000` as many as are asked for and the
//! limit of open files allows; each is a connection of its own, as that of an Envoy. The clients are a process of their
//! own, and so is each measurement of memory. The process ends with 1 when a ratio misses its goal; the goals are those
//! for 10,000 streams, and for messages of 4 KB: the certificate has DNS names enough for that. `--names 0` leaves them
//! out, as most certificates do; a message then has 1.9 KB.
//!
//! A push is counted from the moment at which the new certificate is there, on one side, until the last client has it,
//! on the other: CPU is that of all threads of the server's process meanwhile, the encoding of the secret and the word to
//! all streams with it. Clients acknowledge afterwards, when they are told to, so that no acknowledgement is in it; the
//! time until the server has heard the last is shown by itself.
//!
//! Two limits stand beside a push. *Ready bytes in a bare stream* is tonic's server with a body that yields them: what
//! no service in tonic's server can do better than. *Write of ready bytes* has no HTTP/2 at all: each socket is written one
//! ready-made frame, by a task of its own. A bare stream takes about twice the CPU of that, so that row judges HTTP/2
//! before it judges us; it is shown, and the goals are set against the bare stream. The clients of all three parse the
//! same frames with the same code, which takes as long as serving them, on the same cores: without that the time until
//! everything is delivered would compare clients.
//!
//! A rotation is measured with the authority of the server: a new key, its request, the decision, the certificate, and
//! the agent's own look at it. In the last row each stream asks for an identity of its own, and all are made anew.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench that cannot run may end, and prints"
)]

mod authority;
mod clients;
mod limits;
mod meter;
mod ours;

use std::process::{Command, ExitCode};

use tokio::runtime::Builder;

use clients::Kind;
use limits::{Bare, Raw};
use meter::{Meter, Row, memory, open_files};
use ours::{Ours, Rotation};

const ROUNDS: usize = 7;
/// Of the rotation in which every stream gets another certificate.
const LONG_ROUNDS: usize = 3;
/// DNS names that make the message with a certificate one of 4 KB.
const NAMES: usize = 25;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = || Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match args[..] {
        ["--clients", socket, count, kind] => {
            clients::run(socket, count.parse().unwrap(), kind);
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
        [] => runtime().block_on(rows(1000, NAMES)),
        ["--streams", count] => runtime().block_on(rows(count.parse().unwrap(), NAMES)),
        ["--streams", count, "--names", names] => {
            runtime().block_on(rows(count.parse().unwrap(), names.parse().unwrap()))
        }
        _ => {
            println!("usage: cargo bench -p signet-sds --bench socket [-- --streams COUNT [--names COUNT]]");
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
    let _first = Ours::start(2, Kind::Own, NAMES, 0).await;
    let before = memory();
    let mut ours = Ours::start(streams, Kind::Own, NAMES, 0).await;
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
    let count = number(streams);
    let mut numbers = text.split_whitespace().map(|number| number.parse::<f64>().unwrap() / count / 1024.0);
    [numbers.next().unwrap(), numbers.next().unwrap()]
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// What each round took of every lane.
#[derive(Default)]
struct Rounds {
    raw: Vec<Meter>,
    bare: Vec<Meter>,
    pushes: Vec<Meter>,
    rotations: Vec<Rotation>,
}

/// In turn, so that a slow moment of the machine hits all; one after the other where together they would need more open
/// files than are allowed.
async fn rounds(streams: usize, names: usize, bytes: usize) -> Rounds {
    let mut rounds = Rounds::default();
    let together = 3 * streams + 100 <= open_files();
    let times = if together { (ROUNDS, 1) } else { (1, ROUNDS) };
    let (mut raw, mut bare, mut ours) = (None, None, None);
    for _ in 0..times.0 {
        let limit = match &mut raw {
            Some(raw) => raw,
            none => none.insert(Raw::start(streams).await),
        };
        for _ in 0..times.1 {
            rounds.raw.push(limit.push(bytes).await);
        }
        raw = raw.filter(|_| together);
        let limit = match &mut bare {
            Some(bare) => bare,
            none => none.insert(Bare::start(streams).await),
        };
        for _ in 0..times.1 {
            rounds.bare.push(limit.push(bytes).await);
        }
        bare = bare.filter(|_| together);
        let ours = match &mut ours {
            Some(ours) => ours,
            none => none.insert(Ours::start(streams, Kind::Own, names, ROUNDS).await),
        };
        for _ in 0..times.1 {
            rounds.pushes.push(ours.push().await);
            rounds.rotations.push(ours.rotate().await);
        }
    }
    rounds
}

async fn rows(streams: usize, names: usize) -> ExitCode {
    let (bare_memory, our_memory) = (memory_of("bare", streams), memory_of("ours", streams));
    let bytes = Ours::start(1, Kind::Own, names, 0).await.bytes();
    println!("{streams} streams on a Unix socket, {bytes} bytes a message");
    let row = |what, limit, unit, most| Row { what, limit, unit, most };
    let memory = [
        row("memory of an idle stream", "a bare stream of tonic's", "KB", 1.35)
            .report(vec![(our_memory[0], bare_memory[0])]),
        row("memory after three rotations", "the same stream, idle", "KB", 1.2)
            .report(vec![(our_memory[1], our_memory[0])]),
    ];
    let Rounds { raw, bare, pushes, rotations } = rounds(streams, names, bytes).await;
    let count = number(streams);
    let cpu = |ours: &[Meter], limit: &[Meter]| -> Vec<(f64, f64)> {
        ours.iter().zip(limit).map(|(ours, limit)| (ours.cpu_us / count, limit.cpu_us / count)).collect()
    };
    let millis = |ours: &[Meter], limit: &[Meter]| -> Vec<(f64, f64)> {
        ours.iter().zip(limit).map(|(ours, limit)| (ours.millis, limit.millis)).collect()
    };
    let (ready, written) = ("ready bytes in a bare stream", "write of ready bytes");
    row("a bare stream, CPU a message", written, "us", f64::INFINITY).show(cpu(&bare, &raw));
    row("a bare stream, delivered", written, "ms", f64::INFINITY).show(millis(&bare, &raw));
    row("push to all, CPU a message", written, "us", 1.9).show(cpu(&pushes, &raw));
    row("push to all, delivered", written, "ms", 1.6).show(millis(&pushes, &raw));
    let rotation = |rotations: &[Rotation], bare: &[Meter]| -> Vec<(f64, f64)> {
        let pair = |(ours, bare): (&Rotation, &Meter)| {
            (ours.key_millis + ours.push.millis, ours.key_millis + bare.millis)
        };
        rotations.iter().zip(bare).map(pair).collect()
    };
    let pushed = [
        row("push to all, CPU a message", ready, "us", 1.25).report(cpu(&pushes, &bare)),
        row("push to all, delivered", ready, "ms", 1.25).report(millis(&pushes, &bare)),
        row("rotation with a new key, delivered", "the key, the certificate, and ready bytes", "ms", 1.25)
            .report(rotation(&rotations, &bare)),
    ];
    let acked = rotations.iter().map(|ours| ours.acked_millis).fold(0.0, f64::max);
    println!("  the slowest of {ROUNDS} rotations was acknowledged by all streams after {acked:.0} ms");
    let mut each = Vec::new();
    {
        let mut ours = Ours::start(streams, Kind::Each, names, 0).await;
        for _ in 0..LONG_ROUNDS {
            each.push(ours.rotate().await);
        }
    }
    let all = row("a new key to each, delivered", "the keys, the certificates, and ready bytes", "ms", 1.2)
        .report(rotation(&each, &bare));
    let is_met = [&memory[..], &pushed, &[all]].concat();
    ExitCode::from(u8::from(is_met.contains(&false)))
}

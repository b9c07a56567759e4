//! What a certificate over gRPC costs, beside the cryptography that it must do, and beside the same without a record.
//!
//! `cargo bench -p signet --bench issuing` starts `signet server` as people do: mutual TLS, authorization, ledger, log and
//! metrics are on. Many proxies renew at once, each over a connection of its own; they are this process, so that their CPU
//! is not the server's. Each round measures limit and ours in turn. The process ends with 1 when a ratio misses its goal.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot run may end, and prints")]

mod bare;
mod limit;
mod place;
mod proxies;
#[expect(dead_code, reason = "the other bench uses the rest of it")]
mod servers;

use std::process::ExitCode;

use tokio::runtime::Runtime;

use limit::Limit;
use place::Place;
use proxies::Proxies;
use servers::Server;

/// Proxies that renew at once.
const AT_ONCE: usize = 32;
/// Identities take turns, since each may ask for so many certificates at once and no more.
const SHIFTS: usize = 13;
/// Requests of each identity that take turns.
const CSRS: usize = 4;
/// Renewals of each proxy in a round.
const CALLS: usize = 60;
/// Some are disturbed by whatever else the machine does; their median is not.
const ROUNDS: usize = 25;

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match args[..] {
        ["--bare", folder, records] => {
            runtime().block_on(bare::serve(folder.as_ref(), records == "recorded"));
            ExitCode::SUCCESS
        }
        [] => {
            let place = Place::new(AT_ONCE * SHIFTS, CSRS);
            let rows = [cpu(&runtime(), &place), durable(&runtime(), &place)];
            ExitCode::from(u8::from(rows.contains(&false)))
        }
        _ => {
            println!("usage: cargo bench -p signet --bench issuing");
            ExitCode::FAILURE
        }
    }
}

/// CPU of the whole server for each certificate, over that of one verification and one signature.
fn cpu(runtime: &Runtime, place: &Place) -> bool {
    let (server, limit) = (Server::signet(place), Limit::new());
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let limit = limit.cpu_us();
        let proxies = runtime.block_on(Proxies::connect(server.port, place, round % SHIFTS, AT_ONCE));
        // So that what a connection costs is not measured.
        runtime.block_on(proxies.renew(place, 1));
        let before = server.cpu_us();
        runtime.block_on(proxies.renew(place, CALLS));
        let certificates = f64::from(u32::try_from(AT_ONCE * CALLS).unwrap());
        rounds.push([(server.cpu_us() - before) / certificates, limit]);
    }
    let (ratio, [ours, limit]) = median(rounds);
    let is_met = ratio <= 2.2;
    println!(
        "over gRPC, CPU of the server   {ratio:>6.3} of the limit, at most 2.20 wanted: {}; {ours:.1} us a certificate, the \
         limit {limit:.1} us: ring alone, one verification and one signature",
        verdict(is_met),
    );
    is_met
}

/// Certificates in the same time, over those of a server that is the same but for the record.
fn durable(runtime: &Runtime, place: &Place) -> bool {
    let [recorded, unrecorded] = ["recorded", "unrecorded"].map(|records| Server::bare(place, records));
    let seconds = |server: &Server, round: usize| {
        let proxies = runtime.block_on(Proxies::connect(server.port, place, round % SHIFTS, AT_ONCE));
        // So that what a connection costs is not measured.
        runtime.block_on(proxies.renew(place, 1));
        let start = std::time::Duration::from_secs_f64(limit::now());
        runtime.block_on(proxies.renew(place, CALLS));
        limit::now() - start.as_secs_f64()
    };
    let rounds = (0..ROUNDS).map(|round| [seconds(&unrecorded, round), seconds(&recorded, round)]);
    let (ratio, [unrecorded, recorded]) = median(rounds.collect());
    let is_met = ratio >= 0.6;
    let rate = |seconds: f64| f64::from(u32::try_from(AT_ONCE * CALLS).unwrap()) / seconds;
    println!(
        "over gRPC, recorded durably    {ratio:>6.3} of the limit, at least 0.60 wanted: {}; {:.0} a second, the limit \
         {:.0}: the same unrecorded",
        verdict(is_met),
        rate(recorded),
        rate(unrecorded),
    );
    is_met
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "PASS" } else { "FAIL" }
}

/// The round whose first is the middle one in units of its second.
fn median(mut rounds: Vec<[f64; 2]>) -> (f64, [f64; 2]) {
    let ratio = |round: &[f64; 2]| round[0] / round[1];
    rounds.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let middle = rounds[rounds.len() / 2];
    (ratio(&middle), middle)
}

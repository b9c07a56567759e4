//! An audit of ten thousand certificates beside its limit: reading and verifying each of them once, on one thread.
//!
//! `cargo bench -p signet-audit` prints both and their ratio, and fails where an audit takes two seconds.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench speaks to people, and stops at the first fault"
)]
#![expect(clippy::disallowed_types, reason = "it measures real time")]

#[path = "../tests/suite/bed.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod bed;

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use bed::{Bed, Leaf, NOW, node_name, spiffe_id};
use signet_audit::{Report, Selection, audit};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

const CERTIFICATES: usize = 10_000;
const ROUNDS: usize = 5;

fn main() {
    let bed = fleet();
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let (mut audits, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        limits.push(timed(|| verify_each(&bed)));
        audits.push(timed(|| whole(&bed, threads)));
    }
    let (limit, took) = (median(&mut limits), median(&mut audits));
    let one = timed(|| whole(&bed, NonZeroUsize::MIN));
    println!("parse and verify {CERTIFICATES} certificates, one thread   {:>7.1} ms", millis(limit));
    println!(
        "audit of them, 40 checks, one thread          {:>7.1} ms   {:.2} of that",
        millis(one),
        one.as_secs_f64() / limit.as_secs_f64()
    );
    println!(
        "audit of them, 40 checks, {threads} threads           {:>7.1} ms   {:.2} of that",
        millis(took),
        took.as_secs_f64() / limit.as_secs_f64()
    );
    assert!(took < Duration::from_secs(2), "an audit of {CERTIFICATES} certificates takes {took:?}");
}

/// A thousand workloads with ten certificates each, the last of which is served.
fn fleet() -> Bed {
    let mut bed = Bed::new();
    let known = bed.workload("a").clone();
    for number in 0..CERTIFICATES / 10 {
        let name = format!("n{number}");
        let mut registered = known.clone();
        registered.workload = node_name(&name);
        registered.dns_names = vec![format!("{name}.shop.local")];
        registered.spiffe_ids = vec![spiffe_id(&name)];
        bed.inventory.workloads.push(registered);
        let mut last = None;
        for step in (0..10).rev() {
            let mut leaf = bed.leaf(&name);
            leaf.serial = serial(number * 10 + step);
            leaf.issued_at = NOW - 21_600 - i64::try_from(step).unwrap() * 50_000;
            last = Some(bed.issue(Leaf {
                predecessor: last.take().map(|record: signet_audit::inventory::Record| record.serial),
                ..leaf
            }));
        }
        bed.serve(&name, "i-1", &last.unwrap());
    }
    bed.seal();
    bed
}

fn serial(number: usize) -> [u8; 16] {
    use sha2::{Digest as _, Sha256};
    let mut serial: [u8; 16] = Sha256::digest(number.to_be_bytes())[16..].try_into().unwrap();
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

fn whole(bed: &Bed, threads: NonZeroUsize) -> Report {
    let report = audit(&bed.inventory, &Selection::default(), &bed.thresholds, NOW + 1, threads);
    assert!(report.findings.is_empty(), "{:?}", report.findings.first());
    report
}

fn verify_each(bed: &Bed) -> usize {
    let (_, issuer) = X509Certificate::from_der(&bed.issuer.der).unwrap();
    let verified = bed.inventory.certificates.iter().filter(|record| {
        let (_, leaf) = X509Certificate::from_der(&record.der.as_ref().unwrap().0).unwrap();
        leaf.verify_signature(Some(issuer.public_key())).is_ok()
    });
    let count = verified.count();
    assert_eq!(count, bed.inventory.certificates.len());
    count
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

//! How fast certificates are issued, each way beside the limit that it cannot pass.
//!
//! `cargo bench -p signet-ca` prints ratios first: every round measures the limit and ours in turn, so that a
//! slow moment of the machine hits both, and the median over all rounds is shown. Absolute times by
//! criterion follow. The process ends with 1 when a ratio misses its goal.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot run may end, and prints")]

mod durable;
mod memory;

use std::{hint::black_box, path::PathBuf, process::ExitCode, time::Duration};

use criterion::{
    Criterion,
    measurement::{Measurement, WallTime},
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use signet_ca::{Authority, Custody, Random};
use signet_policies::{
    identity::Workload,
    issuance::{Caller, DEFAULT_LEAF_LIFE, Grant, Registration, Request, Terms, decide},
    time::Timestamp,
};

/// 2026-11-23T00:00:00Z.
const NOW: Timestamp = Timestamp::from_unix(1_795_392_000);

/// An authority, what it is asked for, and where it lives.
struct Fixture {
    folder: tempfile::TempDir,
    authority: Authority,
    grant: Grant,
    csrs: Vec<Vec<u8>>,
    random: Random,
}

impl Fixture {
    fn new() -> Self {
        // On the disk of the build, and not in a temporary file system that syncs for nothing.
        let folder = tempfile::tempdir_in(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))).unwrap();
        let trust_domain = "signet.internal".parse().unwrap();
        let terms = Terms { trust_domain, default_lifetime: DEFAULT_LEAF_LIFE };
        let random = Random::system();
        let authority = Authority::open(
            &folder.path().join("ca"),
            Custody::default(),
            &terms.trust_domain,
            random.clone(),
            NOW,
        )
        .unwrap();
        let workload = Workload::virtual_node("my-mesh", "service-a").unwrap();
        let dns_names = vec!["service-a.apps.local".parse().unwrap()];
        let registration = Registration { workload: workload.clone(), dns_names, spiffe_ids: vec![] };
        let caller = Caller::Joining(workload.clone());
        let grant = decide(&caller, &Request::default(), Some(&registration), &terms).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let id = grant.spiffe_id().to_string();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        let csr = || params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        Self { folder, authority, grant, csrs: (0..64).map(|_| csr()).collect(), random }
    }

    fn csr(&self, number: usize) -> &[u8] {
        &self.csrs[number % self.csrs.len()]
    }
}

/// The time that `count` calls take.
fn time<T>(count: usize, mut call: impl FnMut(usize) -> T) -> Duration {
    let start = WallTime.start();
    for number in 0..count {
        black_box(call(number));
    }
    WallTime.end(start)
}

/// Prints how near ours comes to the limit, from pairs of times for the same work. Says whether that is near enough.
#[must_use]
fn report(what: &str, limit: &str, goal: f64, count: usize, mut rounds: Vec<(Duration, Duration)>) -> bool {
    let ratio = |(limit, ours): &(Duration, Duration)| limit.as_secs_f64() / ours.as_secs_f64();
    rounds.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let middle = rounds[rounds.len() / 2];
    let each = |time: Duration| time / u32::try_from(count).unwrap();
    let is_met = ratio(&middle) >= goal;
    println!(
        "{what:30} {:>6.3} of the limit, at least {goal:.2} wanted: {}; {:.1?} each, the limit {:.1?}: {limit}",
        ratio(&middle),
        if is_met { "PASS" } else { "FAIL" },
        each(middle.1),
        each(middle.0),
    );
    is_met
}

fn main() -> ExitCode {
    let fixture = Fixture::new();
    let rows = [memory::ratios(&fixture), durable::ratios(&fixture)].concat();
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    memory::absolute(&fixture, &mut criterion);
    criterion.final_summary();
    match rows.iter().filter(|is_met| !**is_met).count() {
        0 => ExitCode::SUCCESS,
        missed => {
            println!("{missed} of {} goals were missed", rows.len());
            ExitCode::FAILURE
        }
    }
}

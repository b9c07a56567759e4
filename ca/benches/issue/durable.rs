//! Issuing with a record that is durable, beside the same without it.

use std::{
    fs::File,
    io::Write,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use criterion::measurement::{Measurement, WallTime};
use signet_ca::{Attestation, Authority, Custody, Issuing, Origin, Random, Serial, SledLedger, VerifiedCsr};
use signet_durable::Database;
use signet_policies::issuance::Grant;
use tokio::{runtime::Runtime, task::JoinSet};

use super::{Fixture, NOW, report, time};

const ROUNDS: usize = 11;
/// About as long as a record on the disk, with its certificate.
const RECORD: [u8; 1500] = [7; 1500];
const ORIGIN: Origin = Origin::of(Attestation::Renew);

/// What every caller has a share of.
struct Shared {
    issuing: Issuing,
    authority: Arc<Authority>,
    grant: Grant,
    csrs: Vec<Vec<u8>>,
    random: Random,
}

impl Shared {
    fn new(fixture: &Fixture) -> Self {
        let database = Database::open(&fixture.folder.path().join("store")).unwrap();
        let ledger = Arc::new(SledLedger::new(database).unwrap());
        let folder = fixture.folder.path().join("ca");
        let random = Random::system();
        let domain = fixture.authority.trust_domain();
        let authority =
            Arc::new(Authority::open(&folder, Custody::default(), domain, random.clone(), NOW).unwrap());
        let now = UNIX_EPOCH + Duration::from_secs(NOW.unix().try_into().unwrap());
        let issuing = Issuing::new(authority.clone(), ledger, random.clone(), Arc::new(move || now));
        Self { issuing, authority, grant: fixture.grant.clone(), csrs: fixture.csrs.clone(), random }
    }

    async fn issue(&self, number: usize, is_recorded: bool) {
        let csr = VerifiedCsr::from_der(&self.csrs[number % self.csrs.len()]).unwrap();
        if is_recorded {
            self.issuing.issue(&csr, &self.grant, ORIGIN).await.unwrap();
        } else {
            let serial = Serial::draw(&self.random);
            self.authority.issue(&csr, &self.grant, serial, NOW).unwrap();
            // As the recorded way does, so that callers take turns.
            tokio::task::yield_now().await;
        }
    }

    /// The time that `callers` at once take for `calls` certificates each.
    fn time(
        self: &Arc<Self>,
        runtime: &Runtime,
        callers: usize,
        calls: usize,
        is_recorded: bool,
    ) -> Duration {
        let start = WallTime.start();
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for caller in 0..callers {
                let shared = self.clone();
                tasks.spawn(async move {
                    for call in 0..calls {
                        shared.issue(caller + call, is_recorded).await;
                    }
                });
            }
            tasks.join_all().await;
        });
        WallTime.end(start)
    }
}

/// 1, 16 and 64 callers.
///
/// The limit is the same without the record, and for every certificate of a caller one plain write and one
/// sync that all callers share: with one caller that is a sync per certificate, with many it is next to
/// nothing. Says whether each came near enough.
pub(super) fn ratios(fixture: &Fixture) -> Vec<bool> {
    let shared = Arc::new(Shared::new(fixture));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let mut file = File::create(fixture.folder.path().join("plain")).unwrap();
    let mut rows = Vec::new();
    for (callers, calls) in [(1, 200), (16, 100), (64, 50)] {
        let mut without_sync = Vec::new();
        let rounds = (0..ROUNDS).map(|_| {
            let unrecorded = shared.time(&runtime, callers, calls, false);
            let records = RECORD.repeat(callers);
            let synced = time(calls, |_| {
                file.write_all(&records).unwrap();
                file.sync_data().unwrap();
            });
            let recorded = shared.time(&runtime, callers, calls, true);
            without_sync.push((unrecorded, recorded));
            (unrecorded + synced, recorded)
        });
        let what = format!("recorded durably, {callers} at once");
        let limit = "the same unrecorded, and a write with fdatasync shared by all callers";
        rows.push(report(&what, limit, 0.60, callers * calls, rounds.collect()));
        println!(
            "{:30} {:>6.3} of the same unrecorded, for which there is no goal",
            "",
            median(&without_sync)
        );
    }
    rows
}

fn median(rounds: &[(Duration, Duration)]) -> f64 {
    let mut ratios: Vec<f64> =
        rounds.iter().map(|(limit, ours)| limit.as_secs_f64() / ours.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

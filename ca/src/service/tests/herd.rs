//! Ten thousand agents that come at once. Time is paused, so that what is seen does not depend on the machine: it passes
//! only while nobody has anything to do.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::{
    LedgerError,
    ledger::{Digest, Entry, Event, Head, RawEntry},
};

/// Agents that renew at the same moment.
const AGENTS: usize = 10_000;
/// Identities that they share; each may ask 256 times at once.
const NODES: usize = 50;
/// Agents give up after this.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the disk takes for a group of records.
const DISK: Duration = Duration::from_millis(20);

/// A mesh with as many nodes as one asks for.
struct Everybody;

impl Registry for Everybody {
    fn registration(&self, workload: &Workload) -> Option<Registration> {
        Some(registration(workload))
    }
}

/// A ledger on a disk that takes its time.
#[derive(Debug, Default)]
struct SlowLedger(MemoryLedger);

#[async_trait]
impl Ledger for SlowLedger {
    async fn append(&self, entry: Entry) -> Result<u64, LedgerError> {
        sleep(DISK).await;
        self.0.append(entry).await
    }

    async fn get(&self, serial: Serial) -> Result<Option<Record>, LedgerError> {
        self.0.get(serial).await
    }

    async fn position(&self, serial: Serial) -> Result<Option<u64>, LedgerError> {
        self.0.position(serial).await
    }

    async fn list(&self, after: Option<Serial>, limit: usize) -> Result<Vec<Record>, LedgerError> {
        self.0.list(after, limit).await
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<RawEntry>, LedgerError> {
        self.0.read(from, limit).await
    }

    async fn events(&self) -> Result<Vec<(u64, Event)>, LedgerError> {
        self.0.events().await
    }

    fn size(&self) -> u64 {
        self.0.size()
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        self.0.head().await
    }

    fn hashes(&self, indexes: &[u64]) -> Result<Vec<Digest>, LedgerError> {
        self.0.hashes(indexes)
    }
}

/// Asks as an agent does, until it is served; says how long the call took that succeeded, and how often it was sent away.
async fn renewed(service: NodeService, caller: Caller, csr: Vec<u8>) -> (IssuedCertificate, Duration, usize) {
    let mut sent_away = 0;
    loop {
        let mut request = Request::new(RenewRequest { csr: csr.clone(), lifetime_secs: 0 });
        request.extensions_mut().insert(presenting(caller.clone()));
        let asked = Instant::now();
        match timeout(DEADLINE, service.renew(request)).await.expect("an agent gave up") {
            Ok(issued) => return (issued.into_inner(), asked.elapsed(), sent_away),
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                let after = status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap();
                sent_away += 1;
                sleep(Duration::from_millis(after.parse().unwrap())).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_who_renew_at_once_are_all_served_while_they_wait_or_when_they_are_told_to_come_back() {
    let mut fixture = Fixture::with(Arc::new(SlowLedger::default()));
    let (start, zero) = (Instant::now(), fixtures::clock()());
    let clock: Clock = Arc::new(move || zero + start.elapsed());
    fixture.service.registry = Arc::new(Everybody);
    fixture.service.admission = Admission::new(Limits::DEFAULT, clock.clone());
    fixture.service.clock = clock;
    let mut herd = JoinSet::new();
    for number in 0..AGENTS {
        let name = format!("n{}", number % NODES);
        herd.spawn(renewed(fixture.service.clone(), holder(&node(&name)), sound_csr(&name)));
    }
    let served = herd.join_all().await;
    let all: BTreeSet<_> = served.iter().map(|(issued, ..)| issued.chain[0].clone()).collect();
    assert_eq!(all.len(), AGENTS, "everybody has a certificate of its own");
    let mut waits: Vec<_> = served.iter().map(|(_, wait, _)| *wait).collect();
    waits.sort_unstable();
    let (p99, last) = (waits[AGENTS * 99 / 100], waits[AGENTS - 1]);
    assert!(p99 < Limits::DEFAULT.patience && last < DEADLINE, "{p99:?}, {last:?}");
    let counts = fixture.service.admission.counts();
    assert_eq!(counts.admitted, u64::try_from(AGENTS).unwrap());
    let sent_away: usize = served.iter().map(|(.., sent_away)| sent_away).sum();
    assert_eq!(
        u64::try_from(sent_away).unwrap(),
        counts.full + counts.too_often,
        "nobody was refused otherwise"
    );
    assert!(sent_away > 0, "the queue was never full: this is no herd");
    println!(
        "p99 {p99:?}, the last {last:?}, sent away {sent_away} times, all served after {:?}",
        start.elapsed()
    );
}

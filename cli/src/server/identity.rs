//! The server's own certificate, issued by its own CA and renewed in time.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use rand::Rng as _;
use signet_ca::{Attestation, Issued, Issuing, Origin, PrivateKey, Rotations, Serial};
use signet_policies::{
    issuance::{Grant, Terms},
    time::{Clock, Timestamp},
};
use signet_sds::rotator::Backoff;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::tls::ServerCertificate;

/// Between two looks at the clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// After a failure, at least: a moment of renewal has whole seconds.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);

/// The certificate and when it is renewed.
pub(super) struct ServerIdentity {
    rotations: Rotations,
    issuing: Issuing,
    terms: Terms,
    clock: Clock,
    /// What the gRPC port presents.
    pub certificate: Arc<ServerCertificate>,
    serial: Serial,
    renewal_at: Timestamp,
    /// Failed renewals in a row.
    failures: u32,
}

impl ServerIdentity {
    /// Issues the first certificate.
    ///
    /// # Errors
    /// The CA does not issue, or the ledger does not record.
    pub(super) async fn new(
        rotations: &Rotations,
        issuing: Issuing,
        terms: Terms,
        clock: Clock,
    ) -> Result<Self> {
        let (signs, rotations) = (*rotations.signing().borrow(), rotations.clone());
        let (key, issued) = issue(&issuing, &terms).await?;
        let certificate = issued.certificate();
        let renewal_at = certificate.validity().renewal_at(rand::rng().random());
        let presented = ServerCertificate::new(&certificate.chain_der(), key.pkcs8_der())?;
        let serial = certificate.serial();
        rotations.followed(signs);
        let certificate = Arc::new(presented);
        Ok(Self { rotations, issuing, terms, clock, certificate, serial, renewal_at, failures: 0 })
    }

    /// Renews until `stop`, in time or when it is revoked; a failure keeps the last certificate and tries again, soon at first:
    /// a change of the root waits for this certificate, and its life may be short.
    pub(super) async fn keep(mut self, stop: CancellationToken) {
        let mut standing = self.issuing.guard().subscribe();
        let mut signing = self.rotations.signing();
        loop {
            let now: Timestamp = (self.clock)().into();
            // Short turns, so that a corrected clock or a suspended machine does not miss the moment.
            let wait = self.renewal_at.since(now).min(LONGEST_SLEEP);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                // Another issuer signs: whoever comes must find a certificate of it here before the old one goes.
                _ = signing.changed() => {
                    signing.borrow_and_update();
                    self.renewal_at = now;
                }
                // The guard lives as long as this does.
                _ = standing.changed() => {
                    if standing.borrow_and_update().revoked(self.serial).is_some() {
                        warn!(serial = %self.serial, "the server's certificate was revoked");
                        self.renewal_at = now;
                    }
                }
            }
            if Timestamp::from((self.clock)()) < self.renewal_at {
                continue;
            }
            if let Err(error) = self.renew().await {
                warn!(
                    reason = format!("{error:#}"),
                    "cannot renew the server's certificate; the last one stays"
                );
                let wait = Backoff::DEFAULT.after(self.failures, &mut rand::rng()).max(SHORTEST_RETRY);
                self.failures = self.failures.saturating_add(1);
                self.renewal_at = Timestamp::from((self.clock)()) + wait;
            }
        }
    }

    async fn renew(&mut self) -> Result<()> {
        let signs = *self.rotations.signing().borrow();
        let (key, issued) = issue(&self.issuing, &self.terms).await?;
        let certificate = issued.certificate();
        self.certificate.replace(&certificate.chain_der(), key.pkcs8_der())?;
        self.serial = certificate.serial();
        self.failures = 0;
        self.renewal_at = certificate.validity().renewal_at(rand::rng().random());
        self.rotations.followed(signs);
        info!(serial = %certificate.serial(), "renewed the server's certificate");
        Ok(())
    }
}

async fn issue(issuing: &Issuing, terms: &Terms) -> Result<(PrivateKey, Issued)> {
    // Clients know the server by its SPIFFE ID, wherever it listens, so it needs no DNS name.
    let grant = Grant::for_server(terms, Vec::new());
    Ok(issuing.issue_with_new_key(&grant, Origin::of(Attestation::Server)).await?)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    };

    use async_trait::async_trait;
    use signet_ca::{
        Authority, Custody, Ledger, LedgerError, MemoryLedger, Nodes, Random, Record, TrustFeed,
        ledger::{Digest, Entry, Event, Head, RawEntry},
    };
    use signet_policies::issuance::DEFAULT_LEAF_LIFE;
    use tokio::{task::JoinSet, time::Instant};

    use super::*;

    /// A ledger whose disk is full at times, and that remembers when somebody tried.
    #[derive(Debug, Default)]
    struct Flaky {
        kept: MemoryLedger,
        is_full: AtomicBool,
        tries: Mutex<Vec<Instant>>,
    }

    #[async_trait]
    impl Ledger for Flaky {
        async fn append(&self, entry: Entry) -> Result<u64, LedgerError> {
            if self.is_full.load(Ordering::SeqCst) {
                self.tries.lock().unwrap().push(Instant::now());
                return Err(LedgerError::Unavailable("no space left on device".to_owned()));
            }
            self.kept.append(entry).await
        }

        async fn get(&self, serial: Serial) -> Result<Option<Record>, LedgerError> {
            self.kept.get(serial).await
        }

        async fn position(&self, serial: Serial) -> Result<Option<u64>, LedgerError> {
            self.kept.position(serial).await
        }

        async fn list(&self, after: Option<Serial>, limit: usize) -> Result<Vec<Record>, LedgerError> {
            self.kept.list(after, limit).await
        }

        async fn read(&self, from: u64, limit: usize) -> Result<Vec<RawEntry>, LedgerError> {
            self.kept.read(from, limit).await
        }

        async fn events(&self) -> Result<Vec<(u64, Event)>, LedgerError> {
            self.kept.events().await
        }

        fn size(&self) -> u64 {
            self.kept.size()
        }

        async fn head(&self) -> Result<Head, LedgerError> {
            self.kept.head().await
        }

        fn hashes(&self, indexes: &[u64]) -> Result<Vec<Digest>, LedgerError> {
            self.kept.hashes(indexes)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_failed_is_tried_again_soon_then_less_often_and_never_given_up() {
        let (folder, start) = (tempfile::tempdir().unwrap(), Instant::now());
        let epoch = std::time::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clock: Clock = Arc::new(move || epoch + start.elapsed());
        let ledger = Arc::new(Flaky::default());
        let (domain, random) = ("signet.internal".parse().unwrap(), Random::dangerously_from_seed(1));
        let authority =
            Authority::open(folder.path(), Custody::default(), &domain, random.clone(), clock().into())
                .unwrap();
        let trust = TrustFeed::new(authority.bundle());
        let issuing = Issuing::new(Arc::new(authority), ledger.clone(), random, clock.clone());
        let (nodes, none) = (Nodes::default(), Duration::ZERO);
        let rotations =
            Rotations::open(folder.path(), issuing.clone(), nodes, trust, clock.clone(), none).await.unwrap();
        let terms = Terms { trust_domain: domain, default_lifetime: DEFAULT_LEAF_LIFE };
        let identity = ServerIdentity::new(&rotations, issuing, terms, clock).await.unwrap();
        let first = ledger.size();
        ledger.is_full.store(true, Ordering::SeqCst);
        let stop = CancellationToken::new();
        let mut keeping = JoinSet::new();
        keeping.spawn(identity.keep(stop.clone()));
        tokio::time::sleep(DEFAULT_LEAF_LIFE).await;
        let tries = std::mem::take(&mut *ledger.tries.lock().unwrap());
        let waits: Vec<Duration> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (soon, later) = (Duration::from_secs(3), Duration::from_secs(31));
        assert!(waits.len() > 100 && waits[..3].iter().all(|wait| *wait <= soon), "{:?}", &waits[..8]);
        let settled = &waits[10..];
        assert!(settled.iter().all(|wait| (Duration::from_secs(14)..=later).contains(wait)), "{settled:?}");
        assert!(settled.iter().any(|wait| *wait != settled[0]), "two servers do not try in step");

        ledger.is_full.store(false, Ordering::SeqCst);
        tokio::time::sleep(later).await;
        assert!(ledger.size() > first, "it was renewed");
        stop.cancel();
        keeping.join_all().await;
    }
}

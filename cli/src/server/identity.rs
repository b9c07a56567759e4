//! The server's own certificate, issued by its own CA and renewed in time.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use rand::Rng as _;
use signet_ca::{Attestation, Issued, Issuing, Origin, PrivateKey, Rotations, Serial};
use signet_policies::{
    issuance::{Grant, Terms},
    time::{Clock, Timestamp},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::tls::ServerCertificate;

/// Between two looks at the clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// After a failure.
const RETRY: Duration = Duration::from_secs(30);

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
        Ok(Self { rotations, issuing, terms, clock, certificate: Arc::new(presented), serial, renewal_at })
    }

    /// Renews until `stop`, in time or when it is revoked; a failure keeps the last certificate and tries again.
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
                self.renewal_at = Timestamp::from((self.clock)()) + RETRY;
            }
        }
    }

    async fn renew(&mut self) -> Result<()> {
        let signs = *self.rotations.signing().borrow();
        let (key, issued) = issue(&self.issuing, &self.terms).await?;
        let certificate = issued.certificate();
        self.certificate.replace(&certificate.chain_der(), key.pkcs8_der())?;
        self.serial = certificate.serial();
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

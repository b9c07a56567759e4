//! The task itself.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use signet_policies::time::Timestamp;
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    Advice, Command, LONGEST_SLEEP, Renewal, RotateError, Rotation, SIGNER_TIMEOUT, renewal_at,
    schedule::{advised_at, least_wait, wall},
};
use crate::{
    keypair::{KeyError, KeyPair},
    secret::Secrets,
    signer::{Signed, Signer, SignerError, Trust},
    verify::{self, Refused},
};

/// Why one attempt failed.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Signer(#[from] SignerError),
    #[error(transparent)]
    Unusable(#[from] Refused),
}

/// What came of an attempt, and whether nothing was held when it began.
struct Outcome {
    key: KeyPair,
    signed: Result<Signed, SignerError>,
    is_first: bool,
}

type Attempt = Pin<Box<dyn Future<Output = Result<Outcome, KeyError>> + Send>>;

pub(super) struct Rotator<S> {
    pub(super) rotation: Rotation<S>,
    pub(super) published: watch::Sender<Option<Arc<Secrets>>>,
    pub(super) renewal: watch::Sender<Renewal>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Whether to try before the time, as somebody said so.
    pub(super) wanted: bool,
    /// Whether there was ever a certificate; before it, a refusal is final.
    pub(super) held_once: bool,
    /// The key of a first certificate that was asked for and not heard of. What lets it in may be used up for this key.
    pub(super) unanswered: Option<KeyPair>,
    /// What was last said to be trusted, beside the answers of the signer.
    pub(super) trust: Option<Trust>,
}

impl<S: Signer> Rotator<S> {
    /// At most one attempt is under way. A command, the attempt's end and the clock are independent, so the order
    /// in which `select!` sees two of them at once does not matter: each only notes what to do or what is published,
    /// and the loop's head acts on both afresh.
    pub(super) async fn run(mut self) -> Result<(), RotateError> {
        let mut attempt: Option<Attempt> = None;
        loop {
            let now = (self.rotation.clock)();
            self.withdraw_expired(now);
            if attempt.is_none() && (self.wanted || self.due() <= now) {
                self.wanted = false;
                attempt = Some(self.attempt());
            }
            let nap = self.until_next_look(now, attempt.is_some());
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return Ok(()),
                },
                outcome = finished(&mut attempt) => {
                    attempt = None;
                    self.settle(outcome)?;
                }
                () = sleep(nap) => {}
            }
        }
    }

    fn due(&self) -> SystemTime {
        self.renewal.borrow().next
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::RotateNow => self.wanted = true,
            Command::Renew(advice) => self.heed(&advice),
            Command::Trust(trust, answer) => {
                // Whoever does not wait for the answer does not need it.
                let _ = answer.send(self.entrust(trust));
            }
        }
    }

    /// Comes earlier where the authority wants that; never later.
    fn heed(&self, advice: &Advice) {
        let held = self.published.borrow().clone();
        let Some(held) = held.filter(|held| held.leaf().serial() == advice.serial) else { return };
        let at = advised_at(held.leaf(), advice.window);
        let earlier = self.renewal.send_if_modified(|renewal| {
            let earlier = at < renewal.next;
            renewal.next = renewal.next.min(at);
            earlier
        });
        if earlier {
            let renewal_at = Timestamp::from(at).unix();
            info!(serial = advice.serial, reason = advice.reason, renewal_at, "the renewal was advanced");
        }
    }

    /// Publishes other roots and revocation lists around the same leaf, if a peer that goes by them accepts it.
    fn entrust(&mut self, trust: Trust) -> Result<(), Refused> {
        let held = self.published.borrow().clone();
        if let Some(held) = held {
            let now = (self.rotation.clock)();
            let Trust { roots, crls } = trust.clone();
            let next = verify::trust(&held, roots, crls, now.into())?;
            if next.bundle() != held.bundle() {
                let bundle = next.bundle();
                let (roots, crls, version) = (bundle.roots().len(), bundle.crls().len(), bundle.version());
                info!(roots, crls, version, "what is trusted has changed");
                (self.rotation.keeper)(&next);
                self.published.send_replace(Some(Arc::new(next)));
            }
        }
        self.trust = Some(trust);
        Ok(())
    }

    /// An expired certificate is not served to anybody who asks from now on; who has it keeps it.
    fn withdraw_expired(&self, now: SystemTime) {
        let expired = |secrets: &Option<Arc<Secrets>>| {
            secrets.as_ref().is_some_and(|held| Timestamp::from(now) > held.leaf().validity().not_after())
        };
        self.published.send_if_modified(|secrets| {
            let gone = if expired(secrets) { secrets.take() } else { None };
            if let Some(gone) = &gone {
                warn!(
                    spiffe_id = %gone.leaf().identity(), serial = gone.leaf().serial(),
                    "the certificate has expired and is not served any more"
                );
            }
            gone.is_some()
        });
    }

    fn attempt(&mut self) -> Attempt {
        let unanswered = self.unanswered.take();
        let Rotation { identity, signer, .. } = &self.rotation;
        let (identity, signer) = (identity.clone(), Arc::clone(signer));
        let current = self.published.borrow().clone();
        Box::pin(async move {
            let key = unanswered.map_or_else(KeyPair::generate, Ok)?;
            let request = key.request(&identity)?;
            let is_first = current.is_none();
            let slow =
                |_| SignerError::Unavailable(format!("no answer within {} s", SIGNER_TIMEOUT.as_secs()));
            let signed = timeout(SIGNER_TIMEOUT, signer.sign(request, current)).await.map_err(slow);
            Ok(Outcome { key, signed: signed.flatten(), is_first })
        })
    }

    fn until_next_look(&self, now: SystemTime, busy: bool) -> Duration {
        // The last valid second counts to its end.
        let expiry = self.end_of_life().map(|end| end + Duration::from_secs(1));
        let due = (!busy).then(|| self.due());
        let next = expiry.into_iter().chain(due).min();
        let wait = next.map_or(LONGEST_SLEEP, |next| next.duration_since(now).unwrap_or(Duration::ZERO));
        wait.min(LONGEST_SLEEP)
    }

    fn end_of_life(&self) -> Option<SystemTime> {
        self.published.borrow().as_ref().map(|held| wall(held.leaf().validity().not_after()))
    }

    fn settle(&mut self, outcome: Result<Outcome, KeyError>) -> Result<(), RotateError> {
        let now = (self.rotation.clock)();
        match outcome.map_err(Failure::from).and_then(|outcome| self.verified(outcome, now)) {
            Ok(secrets) => self.publish(secrets, now),
            Err(failure) => return self.postpone(failure, now),
        }
        Ok(())
    }

    /// What the signer gave, under what was last said to be trusted. Where that does not fit the new leaf, it is
    /// the older of the two, and the signer's own roots count.
    fn verified(&mut self, outcome: Outcome, now: SystemTime) -> Result<Secrets, Failure> {
        let Outcome { key, signed, is_first } = outcome;
        let signed = match signed {
            Ok(signed) => signed,
            // Whoever is too busy to answer this time may have heard the time before.
            Err(unheard @ (SignerError::Unavailable(_) | SignerError::Busy { .. })) if is_first => {
                self.unanswered = Some(key);
                return Err(unheard.into());
            }
            Err(error) => return Err(error.into()),
        };
        let secrets = verify::verify(signed, key, &self.rotation.identity, now.into())?;
        let secrets = if is_first { secrets.marked_first() } else { secrets };
        let Some(Trust { roots, crls }) = self.trust.clone() else { return Ok(secrets) };
        match verify::trust(&secrets, roots, crls, now.into()) {
            Ok(secrets) => Ok(secrets),
            Err(error) => {
                warn!(%error, "the new certificate came with roots that are newer than those announced");
                Ok(secrets)
            }
        }
    }

    fn publish(&mut self, secrets: Secrets, now: SystemTime) {
        let leaf = secrets.leaf();
        let next = renewal_at(leaf).max(now + least_wait(leaf, now));
        info!(
            spiffe_id = %leaf.identity(), serial = leaf.serial(),
            not_after = %leaf.validity().not_after(), renewal_at = %Timestamp::from(next),
            "new certificate"
        );
        self.held_once = true;
        (self.rotation.keeper)(&secrets);
        self.renewal.send_replace(Renewal { next, succeeded: Some(now), failures: 0, error: None });
        self.published.send_replace(Some(Arc::new(secrets)));
    }

    fn postpone(&mut self, failure: Failure, now: SystemTime) -> Result<(), RotateError> {
        let failure = if self.held_once { failure } else { passing(failure)? };
        let failures = self.renewal.borrow().failures;
        let left = self.end_of_life().map(|end| end.duration_since(now).unwrap_or_default());
        let Rotation { backoff, rng, .. } = &mut self.rotation;
        let wait = match &failure {
            Failure::Signer(SignerError::Busy { after, .. }) => backoff.asked_to(*after, failures, left, rng),
            Failure::Signer(_) | Failure::Key(_) | Failure::Unusable(_) => backoff.after(failures, rng),
        };
        warn!(
            spiffe_id = %self.rotation.identity, failures = failures.saturating_add(1),
            retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            error = %failure, holding = left.is_some(), "no new certificate"
        );
        self.renewal.send_modify(|renewal| {
            renewal.next = now + wait;
            renewal.failures = failures.saturating_add(1);
            renewal.error = Some(failure.to_string());
        });
        Ok(())
    }
}

/// A failure that may pass. One that does not is the end where nothing was ever held: there is nothing to serve.
fn passing(failure: Failure) -> Result<Failure, RotateError> {
    match failure {
        Failure::Signer(error @ SignerError::Refused(_)) => Err(RotateError::Signer(error)),
        Failure::Unusable(refused) => Err(RotateError::Unusable(refused)),
        passing @ (Failure::Signer(SignerError::Unavailable(_) | SignerError::Busy { .. })
        | Failure::Key(_)) => Ok(passing),
    }
}

/// Never, while there is no attempt.
async fn finished(attempt: &mut Option<Attempt>) -> Result<Outcome, KeyError> {
    match attempt {
        Some(attempt) => attempt.await,
        None => pending().await,
    }
}

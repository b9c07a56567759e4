//! One task that owns a workload's certificate: it gets the first, renews it in time, and never gives up a valid
//! one before a better one is at hand.

mod backoff;
#[cfg(test)]
mod tests;

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::rngs::StdRng;
use ring::digest;
use signet_policies::{
    identity::SpiffeId,
    time::{Clock, Timestamp},
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    keypair::{KeyError, KeyPair},
    secret::{Leaf, Secrets},
    signer::{Signed, Signer, SignerError},
    verify::{self, Refused},
};

pub use backoff::Backoff;

/// How long a signer may take before the attempt counts as failed.
pub const SIGNER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest sleep between two looks at the wall clock, so that a corrected clock or a suspended machine is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What a rotator may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Get a certificate that is asked for after this command, now; during an attempt, right after it.
    RotateNow,
}

/// Sees every new certificate before it is published, to keep it where it survives a restart.
pub type Keeper = Box<dyn FnMut(&Secrets) + Send>;

/// What a rotator is for and what it works with.
pub struct Rotation<S> {
    /// The identity to hold.
    pub identity: SpiffeId,
    /// Who signs.
    pub signer: Arc<S>,
    /// Wall-clock time.
    pub clock: Clock,
    /// Spreads the attempts after a failure.
    pub rng: StdRng,
    /// How long to wait after a failure.
    pub backoff: Backoff,
    /// What was held before a restart, already verified.
    pub held: Option<Secrets>,
    /// Called with every new certificate, before it is published.
    pub keeper: Keeper,
}

/// The other end of a rotator. It ends when every [`mpsc::Sender`] of its commands is gone.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Takes commands; one at a time waits.
    pub commands: mpsc::Sender<Command>,
    /// What to serve: `None` before the first certificate, and again when the last one has expired.
    pub secrets: watch::Receiver<Option<Arc<Secrets>>>,
}

/// Why there will never be a first certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RotateError {
    /// The authority refused the first certificate.
    #[error(transparent)]
    Signer(SignerError),
    /// The first certificate was not what was asked for.
    #[error("the first certificate is not what was asked for")]
    Unusable(#[source] Refused),
}

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

type Attempt = Pin<Box<dyn Future<Output = Result<(KeyPair, Signed), Failure>> + Send>>;

struct Rotator<S> {
    rotation: Rotation<S>,
    published: watch::Sender<Option<Arc<Secrets>>>,
    commands: mpsc::Receiver<Command>,
    /// When to try next.
    due: SystemTime,
    /// Whether to try before that, as somebody said so.
    wanted: bool,
    /// Whether there was ever a certificate; before it, a refusal is final.
    held_once: bool,
    failures: u32,
}

/// Makes a rotator: the handle, and the task to run.
///
/// The task ends well when every sender of commands is gone, and with an error when the very first certificate
/// is refused. Everything later is logged and tried again: a refusal may be mended at the server.
pub fn rotator<S: Signer>(
    mut rotation: Rotation<S>,
) -> (Handle, impl Future<Output = Result<(), RotateError>> + Send) {
    let held = rotation.held.take().map(Arc::new);
    let due = held.as_ref().map_or(UNIX_EPOCH, |held| renewal_at(held.leaf()));
    let held_once = held.is_some();
    let (published, secrets) = watch::channel(held);
    let (sender, commands) = mpsc::channel(1);
    let rotator = Rotator { rotation, published, commands, due, wanted: false, held_once, failures: 0 };
    (Handle { commands: sender, secrets }, rotator.run())
}

/// When to renew a leaf.
///
/// The one draw of a certificate is taken from its own bytes, of which the serial number is random: the same
/// moment comes out after a restart, and no second draw moves it to the early edge.
#[must_use]
pub fn renewal_at(leaf: &Leaf) -> SystemTime {
    let bytes = leaf.chain().first().map_or(&[][..], |leaf| leaf.as_ref());
    let hash = digest::digest(&digest::SHA256, bytes);
    let draw = hash.as_ref().iter().take(4).fold(0_u32, |draw, byte| draw << 8 | u32::from(*byte));
    wall(leaf.validity().renewal_at(draw))
}

/// A moment of a certificate on the wall clock.
fn wall(moment: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(moment.unix()).unwrap_or(0))
}

impl<S: Signer> Rotator<S> {
    /// At most one attempt is under way. A command, the attempt's end and the clock are independent, so the order
    /// in which `select!` sees two of them at once does not matter: each only notes what to do or what is published,
    /// and the loop's head acts on both afresh.
    async fn run(mut self) -> Result<(), RotateError> {
        let mut attempt: Option<Attempt> = None;
        loop {
            let now = (self.rotation.clock)();
            self.withdraw_expired(now);
            if attempt.is_none() && (self.wanted || self.due <= now) {
                self.wanted = false;
                attempt = Some(self.attempt());
            }
            let nap = self.until_next_look(now, attempt.is_some());
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::RotateNow) => self.wanted = true,
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

    fn attempt(&self) -> Attempt {
        let Rotation { identity, signer, .. } = &self.rotation;
        let (identity, signer) = (identity.clone(), Arc::clone(signer));
        let current = self.published.borrow().clone();
        Box::pin(async move {
            let key = KeyPair::generate()?;
            let request = key.request(&identity)?;
            let slow =
                |_| SignerError::Unavailable(format!("no answer within {} s", SIGNER_TIMEOUT.as_secs()));
            let signed = timeout(SIGNER_TIMEOUT, signer.sign(request, current)).await.map_err(slow)??;
            Ok((key, signed))
        })
    }

    fn until_next_look(&self, now: SystemTime, busy: bool) -> Duration {
        let end = self.published.borrow().as_ref().map(|held| held.leaf().validity().not_after());
        // The last valid second counts to its end.
        let expiry = end.map(|end| wall(end) + Duration::from_secs(1));
        let due = (!busy).then_some(self.due);
        let next = expiry.into_iter().chain(due).min();
        let wait = next.map_or(LONGEST_SLEEP, |next| next.duration_since(now).unwrap_or(Duration::ZERO));
        wait.min(LONGEST_SLEEP)
    }

    fn settle(&mut self, outcome: Result<(KeyPair, Signed), Failure>) -> Result<(), RotateError> {
        let now = (self.rotation.clock)();
        let verified = outcome
            .and_then(|(key, signed)| Ok(verify::verify(signed, key, &self.rotation.identity, now.into())?));
        match verified {
            Ok(secrets) => self.publish(secrets),
            Err(failure) => return self.postpone(failure, now),
        }
        Ok(())
    }

    fn publish(&mut self, secrets: Secrets) {
        let leaf = secrets.leaf();
        self.due = renewal_at(leaf);
        self.failures = 0;
        self.held_once = true;
        info!(
            spiffe_id = %leaf.identity(), serial = leaf.serial(),
            not_after = leaf.validity().not_after().unix(), renewal_at = Timestamp::from(self.due).unix(),
            "new certificate"
        );
        (self.rotation.keeper)(&secrets);
        self.published.send_replace(Some(Arc::new(secrets)));
    }

    fn postpone(&mut self, failure: Failure, now: SystemTime) -> Result<(), RotateError> {
        let failure = if self.held_once { failure } else { passing(failure)? };
        let wait = self.rotation.backoff.after(self.failures, &mut self.rotation.rng);
        self.failures = self.failures.saturating_add(1);
        self.due = now + wait;
        warn!(
            spiffe_id = %self.rotation.identity, failures = self.failures,
            retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            error = %failure, holding = self.published.borrow().is_some(), "no new certificate"
        );
        Ok(())
    }
}

/// A failure that may pass. One that does not is the end where nothing was ever held: there is nothing to serve.
fn passing(failure: Failure) -> Result<Failure, RotateError> {
    match failure {
        Failure::Signer(error @ SignerError::Refused(_)) => Err(RotateError::Signer(error)),
        Failure::Unusable(refused) => Err(RotateError::Unusable(refused)),
        passing @ (Failure::Signer(SignerError::Unavailable(_)) | Failure::Key(_)) => Ok(passing),
    }
}

/// Never, while there is no attempt.
async fn finished(attempt: &mut Option<Attempt>) -> Result<(KeyPair, Signed), Failure> {
    match attempt {
        Some(attempt) => attempt.await,
        None => pending().await,
    }
}

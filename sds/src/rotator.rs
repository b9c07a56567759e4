//! One task that owns a workload's certificate: it gets the first, renews it in time, and never gives up a valid
//! one before a better one is at hand.

mod backoff;
mod schedule;
mod task;
#[cfg(test)]
mod tests;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::rngs::StdRng;
use signet_policies::{identity::SpiffeId, time::Clock};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    secret::Secrets,
    signer::{Signer, SignerError, Trust},
    verify::Refused,
};

pub use backoff::Backoff;
pub use schedule::{Advice, renewal_at};
use task::Rotator;

/// How long a signer may take before the attempt counts as failed.
pub const SIGNER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest sleep between two looks at the wall clock, so that a corrected clock or a suspended machine is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Commands that wait while the task is at work.
const WAITING: usize = 4;

/// What a rotator may be told.
#[derive(Debug)]
pub enum Command {
    /// Get a certificate that is asked for after this command, now; during an attempt, right after it.
    RotateNow,
    /// Renew the certificate that is held within a window, if that is earlier than its own moment.
    Renew(Advice),
    /// Trust this from now on, with the leaf that is held and with those to come. What does not fit the leaf is
    /// refused, and nothing changes.
    Trust(Trust, oneshot::Sender<Result<(), Refused>>),
}

/// Sees everything new before it is published, to keep it where it survives a restart.
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
    /// Called with every new certificate and every change of what is trusted, before it is published.
    pub keeper: Keeper,
}

/// The other end of a rotator. It ends when every [`mpsc::Sender`] of its commands is gone.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Takes commands; a few wait.
    pub commands: mpsc::Sender<Command>,
    /// What to serve: `None` before the first certificate, and again when the last one has expired.
    pub secrets: watch::Receiver<Option<Arc<Secrets>>>,
    /// How it stands with the next certificate.
    pub renewal: watch::Receiver<Renewal>,
}

/// How it stands with the next certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// When it will be asked for.
    pub next: SystemTime,
    /// When the last one came, in this life of the rotator.
    pub succeeded: Option<SystemTime>,
    /// How often it failed since.
    pub failures: u32,
    /// What the last failure was.
    pub error: Option<String>,
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

/// Makes a rotator: the handle, and the task to run.
///
/// The task ends well when every sender of commands is gone, and with an error when the very first certificate
/// is refused. Everything later is logged and tried again: a refusal may be mended at the server.
pub fn rotator<S: Signer>(
    mut rotation: Rotation<S>,
) -> (Handle, impl Future<Output = Result<(), RotateError>> + Send) {
    let held = rotation.held.take().map(Arc::new);
    let next = held.as_ref().map_or(UNIX_EPOCH, |held| renewal_at(held.leaf()));
    let held_once = held.is_some();
    let (published, secrets) = watch::channel(held);
    let (due, renewal) = watch::channel(Renewal { next, succeeded: None, failures: 0, error: None });
    let (sender, commands) = mpsc::channel(WAITING);
    let rotator = Rotator {
        rotation,
        published,
        renewal: due,
        commands,
        wanted: false,
        held_once,
        unanswered: None,
        trust: None,
    };
    (Handle { commands: sender, secrets, renewal }, rotator.run())
}

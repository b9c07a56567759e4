//! The one thread that writes.

use std::{
    io, iter,
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    thread::JoinHandle,
};

use tokio::sync::oneshot;
use tracing::error;

use crate::{CommitError, disk::Disk};

/// Most changes that share one flush; bounds how long the first of a group waits.
const MAX_GROUP: usize = 1024;

/// One queued change: applies itself, unless it is told why not, and returns what answers its caller.
type Change = Box<dyn FnOnce(Option<CommitError>) -> Answer + Send>;
/// Tells a caller the outcome of the group's sync.
type Answer = Box<dyn FnOnce(Result<(), CommitError>) + Send>;

/// The queue to the writer thread, and the thread.
#[derive(Debug)]
pub(crate) struct Committer {
    queue: Mutex<Option<mpsc::Sender<Change>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Set by the first sync that failed.
    failed: Arc<OnceLock<CommitError>>,
}

impl Committer {
    /// Starts the writer.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(mut disk: Disk) -> io::Result<Self> {
        let (queue, changes) = mpsc::channel();
        let failed = Arc::<OnceLock<CommitError>>::default();
        let writer = std::thread::Builder::new().name("signet-store".into());
        let seen = Arc::clone(&failed);
        let thread = writer.spawn(move || run(&changes, &seen, || disk.sync()))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)), failed })
    }

    /// Whether changes can be made durable.
    ///
    /// # Errors
    /// A sync failed, or the writer is gone.
    pub(crate) fn health(&self) -> Result<(), CommitError> {
        if let Some(error) = self.failed.get() {
            return Err(error.clone());
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        match thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            true => Ok(()),
            false => Err(CommitError::Closed),
        }
    }

    pub(crate) async fn commit<T, F>(&self, change: F) -> Result<T, CommitError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, sled::Error> + Send + 'static,
    {
        let (reply, outcome) = oneshot::channel();
        let queued: Change = Box::new(move |failed| {
            let apply = || change().map_err(|error| CommitError::Write(error.to_string()));
            let result = failed.map_or_else(apply, Err);
            // A caller that went away needs no answer; its change stands.
            Box::new(move |synced| drop(reply.send(result.and_then(|value| synced.map(|()| value)))))
        });
        self.send(queued)?;
        outcome.await.unwrap_or(Err(CommitError::Closed))
    }

    fn send(&self, change: Change) -> Result<(), CommitError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = queue.as_ref().ok_or(CommitError::Closed)?;
        sender.send(change).map_err(|_| CommitError::Closed)
    }
}

/// Lets the writer finish what is queued, so that the folder can be opened again at once.
impl Drop for Committer {
    fn drop(&mut self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("the store's writer thread panicked");
        }
    }
}

/// Applies changes in groups until every sender is gone.
///
/// A sync that failed may have lost pages that the next one no longer knows of, so nothing written after it could
/// be vouched for: from then on every change is refused, unapplied, until the process starts anew.
fn run(
    changes: &mpsc::Receiver<Change>,
    failed: &OnceLock<CommitError>,
    mut sync: impl FnMut() -> Result<(), CommitError>,
) {
    while let Ok(first) = changes.recv() {
        // Whoever queued while the last group was syncing is in this one.
        let group = iter::once(first).chain(changes.try_iter().take(MAX_GROUP - 1));
        let answers: Vec<Answer> = group.map(|change| change(failed.get().cloned())).collect();
        let synced = failed.get().cloned().map_or_else(&mut sync, Err);
        if let Err(error) = &synced {
            // Only the first failure is news.
            if failed.set(error.clone()).is_ok() {
                error!(%error, changes = answers.len(), "a group of changes is not durable; no more is written");
            }
        }
        for answer in answers {
            answer(synced.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn queue_changes(count: usize) -> (mpsc::Receiver<Change>, mpsc::Receiver<Result<(), CommitError>>) {
        let (queue, changes) = mpsc::channel::<Change>();
        let (reply, answers) = mpsc::channel();
        for _ in 0..count {
            let reply = reply.clone();
            let change: Change =
                Box::new(|failed| Box::new(move |synced| drop(reply.send(failed.map_or(synced, Err)))));
            queue.send(change).unwrap();
        }
        (changes, answers)
    }

    fn full() -> CommitError {
        CommitError::Write("no space left on device".into())
    }

    #[test]
    fn waiting_changes_share_one_sync() {
        let (changes, answers) = queue_changes(64);
        let syncs = AtomicUsize::new(0);
        run(&changes, &OnceLock::new(), || {
            syncs.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        assert_eq!(syncs.into_inner(), 1);
        assert_eq!(answers.iter().filter(Result::is_ok).count(), 64);
    }

    #[test]
    fn nobody_is_answered_before_the_sync() {
        let (changes, answers) = queue_changes(8);
        let answers = Arc::new(Mutex::new(answers));
        let seen = answers.clone();
        run(&changes, &OnceLock::new(), move || {
            assert!(seen.lock().unwrap().try_recv().is_err());
            Ok(())
        });
        assert_eq!(answers.lock().unwrap().try_iter().count(), 8);
    }

    #[test]
    fn a_failed_sync_reaches_every_caller_of_the_group() {
        let (changes, answers) = queue_changes(8);
        run(&changes, &OnceLock::new(), || Err(full()));
        assert_eq!(answers.iter().collect::<Vec<_>>(), vec![Err(full()); 8]);
    }

    #[test]
    fn after_a_failed_sync_nothing_is_applied_or_synced_any_more() {
        let (changes, answers) = queue_changes(2 * MAX_GROUP);
        let syncs = AtomicUsize::new(0);
        // Only the first sync fails, as Linux reports a lost page once.
        run(&changes, &OnceLock::new(), || match syncs.fetch_add(1, Ordering::Relaxed) {
            0 => Err(full()),
            _ => Ok(()),
        });
        assert_eq!(syncs.into_inner(), 1);
        assert!(answers.iter().all(|answer| answer == Err(full())));
    }
}

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

/// One queued change.
struct Change {
    /// Whether it only reads, so that it needs no room.
    is_reading: bool,
    /// Applies it, unless it is told why not, and returns what answers its caller.
    apply: Box<dyn FnOnce(Option<CommitError>) -> Answer + Send>,
}

/// Tells a caller the outcome of the group's sync.
type Answer = Box<dyn FnOnce(Result<(), CommitError>) + Send>;

/// What changes are written to.
pub(crate) trait Medium {
    /// Sees to it that a change can be written whole.
    ///
    /// # Errors
    /// There is no room; nothing was written.
    fn make_room(&mut self) -> Result<(), CommitError>;

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// It failed, and what was written may or may not be there.
    fn sync(&mut self) -> Result<(), CommitError>;
}

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
        let thread = writer.spawn(move || run(&changes, &seen, &mut disk))?;
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
        self.queue(change, false).await
    }

    /// As [`Committer::commit`], for what only reads.
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T, CommitError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, sled::Error> + Send + 'static,
    {
        self.queue(read, true).await
    }

    async fn queue<T, F>(&self, change: F, is_reading: bool) -> Result<T, CommitError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, sled::Error> + Send + 'static,
    {
        let (reply, outcome) = oneshot::channel();
        let apply: Box<dyn FnOnce(Option<CommitError>) -> Answer + Send> = Box::new(move |failed| {
            let apply = || change().map_err(|error| CommitError::Write(error.to_string()));
            let result = failed.map_or_else(apply, Err);
            // A caller that went away needs no answer; its change stands.
            Box::new(move |synced| drop(reply.send(result.and_then(|value| synced.map(|()| value)))))
        });
        self.send(Change { is_reading, apply })?;
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
/// A change for which there is no room is refused unapplied, and the next one is tried again. A sync that failed
/// may have lost pages that the next one no longer knows of, so nothing written after it could be vouched for: from
/// then on every change is refused, unapplied, until the process starts anew.
fn run(changes: &mpsc::Receiver<Change>, failed: &OnceLock<CommitError>, medium: &mut impl Medium) {
    while let Ok(first) = changes.recv() {
        // Whoever queued while the last group was syncing is in this one.
        let group = iter::once(first).chain(changes.try_iter().take(MAX_GROUP - 1));
        let mut is_written = false;
        let apply = |change: Change| {
            let mut room = || if change.is_reading { Ok(()) } else { medium.make_room() };
            let refused = failed.get().cloned().or_else(|| room().err());
            is_written |= refused.is_none() && !change.is_reading;
            (change.apply)(refused)
        };
        let answers: Vec<Answer> = group.map(apply).collect();
        // Nothing was begun: who was refused has his own reason, and there is nothing to sync.
        let synced = if is_written { medium.sync() } else { Ok(()) };
        if let Err(error) = &synced {
            error!(%error, changes = answers.len(), "a group of changes is not durable; no more is written");
            // It is the first one: after it nothing is written.
            let _ = failed.set(error.clone());
        }
        for answer in answers {
            answer(synced.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue_changes(count: usize) -> (mpsc::Receiver<Change>, mpsc::Receiver<Result<(), CommitError>>) {
        let (queue, changes) = mpsc::channel::<Change>();
        let (reply, answers) = mpsc::channel();
        for _ in 0..count {
            let reply = reply.clone();
            let apply = |failed: Option<_>| -> Answer {
                Box::new(move |synced| drop(reply.send(failed.map_or(synced, Err))))
            };
            queue.send(Change { is_reading: false, apply: Box::new(apply) }).unwrap();
        }
        (changes, answers)
    }

    fn broken() -> CommitError {
        CommitError::Write("input/output error".into())
    }

    /// Counts its syncs, and does as it is told.
    struct Fake<R, S> {
        room: R,
        sync: S,
        syncs: usize,
    }

    impl<R, S> Medium for Fake<R, S>
    where
        R: FnMut() -> Result<(), CommitError>,
        S: FnMut(usize) -> Result<(), CommitError>,
    {
        fn make_room(&mut self) -> Result<(), CommitError> {
            (self.room)()
        }

        fn sync(&mut self) -> Result<(), CommitError> {
            self.syncs += 1;
            (self.sync)(self.syncs)
        }
    }

    /// Runs until the queue is empty, and says how often it synced.
    fn run_on(
        changes: &mpsc::Receiver<Change>,
        room: impl FnMut() -> Result<(), CommitError>,
        sync: impl FnMut(usize) -> Result<(), CommitError>,
    ) -> usize {
        let mut medium = Fake { room, sync, syncs: 0 };
        run(changes, &OnceLock::new(), &mut medium);
        medium.syncs
    }

    #[test]
    fn waiting_changes_share_one_sync() {
        let (changes, answers) = queue_changes(64);
        assert_eq!(run_on(&changes, || Ok(()), |_| Ok(())), 1);
        assert_eq!(answers.iter().filter(Result::is_ok).count(), 64);
    }

    #[test]
    fn nobody_is_answered_before_the_sync() {
        let (changes, answers) = queue_changes(8);
        run_on(
            &changes,
            || Ok(()),
            |_| {
                assert!(answers.try_recv().is_err());
                Ok(())
            },
        );
        assert_eq!(answers.try_iter().count(), 8);
    }

    #[test]
    fn a_failed_sync_reaches_every_caller_of_the_group() {
        let (changes, answers) = queue_changes(8);
        run_on(&changes, || Ok(()), |_| Err(broken()));
        assert_eq!(answers.iter().collect::<Vec<_>>(), vec![Err(broken()); 8]);
    }

    #[test]
    fn after_a_failed_sync_nothing_is_applied_or_synced_any_more() {
        let (changes, answers) = queue_changes(2 * MAX_GROUP);
        // Only the first sync fails, as Linux reports a lost page once.
        let sync = |syncs| if syncs == 1 { Err(broken()) } else { Ok(()) };
        assert_eq!(run_on(&changes, || Ok(()), sync), 1);
        assert!(answers.iter().all(|answer| answer == Err(broken())));
    }

    #[test]
    fn a_change_without_room_is_not_begun_and_the_next_with_room_is() {
        let (changes, answers) = queue_changes(3);
        let mut asked = 0;
        let room = || {
            asked += 1;
            if asked == 2 { Err(CommitError::Full { free: 7 }) } else { Ok(()) }
        };
        assert_eq!(run_on(&changes, room, |_| Ok(())), 1);
        assert_eq!(answers.iter().collect::<Vec<_>>(), [Ok(()), Err(CommitError::Full { free: 7 }), Ok(())]);
    }

    #[test]
    fn where_no_change_was_begun_nothing_is_synced() {
        let (changes, answers) = queue_changes(3);
        assert_eq!(run_on(&changes, || Err(CommitError::Full { free: 0 }), |_| Err(broken())), 0);
        assert!(answers.iter().all(|answer| answer == Err(CommitError::Full { free: 0 })));
    }
}

//! The one thread that writes.

use std::{
    fs::File,
    io,
    sync::{Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use tokio::sync::oneshot;
use tracing::error;

use crate::CommitError;

/// Most changes that share one flush; bounds how long the first of a group waits.
const MAX_GROUP: usize = 1024;

/// One queued change: applies itself, and returns what answers its caller once the group is durable.
type Change = Box<dyn FnOnce() -> Answer + Send>;
/// Tells a caller the outcome of the group's sync.
type Answer = Box<dyn FnOnce(Result<(), CommitError>) + Send>;

/// The queue to the writer thread, and the thread.
#[derive(Debug)]
pub(crate) struct Committer {
    queue: Mutex<Option<mpsc::Sender<Change>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Starts the writer.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(db: sled::Db, file: File) -> io::Result<Self> {
        let (queue, changes) = mpsc::channel();
        let writer = std::thread::Builder::new().name("signet-store".into());
        let thread = writer.spawn(move || run(&changes, || sync(&db, &file)))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    pub(crate) async fn commit<T, F>(&self, change: F) -> Result<T, CommitError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, sled::Error> + Send + 'static,
    {
        let (reply, outcome) = oneshot::channel();
        let queued: Change = Box::new(move || {
            let result = change().map_err(|error| CommitError::Write(error.to_string()));
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
fn run(changes: &mpsc::Receiver<Change>, sync: impl Fn() -> Result<(), CommitError>) {
    while let Ok(first) = changes.recv() {
        let mut answers = vec![first()];
        // Whoever queued while the last group was syncing is in this one.
        answers.extend(changes.try_iter().take(MAX_GROUP - 1).map(|change| change()));
        let synced = sync();
        if let Err(error) = &synced {
            error!(%error, changes = answers.len(), "a group of changes is not durable");
        }
        for answer in answers {
            answer(synced.clone());
        }
    }
}

fn sync(db: &sled::Db, file: &File) -> Result<(), CommitError> {
    db.flush().map_err(|error| CommitError::Write(error.to_string()))?;
    file.sync_data().map_err(|error| CommitError::Write(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    fn queue_changes(count: usize) -> (mpsc::Receiver<Change>, mpsc::Receiver<Result<(), CommitError>>) {
        let (queue, changes) = mpsc::channel::<Change>();
        let (reply, answers) = mpsc::channel();
        for _ in 0..count {
            let reply = reply.clone();
            let change: Change = Box::new(|| Box::new(move |synced| drop(reply.send(synced))));
            queue.send(change).unwrap();
        }
        (changes, answers)
    }

    #[test]
    fn waiting_changes_share_one_sync() {
        let (changes, answers) = queue_changes(64);
        let syncs = AtomicUsize::new(0);
        run(&changes, || {
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
        run(&changes, move || {
            assert!(seen.lock().unwrap().try_recv().is_err());
            Ok(())
        });
        assert_eq!(answers.lock().unwrap().try_iter().count(), 8);
    }

    #[test]
    fn a_failed_sync_reaches_every_caller_of_the_group() {
        let (changes, answers) = queue_changes(8);
        let full = CommitError::Write("no space left on device".into());
        run(&changes, || Err(full.clone()));
        assert_eq!(answers.iter().collect::<Vec<_>>(), vec![Err(full); 8]);
    }
}

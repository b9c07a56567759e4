//! The one thread that writes.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    thread::JoinHandle,
};

use tokio::sync::oneshot;
use tracing::{error, warn};

use crate::{
    CommitError,
    disk::Disk,
    writes::{Group, Writes},
};

/// Most changes that share one sync; bounds how long the first of a group waits.
const MAX_GROUP: usize = 1024;
/// Most bytes for the journal, after which a group takes no further change.
const MAX_BYTES: usize = 1024 * 1024;

/// One queued change.
struct Change {
    way: Way,
    /// Applies it, unless it is told why not, and returns what answers its caller.
    apply: Apply,
}

/// Given the group that its writes go to, or why there is none.
type Apply = Box<dyn FnOnce(Result<&mut Group, CommitError>) -> Answer + Send>;

/// Tells a caller the outcome of the group's sync.
type Answer = Box<dyn FnOnce(Result<(), CommitError>) + Send>;

/// How a change writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Not at all, so that it needs no room.
    Not,
    /// To the trees, itself.
    Itself,
    /// Through the journal.
    Journal,
}

/// What changes are written to.
pub(crate) trait Medium {
    /// Sees to it that a change can be written whole.
    ///
    /// # Errors
    /// There is no room; nothing was written.
    fn make_room(&mut self, way: Way) -> Result<(), CommitError>;

    /// Makes a group durable, and before it whatever was written to the trees, where `is_flushed` says that
    /// something was.
    ///
    /// # Errors
    /// It failed, and what was written may or may not be there.
    fn sync(&mut self, group: &Group, is_flushed: bool) -> Result<(), CommitError>;

    /// Shows a group that is durable to readers of the trees.
    ///
    /// # Errors
    /// It failed: it is for the next process to do.
    fn settle(&mut self, group: Group) -> Result<(), CommitError>;

    /// Leaves nothing to do for whoever opens the folder next.
    ///
    /// # Errors
    /// It failed, and the next one has it to do.
    fn close(&mut self) -> Result<(), CommitError>;
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

    /// Runs a change that writes to the trees itself.
    pub(crate) async fn commit<T, F>(&self, change: F) -> Result<T, CommitError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, sled::Error> + Send + 'static,
    {
        let change = move |_: &mut Group| change().map_err(|error| CommitError::Write(error.to_string()));
        self.queue(Way::Itself, change, |_| {}).await
    }

    /// As [`Committer::commit`], for what only reads.
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T, CommitError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, sled::Error> + Send + 'static,
    {
        let read = move |_: &mut Group| read().map_err(|error| CommitError::Write(error.to_string()));
        self.queue(Way::Not, read, |_| {}).await
    }

    /// Runs a change whose writes go through the journal, and `publish` once they are durable.
    pub(crate) async fn journal<T, F, P>(&self, change: F, publish: P) -> Result<T, CommitError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writes) -> Result<T, CommitError> + Send + 'static,
        P: FnOnce(&T) + Send + 'static,
    {
        let change = move |group: &mut Group| {
            let mut writes = Writes::default();
            let value = change(&mut writes)?;
            group.add(writes);
            Ok(value)
        };
        self.queue(Way::Journal, change, publish).await
    }

    async fn queue<T, F, P>(&self, way: Way, change: F, publish: P) -> Result<T, CommitError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Group) -> Result<T, CommitError> + Send + 'static,
        P: FnOnce(&T) + Send + 'static,
    {
        let (reply, outcome) = oneshot::channel();
        self.send(Change { way, apply: applying(change, publish, reply) })?;
        outcome.await.unwrap_or(Err(CommitError::Closed))
    }

    fn send(&self, change: Change) -> Result<(), CommitError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = queue.as_ref().ok_or(CommitError::Closed)?;
        sender.send(change).map_err(|_| CommitError::Closed)
    }
}

/// What the writer does for a change: it is published, and its caller told so, once it is durable.
fn applying<T, F, P>(change: F, publish: P, reply: oneshot::Sender<Result<T, CommitError>>) -> Apply
where
    T: Send + 'static,
    F: FnOnce(&mut Group) -> Result<T, CommitError> + Send + 'static,
    P: FnOnce(&T) + Send + 'static,
{
    Box::new(move |group: Result<&mut Group, CommitError>| -> Answer {
        let result = group.and_then(change);
        Box::new(move |synced| {
            let result = result.and_then(|value| synced.map(|()| value));
            if let Ok(value) = &result {
                publish(value);
            }
            // A caller that went away needs no answer; its change stands.
            drop(reply.send(result));
        })
    })
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
    let fail = |error: CommitError, changes: usize| {
        error!(%error, changes, "what was changed cannot be written; no more is");
        // It is the first one: after it nothing is written.
        let _ = failed.set(error);
    };
    while let Ok(first) = changes.recv() {
        let Applied { group, is_flushed, answers } = apply(first, changes, failed, medium);
        // Where nothing was begun there is nothing to sync: who was refused has his own reason.
        let is_written = is_flushed || !group.is_empty();
        let synced = if is_written { medium.sync(&group, is_flushed) } else { Ok(()) };
        if let Err(error) = &synced {
            fail(error.clone(), answers.len());
        }
        let count = answers.len();
        for answer in answers {
            answer(synced.clone());
        }
        if synced.is_ok()
            && let Err(error) = medium.settle(group)
        {
            fail(error, count);
        }
    }
    if failed.get().is_none()
        && let Err(error) = medium.close()
    {
        warn!(%error, "the store was not closed in order; the next start does what is left");
    }
}

/// A group of changes that ran, and is not durable yet.
struct Applied {
    group: Group,
    /// Whether one of them wrote to the trees.
    is_flushed: bool,
    answers: Vec<Answer>,
}

/// Runs a change, and with it whoever queued while the last group was syncing.
fn apply(
    first: Change,
    changes: &mpsc::Receiver<Change>,
    failed: &OnceLock<CommitError>,
    medium: &mut impl Medium,
) -> Applied {
    let mut applied = Applied { group: Group::default(), is_flushed: false, answers: Vec::new() };
    let mut next = Some(first);
    while let Some(Change { way, apply }) = next {
        // A group is small beside the room that is made for its first change.
        let has_room = way == Way::Not || way == Way::Journal && !applied.group.is_empty();
        let room = || if has_room { Ok(()) } else { medium.make_room(way) };
        let refused = failed.get().cloned().map_or_else(room, Err);
        applied.is_flushed |= refused.is_ok() && way == Way::Itself;
        let group = &mut applied.group;
        applied.answers.push(apply(refused.map(|()| group)));
        let is_full = applied.answers.len() >= MAX_GROUP || applied.group.bytes() >= MAX_BYTES;
        next = if is_full { None } else { changes.try_recv().ok() };
    }
    applied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue_changes(count: usize) -> (mpsc::Receiver<Change>, mpsc::Receiver<Result<(), CommitError>>) {
        let (queue, changes) = mpsc::channel::<Change>();
        let (reply, answers) = mpsc::channel();
        for _ in 0..count {
            let reply = reply.clone();
            let apply = |group: Result<&mut Group, CommitError>| -> Answer {
                let result = group.map(drop);
                Box::new(move |synced| drop(reply.send(result.and(synced))))
            };
            queue.send(Change { way: Way::Itself, apply: Box::new(apply) }).unwrap();
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
        fn make_room(&mut self, _: Way) -> Result<(), CommitError> {
            (self.room)()
        }

        fn sync(&mut self, _: &Group, _: bool) -> Result<(), CommitError> {
            self.syncs += 1;
            (self.sync)(self.syncs)
        }

        fn settle(&mut self, _: Group) -> Result<(), CommitError> {
            Ok(())
        }

        fn close(&mut self) -> Result<(), CommitError> {
            Ok(())
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
    fn what_is_not_durable_is_published_to_nobody_and_what_is_though_its_caller_is_gone() {
        for (synced, is_heard) in [(Err(broken()), true), (Ok(()), true), (Ok(()), false)] {
            let (reply, mut outcome) = oneshot::channel();
            if !is_heard {
                outcome.close();
            }
            let (publish, published) = mpsc::channel();
            let apply = applying(|_| Ok(7), move |value| publish.send(*value).unwrap(), reply);
            let answer = apply(Ok(&mut Group::default()));
            assert!(published.try_recv().is_err() && outcome.try_recv().is_err(), "before the sync");
            answer(synced.clone());
            assert_eq!(published.try_recv().ok(), synced.is_ok().then_some(7));
            assert_eq!(outcome.try_recv().ok(), is_heard.then(|| synced.map(|()| 7)));
        }
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

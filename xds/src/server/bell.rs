//! Two things that share a task, and each of which is only looked at when it has something to do.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Wake, Waker},
};

/// What it is rung for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Part {
    /// Streams of a connection.
    Streams = 1,
    /// The connection itself.
    Connection = 2,
    /// Those of its streams that are looked at only when they ask for it, and its end.
    Others = 4,
    /// A stream that was opened.
    Opened = 8,
}

/// All parts.
const ALL: u8 = Part::Streams as u8 | Part::Connection as u8 | Part::Others as u8 | Part::Opened as u8;
/// The task sleeps.
const ASLEEP: u8 = 16;

/// Rung for parts of a task. While the task is at work the bell is enough; when it sleeps, it is woken as well.
pub(super) struct Bell {
    /// The parts that it has been rung for since they were last looked at, and [`ASLEEP`].
    rung: AtomicU8,
    sleeper: Mutex<Option<Waker>>,
}

/// Rings for one part.
struct Ringer {
    bell: Arc<Bell>,
    part: Part,
}

impl Bell {
    /// It has been rung for all parts, as they were never looked at.
    pub(super) fn rung() -> Arc<Self> {
        Arc::new(Self { rung: AtomicU8::new(ALL), sleeper: Mutex::default() })
    }

    /// What rings it for a part.
    pub(super) fn ringer(self: &Arc<Self>, part: Part) -> Waker {
        Waker::from(Arc::new(Ringer { bell: Arc::clone(self), part }))
    }

    pub(super) fn ring(&self, part: Part) {
        if self.rung.fetch_or(part as u8, Ordering::AcqRel) & ASLEEP != 0 {
            let sleeper = self.sleeper.lock().unwrap_or_else(PoisonError::into_inner);
            sleeper.iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Whether it has been rung for a part since that was last answered.
    pub(super) fn answer(&self, part: Part) -> bool {
        let is_rung = |rung: u8| rung & part as u8 != 0;
        is_rung(self.rung.load(Ordering::Relaxed))
            && is_rung(self.rung.fetch_and(!(part as u8), Ordering::AcqRel))
    }

    /// The task is at work.
    pub(super) fn awake(&self) {
        if self.rung.load(Ordering::Relaxed) & ASLEEP != 0 {
            self.rung.fetch_and(!ASLEEP, Ordering::AcqRel);
        }
    }

    /// Which task to wake from now on.
    pub(super) fn wakes(&self, task: &Waker) {
        *self.sleeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.clone());
    }

    /// The task goes to sleep; gives whether it must not, because the bell has just been rung.
    pub(super) fn asleep(&self) -> bool {
        self.rung.fetch_or(ASLEEP, Ordering::AcqRel) & ALL != 0
    }
}

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        self.bell.ring(self.part);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.bell.ring(self.part);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use futures::task::{ArcWake, waker};

    use super::*;

    const PARTS: [Part; 4] = [Part::Streams, Part::Connection, Part::Others, Part::Opened];

    #[derive(Default)]
    struct Sleeper(AtomicBool);

    impl ArcWake for Sleeper {
        fn wake_by_ref(sleeper: &Arc<Self>) {
            sleeper.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_bell_wakes_who_sleeps_and_lets_work_who_is_awake() {
        let (sleeper, bell) = (Arc::new(Sleeper::default()), Bell::rung());
        let (task, was_woken) = (waker(Arc::clone(&sleeper)), || sleeper.0.swap(false, Ordering::Relaxed));
        bell.wakes(&task);
        assert!(bell.asleep(), "nothing of it was ever looked at");
        bell.awake();
        assert!(PARTS.into_iter().all(|part| bell.answer(part)));
        for part in PARTS {
            let ringer = bell.ringer(part);
            assert!(!bell.answer(part));
            assert!(!bell.asleep());
            ringer.wake_by_ref();
            assert!(was_woken());
            bell.awake();
            assert!(PARTS.into_iter().filter(|it| *it != part).all(|other| !bell.answer(other)));
            assert!(bell.answer(part) && !bell.answer(part));
            ringer.wake_by_ref();
            assert!(!was_woken(), "it is at work");
            assert!(bell.asleep(), "there is something to do before it sleeps");
            bell.awake();
            assert!(bell.answer(part));
        }
        assert!(!bell.asleep());
    }
}

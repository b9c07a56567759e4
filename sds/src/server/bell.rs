//! Two things that share a task, and each of which is only looked at when it has something to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use futures::task::AtomicWaker;

/// Rung for one part of a task. While the task is at work the bell is enough; when it sleeps, it is woken as well.
#[derive(Default)]
pub(super) struct Bell {
    has_rung: AtomicBool,
    sleeper: AtomicWaker,
}

impl Bell {
    /// The bell, and what rings it; it has been rung, as its part was never looked at.
    pub(super) fn rung() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self { has_rung: AtomicBool::new(true), sleeper: AtomicWaker::new() });
        (Arc::clone(&bell), Waker::from(bell))
    }

    /// Whether it has been rung since it was last answered.
    pub(super) fn answer(&self) -> bool {
        self.has_rung.load(Ordering::Relaxed) && self.has_rung.swap(false, Ordering::AcqRel)
    }

    /// The task is at work.
    pub(super) fn awake(&self) {
        self.sleeper.take();
    }

    /// The task goes to sleep; gives whether it must not, because the bell has just been rung.
    pub(super) fn asleep(&self, task: &Waker) -> bool {
        self.sleeper.register(task);
        self.has_rung.load(Ordering::Acquire)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.sleeper.wake();
    }
}

#[cfg(test)]
mod tests {
    use futures::task::{ArcWake, waker};

    use super::*;

    #[derive(Default)]
    struct Sleeper(AtomicBool);

    impl ArcWake for Sleeper {
        fn wake_by_ref(sleeper: &Arc<Self>) {
            sleeper.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_bell_wakes_who_sleeps_and_lets_work_who_is_awake() {
        let (sleeper, (bell, ringer)) = (Arc::new(Sleeper::default()), Bell::rung());
        let (task, was_woken) = (waker(Arc::clone(&sleeper)), || sleeper.0.swap(false, Ordering::Relaxed));
        assert!(bell.answer(), "its part was never looked at");
        assert!(!bell.answer());
        assert!(!bell.asleep(&task));
        ringer.wake_by_ref();
        assert!(was_woken() && bell.answer());
        assert!(!bell.asleep(&task));
        bell.awake();
        ringer.wake_by_ref();
        assert!(!was_woken(), "it is at work");
        assert!(bell.asleep(&task), "there is something to do before it sleeps");
        assert!(bell.answer());
    }
}

//! Word that something is new, for whoever looks at everything anyway.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering, fence},
    },
};

use tokio::sync::watch;

/// Thousands of streams have news at the same time, and who waits for any looks at all of it at once. So the first says
/// that there is some, and the others that nobody has begun to look since.
#[derive(Default)]
pub(super) struct News {
    /// Said, and nobody has begun to look since.
    is_out: AtomicBool,
    said: watch::Sender<()>,
}

/// Waits for news.
pub struct Changes {
    news: Arc<News>,
    said: watch::Receiver<()>,
}

impl News {
    /// What is new can be seen by now.
    pub(super) fn tell(&self) {
        // Whoever looks says so first: either that is seen here, or what is new is seen there.
        fence(Ordering::SeqCst);
        if !self.is_out.load(Ordering::Relaxed) && !self.is_out.swap(true, Ordering::AcqRel) {
            self.said.send_replace(());
        }
    }

    /// From now on.
    pub(super) fn wait(self: &Arc<Self>) -> Changes {
        let changes = Changes { news: Arc::clone(self), said: self.said.subscribe() };
        changes.look();
        changes
    }
}

impl Changes {
    /// Ends when there was something new since this was made, or had ended last.
    pub async fn changed(&mut self) {
        // The sender is there for as long as the news.
        self.said.changed().await.ok();
        self.look();
    }

    /// Ends when this is so, which it looks at now and at every change.
    pub async fn until(&mut self, is_so: impl Fn() -> bool) {
        while !is_so() {
            self.changed().await;
        }
    }

    /// Whoever told before has said so to this one, or is seen by it; who tells from now on says it again.
    fn look(&self) {
        self.news.is_out.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changes")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, AtomicUsize},
        thread,
    };

    use futures::{FutureExt as _, executor::block_on};

    use super::*;

    #[test]
    fn everybody_hears_of_news_once_however_many_there_are_before_they_look() {
        let news = Arc::new(News::default());
        news.tell();
        let (mut one, mut other) = (news.wait(), news.wait());
        assert!(one.changed().now_or_never().is_none(), "that was before");
        for _ in 0..2 {
            news.tell();
            news.tell();
            assert!(one.changed().now_or_never().is_some());
            assert!(one.changed().now_or_never().is_none());
        }
        assert!(other.changed().now_or_never().is_some());
        assert!(other.changed().now_or_never().is_none());
        news.tell();
        assert!(other.changed().now_or_never().is_some());
        assert!(one.changed().now_or_never().is_some());
    }

    #[test]
    fn nobody_waits_for_what_was_told() {
        const COUNT: u64 = 20_000;
        let (news, told, looks) = (Arc::new(News::default()), AtomicU64::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            let wait = || {
                let mut changes = news.wait();
                block_on(changes.until(|| {
                    looks.fetch_add(1, Ordering::Relaxed);
                    told.load(Ordering::Relaxed) == 2 * COUNT
                }));
            };
            let tell = || {
                for _ in 0..COUNT {
                    told.fetch_add(1, Ordering::Relaxed);
                    news.tell();
                }
            };
            let waiting = [scope.spawn(wait), scope.spawn(wait)];
            let telling = [scope.spawn(tell), scope.spawn(tell)];
            telling.into_iter().chain(waiting).for_each(|thread| thread.join().unwrap());
        });
        assert!(looks.load(Ordering::Relaxed) > 2, "some were heard on the way");
    }
}

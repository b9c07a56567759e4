//! What may end a stream from without.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tonic::Status as Refusal;

use super::End;

/// Several ends, the first of which counts.
///
/// Thousands of streams wait for the same ones. To ask an end is to take a lock that all share, so each stream asks
/// only when one of its ends has woken it, and not at every message.
pub(super) struct Ends {
    ends: Vec<End>,
    signal: Arc<Signal>,
    /// The stream that the signal knows: most often it is the same task for good, and need not be told twice.
    known: Option<Waker>,
}

struct Signal {
    /// An end has something to say, or is new.
    is_set: AtomicBool,
    stream: Mutex<Option<Waker>>,
}

impl Ends {
    pub(super) fn new(first: End) -> Self {
        let signal = Signal { is_set: AtomicBool::new(true), stream: Mutex::default() };
        Self { ends: vec![first], signal: Arc::new(signal), known: None }
    }

    pub(super) fn add(&mut self, end: End) {
        self.ends.push(end);
        self.signal.is_set.store(true, Ordering::Release);
    }
}

impl Future for Ends {
    type Output = Refusal;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Refusal> {
        if !self.known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            // Before the look at the signal, or what comes in between would wake nobody.
            self.signal.wakes(cx.waker());
            self.known = Some(cx.waker().clone());
        }
        let is_set = &self.signal.is_set;
        if !(is_set.load(Ordering::Acquire) && is_set.swap(false, Ordering::AcqRel)) {
            return Poll::Pending;
        }
        let waker = Waker::from(Arc::clone(&self.signal));
        let mut context = Context::from_waker(&waker);
        for end in &mut self.ends {
            if let Poll::Ready(refusal) = end.as_mut().poll(&mut context) {
                return Poll::Ready(refusal);
            }
        }
        Poll::Pending
    }
}

impl Signal {
    fn wakes(&self, stream: &Waker) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream.clone());
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.iter().for_each(Waker::wake_by_ref);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures::{FutureExt as _, future::poll_fn};
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn an_end_is_asked_when_it_has_woken_its_stream_and_not_at_every_turn() {
        let (token, asked) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let end = |token: CancellationToken| -> End {
            let (asked, mut cancelled) = (Arc::clone(&asked), Box::pin(token.cancelled_owned()));
            Box::pin(poll_fn(move |cx| {
                asked.fetch_add(1, Ordering::Relaxed);
                cancelled.as_mut().poll(cx).map(|()| Refusal::aborted("over"))
            }))
        };
        let mut ends = Ends::new(end(CancellationToken::new()));
        for _ in 0..3 {
            assert!((&mut ends).now_or_never().is_none());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1, "once, to be woken by it");
        ends.add(end(token.clone()));
        assert!((&mut ends).now_or_never().is_none());
        assert_eq!(asked.load(Ordering::Relaxed), 3, "each once more");
        token.cancel();
        assert_eq!(ends.await.message(), "over");
    }

    #[tokio::test]
    async fn a_stream_that_waits_is_woken_by_an_end_that_was_added_later() {
        let token = CancellationToken::new();
        let mut ends = Ends::new(Box::pin(std::future::pending()));
        assert!((&mut ends).now_or_never().is_none());
        let cancelled = token.clone().cancelled_owned();
        ends.add(Box::pin(cancelled.map(|()| Refusal::aborted("over"))));
        let (refusal, ()) = tokio::join!(ends, async { token.cancel() });
        assert_eq!(refusal.message(), "over");
    }
}

//! What the proxies on the socket were sent, and what each made of it.

mod contents;
mod follower;
mod news;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use signet_policies::time::{Clock, Timestamp};

use contents::{Content, Contents};
use follower::Slot;
use news::News;

pub use news::Changes;

/// Follows every stream of one socket. Clones share what they know.
#[derive(Clone)]
pub struct Deliveries(Arc<Inner>);

struct Inner {
    clock: Clock,
    contents: Contents,
    opened: AtomicU64,
    /// The streams that are open, by number.
    streams: Mutex<BTreeMap<u64, Arc<Slot>>>,
    counters: Counters,
    /// The certificate that was published last, and which streams still owe an answer to it.
    latest: Mutex<Option<Flight>>,
    news: Arc<News>,
}

/// One secret on one stream, as it stands. Versions are in the words of whoever issued them: a certificate is its
/// serial number, what is trusted its [`crate::secret::Bundle::version`]; what nobody remembers is the secret's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Tells the streams of a socket apart: `<pid>-<number>`, with 0 for a process that the kernel does not name.
    pub stream: String,
    /// The secret's name.
    pub name: String,
    /// What was sent last; `None` for a name that there is nothing for.
    pub sent: Option<String>,
    /// What the proxy accepted last, or brought along when it reconnected. A rejection does not change it.
    pub accepted: Option<String>,
    /// What it refuses until it accepts something else, and why: bounded, and cleaned of anything that looks like a key.
    pub rejected: Option<(String, String)>,
    /// When this was last news.
    pub at: SystemTime,
    /// The proxy asked on this stream for a validator that passes revocation lists over.
    pub ignores_lists: bool,
}

/// Counters since the start. Names are those of secrets that were served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Secrets sent, each version to each stream once.
    pub sent: u64,
    /// Secrets accepted.
    pub accepted: u64,
    /// Secrets refused, by name.
    pub rejected: BTreeMap<String, u64>,
    /// Requests that answered a response other than the last.
    pub stale_nonces: u64,
    /// Names asked for that there was nothing for, once for each stream and name.
    pub unserved: u64,
}

/// How long it took until every proxy had a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convergence {
    /// The certificate's serial number.
    pub serial: String,
    /// From its publication to the last answer; `None` while one is missing.
    pub took: Option<Duration>,
    /// Streams that held the certificate before it when it was published.
    pub streams: usize,
}

struct Flight {
    /// Tells it apart: those who owe an answer to it hold the same.
    serial: Arc<str>,
    convergence: Convergence,
    published: SystemTime,
    /// How many answers are owed to it.
    waiting: usize,
}

/// [`Totals`] in the making, by streams that do not wait for each other.
#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    accepted: AtomicU64,
    rejected: Mutex<BTreeMap<String, u64>>,
    stale_nonces: AtomicU64,
    unserved: AtomicU64,
}

impl Deliveries {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner {
            clock,
            contents: Contents::default(),
            opened: AtomicU64::new(0),
            streams: Mutex::default(),
            counters: Counters::default(),
            latest: Mutex::default(),
            news: Arc::default(),
        }))
    }

    /// Everything that is known, by stream and name.
    #[must_use]
    pub fn list(&self) -> Vec<Delivery> {
        self.streams().iter().flat_map(|slot| slot.list()).collect()
    }

    /// Told of every change from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.0.news.wait()
    }

    /// The counters.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let Counters { sent, accepted, rejected, stale_nonces, unserved } = &self.0.counters;
        let [sent, accepted, stale_nonces, unserved] =
            [sent, accepted, stale_nonces, unserved].map(|counter| counter.load(Ordering::Relaxed));
        Totals { sent, accepted, rejected: lock(rejected).clone(), stale_nonces, unserved }
    }

    /// Names that open streams ask for, whatever there is for them.
    #[must_use]
    pub fn asked(&self) -> BTreeSet<String> {
        self.streams().iter().flat_map(|slot| slot.asked()).map(|name| name.to_string()).collect()
    }

    /// Whether an open stream asks for everything that there is.
    #[must_use]
    pub fn is_all_asked(&self) -> bool {
        self.streams().iter().any(|slot| slot.is_wildcard())
    }

    /// Names that open streams ask for and that there was never anything for.
    #[must_use]
    pub fn unserved(&self) -> BTreeSet<String> {
        self.streams().iter().flat_map(|slot| slot.unserved()).map(|name| name.to_string()).collect()
    }

    /// The certificates that proxies may present now: what each accepted last, until it ends. A proxy that refuses a
    /// newer one goes on with it.
    #[must_use]
    pub fn in_use(&self, now: Timestamp) -> BTreeSet<String> {
        let is_alive = |content: Arc<Content>| match &*content {
            Content::Leaf { serial, not_after } if now <= *not_after => Some(serial.clone()),
            Content::Leaf { .. } | Content::Trust { .. } | Content::Unknown { .. } => None,
        };
        self.streams().iter().flat_map(|slot| slot.accepted()).filter_map(is_alive).collect()
    }

    /// How far the certificate that was published last has come.
    #[must_use]
    pub fn convergence(&self) -> Option<Convergence> {
        lock(&self.0.latest).as_ref().map(|flight| flight.convergence.clone())
    }

    /// Those that are open, so that nobody waits while they are looked at.
    fn streams(&self) -> Vec<Arc<Slot>> {
        lock(&self.0.streams).values().map(Arc::clone).collect()
    }

    fn now(&self) -> SystemTime {
        (self.0.clock)()
    }

    /// An answer to a certificate that was owed, or the end of whoever owed it.
    fn settled(&self, owed: &Arc<str>) {
        let mut latest = lock(&self.0.latest);
        let Some(flight) = latest.as_mut().filter(|flight| Arc::ptr_eq(&flight.serial, owed)) else { return };
        flight.waiting = flight.waiting.saturating_sub(1);
        if flight.waiting == 0 {
            flight.arrived(self.now());
        }
    }
}

impl Flight {
    fn arrived(&mut self, now: SystemTime) {
        let took = now.duration_since(self.published).unwrap_or_default();
        self.convergence.took = Some(took);
        let Convergence { serial, streams, .. } = &self.convergence;
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            serial,
            streams,
            took_ms,
            "every proxy on the socket has answered the new certificate"
        );
    }
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries").field("totals", &self.totals()).finish_non_exhaustive()
    }
}

/// Whatever a thread left behind that panicked is as good as any other state: each is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

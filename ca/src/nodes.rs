//! The agents that are connected, what each told last, and what each is advised.
//!
//! ```text
//!  agent ══ Watch ══▶ service ──▶ Session::report ──▶ Nodes ──▶ NodeViews (watch: the latest, whole)
//!                        ▲────────────── advice ◀── Nodes::advise
//! ```
//!
//! Agents tell it all again after a restart of the server. Only that one left for good nobody would tell again: that is
//! in the ledger.

mod clocks;
mod departure;
mod lapsed;
mod leaf;
mod places;
mod report;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use rpds::RedBlackTreeMapSync;
use signet_policies::{identity::Workload, time::Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::Serial;
pub(crate) use departure::Departed;
pub use departure::NotForgotten;
pub use lapsed::{LAPSED_FOR, Lapsed, MAX_LAPSED};
pub use leaf::PresentedLeaf;
pub use places::{MAX_NODES, MAX_OF_WORKLOAD, TooManyNodes};
pub(crate) use report::read;
pub use report::{
    InvalidReport, ListenerState, Loaded, MAX_CERTIFICATES, MAX_CHAIN, MAX_DER, MAX_SECRETS, MAX_TEXT,
    Presented, RefusedTrust, Renewal, Report, SecretState, Tickets,
};

/// One proxy of a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey {
    /// Whose proxy it is.
    pub workload: Workload,
    /// Which of them: as the agent says, the same for as long as its state folder is.
    pub instance: String,
}

/// `mesh/MESH/virtualNode/NAME/INSTANCE`.
impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workload, self.instance)
    }
}

/// What is known of one agent and its proxy.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// Which.
    pub key: NodeKey,
    /// Whether its stream is open.
    pub connected: bool,
    /// When its stream was opened, or ended.
    pub since: SystemTime,
    /// When it reported last, by the server's clock.
    pub reported_at: SystemTime,
    /// How its stream was opened.
    pub line: Line,
    /// Who else claims to be this instance.
    pub rival: Option<Rival>,
    /// What it told last.
    pub report: Arc<Report>,
    session: u64,
}

/// How a stream was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The serial of the certificate that it was opened with.
    pub serial: Option<Serial>,
    /// Where it comes from.
    pub address: Option<IpAddr>,
}

/// Another agent that says it is the same instance, from another address, while this one's stream was open: two that
/// share a state folder, and so a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Where the stream came from whose place was taken last.
    pub address: IpAddr,
    /// How often one took the other's place. A host whose address changed does so once.
    pub turns: u32,
    /// When it happened last.
    pub at: SystemTime,
}

/// Every agent that is known, in the order of their keys. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct NodeViews(RedBlackTreeMapSync<NodeKey, Arc<NodeView>>);

impl NodeViews {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<NodeView>> {
        self.0.values()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, key: &NodeKey) -> Option<&Arc<NodeView>> {
        self.0.get(key)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.size()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Advice to renew one certificate within a window, both ends in seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The certificate that is meant.
    pub serial: Serial,
    /// The first second.
    pub start: Timestamp,
    /// The last second.
    pub end: Timestamp,
    /// For the agent's log.
    pub reason: Arc<str>,
}

/// Which agents are advised to renew, and when.
pub type Advice = Arc<BTreeMap<NodeKey, Window>>;

/// The hub of all node streams. Clones share it.
#[derive(Clone, Debug)]
pub struct Nodes(Arc<Hub>);

#[derive(Debug)]
struct Hub {
    views: watch::Sender<Arc<NodeViews>>,
    advice: watch::Sender<Advice>,
    sessions: std::sync::Mutex<BTreeMap<NodeKey, CancellationToken>>,
    numbers: AtomicU64,
    /// The last certificates of agents that left for good.
    departed: std::sync::Mutex<Departed>,
    /// Agents whose certificates ended while they were away.
    lapsed: std::sync::Mutex<BTreeMap<NodeKey, Lapsed>>,
}

impl Default for Nodes {
    fn default() -> Self {
        Self(Arc::new(Hub {
            views: watch::Sender::default(),
            advice: watch::Sender::default(),
            sessions: std::sync::Mutex::default(),
            numbers: AtomicU64::new(1),
            departed: std::sync::Mutex::default(),
            lapsed: std::sync::Mutex::default(),
        }))
    }
}

impl Nodes {
    /// Takes an agent's first report. Another stream of the same instance that is open ends. Where places are taken, whoever
    /// is gone the longest is known no more but by its certificate, in the ledger.
    ///
    /// # Errors
    /// [`TooManyNodes`].
    pub fn connect(
        &self,
        key: NodeKey,
        line: Line,
        report: Report,
        now: SystemTime,
    ) -> Result<Session, TooManyNodes> {
        self.forget_ended(now.into());
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let replaced = CancellationToken::new();
        let before = self.lock().insert(key.clone(), replaced.clone());
        if let Some(before) = before {
            before.cancel();
        }
        let rival = self.0.views.borrow().get(&key).and_then(|view| view.rival_of(line, now));
        let view = NodeView {
            key: key.clone(),
            connected: true,
            since: now,
            reported_at: now,
            line,
            rival,
            report: Arc::new(report),
            session: number,
        };
        let mut refused = None;
        self.0.views.send_if_modified(|views| match views.make_room(&key) {
            Ok(gone) => {
                clocks::tell(views.get(&key).map(Arc::as_ref), &view);
                let rest = gone.map_or_else(|| views.0.clone(), |gone| views.0.remove(&gone));
                *views = Arc::new(NodeViews(rest.insert(key.clone(), Arc::new(view))));
                true
            }
            Err(many) => {
                refused = Some(many);
                false
            }
        });
        if let Some(refused) = refused {
            self.lock().remove(&key);
            return Err(refused);
        }
        self.lapsed_lock().remove(&key);
        info!(node = %key, "an agent watches");
        Ok(Session { nodes: self.clone(), key, number, replaced, left: false })
    }

    /// Whether the agent's stream is open now.
    #[must_use]
    pub fn connected(&self, key: &NodeKey) -> bool {
        self.0.views.borrow().get(key).is_some_and(|view| view.connected)
    }

    /// Everything that is known, and every change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<NodeViews>> {
        self.0.views.subscribe()
    }

    /// Whom to advise what from now on; who is not in it is advised nothing more.
    pub fn advise(&self, advice: BTreeMap<NodeKey, Window>) {
        self.0.advice.send_if_modified(|now| {
            let is_new = **now != advice;
            if is_new {
                *now = Arc::new(advice);
            }
            is_new
        });
    }

    /// The advice that is given, and every change.
    #[must_use]
    pub fn advice(&self) -> watch::Receiver<Advice> {
        self.0.advice.subscribe()
    }

    /// Drops agents that are gone and whose certificates have ended: nobody can be them any more. They are shown as
    /// [`Nodes::lapsed`] for a while.
    pub fn forget_ended(&self, now: Timestamp) {
        self.departed_lock().retain(|_, departure| departure.end >= now);
        let mut lapsed = Vec::new();
        self.0.views.send_if_modified(|views| {
            let ended = |view: &&Arc<NodeView>| {
                let end = view.report.held.as_ref().map(|leaf| leaf.not_after);
                !view.connected && end.is_none_or(|end| end < now)
            };
            lapsed = views.iter().filter(ended).map(|view| Lapsed::from(&**view)).collect();
            let rest = lapsed.iter().fold(views.0.clone(), |rest, gone: &Lapsed| rest.remove(&gone.key));
            if !lapsed.is_empty() {
                *views = Arc::new(NodeViews(rest));
            }
            !lapsed.is_empty()
        });
        self.note_lapsed(lapsed, now);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeKey, CancellationToken>> {
        self.0.sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes what is known of an agent, if the session is still its latest.
    fn change(&self, key: &NodeKey, session: u64, change: impl FnOnce(&NodeView) -> Option<NodeView>) {
        self.0.views.send_if_modified(|views| {
            let Some(view) = views.get(key).filter(|view| view.session == session) else {
                return false;
            };
            let next = match change(view) {
                Some(next) => {
                    clocks::tell(Some(view), &next);
                    views.0.insert(key.clone(), Arc::new(next))
                }
                None => views.0.remove(key),
            };
            *views = Arc::new(NodeViews(next));
            true
        });
    }
}

impl NodeView {
    /// What another stream of the instance makes of this one.
    fn rival_of(&self, line: Line, now: SystemTime) -> Option<Rival> {
        let is_taken = self.connected && self.line.address != line.address;
        match (self.line.address.filter(|_| is_taken), self.rival) {
            (Some(address), before) => {
                let turns = before.map_or(0, |before| before.turns).saturating_add(1);
                Some(Rival { address, turns, at: now })
            }
            (None, before) => before,
        }
    }
}

/// One open stream. When it is dropped the agent counts as gone, and is remembered until its certificate has ended.
#[derive(Debug)]
pub struct Session {
    nodes: Nodes,
    key: NodeKey,
    number: u64,
    replaced: CancellationToken,
    left: bool,
}

impl Session {
    /// Whose it is.
    #[must_use]
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// Cancelled when another stream of the same instance takes this one's place.
    #[must_use]
    pub fn replaced(&self) -> CancellationToken {
        self.replaced.clone()
    }

    /// Takes what the agent tells, in place of what it told before.
    pub fn report(&self, report: Report, now: SystemTime) {
        let report = Arc::new(report);
        self.nodes.change(&self.key, self.number, |view| {
            Some(NodeView { report: Arc::clone(&report), reported_at: now, ..view.clone() })
        });
    }

    fn end(&self) {
        let left = self.left;
        // The last report is the last that was heard: when it ended is the clock's to say, and nobody here has one.
        self.nodes.change(&self.key, self.number, |view| {
            (!left).then(|| NodeView { connected: false, since: view.reported_at, ..view.clone() })
        });
        let mut sessions = self.nodes.lock();
        // Another stream's token is not ours to take away.
        if !self.replaced.is_cancelled() {
            sessions.remove(&self.key);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
        info!(node = %self.key, left = self.left, "an agent watches no more");
    }
}

//! Follows one stream.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use signet_xds::{ResourceType, Snapshot, Status, server::Observer, status::ResourceStatus};
use tokio::sync::watch;
use tracing::warn;

use super::{Content, Deliveries, Delivery, lock};
use crate::{attest::Peer, translate::Validator};

/// As much of a name that nobody serves as is logged, in characters.
const SHOWN: usize = 128;

/// What is known of one open stream.
pub(super) struct Slot {
    pub(super) number: u64,
    peer: Peer,
    validator: Validator,
    /// Whether the client asks for more than it names.
    is_wildcard: AtomicBool,
    names: Mutex<Names>,
}

/// What is known by name, in order. Most clients ask for one secret, and nobody for many.
#[derive(Default)]
struct Names(Vec<(Arc<str>, Known)>);

impl Names {
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Known> {
        let index = self.place(name).ok()?;
        self.0.get_mut(index).map(|(_, known)| known)
    }

    fn contains(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Of a name of which nothing is known yet.
    fn add(&mut self, name: Arc<str>, known: Known) -> &mut Known {
        let index = self.place(&name).unwrap_or_else(|index| index);
        self.0.reserve_exact(1);
        self.0.insert(index, (name, known));
        &mut self.0[index].1
    }
}

/// One secret: as the protocol has it, and what its versions stand for.
struct Known {
    status: ResourceStatus,
    contents: Answers,
    at: SystemTime,
    /// The serial number of the certificate to which an answer is owed.
    owes: Option<Arc<str>>,
}

/// What was sent, accepted and refused.
#[derive(Default)]
struct Answers {
    sent: Option<Arc<Content>>,
    accepted: Option<Arc<Content>>,
    rejected: Option<Arc<Content>>,
}

impl Known {
    /// A name that there is nothing for.
    fn nothing(at: SystemTime) -> Self {
        Self { status: ResourceStatus::default(), contents: Answers::default(), at, owes: None }
    }
}

impl Slot {
    /// Everything that is known of the stream, in words.
    pub(super) fn list(&self) -> Vec<Delivery> {
        let stream = format!("{}-{}", self.peer.pid.unwrap_or(0), self.number);
        let told = |(name, known): &(Arc<str>, Known)| {
            let Known { status, contents, at, owes: _ } = known;
            let version = |content: &Option<Arc<Content>>| content.as_deref().map(Content::version);
            let reason = status.rejected.as_ref().map(|it| it.reason.to_string());
            Delivery {
                stream: stream.clone(),
                name: name.to_string(),
                sent: version(&contents.sent),
                accepted: version(&contents.accepted),
                rejected: version(&contents.rejected).zip(reason),
                at: *at,
                ignores_lists: self.validator == Validator::Spiffe,
            }
        };
        lock(&self.names).0.iter().map(told).collect()
    }

    /// The certificates that the client may present.
    pub(super) fn accepted(&self) -> Vec<Arc<Content>> {
        lock(&self.names).0.iter().filter_map(|(_, known)| known.contents.accepted.clone()).collect()
    }

    /// From now on it owes an answer to this certificate, and to no other, where the client holds what `is_owed` says;
    /// gives how many times.
    pub(super) fn owe(&self, serial: &Arc<str>, is_owed: impl Fn(&str, &Content) -> bool) -> usize {
        let mut count = 0;
        for (name, known) in &mut lock(&self.names).0 {
            let is_owed = known.contents.sent.as_ref().is_some_and(|sent| is_owed(name, sent));
            known.owes = is_owed.then(|| Arc::clone(serial));
            count += usize::from(is_owed);
        }
        count
    }

    /// Whether the client asks for everything that there is.
    pub(super) fn is_wildcard(&self) -> bool {
        self.is_wildcard.load(Ordering::Relaxed)
    }

    /// The names that the client asks for.
    pub(super) fn asked(&self) -> Vec<Arc<str>> {
        lock(&self.names).0.iter().map(|(name, _)| Arc::clone(name)).collect()
    }

    /// The names that the client asks for and of which nothing is known.
    pub(super) fn unserved(&self) -> Vec<Arc<str>> {
        let nothing = |known: &Known| {
            let Answers { sent, accepted, rejected } = &known.contents;
            sent.is_none() && accepted.is_none() && rejected.is_none()
        };
        let names = lock(&self.names);
        names.0.iter().filter(|(_, known)| nothing(known)).map(|(name, _)| Arc::clone(name)).collect()
    }
}

/// Writes down what one stream's client says, until the stream ends.
pub(crate) struct Follower {
    deliveries: Deliveries,
    slot: Arc<Slot>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    stale_nonces: u64,
    /// There was nothing to serve when the client asked last.
    is_blind: bool,
}

impl Deliveries {
    /// Follows a new stream.
    pub(crate) fn follow(
        &self,
        peer: Peer,
        validator: Validator,
        snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    ) -> Follower {
        let number = self.0.opened.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot {
            number,
            peer,
            validator,
            is_wildcard: AtomicBool::new(false),
            names: Mutex::default(),
        });
        lock(&self.0.streams).insert(number, Arc::clone(&slot));
        Follower { deliveries: self.clone(), slot, snapshots, stale_nonces: 0, is_blind: false }
    }
}

impl Follower {
    /// Takes in how a secret stands now; says whether that is news.
    fn note(&self, name: &str, status: ResourceStatus, now: SystemTime) -> bool {
        let mut names = lock(&self.slot.names);
        let known = match names.get_mut(name) {
            Some(known) if known.status == status => return false,
            Some(known) => known,
            None => names.add(name.into(), Known::nothing(now)),
        };
        let contents = self.contents(known, &status);
        self.count(name, &known.status, &status, &contents);
        let answers = [
            contents.accepted.as_ref().filter(|_| status.accepted != known.status.accepted),
            contents.rejected.as_ref().filter(|_| status.rejected != known.status.rejected),
        ];
        let serials = answers.into_iter().flatten().filter_map(|answer| answer.serial());
        let is_settled = serials.into_iter().any(|serial| known.owes.as_deref() == Some(serial));
        let settled = if is_settled { known.owes.take() } else { None };
        *known = Known { status, contents, at: now, owes: known.owes.take() };
        drop(names);
        settled.iter().for_each(|owed| self.deliveries.settled(owed));
        true
    }

    /// Takes in what of a secret was sent last; says whether that is news.
    fn note_sent(&self, name: &Arc<str>, version: &Arc<str>, now: SystemTime) -> bool {
        let mut names = lock(&self.slot.names);
        let known = match names.get_mut(name) {
            Some(known) if known.status.sent.as_ref() == Some(version) => return false,
            Some(known) => known,
            None => names.add(Arc::clone(name), Known::nothing(now)),
        };
        known.contents.sent = Some(self.deliveries.0.contents.of(version));
        known.status.sent = Some(Arc::clone(version));
        known.at = now;
        self.deliveries.0.counters.sent.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// What the versions stand for. An answer is most often one to what was sent last.
    fn contents(&self, before: &Known, status: &ResourceStatus) -> Answers {
        let (was, knew) = (&before.status, &before.contents);
        let of = |version: &Arc<str>| {
            let all = [(&was.sent, &knew.sent), (&was.accepted, &knew.accepted)];
            let known = all.into_iter().find(|(one, _)| one.as_ref() == Some(version));
            let known = known.and_then(|(_, content)| content.clone());
            known.unwrap_or_else(|| self.deliveries.0.contents.of(version))
        };
        Answers {
            sent: status.sent.as_ref().map(of),
            accepted: status.accepted.as_ref().map(of),
            rejected: status.rejected.as_ref().map(|it| of(&it.version)),
        }
    }

    fn count(&self, secret: &str, before: &ResourceStatus, status: &ResourceStatus, contents: &Answers) {
        let counters = &self.deliveries.0.counters;
        if status.sent.is_some() && status.sent != before.sent {
            counters.sent.fetch_add(1, Ordering::Relaxed);
        }
        if status.accepted.is_some() && status.accepted != before.accepted {
            counters.accepted.fetch_add(1, Ordering::Relaxed);
        }
        let refused = status.rejected.as_ref().filter(|_| status.rejected != before.rejected);
        if let Some((refused, content)) = refused.zip(contents.rejected.as_deref()) {
            *lock(&counters.rejected).entry(secret.to_owned()).or_default() += 1;
            let Peer { uid, pid, .. } = self.slot.peer;
            let (version, reason) = (content.version(), &*refused.reason);
            warn!(uid, pid, secret, version, reason, "the proxy refuses a secret");
        }
    }

    /// Takes in how all secrets stand; says whether any of it is news.
    fn note_all(&self, status: &Status, now: SystemTime) -> bool {
        let secrets = status.resources_of(ResourceType::Secret);
        secrets.fold(false, |news, (name, secret)| self.note(name, secret, now) || news)
    }

    /// Names that are asked for and that there is nothing for; says whether any of them is news.
    fn note_unserved(&mut self, status: &Status, now: SystemTime) -> bool {
        let snapshot = self.snapshots.borrow().clone();
        self.is_blind = snapshot.is_none();
        let Some(snapshot) = snapshot else { return false };
        let mut news = false;
        for name in status.names(ResourceType::Secret) {
            let is_served = snapshot.get(ResourceType::Secret, name).is_some();
            if is_served || lock(&self.slot.names).contains(name) {
                continue;
            }
            self.deliveries.0.counters.unserved.fetch_add(1, Ordering::Relaxed);
            let shown: String = name.chars().take(SHOWN).collect();
            let Peer { uid, pid, .. } = self.slot.peer;
            warn!(uid, pid, secret = ?shown, "a secret was asked for that is not served here; the others are");
            lock(&self.slot.names).add(name.into(), Known::nothing(now));
            news = true;
        }
        news
    }

    /// Forgets what the client gave up, and what it owed.
    fn forget(&self, status: &Status) -> bool {
        let mut names = lock(&self.slot.names);
        let given_up = |(name, _): &mut (Arc<str>, Known)| !status.asks_for(ResourceType::Secret, name);
        let given_up: Vec<Known> = names.0.extract_if(.., given_up).map(|(_, known)| known).collect();
        drop(names);
        given_up
            .iter()
            .filter_map(|known| known.owes.as_ref())
            .for_each(|owed| self.deliveries.settled(owed));
        !given_up.is_empty()
    }
}

impl Observer for Follower {
    fn changed(&mut self, status: &Status) {
        let now = self.deliveries.now();
        let mut news = self.note_all(status, now);
        news |= self.note_unserved(status, now);
        news |= self.forget(status);
        let is_wildcard = status.asks_unnamed(ResourceType::Secret);
        news |= self.slot.is_wildcard.swap(is_wildcard, Ordering::Relaxed) != is_wildcard;
        let stale = status.stale_nonces().saturating_sub(self.stale_nonces);
        if stale > 0 {
            self.stale_nonces = status.stale_nonces();
            self.deliveries.0.counters.stale_nonces.fetch_add(stale, Ordering::Relaxed);
        }
        if news {
            self.deliveries.0.news.tell();
        }
    }

    /// What is asked for is what it was. Only before there was anything to serve could not be said what is not served.
    fn sent(&mut self, status: &Status) {
        let now = self.deliveries.now();
        // What the client made of anything is as it was.
        let sent = status.sent(ResourceType::Secret);
        let mut news = sent.fold(false, |news, (name, version)| self.note_sent(name, version, now) || news);
        if self.is_blind {
            news |= self.note_unserved(status, now);
        }
        if news {
            self.deliveries.0.news.tell();
        }
    }

    /// An expired certificate is not sent, even where nobody has noticed yet that it has expired.
    fn may_send(&self, snapshot: &Snapshot) -> bool {
        self.deliveries.0.contents.are_alive(snapshot, self.deliveries.now().into())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        lock(&self.deliveries.0.streams).remove(&self.slot.number);
        let owed: Vec<Arc<str>> =
            lock(&self.slot.names).0.iter_mut().filter_map(|(_, known)| known.owes.take()).collect();
        owed.iter().for_each(|owed| self.deliveries.settled(owed));
        self.deliveries.0.news.tell();
    }
}

//! Connections of peers that the kernel vouches for, for as long as it does.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use crate::{
    attest::{AllowedUsers, Attested, Peer},
    socket::Claim,
};

/// Between two looks at whether the socket is still where it was bound.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A peer for as long as any of its connections lasts.
#[derive(Clone, Debug)]
pub(super) struct Bond(Arc<Bonded>);

#[derive(Debug)]
struct Bonded {
    attested: Arc<Attested>,
    broken: CancellationToken,
    /// Ends the look at its process with the last connection.
    _watched: DropGuard,
}

impl Bond {
    pub(super) fn peer(&self) -> Peer {
        self.0.attested.peer()
    }

    /// Whether the peer may still be served, as the kernel says now.
    pub(super) fn check(&self) -> Result<(), tonic::Status> {
        self.0.attested.check().map_err(|reason| tonic::Status::permission_denied(reason.to_string()))
    }

    /// Ends when the peer may be served no longer.
    pub(super) async fn broken(self) -> tonic::Status {
        self.0.broken.cancelled().await;
        let gone = "the process that connected is gone, or runs as another user";
        self.check().err().unwrap_or_else(|| tonic::Status::permission_denied(gone))
    }
}

/// Where connections come in. Those of peers that are served are given out, the others are closed here, unread; who is
/// served is looked at again every so often, and when its process ends.
pub(super) struct Gate {
    socket: Claim,
    looks: Interval,
    users: AllowedUsers,
    recheck: Duration,
    /// Of processes that are connected, by their numbers.
    bonds: HashMap<i32, Weak<Bonded>>,
    /// One for each process; they end with its last connection.
    watchers: JoinSet<()>,
}

impl Gate {
    pub(super) fn new(listener: UnixListener, users: AllowedUsers, recheck: Duration) -> Self {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (socket, bonds, watchers) = (Claim::new(listener), HashMap::new(), JoinSet::new());
        Self { socket, looks, users, recheck, bonds, watchers }
    }

    /// The next connection. Whoever stops waiting misses none.
    pub(super) async fn next(&mut self) -> (UnixStream, Bond) {
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                _ = self.looks.tick() => {
                    self.socket.look();
                    continue;
                }
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    // Out of descriptors, say: it passes, and asking again at once would not let it.
                    warn!(%error, "cannot accept a connection on the SDS socket");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match self.users.admit(&stream) {
                Ok(attested) => return (stream, self.bond(attested)),
                Err(refused) => {
                    warn!(target: "audit", reason = %refused, "a process was turned away from the SDS socket")
                }
            }
        }
    }

    /// One bond for all connections of a process.
    fn bond(&mut self, attested: Attested) -> Bond {
        let peer = attested.peer();
        debug!(uid = peer.uid, pid = peer.pid, "a proxy connected");
        self.bonds.retain(|_, bond| bond.strong_count() > 0);
        let known = peer.pid.and_then(|pid| self.bonds.get(&pid)?.upgrade());
        // While the process that was seen before is there, its number is no other's.
        if let Some(known) =
            known.filter(|known| known.attested.peer() == peer && known.attested.check().is_ok())
        {
            return Bond(known);
        }
        let (attested, broken) = (Arc::new(attested), CancellationToken::new());
        let watched = CancellationToken::new();
        while self.watchers.try_join_next().is_some() {}
        self.watchers.spawn(watch(Arc::clone(&attested), broken.clone(), watched.clone(), self.recheck));
        let bonded = Arc::new(Bonded { attested, broken, _watched: watched.drop_guard() });
        if let Some(pid) = peer.pid {
            self.bonds.insert(pid, Arc::downgrade(&bonded));
        }
        Bond(bonded)
    }
}

/// Breaks the bond when the peer's process has ended or has become another user's.
async fn watch(
    attested: Arc<Attested>,
    broken: CancellationToken,
    unwatched: CancellationToken,
    recheck: Duration,
) {
    let mut pulse = interval(recheck);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = unwatched.cancelled() => return,
            _ = pulse.tick() => {}
        }
        if let Err(reason) = attested.check() {
            warn!(%reason, "a process on the SDS socket is not served any more");
            broken.cancel();
            return;
        }
    }
}

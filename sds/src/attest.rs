//! Who may ask, as the kernel tells.

use std::{collections::BTreeSet, fs, io};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    process::{Pid, PidfdFlags, pidfd_open},
};
use thiserror::Error;
use tokio::net::UnixStream;

/// The users whose processes are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedUsers(BTreeSet<u32>);

/// A process at the other end of a socket, as the kernel knew it when it connected (`SO_PEERCRED`, unix(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its process, where the kernel says so: not across PID namespaces.
    pub pid: Option<i32>,
}

/// Why a peer is not served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotServed {
    /// Its user is not among the allowed ones.
    #[error("processes of uid {} are not served here", .0.uid)]
    User(Peer),
    /// The kernel does not say who it is.
    #[error("the kernel does not tell who the peer is")]
    Unknown(#[source] io::Error),
    /// It has ended; its number may be another's by now.
    #[error("the process {0} that connected has ended")]
    Gone(i32),
    /// It runs as another user than when it connected.
    #[error("the process {pid} that connected runs as uid {uid} now, which is not served here")]
    Changed {
        /// The process.
        pid: i32,
        /// Its effective user now.
        uid: u32,
    },
}

/// A peer that was admitted, held on to so that it cannot be taken for another one.
///
/// The kernel's credentials are those of the moment of connecting. A descriptor of the process itself (pidfd_open(2))
/// tells whether it is still there, whoever has its number by now.
#[derive(Debug)]
pub struct Attested {
    peer: Peer,
    users: AllowedUsers,
    process: Option<(Pid, OwnedFd)>,
}

impl AllowedUsers {
    /// These users and no others.
    pub fn new(uids: impl IntoIterator<Item = u32>) -> Self {
        Self(uids.into_iter().collect())
    }

    /// Asks the kernel who the peer is, before a byte of it is read, and whether it is served.
    ///
    /// # Errors
    /// [`NotServed`].
    pub fn admit(&self, stream: &UnixStream) -> Result<Attested, NotServed> {
        let credentials = stream.peer_cred().map_err(NotServed::Unknown)?;
        let pid = credentials.pid().and_then(Pid::from_raw);
        let peer = Peer {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: pid.map(|pid| pid.as_raw_nonzero().get()),
        };
        if !self.0.contains(&peer.uid) {
            return Err(NotServed::User(peer));
        }
        let process = match pid {
            None => None,
            Some(pid) => match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(process) => Some((pid, process)),
                Err(rustix::io::Errno::SRCH) => return Err(NotServed::Gone(pid.as_raw_nonzero().get())),
                Err(error) => return Err(NotServed::Unknown(error.into())),
            },
        };
        let attested = Attested { peer, users: self.clone(), process };
        // The number may have become another's between connecting and now: then its user is seldom the same.
        attested.check()?;
        Ok(attested)
    }
}

impl Attested {
    /// Who it was when it connected.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Looks again: is the process still there, and does it still run as a user who is served?
    ///
    /// Of a process in another PID namespace the kernel tells no number; such a peer stays who it was.
    ///
    /// # Errors
    /// [`NotServed::Gone`], [`NotServed::Changed`].
    pub fn check(&self) -> Result<(), NotServed> {
        let Some((pid, process)) = &self.process else { return Ok(()) };
        let number = pid.as_raw_nonzero().get();
        let uid = effective_user(number);
        // In this order: while the process is there, its number is its own.
        if has_ended(process) {
            return Err(NotServed::Gone(number));
        }
        match uid {
            Some(uid) if !self.users.0.contains(&uid) => Err(NotServed::Changed { pid: number, uid }),
            Some(_) | None => Ok(()),
        }
    }
}

fn has_ended(process: &OwnedFd) -> bool {
    let mut watched = [PollFd::new(process, PollFlags::IN)];
    poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

/// The second of the four users of a process (proc_pid_status(5)).
fn effective_user(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_names_this_process_and_only_allowed_users_are_admitted() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let credentials = ours.peer_cred().unwrap();
        let attested = AllowedUsers::new([credentials.uid()]).admit(&ours).unwrap();
        let peer = attested.peer();
        assert_eq!(peer.pid, Some(i32::try_from(std::process::id()).unwrap()));
        attested.check().unwrap();
        for strangers in [AllowedUsers::new([]), AllowedUsers::new([credentials.uid() + 1])] {
            assert!(matches!(strangers.admit(&ours), Err(NotServed::User(refused)) if refused == peer));
        }
    }

    #[test]
    fn a_process_that_has_ended_is_not_taken_for_the_one_that_has_its_number() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let number = pid.as_raw_nonzero().get();
        let uid = effective_user(number).unwrap();
        let peer = Peer { uid, gid: 0, pid: Some(number) };
        let users = AllowedUsers::new([uid]);
        let other = AllowedUsers::new([uid + 1]);
        let mut attested = Attested { peer, users, process: Some((pid, process)) };
        attested.check().unwrap();
        attested.users = other;
        assert!(matches!(attested.check(), Err(NotServed::Changed { uid: now, .. }) if now == uid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(attested.check(), Err(NotServed::Gone(gone)) if gone == number));
        // As if the number were this process's by now.
        attested.process = attested.process.map(|(_, process)| (rustix::process::getpid(), process));
        assert!(matches!(attested.check(), Err(NotServed::Gone(_))), "the descriptor counts, not the number");
    }
}

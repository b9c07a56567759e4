//! Who may ask, as the kernel tells.

use std::{collections::BTreeSet, io};

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
    /// Its process, where the kernel says so.
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
    pub fn admit(&self, stream: &UnixStream) -> Result<Peer, NotServed> {
        let credentials = stream.peer_cred().map_err(NotServed::Unknown)?;
        let peer = Peer { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() };
        match self.0.contains(&peer.uid) {
            true => Ok(peer),
            false => Err(NotServed::User(peer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_names_this_process_and_only_allowed_users_are_admitted() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let credentials = ours.peer_cred().unwrap();
        let peer = AllowedUsers::new([credentials.uid()]).admit(&ours).unwrap();
        assert_eq!(peer.pid, Some(i32::try_from(std::process::id()).unwrap()));
        for strangers in [AllowedUsers::new([]), AllowedUsers::new([credentials.uid() + 1])] {
            assert!(matches!(strangers.admit(&ours), Err(NotServed::User(refused)) if refused == peer));
        }
    }
}

//! An Envoy that runs, whether it is our child or an earlier agent's.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, process::ExitStatusExt},
    },
    path::Path,
    process::Stdio,
    time::Duration,
};

use rustix::{
    fs::{Access, access},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal},
};
use tokio::{
    io::unix::AsyncFd,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::{EnvoyEnd, EnvoyError, Identity, handover::SHELL};
use crate::admin::Admin;

/// How long connections get to notice that the listeners are draining.
const DRAIN: Duration = Duration::from_secs(1);
/// How long Envoy gets to end after SIGTERM. With [`DRAIN`] and the admin call it stays below 10 s.
const GRACE: Duration = Duration::from_secs(6);

/// How a shell ends that does not find what it is to start. A program may end so, too.
const NOT_FOUND: i32 = 127;
/// How it ends where that is no program, or one that it must not start.
const NOT_EXECUTABLE: i32 = 126;
/// Between the first two looks for an Envoy that a shell is about to start; later ones are farther apart.
const INTERVAL: Duration = Duration::from_millis(5);
const LONGEST_INTERVAL: Duration = Duration::from_millis(250);
/// How long it is looked for: a shell takes milliseconds.
const START: Duration = Duration::from_secs(30);

/// A running Envoy. Dropping it leaves Envoy running.
pub(crate) struct Running {
    identity: Identity,
    /// Names this very process, also when its pid belongs to another one.
    pidfd: AsyncFd<OwnedFd>,
    /// `None` when an earlier agent was the parent. Itself, or the shell that waits for it.
    child: Option<Child>,
    /// Whether it is that shell.
    is_kept: bool,
}

impl Running {
    /// Follows a new child that `record` notes. One that cannot be followed or noted is killed, and has ended when
    /// this returns: what no agent would find again must not go on. Where `kept` is said, the child is the shell that waits
    /// for the Envoy of this bootstrap and binary.
    pub(super) async fn from_child<E: From<EnvoyError>>(
        mut child: Child,
        kept: Option<(&Path, &Path)>,
        record: impl FnOnce(Identity) -> Result<(), E>,
    ) -> Result<Self, E> {
        let followed = match kept {
            Some((bootstrap, binary)) => follow_below(&mut child, bootstrap, binary).await,
            None => follow(&child),
        };
        let noted = match followed {
            Ok((identity, pidfd)) => match record(identity) {
                Ok(()) => Ok((identity, pidfd)),
                Err(error) => {
                    // The child is killed below; where that is a shell, its Envoy would go on.
                    if pidfd_send_signal(pidfd.get_ref(), Signal::KILL).is_ok() {
                        let _ended = pidfd.readable().await;
                    }
                    Err(error)
                }
            },
            Err(error) => Err(E::from(error)),
        };
        match noted {
            Ok((identity, pidfd)) => {
                Ok(Self { identity, pidfd, child: Some(child), is_kept: kept.is_some() })
            }
            Err(error) => {
                if let Err(error) = child.kill().await {
                    warn!(%error, pid = child.id(), "an envoy that cannot be kept cannot be killed either");
                }
                Err(error)
            }
        }
    }

    /// Follows a process that another agent started; `None` when it has ended.
    pub(crate) fn adopt(identity: Identity) -> Result<Option<Self>, EnvoyError> {
        let pidfd = match open(identity.pid) {
            Err(EnvoyError::Follow { source, .. }) if source.raw_os_error() == Some(NO_SUCH_PROCESS) => {
                return Ok(None);
            }
            opened => opened?,
        };
        // Looked at after the descriptor was opened: were the pid used again in between, it would show here.
        let is_it = Identity::of(identity.pid) == Some(identity);
        Ok(is_it.then_some(Self { identity, pidfd, child: None, is_kept: false }))
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    pub(crate) fn is_adopted(&self) -> bool {
        self.child.is_none()
    }

    /// Waits for the end. Safe to be dropped and called again.
    pub(crate) async fn ended(&mut self) -> EnvoyEnd {
        if let Some(child) = &mut self.child {
            return match child.wait().await {
                Ok(status) => match (status.code(), status.signal()) {
                    // As a shell says it.
                    (Some(code), _) if self.is_kept && code > 128 => EnvoyEnd::Signal(code - 128),
                    (Some(code), _) => EnvoyEnd::Code(code),
                    (None, Some(signal)) => EnvoyEnd::Signal(signal),
                    (None, None) => EnvoyEnd::Unknown,
                },
                Err(_) => EnvoyEnd::Unknown,
            };
        }
        // The descriptor of a process becomes readable when it ends (pidfd_open(2)).
        let _ready = self.pidfd.readable().await;
        EnvoyEnd::Unknown
    }

    /// Drains the listeners, asks Envoy to end, and in the end does not ask any more.
    pub(crate) async fn stop(&mut self, admin: Admin) -> EnvoyEnd {
        match admin.drain().await {
            Ok(_) => sleep(DRAIN).await,
            Err(error) => info!(%error, "envoy cannot be told to drain"),
        }
        self.signal(Signal::TERM);
        if let Ok(end) = timeout(GRACE, self.ended()).await {
            return end;
        }
        warn!(pid = self.identity.pid, "envoy does not end and is killed");
        self.signal(Signal::KILL);
        self.ended().await
    }

    fn signal(&self, signal: Signal) {
        // It may have ended a moment ago, which is what is wanted.
        if let Err(error) = pidfd_send_signal(self.pidfd.get_ref(), signal) {
            info!(%error, pid = self.identity.pid, "envoy cannot be signalled");
        }
    }
}

fn follow(child: &Child) -> Result<(Identity, AsyncFd<OwnedFd>), EnvoyError> {
    let gone = || EnvoyError::Follow { pid: 0, source: io::ErrorKind::NotFound.into() };
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or_else(gone)?;
    // Not waited for yet, so the pid is still its own even if it has ended.
    let pidfd = open(pid)?;
    Ok((Identity::of(pid).unwrap_or(Identity { pid, start_time: 0 }), pidfd))
}

/// Follows the Envoy that a shell has started or is about to start.
async fn follow_below(
    shell: &mut Child,
    bootstrap: &Path,
    binary: &Path,
) -> Result<(Identity, AsyncFd<OwnedFd>), EnvoyError> {
    let (parent, pidfd) = follow(shell)?;
    let (begun, mut interval) = (Instant::now(), INTERVAL);
    while begun.elapsed() < START {
        if let Some(identity) = parent.envoy_below(bootstrap) {
            return Ok((identity, open(identity.pid)?));
        }
        let Ok(ended) = timeout(interval, shell.wait()).await else {
            interval = (interval * 2).min(LONGEST_INTERVAL);
            continue;
        };
        if let Some(code @ (NOT_FOUND | NOT_EXECUTABLE)) = ended.ok().and_then(|status| status.code()) {
            if let Some(kind) = why_not_started(binary, code).await {
                return Err(EnvoyError::Start { path: binary.to_owned(), source: kind.into() });
            }
            warn!(
                code, path = %binary.display(),
                "envoy ended at once with the code by which a shell says that it cannot start a program; the file is one, so \
                 this is its own code, or what it is run by is missing: Envoy's log has the shell's words then"
            );
        }
        // It has ended so soon that only the shell's end tells of it: the shell stands for it.
        return Ok((parent, pidfd));
    }
    // Whatever the shell started is of its group.
    if let Some(group) = Pid::from_raw(parent.pid)
        && let Err(error) = kill_process_group(group, Signal::KILL)
    {
        warn!(%error, pid = parent.pid, "what was started in envoy's place cannot be killed");
    }
    Err(EnvoyError::Unseen { path: binary.to_owned() })
}

/// What is wrong with a program that a shell could not start, as its exit code may say; `None` where it could.
async fn why_not_started(binary: &Path, code: i32) -> Option<io::ErrorKind> {
    let is_path = binary.as_os_str().as_bytes().contains(&b'/');
    let is_one = match is_path {
        true => binary.is_file() && access(binary, Access::EXEC_OK).is_ok(),
        false => is_found(binary).await,
    };
    let is_there = if is_path { binary.exists() } else { code == NOT_EXECUTABLE };
    let why = if is_there { io::ErrorKind::PermissionDenied } else { io::ErrorKind::NotFound };
    (!is_one).then_some(why)
}

/// Whether a shell finds a program of this name.
async fn is_found(name: &Path) -> bool {
    let mut look = Command::new(SHELL);
    let look = look.args(["-c", "command -v \"$1\"", "sh"]).arg(name);
    let looked = look.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    looked.is_ok_and(|looked| looked.success())
}

const NO_SUCH_PROCESS: i32 = rustix::io::Errno::SRCH.raw_os_error();

fn open(pid: i32) -> Result<AsyncFd<OwnedFd>, EnvoyError> {
    let follow = |source: io::Error| EnvoyError::Follow { pid, source };
    let number = Pid::from_raw(pid).ok_or_else(|| follow(io::ErrorKind::InvalidInput.into()))?;
    let descriptor = pidfd_open(number, PidfdFlags::NONBLOCK).map_err(|error| follow(error.into()))?;
    #[expect(deprecated, reason = "unsound for types whose descriptor may change, which an OwnedFd's cannot")]
    AsyncFd::new(descriptor).map_err(follow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_very_process_is_adopted() {
        let own = Identity::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(Running::adopt(own).unwrap().is_some());
        let earlier = Identity { start_time: own.start_time - 1, ..own };
        assert!(Running::adopt(earlier).unwrap().is_none(), "the pid is another process's by now");
        let gone = Identity { pid: i32::MAX, ..own };
        assert!(Running::adopt(gone).unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_does_not_show_envoys_arguments_is_not_waited_for_without_end_and_is_ended() {
        let mut shell = Command::new(SHELL);
        let mut shell = shell.args(["-c", "sleep 30; exit 1"]).process_group(0).spawn().unwrap();
        let pid = i32::try_from(shell.id().unwrap()).unwrap();
        let below = || Identity::of(pid).is_some();
        assert!(below());
        let binary = Path::new("/usr/bin/sleep");
        let error = follow_below(&mut shell, Path::new("/nobody's"), binary).await.unwrap_err();
        assert!(matches!(&error, EnvoyError::Unseen { path } if path == binary), "{error}");
        assert_eq!(shell.wait().await.unwrap().signal(), Some(9));
        assert!(!below());
    }
}

//! How an Envoy takes over the listeners of the one before it: Envoy's own hot restart.
//!
//! ```text
//!  old ── serves ─────────────────┬─ drains ─┬─ ends
//!  new      starts ── asks for ───┤ serves   │
//!           the sockets           └ as soon as it is live
//! ```
//!
//! With hot restart an Envoy has the kernel end it together with its parent (`PR_SET_PDEATHSIG`), and it is to outlive its
//! agent. So its parent is a shell, which does nothing but wait for it and end as it does.
//!
//! The sockets themselves are passed on, with whatever waits in them: two Envoys side by side on one port (`SO_REUSEPORT`)
//! were seen to lose up to fifteen connections when the first closed its own.

use std::{
    ffi::OsString,
    fs, iter,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::Identity;

/// What an Envoy's parent is.
pub(super) const SHELL: &str = "/bin/sh";
/// Starts what its arguments say, and ends with its exit code; 128 and the signal's number where one ended it. It is not
/// replaced by what it starts, as something comes after that.
const WAITS: &str = "\"$@\"; exit $?";
/// Where Envoy keeps the memory that two of one base id share.
const SHARED_MEMORY: &str = "/dev/shm";
/// The longest path of a socket, without what Envoy puts after it: `_udp_parent_` and ten digits.
const LONGEST_SOCKET: usize = 107 - 22;
/// Envoy multiplies a base id by ten, in 32 bits.
const BASE_IDS: u32 = u32::MAX / 10;
/// What an Envoy is told in whose stead the user says how it hands over.
const FLAGS: [&str; 8] = [
    "--disable-hot-restart",
    "--base-id",
    "--base-id-path",
    "--use-dynamic-base-id",
    "--restart-epoch",
    "--socket-path",
    "--socket-mode",
    "--skip-hot-restart-on-no-parent",
];

/// Where the Envoys of one agent meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handover {
    base_id: u32,
    socket: PathBuf,
}

impl Handover {
    /// For the agent of a folder, which nobody else may enter: who can reach the sockets can end an Envoy. `None` where Envoy
    /// cannot share memory, where there is no shell, where the folder's path is too long for a socket, or where the user's own arguments say how.
    pub(crate) fn of(folder: &Path, args: &[String]) -> Option<Self> {
        let is_given = FLAGS.iter().any(|flag| args.iter().any(|arg| super::is_flag(arg, flag)));
        let socket = folder.join("hot");
        if is_given
            || socket.as_os_str().len() > LONGEST_SOCKET
            || access(SHARED_MEMORY, Access::READ_OK | Access::WRITE_OK).is_err()
            || access(SHELL, Access::EXEC_OK).is_err()
        {
            return None;
        }
        let found = fs::metadata(folder).ok()?;
        Some(Self { base_id: base_id(found.dev(), found.ino()), socket })
    }

    /// What the Envoy is told that comes as this one in the row.
    pub(super) fn arguments(&self, epoch: u32) -> Vec<OsString> {
        let mut arguments = self.place();
        arguments.extend(["--restart-epoch".into(), epoch.to_string().into()]);
        arguments
    }

    /// The program that is started as the parent of an Envoy, and its arguments before Envoy's own.
    pub(super) fn parent(envoy: &Path) -> (&'static Path, impl Iterator<Item = OsString>) {
        let before = ["-c", WAITS, "sh"].map(OsString::from).into_iter();
        (Path::new(SHELL), before.chain(iter::once(envoy.into())))
    }

    /// Which in the row a process is; `None` where it cannot be taken over from.
    pub(crate) fn epoch_of(&self, envoy: Identity) -> Option<u32> {
        let line = envoy.command_line();
        let arguments: Vec<_> = line.split(|byte| *byte == 0).collect();
        let mut wanted = self.place();
        wanted.push("--restart-epoch".into());
        let at = arguments
            .windows(wanted.len())
            .position(|some| some.iter().zip(&wanted).all(|(some, wanted)| *some == wanted.as_bytes()))?;
        std::str::from_utf8(arguments.get(at + wanted.len())?).ok()?.parse().ok()
    }

    fn place(&self) -> Vec<OsString> {
        let base_id = self.base_id.to_string().into();
        vec!["--base-id".into(), base_id, "--socket-path".into(), self.socket.clone().into()]
    }
}

/// The same for as long as the folder is, and hardly ever another folder's: Fowler, Noll and Vo's hash of its numbers.
fn base_id(device: u64, inode: u64) -> u32 {
    let bytes = [device.to_be_bytes(), inode.to_be_bytes()].concat();
    bytes.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
        % BASE_IDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_has_a_place_of_its_own_and_none_where_the_user_says_how() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = folders.each_ref().map(|folder| Handover::of(folder.path(), &[]).unwrap());
        assert!(one.base_id != other.base_id && one.socket != other.socket);
        assert_eq!(Handover::of(folders[0].path(), &["--drain-time-s".into()]), Some(one));
        for arg in ["--disable-hot-restart", "--base-id 7", "--socket-path=/x", "--restart-epoch"] {
            assert_eq!(Handover::of(folders[0].path(), &[arg.to_owned()]), None, "{arg}");
        }
        let long = folders[0].path().join("x".repeat(80));
        fs::create_dir(&long).unwrap();
        assert_eq!(Handover::of(&long, &[]), None);
    }
}

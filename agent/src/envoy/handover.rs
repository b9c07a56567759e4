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
    fs, io, iter,
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
/// How many base ids are tried before an Envoy is started alone.
const TRIES: u32 = 16;
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
    /// Device and inode of the agent's folder.
    folder: (u64, u64),
    socket: PathBuf,
}

/// One Envoy of those that meet in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Names the memory that it shares with the one before and the one after it.
    base_id: u32,
    /// Which in the row it is.
    pub(crate) epoch: u32,
}

impl Turn {
    /// That of the Envoy that takes over from this one.
    pub(crate) fn next(self) -> Self {
        Self { epoch: self.epoch.wrapping_add(1), ..self }
    }

    /// Removes the memory of Envoys that have all ended, which themselves leave it behind. While the agent has its folder
    /// open, it is no other folder's.
    ///
    /// # Errors
    /// It is another user's.
    pub(crate) fn clear(self) -> io::Result<()> {
        // Envoy's name for it, and the system's for what has one (shm_open(3)).
        let path = format!("{SHARED_MEMORY}/envoy_shared_memory_{}0", self.base_id);
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
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
        Some(Self { folder: numbers(folder)?, socket })
    }

    /// That of an Envoy with none before it. Memory that an ended one left is removed, as Envoy itself would before it makes
    /// its own; where that is another user's, under whose number no Envoy of ours can start, the next number is taken. `None`
    /// where every number is somebody else's.
    pub(crate) fn first(&self) -> Option<Turn> {
        self.turns().find(|turn| turn.clear().is_ok())
    }

    /// The numbers that are tried, always in this order.
    fn turns(&self) -> impl Iterator<Item = Turn> {
        (0..TRIES).map(|nth| Turn { base_id: base_id(self.folder, nth), epoch: 0 })
    }

    /// What the Envoy is told whose turn it is.
    pub(super) fn arguments(&self, turn: Turn) -> Vec<OsString> {
        vec![
            "--base-id".into(),
            turn.base_id.to_string().into(),
            "--socket-path".into(),
            self.socket.clone().into(),
            "--restart-epoch".into(),
            turn.epoch.to_string().into(),
        ]
    }

    /// The program that is started as the parent of an Envoy, and its arguments before Envoy's own.
    pub(super) fn parent(envoy: &Path) -> (&'static Path, impl Iterator<Item = OsString>) {
        let before = ["-c", WAITS, "sh"].map(OsString::from).into_iter();
        (Path::new(SHELL), before.chain(iter::once(envoy.into())))
    }

    /// Whose turn a process has; `None` where it cannot be taken over from.
    pub(crate) fn turn_of(&self, envoy: Identity) -> Option<Turn> {
        let line = envoy.command_line();
        let arguments: Vec<_> = line.split(|byte| *byte == 0).collect();
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
        arguments.windows(6).find_map(|some| match some {
            [b"--base-id", base_id, b"--socket-path", socket, b"--restart-epoch", epoch]
                if *socket == self.socket.as_os_str().as_bytes() =>
            {
                Some(Turn { base_id: number(base_id)?, epoch: number(epoch)? })
            }
            _ => None,
        })
    }
}

/// Device and inode; `None` where there is no folder.
fn numbers(folder: &Path) -> Option<(u64, u64)> {
    let found = fs::metadata(folder).ok()?;
    Some((found.dev(), found.ino()))
}

/// The same for as long as the folder is, and hardly ever another folder's that is there: Fowler, Noll and Vo's hash of its
/// numbers, and of how many were tried before. A folder that is made where one was removed may get the numbers of that.
fn base_id((device, inode): (u64, u64), nth: u32) -> u32 {
    let tried = nth.checked_sub(1).map(u32::to_be_bytes);
    let bytes = [device.to_be_bytes(), inode.to_be_bytes()].concat();
    let bytes = bytes.iter().chain(tried.iter().flatten());
    bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)) % BASE_IDS
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        io::Read as _,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn memory_that_an_envoy_left_is_removed_and_a_number_whose_memory_cannot_be_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let place = Handover::of(folder.path(), &[]).unwrap();
        let paths: Vec<_> = place
            .turns()
            .map(|turn| PathBuf::from(format!("/dev/shm/envoy_shared_memory_{}0", turn.base_id)))
            .collect();
        let turns: Vec<_> = place.turns().collect();
        fs::write(&paths[0], "left").unwrap();
        assert_eq!(place.first(), Some(turns[0]));
        assert!(!paths[0].exists());
        turns[0].clear().unwrap();
        fs::write(&paths[0], "left").unwrap();
        turns[0].clear().unwrap();
        assert!(!paths[0].exists());
        // As another user's file is to all but root.
        fs::create_dir(&paths[0]).unwrap();
        assert_eq!(place.first(), Some(turns[1]));
        paths[1..].iter().for_each(|path| fs::create_dir(path).unwrap());
        assert_eq!(place.first(), None);
        paths.iter().for_each(|path| fs::remove_dir(path).unwrap());
    }

    #[test]
    fn the_turn_of_an_envoy_is_what_its_arguments_say_where_it_meets_others_here() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [here, elsewhere] = folders.each_ref().map(|folder| Handover::of(folder.path(), &[]).unwrap());
        let turn = Turn { base_id: 7, epoch: 3 };
        let mut envoy = Command::new("sh")
            .args(["-c", "echo runs; read line", "sh"])
            .args(here.arguments(turn))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Only now its arguments are surely its own.
        envoy.stdout.take().unwrap().read_exact(&mut [0; 4]).unwrap();
        let identity = Identity::of(i32::try_from(envoy.id()).unwrap()).unwrap();
        assert_eq!((here.turn_of(identity), elsewhere.turn_of(identity)), (Some(turn), None));
        assert_eq!(turn.next(), Turn { base_id: 7, epoch: 4 });
        envoy.kill().unwrap();
        envoy.wait().unwrap();
        assert_eq!(here.turn_of(identity), None);
    }

    #[test]
    fn every_folder_has_a_place_of_its_own_and_none_where_the_user_says_how() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = folders.each_ref().map(|folder| Handover::of(folder.path(), &[]).unwrap());
        let all: BTreeSet<_> =
            [&one, &other].into_iter().flat_map(Handover::turns).map(|turn| turn.base_id).collect();
        assert!(all.len() == 2 * TRIES as usize && one.socket != other.socket);
        assert_eq!(Handover::of(folders[0].path(), &["--drain-time-s".into()]), Some(one));
        for arg in ["--disable-hot-restart", "--base-id 7", "--socket-path=/x", "--restart-epoch"] {
            assert_eq!(Handover::of(folders[0].path(), &[arg.to_owned()]), None, "{arg}");
        }
        let long = folders[0].path().join("x".repeat(80));
        fs::create_dir(&long).unwrap();
        assert_eq!(Handover::of(&long, &[]), None);
    }
}

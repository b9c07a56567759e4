//! Which process is which: a pid may be another program's by tomorrow.

use std::{ffi::OsStr, fs, path::Path};

use rustix::process::getuid;

/// Where the bootstrap is looked for: after the name, and some words of an interpreter where it is a script.
const FIRST: usize = 5;
/// What comes after the bootstrap, of which one or the other is in every Envoy's arguments.
const AFTER: [&[u8]; 2] = [ALONE.as_bytes(), b"--base-id"];
/// Says that an Envoy shares no memory with another, so that none can take over from it.
pub(super) const ALONE: &str = "--disable-hot-restart";

/// One process and no other: a pid is used again, but not with the same start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Clock ticks since boot (proc_pid_stat(5), field 22).
    pub(crate) start_time: u64,
}

impl Identity {
    /// The process that has this pid now. `None` when there is none, or when it has ended and only waits for its
    /// parent.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, start_time) = parse_stat(&stat)?;
        (!matches!(state, 'Z' | 'X')).then_some(Self { pid, start_time })
    }

    /// No process, but one that is noted as later than this. An Envoy whose bootstrap is about to be written over is known
    /// by it as one of an earlier bootstrap, also where the one that is to take over was never started.
    pub(crate) fn nobody_after(self) -> Self {
        Self { pid: 0, start_time: self.start_time.saturating_add(1) }
    }

    /// What every Envoy is started with, and is known by later, together with what comes after it.
    pub(super) fn arguments(bootstrap: &Path) -> [&OsStr; 2] {
        ["-c".as_ref(), bootstrap.as_os_str()]
    }

    /// Whether this process is still there, and was started as the Envoy of `bootstrap`. An editor that shows the
    /// file was not.
    pub(crate) fn is_envoy_of(self, bootstrap: &Path) -> bool {
        let line = self.command_line();
        let arguments: Vec<_> = line.split(|byte| *byte == 0).collect();
        let wanted = Self::arguments(bootstrap).map(OsStr::as_encoded_bytes);
        let is_it = |some: &[&[u8]]| {
            some.starts_with(&wanted) && some.last().is_some_and(|next| AFTER.iter().any(|flag| next == flag))
        };
        // The shell that waits for an Envoy has its arguments too, after its own. A script has its own name before them.
        let first = arguments.windows(wanted.len() + 1).take(FIRST).any(is_it);
        Self::of(self.pid) == Some(self) && first
    }

    /// The Envoy of `bootstrap` that this process started and waits for.
    pub(super) fn envoy_below(self, bootstrap: &Path) -> Option<Self> {
        Self::all()?.find(|process| process.is_child_of(self) && process.is_envoy_of(bootstrap))
    }

    fn is_child_of(self, parent: Self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, after)| after);
        after_name.split_ascii_whitespace().nth(1).and_then(|parent| parent.parse().ok()) == Some(parent.pid)
    }

    fn all() -> Option<impl Iterator<Item = Self>> {
        let entries = fs::read_dir("/proc").ok()?;
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Some(pids.filter_map(Self::of))
    }

    /// Its arguments, each with a zero after it; nothing once it has ended.
    pub(super) fn command_line(self) -> Vec<u8> {
        fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default()
    }

    /// Looks through this user's processes for the Envoy of `bootstrap`, of two the later; another user's may call itself
    /// anything.
    pub(crate) fn search(bootstrap: &Path) -> Option<Self> {
        let is_it = |process: &Self| process.is_ours() && process.is_envoy_of(bootstrap);
        Self::all()?.filter(is_it).max_by_key(|process| process.start_time)
    }

    /// Whether this user started it (proc_pid_status(5)). The owner of its folder in `/proc` says less: a program
    /// with capabilities has root there.
    fn is_ours(self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        real_user(&status) == Some(getuid().as_raw())
    }
}

/// The first of the four users after `Uid:`.
fn real_user(status: &str) -> Option<u32> {
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_ascii_whitespace().next()?.parse().ok()
}

/// State and start time. The second field is the program's name in parentheses and may hold anything, so the
/// count starts after the last of them.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // `state` was field 3, so field 22 is the nineteenth from here.
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((state, start_time))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        process::{Child, Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        for name in ["envoy", "a b", "x) R 1 2 (y", ""] {
            assert_eq!(parse_stat(&format!("17 ({name}) {rest}")), Some(('S', 4711)), "{name:?}");
        }
        for broken in ["", "17", "17 (x)", "17 (x) S 1 2", "17 (x) S a b c d e f g h i j k l m n o p q r s t"]
        {
            assert_eq!(parse_stat(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn an_envoy_is_known_by_its_arguments_and_start_and_is_found_among_all_processes() {
        let folder = tempfile::tempdir().unwrap();
        let bootstrap = folder.path().join("bootstrap.json");
        let (mut editor, shows) = start(&[bootstrap.as_ref()]);
        assert!(!shows.is_envoy_of(&bootstrap), "it only shows the file");
        assert_eq!(Identity::search(&bootstrap), None);

        let (mut envoy, runs) =
            start(&[Identity::arguments(&bootstrap).as_slice(), &[ALONE.as_ref()]].concat());
        assert!(runs.is_envoy_of(&bootstrap) && !runs.is_envoy_of(&folder.path().join("other.json")));
        assert_eq!(Identity::search(&bootstrap), Some(runs));
        let earlier = Identity { start_time: runs.start_time - 1, ..runs };
        assert!(!earlier.is_envoy_of(&bootstrap), "the pid is used again by another process");
        let (mut next, follows) =
            start(&[Identity::arguments(&bootstrap).as_slice(), &[ALONE.as_ref()]].concat());
        assert_eq!(Identity::search(&bootstrap), Some(follows), "of two the later");

        for process in [&mut editor, &mut envoy, &mut next] {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        assert_eq!((Identity::of(runs.pid), Identity::search(&bootstrap)), (None, None));
    }

    /// A process that waits for input, with these arguments.
    fn start(arguments: &[&OsStr]) -> (Child, Identity) {
        let mut command = Command::new("sh");
        let script = ["-c", "echo runs; read line", "sh"];
        let command = command.args(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Only now its arguments are surely its own.
        child.stdout.take().unwrap().read_exact(&mut [0; 4]).unwrap();
        let identity = Identity::of(i32::try_from(child.id()).unwrap()).unwrap();
        (child, identity)
    }

    #[test]
    fn only_processes_that_this_user_started_are_ours() {
        assert!(Identity::of(i32::try_from(std::process::id()).unwrap()).unwrap().is_ours());
        let status = "Name:\tenvoy\nPid:\t17\nUid:\t1000\t0\t0\t0\nGid:\t1\t1\t1\t1\n";
        assert_eq!(real_user(status), Some(1000));
        assert_eq!(real_user("Name:\tenvoy\n"), None);
    }
}

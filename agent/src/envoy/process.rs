//! Which process is which: a pid may be another program's by tomorrow.

use std::{ffi::OsStr, fs, path::Path};

use rustix::process::getuid;

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

    /// What every Envoy is started with, and is known by later. Without hot restart there is no shared memory to meet
    /// another Envoy in, so no base id either.
    pub(super) fn arguments(bootstrap: &Path) -> [&OsStr; 3] {
        ["-c".as_ref(), bootstrap.as_os_str(), "--disable-hot-restart".as_ref()]
    }

    /// Whether this process is still there, and was started as the Envoy of `bootstrap`. An editor that shows the
    /// file was not.
    pub(crate) fn is_envoy_of(self, bootstrap: &Path) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let arguments: Vec<_> = line.split(|byte| *byte == 0).collect();
        let wanted = Self::arguments(bootstrap).map(OsStr::as_encoded_bytes);
        Self::of(self.pid) == Some(self) && arguments.windows(wanted.len()).any(|some| some == wanted)
    }

    /// Looks through this user's processes for the Envoy of `bootstrap`; another user's may call itself anything.
    pub(crate) fn search(bootstrap: &Path) -> Option<Self> {
        let entries = fs::read_dir("/proc").ok()?;
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter_map(Self::of).find(|process| process.is_ours() && process.is_envoy_of(bootstrap))
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

        let (mut envoy, runs) = start(&Identity::arguments(&bootstrap));
        assert!(runs.is_envoy_of(&bootstrap) && !runs.is_envoy_of(&folder.path().join("other.json")));
        assert_eq!(Identity::search(&bootstrap), Some(runs));
        let earlier = Identity { start_time: runs.start_time - 1, ..runs };
        assert!(!earlier.is_envoy_of(&bootstrap), "the pid is used again by another process");

        for process in [&mut editor, &mut envoy] {
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

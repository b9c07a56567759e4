//! Which process is which: a pid may be another program's by tomorrow.

use std::{fs, path::Path};

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

    /// Whether this process is still there, and was started with `bootstrap` among its arguments.
    pub(crate) fn is_envoy_of(self, bootstrap: &Path) -> bool {
        let arguments = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let wanted = bootstrap.as_os_str().as_encoded_bytes();
        Self::of(self.pid) == Some(self)
            && arguments.split(|byte| *byte == 0).any(|argument| argument == wanted)
    }
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
    fn this_process_is_itself_and_none_of_others() {
        let own = Identity::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(!own.is_envoy_of(Path::new("/no/such/bootstrap.json")));
        let program = std::env::args_os().next().unwrap();
        assert!(own.is_envoy_of(Path::new(&program)));
        let earlier = Identity { start_time: own.start_time + 1, ..own };
        assert!(!earlier.is_envoy_of(Path::new(&program)), "the pid is used again by another process");
        assert_eq!(Identity::of(i32::MAX), None);
    }
}

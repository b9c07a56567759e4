//! Envoy's life: started as a child, or found alive and adopted after the agent was killed.
//!
//! ```text
//!  agent ── starts ──▶ Envoy            agent killed: Envoy goes on with its last secrets
//!    ╎                   ▲
//!  agent ── adopts ──────┘              the next agent finds it by pid, start time and bootstrap path
//! ```

mod handover;
mod process;
mod running;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use thiserror::Error;
use tokio::process::Command;

use crate::environment::LogLevel;

pub(crate) use handover::{Handover, Turn};
pub(crate) use process::Identity;
pub(crate) use running::Running;

/// Ten seconds are enough for an answer that is under way.
const DRAIN_ARGS: [[&str; 2]; 2] = [["--drain-time-s", "10"], ["--drain-strategy", "immediate"]];

/// When an Envoy ends that another one has taken over from: two seconds after its drain.
const END_ARGS: [&str; 2] = ["--parent-shutdown-time-s", "12"];

/// Whether an argument is this flag, with or without its value.
fn is_flag(arg: &str, flag: &str) -> bool {
    arg.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with(['=', ' ']))
}

/// How Envoy is to be run.
#[derive(Clone, Debug)]
pub struct EnvoyCommand {
    /// The binary.
    pub path: PathBuf,
    /// What the user wrote after `--`; it comes last. `--drain-time-s` and `--drain-strategy` in it take the place of
    /// the agent's own, which are 10 and `immediate`.
    pub args: Vec<String>,
    /// How much it logs.
    pub log_level: LogLevel,
    /// Worker threads; one per core where it is not said.
    pub concurrency: Option<u16>,
    /// Where its output goes (appended); to the agent's standard error where it is not said.
    pub log_file: Option<PathBuf>,
}

/// Why Envoy does not run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvoyError {
    /// The binary cannot be run.
    #[error("cannot run Envoy at {path}; name the binary with --envoy")]
    Start {
        /// The binary.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What was started does not look like an Envoy, so that no later agent would find it.
    #[error(
        "what {path} started was not seen with Envoy's arguments and was ended; a script in Envoy's place must pass them on as \
         they are, with at most three of its own before them"
    )]
    Unseen {
        /// The binary.
        path: PathBuf,
    },
    /// The log file cannot be opened.
    #[error("cannot append Envoy's log to {path}")]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its process cannot be followed.
    #[error("cannot follow Envoy's process {pid}")]
    Follow {
        /// The process.
        pid: i32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// How Envoy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvoyEnd {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It was adopted, and only a parent is told how.
    Unknown,
}

impl EnvoyCommand {
    /// Starts Envoy, and has `record` note who it is. It outlives this process, whatever ends it, and no terminal
    /// signal reaches it; only when it cannot be followed or noted is it killed here and now. `turn` is where it meets
    /// those before and after it, and which of them it is.
    pub(crate) async fn start<E: From<EnvoyError>>(
        &self,
        bootstrap: &Path,
        turn: Option<(&Handover, Turn)>,
        record: impl FnOnce(Identity) -> Result<(), E>,
    ) -> Result<Running, E> {
        let (out, err) = self.outputs()?;
        let mut command = match turn {
            Some(_) => {
                let (parent, before) = Handover::parent(&self.path);
                let mut command = Command::new(parent);
                command.args(before);
                command
            }
            None => Command::new(&self.path),
        };
        command
            .args(Identity::arguments(bootstrap))
            .args(turn.map_or_else(|| vec![process::ALONE.into()], |(place, turn)| place.arguments(turn)))
            .args(["--log-level", self.log_level.as_str()])
            .args(self.drain_args(turn.is_some()))
            .args(self.concurrency.iter().flat_map(|count| ["--concurrency".to_owned(), count.to_string()]))
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .kill_on_drop(false);
        let child = command.spawn();
        let child = child.map_err(|source| EnvoyError::Start { path: self.path.clone(), source })?;
        let kept = turn.map(|_| (bootstrap, self.path.as_path()));
        Running::from_child(child, kept, record).await
    }

    /// How connections leave a listener chain that was taken away, as when a port becomes STRICT: each is told to
    /// close with its next answer, and what is still open after a short while is cut. Envoy's own default would
    /// serve them in the old way for up to ten minutes. An Envoy that another one takes over from ends when they are
    /// drained. What the user wrote wins; Envoy takes no flag twice.
    fn drain_args(&self, hands_over: bool) -> Vec<&'static str> {
        let is_given = |flag: &str| self.args.iter().any(|arg| is_flag(arg, flag));
        // Its default is later than any drain: who drains for longer gets that.
        let end = (hands_over && !is_given("--drain-time-s")).then_some(END_ARGS);
        DRAIN_ARGS.into_iter().chain(end).filter(|[flag, _]| !is_given(flag)).flatten().collect()
    }

    fn outputs(&self) -> Result<(Stdio, Stdio), EnvoyError> {
        let Some(path) = &self.log_file else {
            return Ok((io::stderr().into(), io::stderr().into()));
        };
        let failed = |source| EnvoyError::Log { path: path.clone(), source };
        let file = File::options().append(true).create(true).open(path).map_err(failed)?;
        Ok((file.try_clone().map_err(failed)?.into(), file.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_drain_is_asked_for_unless_the_user_says_how() {
        let command = |args: &[&str]| EnvoyCommand {
            path: "envoy".into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            log_level: LogLevel::Info,
            concurrency: None,
            log_file: None,
        };
        let all = ["--drain-time-s", "10", "--drain-strategy", "immediate"];
        assert_eq!(command(&["--drain-time-series", "1"]).drain_args(false), all);
        assert_eq!(command(&["--drain-time-s", "60"]).drain_args(false), all[2..]);
        assert_eq!(
            command(&["--drain-time-s 60"]).drain_args(false),
            all[2..],
            "one argument, as Envoy takes it too"
        );
        assert_eq!(command(&["--drain-strategy=gradual"]).drain_args(false), all[..2]);
        assert_eq!(command(&[]).drain_args(true), [&all, &END_ARGS[..]].concat());
        assert_eq!(command(&["--parent-shutdown-time-s", "60"]).drain_args(true), all);
        assert_eq!(
            command(&["--drain-time-s", "60"]).drain_args(true),
            all[2..],
            "Envoy's own default is later"
        );
    }
}

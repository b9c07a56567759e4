//! A child process that is stopped when its handle goes.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// How often, and at what distance, a process is looked at that was dropped while it ran: 3 s in all.
const LAST_LOOKS: u32 = 60;
const LAST_LOOK: Duration = Duration::from_millis(50);

/// How the names of variables begin that the server and the agent read.
const SETTINGS: [&str; 4] = ["SIGNET_", "APPMESH_", "ENVOY_", "ENABLE_ENVOY_"];

/// A running `signet` command, its log in a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with its standard error in `<folder>/<name>.log`. What its arguments do not say is as it is by
    /// default, whatever variables there are.
    ///
    /// # Errors
    /// The program or the log file cannot be opened.
    pub fn start(name: &str, program: &Path, args: &[String], folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        for name in std::env::vars_os().map(|(name, _)| name).filter(|name| is_setting(name)) {
            command.env_remove(name);
        }
        let mut child = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let lines = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        Ok(Self { name: name.to_owned(), child, lines, log })
    }

    /// Where its log is.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The next line of its standard output.
    ///
    /// # Errors
    /// It ended, or printed nothing in time; the error quotes the end of its log.
    pub async fn line(&mut self, patience: Duration) -> Result<String> {
        let lines = self.lines.as_mut().context("its output was read to the end")?;
        let line = timeout(patience, lines.next_line()).await;
        match line {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => Err(anyhow!("{} ended before it was ready{}", self.name, self.log_end())),
            Ok(Err(error)) => Err(error).with_context(|| format!("cannot read what {} prints", self.name)),
            Err(_) => {
                bail!("{} was not ready within {} s{}", self.name, patience.as_secs(), self.log_end())
            }
        }
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().with_context(|| format!("{} has ended{}", self.name, self.log_end()))?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It is still there after `patience`.
    pub async fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let ended = timeout(patience, self.child.wait()).await;
        Ok(ended.map_err(|_| anyhow!("{} did not end within {} s", self.name, patience.as_secs()))??)
    }

    /// Asks it to end, and kills it where it does not within `patience`.
    pub async fn stop(&mut self, patience: Duration) {
        if self.signal(Signal::TERM).is_ok() && self.wait(patience).await.is_err() {
            drop(self.child.kill().await);
        }
    }

    /// Kills it at once, as a crash would.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(8)..).unwrap_or_default();
        match tail {
            [] => String::new(),
            tail => format!("; the end of {}:\n{}", self.log.display(), tail.join("\n")),
        }
    }
}

/// Whether a variable sets something of a server's, an agent's or its Envoy's: meant for another of them that runs on this
/// host. How much is logged is everybody's.
fn is_setting(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    SETTINGS.iter().any(|prefix| name.starts_with(prefix.as_bytes())) && !name.starts_with(b"SIGNET_LOG")
}

/// Asks it to end and waits a little, as an agent that is killed would leave its Envoy behind.
impl Drop for Process {
    fn drop(&mut self) {
        if self.signal(Signal::TERM).is_err() {
            return;
        }
        for _ in 0..LAST_LOOKS {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LAST_LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_run_without_the_settings_of_others_and_with_all_else() {
        for name in
            ["SIGNET_CA_KEY", "APPMESH_RESOURCE_ARN", "ENVOY_CONCURRENCY", "ENABLE_ENVOY_XRAY_TRACING"]
        {
            assert!(is_setting(name.as_ref()), "{name}");
        }
        for name in
            ["PATH", "SIGNET_LOG", "SIGNET_LOG_FORMAT", "RUST_BACKTRACE", "SOFTHSM2_CONF", "MY_SIGNET_"]
        {
            assert!(!is_setting(name.as_ref()), "{name}");
        }
    }
}

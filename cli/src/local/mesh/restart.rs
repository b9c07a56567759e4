//! What changes from one start of a part to the next.

use std::path::PathBuf;

use rustix::process::Pid;

use super::{Server, Sidecar};

impl Server {
    /// Its process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        self.process.pid()
    }
}

impl Sidecar {
    /// Gives the agent more flags from its next start on.
    pub fn add_flags(&mut self, flags: &[String]) {
        let end = self.args.iter().position(|arg| arg == "--").unwrap_or(self.args.len());
        self.args.splice(end..end, flags.iter().cloned());
    }

    /// The agent's process, while it runs.
    #[must_use]
    pub fn agent_pid(&self) -> Option<Pid> {
        self.process.pid()
    }

    /// A file of the agent's state folder.
    #[must_use]
    pub fn state_file(&self, name: &str) -> PathBuf {
        self.folder.join("state").join(name)
    }
}

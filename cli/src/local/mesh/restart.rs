//! What changes from one start of a part to the next.

use std::path::PathBuf;

use anyhow::Result;
use rustix::process::{Pid, Signal};

use super::{Server, Sidecar};

impl Server {
    /// Starts it again on the same ports, after [`Server::kill`] or [`Server::stop`].
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        let [api, grpc, ops] = [&self.ready.api, &self.ready.grpc, &self.ready.ops]
            .map(|url| url.split("://").nth(1).unwrap_or(url).to_owned());
        let launched = Self::launch(&self.program, &self.folder, [&api, &grpc, &ops], &self.flags);
        (self.process, self.ready) = launched.await?;
        Ok(())
    }

    /// Gives the server more flags from its next start on.
    pub fn add_flags(&mut self, flags: &[&str]) {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
    }

    /// Sends its process a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

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

    /// Sends the agent's process a signal; Envoy gets none.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
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

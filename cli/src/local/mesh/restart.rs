//! What changes from one start of a sidecar's agent to the next.

use std::path::PathBuf;

use super::Sidecar;

impl Sidecar {
    /// Gives the agent more flags from its next start on.
    pub fn add_flags(&mut self, flags: &[String]) {
        let end = self.args.iter().position(|arg| arg == "--").unwrap_or(self.args.len());
        self.args.splice(end..end, flags.iter().cloned());
    }

    /// A file of the agent's state folder.
    #[must_use]
    pub fn state_file(&self, name: &str) -> PathBuf {
        self.folder.join("state").join(name)
    }
}

//! What the system says of a server's process.

use anyhow::{Context as _, Result};

use super::Server;

impl Server {
    /// The most memory that it has held at once, in KiB (`VmHWM` of proc(5)).
    ///
    /// # Errors
    /// It has ended.
    pub fn peak_memory(&self) -> Result<u64> {
        let pid = self.process.pid().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        line.trim().trim_end_matches(" kB").parse().context("VmHWM is no number")
    }
}

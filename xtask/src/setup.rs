//! `cargo xtask setup`: the programs that judge Signet from outside.
//!
//! Each piece is installed into its own folder and sealed by a stamp, written last, that holds what was
//! asked for; a piece whose stamp says the same is left alone, and a half-made one is made anew.

mod envoy;
mod python;
mod stamp;
mod system;

use std::fs::{self, File};

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// Installs whatever is missing. Nothing is tried twice: a failure is reported with how to mend it.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let tools = workspace.tools();
    fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
    // Two set-ups at once would install over each other.
    let lock_path = tools.join(".lock");
    let lock = File::create(&lock_path).with_context(|| format!("cannot make {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;

    system::install()?;
    let interpreter = python::install(workspace)?;
    envoy::install(&tools, &interpreter)
}

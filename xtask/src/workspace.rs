//! Where things are, and how other programs are run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The checkout that this program works on.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// What cargo says at run time goes before what it said at build time: where two checkouts share a
    /// target folder, they share this program too.
    pub(crate) fn here() -> Self {
        let own = std::env::var_os("CARGO_MANIFEST_DIR");
        let own = own.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        Self { root: own.parent().unwrap_or(&own).to_path_buf() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Test tools live at one place whatever `CARGO_TARGET_DIR` says, so that every test finds them.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("target").join("tools")
    }

    /// Cargo, to be run at the root as a person would run it.
    ///
    /// `cargo run` tells its child which package it runs; build scripts (ring's among them) watch those
    /// variables, so passing them on would rebuild half the tree on every change between the two.
    pub(crate) fn cargo(&self) -> Command {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(is_of_the_running_package) {
                command.env_remove(name);
            }
        }
        command
    }
}

fn is_of_the_running_package(name: &str) -> bool {
    const PREFIXES: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Runs `command`; a failure says what was attempted, with which command, and how to mend it.
pub(crate) fn run(command: &mut Command, what: &str, mend: &str) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{what}: cannot start {}\n  to mend: {mend}", shown(command)))?;
    if !status.success() {
        bail!("{what}: {} ended with {status}\n  to mend: {mend}", shown(command));
    }
    Ok(())
}

/// The command as one would type it, for messages.
fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    format!("`{}`", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_not_told_which_package_runs_it() {
        assert!(is_of_the_running_package("CARGO_MANIFEST_DIR"));
        assert!(is_of_the_running_package("CARGO_PKG_NAME"));
        assert!(!is_of_the_running_package("CARGO_TARGET_DIR"));
        assert!(!is_of_the_running_package("CARGO_HOME"));
    }

    #[test]
    fn a_failed_command_says_what_was_run_and_how_to_mend_it() {
        let error = run(Command::new("false").arg("--now"), "trying", "do better").unwrap_err().to_string();
        assert!(
            error.contains("trying")
                && error.contains("`false --now`")
                && error.contains("to mend: do better")
        );
    }

    #[test]
    fn the_root_is_the_folder_of_the_workspace() {
        assert!(Workspace::here().root().join("Cargo.lock").is_file());
    }
}

//! The Python environment: AWS CLI, boto3 and pkilint at pinned versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::stamp::Stamp;
use crate::workspace::{self, Workspace};

const REQUIREMENTS: &str = "xtask/python-requirements.txt";

/// Makes `target/tools/venv` and returns its interpreter.
pub(crate) fn install(workspace: &Workspace) -> Result<PathBuf> {
    let venv = workspace.tools().join("venv");
    let interpreter = venv.join("bin").join("python");
    let requirements = workspace.root().join(REQUIREMENTS);
    let pins = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let stamp = Stamp::new(&venv, &pins);
    if stamp.holds() && works(&interpreter) {
        println!("setup: Python tools are up to date ({})", venv.display());
        return Ok(interpreter);
    }

    println!("setup: installing {} into {}", named(&pins).join(", "), venv.display());
    clear(&venv)?;
    workspace::run(
        clean(Command::new("python3")).args(["-m", "venv"]).arg(&venv),
        "making a Python environment",
        "install Python 3 with its venv module (Debian: apt-get install python3-venv)",
    )?;
    workspace::run(
        clean(Command::new(&interpreter))
            .args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
        "installing the Python tools",
        "see what pip says above; it needs Python 3.10 or newer and reaches its registry by its own settings \
         (PIP_INDEX_URL, PIP_CERT, HTTPS_PROXY)",
    )?;
    workspace::run(
        clean(Command::new(&interpreter)).args(["-c", "import awscli, boto3, pkilint"]),
        "trying the Python tools",
        "remove target/tools/venv and run `cargo xtask setup` again",
    )?;
    stamp.seal()?;
    Ok(interpreter)
}

/// Removes an older or half-made folder.
pub(crate) fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// An interpreter that does not see the packages of whoever runs this.
pub(crate) fn clean(mut command: Command) -> Command {
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    command
}

/// The system's Python may have been upgraded away under the environment.
fn works(interpreter: &Path) -> bool {
    clean(Command::new(interpreter))
        .args(["-c", "import awscli, boto3, pkilint"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The tools that the first block of the requirements names, for the progress line.
fn named(requirements: &str) -> Vec<&str> {
    let lines = requirements.lines().skip_while(|line| line.starts_with('#'));
    lines.take_while(|line| !line.starts_with('#')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_is_pinned_and_the_progress_line_names_the_tools() {
        let pins = fs::read_to_string(Workspace::here().root().join(REQUIREMENTS)).unwrap();
        for line in pins.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.contains("=="), "{line} is not pinned");
        }
        let tools: Vec<_> = named(&pins).iter().filter_map(|pin| pin.split("==").next()).collect();
        assert_eq!(tools, ["awscli", "boto3", "pkilint"]);
    }

    #[test]
    fn an_interpreter_that_is_not_there_does_not_work() {
        assert!(!works(Path::new("/nowhere/python")));
    }
}

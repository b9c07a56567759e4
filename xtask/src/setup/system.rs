//! Programs that come from the system: installed when root on Debian, named otherwise.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::workspace;

/// Program and the Debian package that brings it.
const NEEDED: [(&str, &str); 6] = [
    ("python3", "python3"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("openssl", "openssl"),
    ("setpriv", "util-linux"),
    ("softhsm2-util", "softhsm2"),
];

/// Without these nothing else can be set up; without the others single tests fail and say so.
const INDISPENSABLE: [&str; 2] = ["python3", "python3-venv"];

pub(crate) fn install() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        println!("setup: system programs are there");
        return Ok(());
    }
    let packages = missing.join(" ");
    if rustix::process::geteuid().is_root() && find("apt-get").is_some() {
        println!("setup: installing Debian packages: {packages}");
        apt_get(&["update"])?;
        let mut install = vec!["install", "--yes", "--no-install-recommends"];
        install.extend(&missing);
        return apt_get(&install);
    }
    let advice = format!("install them as root, on Debian with: apt-get install {packages}");
    if missing.iter().any(|package| INDISPENSABLE.contains(package)) {
        bail!("programs are missing ({packages})\n  to mend: {advice}");
    }
    println!("setup: WARNING: programs are missing ({packages}); tests that need them will fail");
    println!("setup: {advice}");
    Ok(())
}

/// The packages of the programs that are not there.
fn missing() -> Vec<&'static str> {
    let mut packages: Vec<_> =
        NEEDED.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    // Debian splits what `python3 -m venv` needs into a package of its own.
    if packages.contains(&"python3") || !can_make_environments() {
        packages.push("python3-venv");
    }
    packages
}

fn can_make_environments() -> bool {
    Command::new("python3")
        .args(["-c", "import ensurepip, venv"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    workspace::run(
        Command::new("apt-get").arg("-qq").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"),
        "installing Debian packages",
        "see what apt-get says above; it needs to reach the mirror in /etc/apt/sources.list",
    )
}

/// Looks where root's programs are too: other people's `PATH` often leaves those folders out.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.iter().map(|folder| folder.join(program)).find(|candidate: &PathBuf| Path::is_file(candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_name_and_one_that_is_nowhere_is_not() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-anywhere").is_none());
    }
}

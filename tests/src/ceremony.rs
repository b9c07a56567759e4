//! What an operator does with OpenSSL and a PKCS #11 token, for the suites.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::program;

/// Debian's softhsm2.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// The PIN of the token's user.
pub const PIN: &str = "1234";

/// A `signet` that runs with other variables.
#[derive(Clone, Debug)]
pub struct Signet {
    /// A program that runs it so.
    pub program: PathBuf,
    data: PathBuf,
}

/// A token of SoftHSM in a folder of its own.
#[derive(Clone, Debug)]
pub struct SoftToken {
    config: PathBuf,
    pin_file: PathBuf,
}

/// Runs a program to its end and returns what it printed, on both outputs.
///
/// # Errors
/// It cannot be run, or fails; the error quotes it.
pub fn run(program: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{} {args:?}: {said}", program.display());
    Ok(said)
}

/// Runs OpenSSL in a folder.
///
/// # Errors
/// As [`run`].
pub fn openssl(folder: &Path, args: &str) -> Result<String> {
    let script = format!("cd '{}' && openssl {args}", folder.display());
    run(Path::new("sh"), &["-c", &script])
}

impl Signet {
    /// One whose data folder is `<folder>/data`, as the local meshes have it.
    ///
    /// # Errors
    /// The program is not there, or the folder cannot be written.
    pub fn new(folder: &Path, variables: &[(&str, &str)]) -> Result<Self> {
        let exports = variables.iter().map(|(name, value)| format!("export {name}='{value}'\n"));
        let text =
            format!("#!/bin/sh\n{}exec '{}' \"$@\"\n", exports.collect::<String>(), program()?.display());
        let program = folder.join("signet");
        fs::write(&program, text)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
        Ok(Self { program, data: folder.join("data") })
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Runs `signet ca …` beside a stopped server.
    ///
    /// # Errors
    /// As [`run`].
    pub fn ca(&self, args: &[&str]) -> Result<String> {
        let data = self.data.display().to_string();
        run(&self.program, &[&["ca"], args, &["--data-dir", &data]].concat())
    }

    /// Starts a server that must refuse to start, and returns why.
    ///
    /// # Errors
    /// It cannot be run, or starts.
    pub fn refused(&self, args: &[&str]) -> Result<String> {
        let data = self.data.display().to_string();
        let free = "127.0.0.1:0";
        let ports = ["--api-addr", free, "--grpc-addr", free, "--ops-addr", free, "--data-dir", &data];
        // A server that starts after all is stopped, and its exit code is 124 then.
        let program = self.program.display().to_string();
        let timed = [&["30", &program, "server"], &ports[..], args].concat();
        let output = Command::new("timeout").args(timed).output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let code = output.status.code();
        ensure!(matches!(code, Some(1 | 2)) && !said.contains("panicked"), "exit code {code:?}: {said}");
        Ok(said)
    }
}

impl SoftToken {
    /// Makes a token `signet` with a PIN.
    ///
    /// # Errors
    /// softhsm2 is not installed.
    pub fn new(folder: &Path) -> Result<Self> {
        let tokens = folder.join("tokens");
        fs::create_dir(&tokens)?;
        let config = folder.join("softhsm2.conf");
        fs::write(
            &config,
            format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
                tokens.display()
            ),
        )?;
        let pin_file = folder.join("pin");
        fs::write(&pin_file, PIN)?;
        fs::set_permissions(&pin_file, fs::Permissions::from_mode(0o600))?;
        let token = Self { config, pin_file };
        token.util(&["--init-token", "--free", "--label", "signet", "--pin", PIN, "--so-pin", "567890"])?;
        Ok(token)
    }

    /// Runs SoftHSM's own tool on it.
    ///
    /// # Errors
    /// As [`run`].
    pub fn util(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("softhsm2-util").args(args).env("SOFTHSM2_CONF", &self.config).output();
        let output = output.context("softhsm2 is not installed; `cargo xtask setup` installs it")?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "softhsm2-util {args:?}: {said}");
        Ok(said)
    }

    /// Takes a key in, PKCS #8 in PEM.
    ///
    /// # Errors
    /// As [`run`].
    pub fn import(&self, key: &Path, label: &str) -> Result<()> {
        let key = key.display().to_string();
        self.util(&["--import", &key, "--token", "signet", "--label", label, "--id", "0a", "--pin", PIN])?;
        Ok(())
    }

    /// The file that SoftHSM reads where its tokens are.
    #[must_use]
    pub fn config(&self) -> String {
        self.config.display().to_string()
    }

    /// The file with the PIN.
    #[must_use]
    pub fn pin_file(&self) -> &Path {
        &self.pin_file
    }

    /// Its URI (RFC 7512), with more attributes of a path.
    #[must_use]
    pub fn uri(&self, more: &str) -> String {
        format!("pkcs11:token=signet{more}?module-path={MODULE}&pin-source=file:{}", self.pin_file.display())
    }
}

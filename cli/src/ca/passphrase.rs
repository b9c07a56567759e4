//! Where the passphrase of the authority's keys comes from: a file, or a variable, never an argument, which every
//! process on the machine can read.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use signet_ca::Passphrase;
use zeroize::Zeroizing;

use crate::WrongUsage;

/// Holds the passphrase itself, for service managers that pass secrets so.
const VARIABLE: &str = "SIGNET_CA_PASSPHRASE";

/// The passphrase by which the keys are sealed.
#[derive(Args, Clone, Debug)]
pub struct PassphraseArgs {
    /// The passphrase that seals the CA's keys: a file of one line, for its owner alone. SIGNET_CA_PASSPHRASE may hold
    /// the passphrase itself instead [default: keys are not sealed]
    #[arg(long, env = "SIGNET_CA_PASSPHRASE_FILE", value_name = "FILE")]
    ca_passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// The passphrase; `None` where there is neither file nor variable.
    ///
    /// # Errors
    /// Both are there, the file cannot be read or is open to others, or what they hold is no passphrase.
    pub fn passphrase(&self) -> Result<Option<Passphrase>> {
        match (&self.ca_passphrase_file, from_environment()) {
            (Some(_), Some(_)) => bail!(WrongUsage(format!(
                "both --ca-passphrase-file and {VARIABLE} give a passphrase; leave one of them out"
            ))),
            (Some(path), None) => read(path).map(Some),
            (None, Some(text)) => match Passphrase::new(text) {
                Ok(passphrase) => Ok(Some(passphrase)),
                Err(error) => bail!(WrongUsage(format!("{VARIABLE}: {error}"))),
            },
            (None, None) => Ok(None),
        }
    }
}

/// Reads a passphrase file.
///
/// # Errors
/// It cannot be read, is open to others, or holds no passphrase.
pub(super) fn read(path: &Path) -> Result<Passphrase> {
    Passphrase::read(path).with_context(|| format!("no passphrase in {}", path.display()))
}

/// What the variable holds; empty is the same as absent.
#[expect(clippy::disallowed_methods, reason = "this crate reads the environment")]
fn from_environment() -> Option<Zeroizing<String>> {
    std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()).map(Zeroizing::new)
}

//! How the authority's private keys are kept: in files, sealed or not, or on a PKCS #11 token.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use signet_ca::{Custody, Passphrase, Pkcs11Token, Pkcs11Uri};
use zeroize::Zeroizing;

use super::passphrase::{self, PassphraseArgs};
use crate::WrongUsage;

/// Holds a token's PIN, for service managers that pass secrets so.
const PIN: &str = "SIGNET_CA_PIN";

/// How private keys are kept.
#[derive(Args, Clone, Debug)]
pub struct CustodyArgs {
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// The PKCS #11 token on which new keys of the CA are made, and where those are that were made there:
    /// pkcs11:token=NAME?module-path=/FILE.so&pin-source=file:/FILE (RFC 7512). Without pin-source, SIGNET_CA_PIN holds
    /// the PIN [default: keys are files]
    #[arg(long, env = "SIGNET_CA_KEY", value_name = "URI")]
    ca_key: Option<Pkcs11Uri>,
}

impl CustodyArgs {
    /// Opens what the flags name.
    ///
    /// # Errors
    /// A passphrase that cannot be read; a token that is not there or refuses the PIN; a URI that names a key, and not a
    /// token.
    pub fn custody(&self) -> Result<Custody> {
        if let Some(uri) = self.ca_key.as_ref().filter(|uri| uri.names_a_key()) {
            bail!(WrongUsage(format!(
                "--ca-key {uri} names a key; it names the token alone, and each key's place is remembered beside its \
                 certificate. A key that you made yourself comes in by `signet ca import`"
            )));
        }
        let token = self.ca_key.as_ref().map(open).transpose()?;
        Ok(Custody { passphrase: self.passphrase()?, token })
    }

    /// What seals key files; `None` where they are not sealed.
    ///
    /// # Errors
    /// It cannot be read, or there are two of them.
    pub fn passphrase(&self) -> Result<Option<Passphrase>> {
        self.passphrase.passphrase()
    }
}

/// Opens the token that a URI names.
///
/// # Errors
/// No such token, or a PIN that cannot be read or is refused.
pub(super) fn open(uri: &Pkcs11Uri) -> Result<std::sync::Arc<Pkcs11Token>> {
    let pin = match uri.pin_source() {
        Some(path) => Some(passphrase::read(path)?),
        None => from_environment()?,
    };
    Pkcs11Token::open(uri, pin).with_context(|| format!("the token of {uri} cannot be used"))
}

/// What the variable holds; empty is the same as absent.
#[expect(clippy::disallowed_methods, reason = "this crate reads the environment")]
fn from_environment() -> Result<Option<Passphrase>> {
    let text = std::env::var(PIN).ok().filter(|text| !text.is_empty()).map(Zeroizing::new);
    match text.map(Passphrase::new).transpose() {
        Ok(pin) => Ok(pin),
        Err(error) => bail!(WrongUsage(format!("{PIN}: {error}"))),
    }
}

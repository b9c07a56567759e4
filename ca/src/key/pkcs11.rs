//! Keys on PKCS #11 tokens (OASIS PKCS #11 v2.40 and later): they are made there, sign there and never leave.
//!
//! ```text
//!  uri ─▶ which token, which key, which module       RFC 7512
//!  module ─▶ the library that speaks to tokens        one initialisation a process
//!  token ─▶ sessions, logged in ─▶ TokenKey ─▶ ECDSA signatures
//! ```

mod module;
mod token;
mod uri;

use thiserror::Error;

pub use token::Pkcs11Token;
pub(crate) use token::TokenKey;
pub use uri::{InvalidPkcs11Uri, Pkcs11Uri};

/// Why a token or a key on it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Pkcs11Error {
    /// The URI does not say which library speaks to the token.
    #[error("it does not name the library that speaks to the token; add ?module-path=/…/….so")]
    NoModule,
    /// The library cannot be loaded or initialised.
    #[error("the PKCS #11 module {module} cannot be used: {reason}")]
    Module {
        /// Its path.
        module: String,
        /// What it, or the loader, said.
        reason: String,
    },
    /// No token fits the URI, or several do.
    #[error("{count} tokens fit {wanted}, and it must be one; the module shows: {found}")]
    NotOneToken {
        /// What was looked for.
        wanted: String,
        /// How many fit.
        count: usize,
        /// Label and serial number of every token that is there.
        found: String,
    },
    /// The token wants a PIN, and none was given.
    #[error("the token {0} wants a PIN; add pin-source=file:/… to the URI, or put it into SIGNET_CA_PIN")]
    NoPin(String),
    /// The token refuses the PIN. It is not tried again, since tokens lock after a few.
    #[error("the token {token} refuses the PIN: {reason}")]
    Pin {
        /// The token's label.
        token: String,
        /// What it said.
        reason: String,
    },
    /// No private key fits, or several do.
    #[error("{count} private keys on the token {token} fit {wanted}, and it must be one")]
    NotOneKey {
        /// The token's label.
        token: String,
        /// What was looked for.
        wanted: String,
        /// How many fit.
        count: usize,
    },
    /// The token does not do what it was asked for.
    #[error("the token {token} cannot {what}: {reason}")]
    Failed {
        /// The token's label.
        token: String,
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        reason: String,
    },
}

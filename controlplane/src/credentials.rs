//! The key pairs that may sign requests, and what each may do.
//!
//! ```text
//!  create, enable, disable, delete ─▶ writer thread: rules ─▶ record ─▶ memory ─▶ sync ─▶ answer
//!  every request ─▶ memory (secret, policy)
//! ```
//!
//! Signature V4 is a keyed hash, so a server must have the secrets themselves, not hashes of them. They are on
//! disk only sealed, with a key that is not in the database ([`Seal`]).
//!
//! Invariants:
//! - What was answered is durable; a key pair that was disabled signs nothing more once that was answered,
//!   also where the caller did not wait for the answer.
//! - There is always an enabled administrator: somebody who may create key pairs.
//! - A record that this version cannot use is kept and listed, and signs nothing.

mod format;
mod keyring;
mod seal;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use self::{
    keyring::{KeyView, Keyring, NewKey},
    seal::{NONCE_LENGTH, Seal},
};

/// Most key pairs of one server.
pub const MAX_KEYS: usize = 1000;

/// Why key pairs are not changed, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// No key pair has this id.
    #[error("there is no key pair with the access key id {0}")]
    Unknown(String),
    /// A key pair has this id already.
    #[error("there is a key pair with the access key id {0} already")]
    Exists(String),
    /// A user's name that is none.
    #[error("a name has 1 to 64 characters, of letters, digits and +=,.@_-")]
    Name,
    /// Nobody could manage key pairs any more.
    #[error("{0} is the last enabled key pair that may create others; create another administrator first")]
    LastAdministrator(String),
    /// There are [`MAX_KEYS`].
    #[error("there are {MAX_KEYS} key pairs, the most there can be; delete some first")]
    Full,
    /// The storage cannot be read or written.
    #[error("the key pairs are not available: {0}")]
    Unavailable(String),
}

impl From<signet_durable::CommitError> for KeyringError {
    fn from(error: signet_durable::CommitError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

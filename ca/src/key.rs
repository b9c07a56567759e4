//! Keys: the public ones that are certified, and our own private ones.

mod file;
mod log;
mod passphrase;
mod private;
mod public;

pub use file::KeyFileError;
pub(crate) use log::LogKey;
pub use passphrase::{InvalidPassphrase, Passphrase};
pub(crate) use private::SigningKey;
pub use private::{KeyError, PrivateKey};
pub(crate) use public::KeyKind;
pub use public::{KeyRefused, PublicKey};

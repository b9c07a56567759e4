//! Keys: the public ones that are certified, and our own private ones, in files or on tokens.

mod custody;
mod file;
mod log;
mod passphrase;
mod pkcs11;
mod private;
mod public;
mod signing;

pub use custody::{Custody, KeyRecordError};
pub(crate) use custody::{Key, Record};
pub use file::KeyFileError;
pub(crate) use log::LogKey;
pub use passphrase::{InvalidPassphrase, Passphrase};
pub use pkcs11::{InvalidPkcs11Uri, Pkcs11Error, Pkcs11Token, Pkcs11Uri};
pub use private::{KeyError, PrivateKey};
pub(crate) use public::KeyKind;
pub use public::{KeyRefused, PublicKey};
pub(crate) use signing::SigningKey;

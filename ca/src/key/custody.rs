//! How an authority's private keys are kept: in files, sealed or not, on a token, or by somebody else.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    InvalidPkcs11Uri, KeyError, Passphrase, Pkcs11Token, Pkcs11Uri, PrivateKey, PublicKey, SigningKey,
    pkcs11::TokenKey,
};
use crate::Random;

/// What the record of a key that is elsewhere says of a key that nobody here has.
const OFFLINE: &str = "offline";
/// The form of record that this version writes. It reads this one and all before it.
const VERSION: u32 = 1;

/// How an authority's private keys are kept. By default in files that are not sealed.
#[derive(Debug, Default)]
pub struct Custody {
    /// Seals every key file; without one, none is sealed.
    pub passphrase: Option<Passphrase>,
    /// Where new keys are made, and where those are that were made there.
    pub token: Option<Arc<Pkcs11Token>>,
}

/// A private key that no certificate has been held against yet.
#[derive(Debug)]
pub(crate) enum Key {
    File(PrivateKey),
    Token(TokenKey),
}

/// What stands in place of a key file when the key is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Nobody here has the key.
    Offline,
    /// It is on a token.
    Token(Pkcs11Uri),
}

/// Why a record of a key cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyRecordError {
    /// No JSON of that form.
    #[error("it is no record of a key: {0}")]
    Form(String),
    /// Written by a later version.
    #[error("it is of form {0}, and this version reads those up to {VERSION}; run the version that wrote it")]
    Version(u32),
    /// It names no key.
    #[error(transparent)]
    Uri(#[from] InvalidPkcs11Uri),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u32,
    key: String,
}

impl Custody {
    /// Makes a P-256 key where new keys are kept. `label` tells people what it is for.
    pub(crate) fn generate(&self, label: &str, random: &Random) -> Result<(Key, PublicKey), KeyError> {
        let Some(token) = &self.token else {
            let key = PrivateKey::generate()?;
            let public = key.public();
            return Ok((Key::File(key), public));
        };
        let (key, public) = token.generate(label, &random.bytes::<16>())?;
        Ok((Key::Token(key), public))
    }

    /// The key that a record speaks of; `None` where nobody here has it.
    pub(crate) fn find(&self, record: &Record) -> Result<Option<Key>, KeyError> {
        match (record, &self.token) {
            (Record::Offline, _) => Ok(None),
            (Record::Token(place), None) => Err(KeyError::NoToken(place.to_string())),
            (Record::Token(place), Some(token)) => Ok(Some(Key::Token(token.key(place)?))),
        }
    }
}

impl Key {
    /// The key ready to sign; `None` where its public half is another one.
    pub(crate) fn for_public(&self, public: &PublicKey) -> Result<Option<SigningKey>, KeyError> {
        match self {
            Self::File(key) if key.public() == *public => SigningKey::new(key).map(Some),
            Self::File(_) => Ok(None),
            Self::Token(key) => SigningKey::on_token(key.clone(), public),
        }
    }
}

impl Record {
    /// Reads a record of any version so far.
    pub(crate) fn read(text: &[u8]) -> Result<Self, KeyRecordError> {
        let written: Written =
            serde_json::from_slice(text).map_err(|error| KeyRecordError::Form(error.to_string()))?;
        match (written.v, written.key.as_str()) {
            (VERSION, OFFLINE) => Ok(Self::Offline),
            (VERSION, uri) => Ok(Self::Token(uri.parse()?)),
            (other, _) => Err(KeyRecordError::Version(other)),
        }
    }

    /// Writes it, in the latest version.
    pub(crate) fn write(&self) -> String {
        let key = match self {
            Self::Offline => OFFLINE.to_owned(),
            Self::Token(place) => place.place().to_string(),
        };
        format!("{}\n", serde_json::json!(Written { v: VERSION, key }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_one_of_a_later_version_is_refused_by_its_number() {
        let place = Record::Token("pkcs11:token=signet;object=root;id=%01".parse().unwrap());
        for record in [Record::Offline, place] {
            assert_eq!(Record::read(record.write().as_bytes()), Ok(record));
        }
        // What stands on disks.
        assert_eq!(Record::read(b"{\"v\":1,\"key\":\"offline\"}\n"), Ok(Record::Offline));
        assert_eq!(Record::read(br#"{"v":2,"key":"offline"}"#), Err(KeyRecordError::Version(2)));
        for junk in ["", "{}", r#"{"v":1}"#, r#"{"v":1,"key":"offline","more":1}"#] {
            assert!(matches!(Record::read(junk.as_bytes()), Err(KeyRecordError::Form(_))), "{junk}");
        }
        assert!(matches!(Record::read(br#"{"v":1,"key":"on the shelf"}"#), Err(KeyRecordError::Uri(_))));
    }
}

//! PKCS #11 URIs (RFC 7512): `pkcs11:token=signet;object=root?module-path=/…/softhsm.so&pin-source=file:/…`.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use thiserror::Error;

/// What is written as `%xx` in an attribute's value: whatever is none of RFC 7512's `pk11-res-avail` and unreserved.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'/')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// Longest URI, in bytes.
const MAX: usize = 4096;

/// Which token, which key on it, and how to get there. Attributes that are not there fit everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pkcs11Uri {
    /// The token's label.
    pub(super) token: Option<String>,
    /// The token's serial number.
    pub(super) serial: Option<String>,
    /// The token's manufacturer.
    pub(super) manufacturer: Option<String>,
    /// The token's model.
    pub(super) model: Option<String>,
    /// The key's label.
    pub(super) object: Option<String>,
    /// The key's identifier.
    pub(super) id: Option<Vec<u8>>,
    pub(super) module_path: Option<PathBuf>,
    pub(super) pin_source: Option<PathBuf>,
}

/// A text that is no URI of a token or a private key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidPkcs11Uri {
    /// Another scheme, too long, or an attribute without a value.
    #[error(
        "a PKCS #11 URI looks like pkcs11:token=NAME;object=NAME?module-path=/FILE&pin-source=file:/FILE (RFC 7512)"
    )]
    Form,
    /// Something that is not known here; to leave it out could pick another token or key.
    #[error("the attribute {0:?} of a PKCS #11 URI is not known")]
    Unknown(String),
    /// The same attribute twice.
    #[error("the attribute {0:?} is there twice")]
    Twice(String),
    /// A value that is not as the attribute asks for.
    #[error("the attribute {0:?} has no usable value")]
    Value(String),
    /// A PIN where everybody on the machine can read it.
    #[error(
        "a PIN does not belong into an argument, where others can read it; use pin-source=file:/… or SIGNET_CA_PIN"
    )]
    PinValue,
}

impl Pkcs11Uri {
    /// The file that holds the PIN, where the URI names one.
    #[must_use]
    pub fn pin_source(&self) -> Option<&Path> {
        self.pin_source.as_deref()
    }

    /// Whether it names a key, and not a token alone.
    #[must_use]
    pub fn names_a_key(&self) -> bool {
        self.object.is_some() || self.id.is_some()
    }

    /// The same without module and PIN: what is worth remembering of a key.
    pub(crate) fn place(&self) -> Self {
        Self { module_path: None, pin_source: None, ..self.clone() }
    }

    /// Whether a token may be meant that has this label, serial number, manufacturer and model.
    pub(super) fn fits_token(&self, found: [&str; 4]) -> bool {
        let wanted = [&self.token, &self.serial, &self.manufacturer, &self.model];
        wanted
            .into_iter()
            .zip(found)
            .all(|(wanted, found)| wanted.as_deref().is_none_or(|wanted| wanted == found))
    }

    fn set(&mut self, name: &str, value: &str, is_query: bool) -> Result<(), InvalidPkcs11Uri> {
        let invalid = || InvalidPkcs11Uri::Value(name.to_owned());
        let bytes: Vec<u8> = percent_decode_str(value).collect();
        let text =
            || String::from_utf8(bytes.clone()).ok().filter(|text| !text.is_empty()).ok_or_else(invalid);
        let path =
            |text: &str| Path::new(text).is_absolute().then(|| PathBuf::from(text)).ok_or_else(invalid);
        let is_new = match (is_query, name) {
            (false, "token") => self.token.replace(text()?).is_none(),
            (false, "serial") => self.serial.replace(text()?).is_none(),
            (false, "manufacturer") => self.manufacturer.replace(text()?).is_none(),
            (false, "model") => self.model.replace(text()?).is_none(),
            (false, "object") => self.object.replace(text()?).is_none(),
            (false, "id") if bytes.is_empty() => return Err(invalid()),
            (false, "id") => self.id.replace(bytes).is_none(),
            // Nothing but private keys is looked for.
            (false, "type") if value == "private" => true,
            (false, "type") => return Err(invalid()),
            (true, "module-path") => self.module_path.replace(path(&text()?)?).is_none(),
            (true, "pin-source") => {
                let text = text()?;
                let file = text.strip_prefix("file:").unwrap_or(&text);
                self.pin_source.replace(path(file.strip_prefix("//").unwrap_or(file))?).is_none()
            }
            (true, "pin-value") => return Err(InvalidPkcs11Uri::PinValue),
            _ => return Err(InvalidPkcs11Uri::Unknown(name.to_owned())),
        };
        if is_new { Ok(()) } else { Err(InvalidPkcs11Uri::Twice(name.to_owned())) }
    }
}

impl FromStr for Pkcs11Uri {
    type Err = InvalidPkcs11Uri;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest =
            text.strip_prefix("pkcs11:").filter(|_| text.len() <= MAX).ok_or(InvalidPkcs11Uri::Form)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        for (part, separator, is_query) in [(path, ';', false), (query, '&', true)] {
            for attribute in part.split(separator).filter(|attribute| !attribute.is_empty()) {
                let (name, value) = attribute.split_once('=').ok_or(InvalidPkcs11Uri::Form)?;
                uri.set(name, value, is_query)?;
            }
        }
        Ok(uri)
    }
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [
            ("token", &self.token),
            ("serial", &self.serial),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
            ("object", &self.object),
        ];
        let texts = texts.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let mut path: Vec<String> = texts
            .map(|(name, value)| format!("{name}={}", percent_encode(value.as_bytes(), RESERVED)))
            .collect();
        if let Some(id) = &self.id {
            path.push(format!("id={}", id.iter().map(|byte| format!("%{byte:02X}")).collect::<String>()));
        }
        let paths = [("module-path", "", &self.module_path), ("pin-source", "file:", &self.pin_source)];
        let query: Vec<String> = paths
            .into_iter()
            .filter_map(|(name, scheme, path)| Some(format!("{name}={scheme}{}", path.as_deref()?.display())))
            .collect();
        write!(f, "pkcs11:{}", path.join(";"))?;
        if query.is_empty() { Ok(()) } else { write!(f, "?{}", query.join("&")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_reads_back_as_it_was_written() {
        for text in [
            "pkcs11:token=signet",
            "pkcs11:token=signet;object=root%20key;id=%00%FF",
            "pkcs11:token=a%3Bb;serial=0123?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/pin",
        ] {
            let uri: Pkcs11Uri = text.parse().unwrap();
            assert_eq!(uri.to_string(), text);
            assert_eq!(uri.to_string().parse(), Ok(uri));
        }
        let uri: Pkcs11Uri = "pkcs11:object=r;type=private?pin-source=/etc/pin".parse().unwrap();
        assert!(uri.names_a_key());
        assert_eq!(uri.pin_source(), Some(Path::new("/etc/pin")));
        assert_eq!(uri.place().to_string(), "pkcs11:object=r");
    }

    #[test]
    fn what_could_pick_another_key_or_show_a_pin_is_refused() {
        let refused = |text: &str| text.parse::<Pkcs11Uri>().unwrap_err();
        for text in
            ["", "pkcs12:token=a", "token=a", "pkcs11:token", &format!("pkcs11:token={}", "x".repeat(MAX))]
        {
            assert_eq!(refused(text), InvalidPkcs11Uri::Form, "{text}");
        }
        assert_eq!(refused("pkcs11:slot-id=1"), InvalidPkcs11Uri::Unknown("slot-id".to_owned()));
        assert_eq!(refused("pkcs11:token=a;token=b"), InvalidPkcs11Uri::Twice("token".to_owned()));
        for (text, name) in [
            ("pkcs11:token=", "token"),
            ("pkcs11:token=%ff", "token"),
            ("pkcs11:type=public", "type"),
            ("pkcs11:id=", "id"),
            ("pkcs11:token=a?module-path=relative.so", "module-path"),
            ("pkcs11:token=a?pin-source=|/bin/prompt", "pin-source"),
        ] {
            assert_eq!(refused(text), InvalidPkcs11Uri::Value(name.to_owned()), "{text}");
        }
        assert_eq!(refused("pkcs11:token=a?pin-value=1234"), InvalidPkcs11Uri::PinValue);
    }
}

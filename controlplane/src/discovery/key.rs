//! Which instance.

use std::fmt;

use thiserror::Error;

/// Longest name of a namespace or service, in characters; App Mesh's bound.
const MAX_NAME: usize = 1024;
/// Longest instance id, in characters; Cloud Map's bound.
const MAX_ID: usize = 64;

/// An instance of a service in a namespace. The names are legal: there is no way to have others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceKey {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) id: String,
}

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// Of a namespace or service.
    #[error("{0} must have 1 to {MAX_NAME} visible ASCII characters")]
    Name(&'static str),
    /// Of an instance.
    #[error("instance must have 1 to {MAX_ID} characters: letters, digits, and any of _ / : . @ -")]
    Id,
}

impl InstanceKey {
    /// Names an instance.
    ///
    /// # Errors
    /// A name is empty, too long, or has characters that it must not have.
    pub fn new(namespace: &str, service: &str, id: &str) -> Result<Self, InvalidName> {
        for (what, name) in [("namespace", namespace), ("service", service)] {
            if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(InvalidName::Name(what));
            }
        }
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_/:.@-".contains(&byte);
        match (1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_legal) {
            true => Ok(Self { namespace: namespace.into(), service: service.into(), id: id.into() }),
            false => Err(InvalidName::Id),
        }
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}.{}", self.id, self.service, self.namespace)
    }
}

//! Key pairs, and where they come from.

use std::{collections::HashMap, fmt, sync::Arc};

use zeroize::Zeroizing;

/// Finds key pairs. Asked for every request, so a key that is withdrawn ends at once.
pub trait Credentials: Send + Sync + 'static {
    /// The secret half of a key pair; nothing where the key is unknown or disabled.
    fn secret(&self, access_key_id: &str) -> Option<Secret>;
}

/// The secret half of a key pair. Clones share one text, which is wiped when the last is gone.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes a secret over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A fixed set of key pairs, by access key id.
#[derive(Clone, Debug, Default)]
pub struct KeyPairs(HashMap<String, Secret>);

impl FromIterator<(String, Secret)> for KeyPairs {
    fn from_iter<I: IntoIterator<Item = (String, Secret)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Credentials for KeyPairs {
    fn secret(&self, access_key_id: &str) -> Option<Secret> {
        self.0.get(access_key_id).cloned()
    }
}

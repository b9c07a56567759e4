//! Key pairs, and where they come from.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use zeroize::Zeroizing;

use crate::access::Policy;

/// Finds key pairs. Asked for every request, so a key that is withdrawn ends at once.
pub trait Credentials: Send + Sync + 'static {
    /// The secret half of a key pair, and whose it is; nothing where the key is unknown or disabled.
    fn signer(&self, access_key_id: &str) -> Option<Signer>;
}

/// A key pair that may sign.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The secret half.
    pub secret: Secret,
    /// Whose it is.
    pub principal: Principal,
}

/// Who signed a request, and what they may do: an extension of every request that passed.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// The public half of the key pair.
    pub access_key_id: String,
    /// The name that the key pair was made under.
    pub user: Arc<str>,
    /// What the key pair may do.
    pub policy: Arc<Policy>,
}

/// The secret half of a key pair. Clones share one text, which is wiped when the last is gone.
#[derive(Clone)]
pub struct Secret(Arc<Shared>);

struct Shared {
    text: Zeroizing<String>,
    /// What was made of it last, and the scope that it holds for: it is the same for a day.
    signing_key: Mutex<Option<(String, SigningKey)>>,
}

/// The key for one day, region and service.
pub(super) type SigningKey = Zeroizing<[u8; 32]>;

impl Secret {
    /// Takes a secret over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Arc::new(Shared { text: Zeroizing::new(text), signing_key: Mutex::default() }))
    }

    /// The key for a scope, made by `derive` where it is not the last one.
    pub(super) fn signing_key(&self, scope: &str, derive: impl FnOnce(&str) -> SigningKey) -> SigningKey {
        let mut last = self.0.signing_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = last.as_ref().filter(|(of, _)| of == scope) {
            return key.clone();
        }
        let key = derive(&self.0.text);
        *last = Some((scope.to_owned(), key.clone()));
        key
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A fixed set of key pairs, by access key id.
#[derive(Clone, Debug, Default)]
pub struct KeyPairs(HashMap<String, Signer>);

impl FromIterator<Signer> for KeyPairs {
    fn from_iter<I: IntoIterator<Item = Signer>>(signers: I) -> Self {
        let by_id = |signer: Signer| (signer.principal.access_key_id.clone(), signer);
        Self(signers.into_iter().map(by_id).collect())
    }
}

impl Credentials for KeyPairs {
    fn signer(&self, access_key_id: &str) -> Option<Signer> {
        self.0.get(access_key_id).cloned()
    }
}

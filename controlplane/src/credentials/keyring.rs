//! All key pairs of a server.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use signet_durable::Database;
use tracing::warn;
use zeroize::Zeroizing;

use super::{KeyringError, MAX_KEYS, NONCE_LENGTH, Seal, format::Stored};
use crate::{
    access::{Policy, Verdict},
    api::sigv4::{Credentials, Principal, Secret, Signer},
};

/// The tree of key pairs, by their access key ids.
const TREE: &str = "credentials";

/// The key pairs of a server. Clones share them.
#[derive(Clone, Debug)]
pub struct Keyring {
    database: Database,
    tree: sled::Tree,
    seal: Arc<Seal>,
    /// What an administrator may create: the ARN of some key pair.
    administered: Arc<str>,
    keys: Arc<RwLock<BTreeMap<String, Key>>>,
}

/// A key pair that is to be made. Whoever makes it drew its texts.
pub struct NewKey {
    /// The public half, which nobody had before.
    pub access_key_id: String,
    /// The secret half.
    pub secret: Zeroizing<String>,
    /// Used for nothing else.
    pub nonce: [u8; NONCE_LENGTH],
    /// Whose it is; several may be one user's.
    pub name: String,
    /// What it may do.
    pub policy: Policy,
    /// Seconds since the epoch.
    pub created_at: i64,
}

/// A key pair as administrators see it: all but the secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// The public half.
    pub access_key_id: String,
    /// Whose it is.
    pub name: String,
    /// Whether it may sign.
    pub enabled: bool,
    /// Why it signs nothing although it is enabled; usually absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// Whether it may create key pairs, and so give itself any right.
    pub administrator: bool,
    /// Seconds since the epoch.
    pub created_at: i64,
    /// What it may do, in IAM's JSON.
    pub policy: Value,
}

#[derive(Debug)]
struct Key {
    stored: Stored,
    /// Or why it signs nothing.
    usable: Result<Usable, String>,
}

#[derive(Clone, Debug)]
struct Usable {
    secret: Secret,
    principal: Principal,
}

impl Keyring {
    /// The key pairs of a database. `administered` is the ARN of any key pair of this server.
    ///
    /// # Errors
    /// [`KeyringError::Unavailable`].
    pub fn open(database: Database, seal: Seal, administered: &str) -> Result<Self, KeyringError> {
        let tree = database.tree(TREE)?;
        let mut keys = BTreeMap::new();
        for entry in &tree {
            let unreadable = |error: sled::Error| KeyringError::Unavailable(error.to_string());
            let (id, text) = entry.map_err(unreadable)?;
            let id = String::from_utf8_lossy(&id).into_owned();
            let key = Key::new(&id, Stored::read(&text)?, &seal);
            if let Err(reason) = &key.usable {
                warn!(access_key_id = %id, name = %key.stored.name, %reason, "a key pair signs nothing");
            }
            keys.insert(id, key);
        }
        let keys = Arc::new(RwLock::new(keys));
        Ok(Self { database, tree, seal: Arc::new(seal), administered: administered.into(), keys })
    }

    /// Adds a key pair. It is durable when this returns.
    ///
    /// # Errors
    /// [`KeyringError::Exists`], [`KeyringError::Name`], [`KeyringError::Full`], [`KeyringError::Unavailable`].
    pub async fn create(&self, new: NewKey) -> Result<KeyView, KeyringError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
        if !(1..=64).contains(&new.name.len()) || !new.name.chars().all(is_allowed) {
            return Err(KeyringError::Name);
        }
        let NewKey { access_key_id: id, secret, nonce, name, policy, created_at } = new;
        let sealed = self.seal.seal(nonce, &id, &secret);
        let sealed = sealed.ok_or_else(|| KeyringError::Unavailable("the secret cannot be sealed".into()))?;
        let policy = policy.document().clone();
        let stored = Stored { name, sealed, policy, is_enabled: true, created_at };
        self.change(id, move |keys, id| match keys.contains_key(id) {
            true => Err(KeyringError::Exists(id.to_owned())),
            false if keys.len() >= MAX_KEYS => Err(KeyringError::Full),
            false => Ok(Some(stored)),
        })
        .await
    }

    /// Lets a key pair sign, or no more.
    ///
    /// # Errors
    /// [`KeyringError::Unknown`], [`KeyringError::LastAdministrator`], [`KeyringError::Unavailable`].
    pub async fn set_enabled(&self, id: &str, is_enabled: bool) -> Result<KeyView, KeyringError> {
        let ring = self.clone();
        self.change(id.to_owned(), move |keys, id| {
            let stored = known(keys, id)?.stored.clone();
            if !is_enabled {
                ring.check_others_administer(keys, id)?;
            }
            Ok(Some(Stored { is_enabled, ..stored }))
        })
        .await
    }

    /// Forgets a key pair, and returns what it was.
    ///
    /// # Errors
    /// [`KeyringError::Unknown`], [`KeyringError::LastAdministrator`], [`KeyringError::Unavailable`].
    pub async fn delete(&self, id: &str) -> Result<KeyView, KeyringError> {
        let ring = self.clone();
        self.change(id.to_owned(), move |keys, id| {
            known(keys, id)?;
            ring.check_others_administer(keys, id).map(|()| None)
        })
        .await
    }

    /// Every key pair, by access key id.
    #[must_use]
    pub fn list(&self) -> Vec<KeyView> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|(id, key)| self.view(id, key)).collect()
    }

    /// Whose key pair it is.
    ///
    /// # Errors
    /// [`KeyringError::Unknown`].
    pub fn owner(&self, id: &str) -> Result<String, KeyringError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        known(&keys, id).map(|key| key.stored.name.clone())
    }

    /// Runs on the writer thread: between what `decide` sees and what is written nothing else happens. Memory
    /// changes there too, so that a caller who is gone by the time of the answer leaves no difference.
    async fn change(
        &self,
        id: String,
        decide: impl FnOnce(&BTreeMap<String, Key>, &str) -> Result<Option<Stored>, KeyringError> + Send + 'static,
    ) -> Result<KeyView, KeyringError> {
        let ring = self.clone();
        self.database
            .commit(move || {
                let mut keys = ring.locked();
                let stored = match decide(&keys, &id) {
                    Ok(Some(stored)) => stored,
                    Ok(None) => {
                        ring.tree.remove(&id)?;
                        let gone = keys.remove(&id).ok_or(KeyringError::Unknown(id.clone()));
                        return Ok(gone.map(|key| ring.view(&id, &key)));
                    }
                    Err(refused) => return Ok(Err(refused)),
                };
                let text = match stored.write() {
                    Ok(text) => text,
                    Err(refused) => return Ok(Err(refused)),
                };
                ring.tree.insert(&id, text)?;
                let key = Key::new(&id, stored, &ring.seal);
                let view = ring.view(&id, &key);
                keys.insert(id, key);
                Ok(Ok(view))
            })
            .await?
    }

    fn locked(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Key>> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_others_administer(&self, keys: &BTreeMap<String, Key>, id: &str) -> Result<(), KeyringError> {
        let mut others = keys.iter().filter(|(other, _)| *other != id);
        let is_one = known(keys, id)?.stored.is_enabled && self.is_administrator(known(keys, id)?);
        match is_one && !others.any(|(_, key)| key.stored.is_enabled && self.is_administrator(key)) {
            true => Err(KeyringError::LastAdministrator(id.to_owned())),
            false => Ok(()),
        }
    }

    fn is_administrator(&self, key: &Key) -> bool {
        key.usable.as_ref().is_ok_and(|usable| {
            usable.principal.policy.decide("signet:CreateCredentials", &self.administered) == Verdict::Allowed
        })
    }

    fn view(&self, id: &str, key: &Key) -> KeyView {
        let Stored { name, policy, is_enabled, created_at, .. } = &key.stored;
        KeyView {
            access_key_id: id.to_owned(),
            name: name.clone(),
            enabled: *is_enabled,
            unusable: key.usable.as_ref().err().cloned(),
            administrator: self.is_administrator(key),
            created_at: *created_at,
            policy: policy.clone(),
        }
    }
}

impl Credentials for Keyring {
    fn signer(&self, access_key_id: &str) -> Option<Signer> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.get(access_key_id).filter(|key| key.stored.is_enabled)?;
        let Usable { secret, principal } = key.usable.clone().ok()?;
        Some(Signer { secret, principal })
    }
}

impl Key {
    fn new(id: &str, stored: Stored, seal: &Seal) -> Self {
        let usable = || {
            let secret = seal.open(id, &stored.sealed).ok_or(
                "its secret was sealed with another key than that of this data folder; create another key pair",
            )?;
            let policy = Policy::parse(stored.policy.clone());
            let policy = policy.map_err(|error| format!("this version cannot read its policy: {error}"))?;
            let principal = Principal {
                access_key_id: id.to_owned(),
                user: stored.name.as_str().into(),
                policy: Arc::new(policy),
            };
            Ok(Usable { secret: Secret::new(secret.as_str().to_owned()), principal })
        };
        Self { usable: usable(), stored }
    }
}

fn known<'a>(keys: &'a BTreeMap<String, Key>, id: &str) -> Result<&'a Key, KeyringError> {
    keys.get(id).ok_or_else(|| KeyringError::Unknown(id.chars().take(64).collect()))
}

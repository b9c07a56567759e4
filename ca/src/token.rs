//! One-time join tokens.
//!
//! A token lets one workload get its first certificate, once: for one key, whose holder may ask again where the answer got
//! lost. The server keeps a hash of it: whoever reads
//! the database learns no token, and a random text of 256 bits needs no slow hash.

mod format;
mod fresh;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use signet_durable::{CommitError, Database, Writes};
use signet_policies::{identity::Workload, time::Timestamp};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::{PublicKey, Random, certificate::sha256};
use format::Stored;
use fresh::{Fresh, State};

/// Life of a token for which none is asked.
pub const DEFAULT_TOKEN_LIFE: Duration = Duration::from_secs(10 * 60);
/// Shortest life of a token.
pub const MIN_TOKEN_LIFE: Duration = Duration::from_secs(60);
/// Longest life of a token.
pub const MAX_TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a token that ended is still told from one that never was.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// The tree of tokens, by the SHA-256 of their text.
const TREE: &str = "join-tokens";
/// What every token starts with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "sgt_";

/// A token's secret text: `sgt_` and 64 hexadecimal digits. It is shown once, wiped when dropped, and never
/// logged.
pub struct Token(Zeroizing<String>);

impl Token {
    fn draw(random: &Random) -> Self {
        let mut secret: [u8; 32] = random.bytes();
        // One allocation of the final size, so that no copy stays behind.
        let mut text = Zeroizing::new(vec![0; 2 * secret.len()]);
        let mut token = Zeroizing::new(String::with_capacity(PREFIX.len() + text.len()));
        token.push_str(PREFIX);
        if hex::encode_to_slice(secret, &mut text).is_ok() {
            token.extend(text.iter().copied().map(char::from));
        }
        secret.zeroize();
        Self(token)
    }

    /// The secret text, for the one who asked for it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// A token that was used up, as the ledger remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// The first 8 bytes of the SHA-256 of its text, in hexadecimal: enough to tell tokens apart, and nothing to join with.
    pub id: Arc<str>,
    /// Who made it: the name of a key pair; `None` where an earlier version made it.
    pub made_by: Option<Arc<str>>,
}

impl Token {
    /// As [`JoinToken::id`].
    #[must_use]
    pub fn id(&self) -> String {
        id_of(&key_of(self.reveal()))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(elided)")
    }
}

/// Why a token is not made or not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There never was such a token, or it ended long ago.
    #[error("the join token is unknown")]
    Unknown,
    /// It was redeemed before, for another key.
    #[error("the join token was used before; make another with `signet token create`")]
    Used,
    /// It was not redeemed in time.
    #[error("the join token has expired; make another with `signet token create`")]
    Expired,
    /// A life outside the bounds.
    #[error(
        "a token's life of {} s was asked for; it must be within {} s and {} s",
        .0.as_secs(), MIN_TOKEN_LIFE.as_secs(), MAX_TOKEN_LIFE.as_secs()
    )]
    Lifetime(Duration),
    /// The storage cannot be read or written.
    #[error("the join tokens are not available: {0}")]
    Unavailable(String),
}

impl From<CommitError> for TokenError {
    fn from(error: CommitError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<sled::Error> for TokenError {
    fn from(error: sled::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The tokens of a server. Clones share them.
///
/// They are written through the database's journal, so that those who join at once share one wait for the disk, and share
/// it with what is issued meanwhile.
#[derive(Clone, Debug)]
pub struct JoinTokens {
    database: Database,
    tokens: sled::Tree,
    fresh: Arc<Mutex<Fresh>>,
}

impl JoinTokens {
    /// The tokens of a database.
    ///
    /// # Errors
    /// [`TokenError::Unavailable`].
    pub fn new(database: Database) -> Result<Self, TokenError> {
        let tokens = database.tree(TREE)?;
        Ok(Self { database, tokens, fresh: Arc::default() })
    }

    /// Makes a token for one workload that can be redeemed within `life`; `by` is who asks for it. It is durable when this
    /// returns.
    ///
    /// # Errors
    /// [`TokenError::Lifetime`], [`TokenError::Unavailable`].
    pub async fn create(
        &self,
        workload: &Workload,
        life: Duration,
        by: &str,
        now: Timestamp,
        random: &Random,
    ) -> Result<Token, TokenError> {
        if !(MIN_TOKEN_LIFE..=MAX_TOKEN_LIFE).contains(&life) {
            return Err(TokenError::Lifetime(life));
        }
        let token = Token::draw(random);
        let made_by = Some(by.to_owned());
        let stored = Stored {
            workload: workload.clone(),
            expires_at: now + life,
            used_at: None,
            used_for: None,
            made_by,
        };
        let (key, text) = (key_of(token.reveal()), stored.write()?);
        self.change(move |this, writes| {
            this.put(writes, key, Some(&text));
            Ok(())
        })
        .await?;
        Ok(token)
    }

    /// Says whose token it is without using it up. One that was used is still good for the key that it was used for, and which
    /// that is only [`JoinTokens::redeem`] looks at.
    ///
    /// # Errors
    /// As [`JoinTokens::redeem`].
    pub fn peek(&self, text: &str, now: Timestamp) -> Result<Workload, TokenError> {
        let key = key_of(text);
        let shown = self.fresh().shown(&key);
        valid(self.stored(&key, shown)?, None, now).map(|stored| stored.workload)
    }

    /// Uses a token up for a key. Of many who try at once, those succeed who hold the key of the first: an agent that did not
    /// hear the answer asks again, and nobody else gains anything. That it was used is durable when this returns.
    ///
    /// # Errors
    /// [`TokenError::Unknown`], [`TokenError::Used`], [`TokenError::Expired`], [`TokenError::Unavailable`].
    pub async fn redeem(
        &self,
        text: &str,
        holder: &PublicKey,
        now: Timestamp,
    ) -> Result<JoinToken, TokenError> {
        let (key, holder) = (key_of(text), hex::encode(sha256(holder.spki())));
        self.change(move |this, writes| this.redeem_now(writes, key, holder, now)).await
    }

    /// Forgets tokens that ended more than a day ago, and says how many there were.
    ///
    /// # Errors
    /// [`TokenError::Unavailable`].
    pub async fn prune(&self, now: Timestamp) -> Result<usize, TokenError> {
        self.change(move |this, writes| this.prune_now(writes, now)).await
    }

    /// Changes tokens on the writer thread, and shows what became of them once that is durable.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Self, &mut Writes) -> Result<T, TokenError> + Send + 'static,
    ) -> Result<T, TokenError> {
        let (writer, shower) = (self.clone(), self.clone());
        let change = move |writes: &mut Writes| {
            // The groups before this one are in the tree.
            writer.fresh().settle();
            Ok(change(&writer, writes))
        };
        self.database.journal(change, move |_| shower.fresh().show()).await?
    }

    /// Notes what becomes of a token, if anything; on the writer thread.
    fn put(&self, writes: &mut Writes, key: Key, text: Option<&[u8]>) {
        match text {
            Some(text) => writes.insert(&self.tokens, key, text),
            None => writes.remove(&self.tokens, key),
        }
        self.fresh().add(key, text.map(Into::into));
    }

    /// Changes run one after another: between the look and the mark nobody else looks.
    fn redeem_now(
        &self,
        writes: &mut Writes,
        key: Key,
        holder: String,
        now: Timestamp,
    ) -> Result<JoinToken, TokenError> {
        let added = self.fresh().added(&key);
        let stored = valid(self.stored(&key, added)?, Some(&holder), now)?;
        let made_by = stored.made_by.clone().map(Into::into);
        if stored.used_at.is_none() {
            let used = Stored { used_at: Some(now), used_for: Some(holder), ..stored };
            self.put(writes, key, Some(&used.write()?));
        }
        Ok(JoinToken { id: id_of(&key).into(), made_by })
    }

    /// What is not in the tree yet did not end long ago.
    fn prune_now(&self, writes: &mut Writes, now: Timestamp) -> Result<usize, TokenError> {
        let mut ended = Vec::new();
        for entry in &self.tokens {
            let (key, text) = entry?;
            if Stored::read(&text)?.expires_at + REMEMBERED < now {
                let damaged = || TokenError::Unavailable("a record's key is none".to_owned());
                ended.push(Key::try_from(&*key).map_err(|_| damaged())?);
            }
        }
        ended.iter().for_each(|key| self.put(writes, *key, None));
        Ok(ended.len())
    }

    /// As it is in the tree, unless it is fresh.
    fn stored(&self, key: &Key, fresh: Option<State>) -> Result<Stored, TokenError> {
        match fresh {
            Some(text) => Stored::read(&text.ok_or(TokenError::Unknown)?),
            None => Stored::read(&self.tokens.get(key)?.ok_or(TokenError::Unknown)?),
        }
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a token is kept under: the SHA-256 of its text.
type Key = [u8; 32];

/// The key that a text is kept under, whatever text it is.
fn key_of(text: &str) -> Key {
    sha256(text.as_bytes())
}

/// A token that is good for this holder, or for some holder.
fn valid(stored: Stored, holder: Option<&str>, now: Timestamp) -> Result<Stored, TokenError> {
    let is_over = now >= stored.expires_at;
    let is_holders = match (&stored.used_for, holder) {
        (Some(used_for), Some(holder)) => used_for == holder,
        (Some(_), None) => true,
        (None, _) => false,
    };
    match stored.used_at {
        Some(_) if is_over || !is_holders => Err(TokenError::Used),
        None if is_over => Err(TokenError::Expired),
        Some(_) | None => Ok(stored),
    }
}

fn id_of(key: &[u8]) -> String {
    hex::encode(&key[..8])
}

#[cfg(test)]
mod tests;

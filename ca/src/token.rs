//! One-time join tokens.
//!
//! A token lets one workload get its first certificate, once. The server keeps a hash of it: whoever reads
//! the database learns no token, and a random text of 256 bits needs no slow hash.

mod format;

use std::{sync::Arc, time::Duration};

use signet_durable::{CommitError, Database};
use signet_policies::{identity::Workload, time::Timestamp};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::{Random, certificate::sha256};
use format::Stored;

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
    /// It was redeemed before.
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
#[derive(Clone, Debug)]
pub struct JoinTokens {
    database: Database,
    tokens: sled::Tree,
}

impl JoinTokens {
    /// The tokens of a database.
    ///
    /// # Errors
    /// [`TokenError::Unavailable`].
    pub fn new(database: Database) -> Result<Self, TokenError> {
        let tokens = database.tree(TREE)?;
        Ok(Self { database, tokens })
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
        let stored = Stored { workload: workload.clone(), expires_at: now + life, used_at: None, made_by };
        let (tokens, key, text) = (self.tokens.clone(), key_of(token.reveal()), stored.write()?);
        self.database.commit(move || tokens.insert(key, text).map(|_| ())).await?;
        Ok(token)
    }

    /// Says whose token it is without using it up.
    ///
    /// # Errors
    /// As [`JoinTokens::redeem`].
    pub fn peek(&self, text: &str, now: Timestamp) -> Result<Workload, TokenError> {
        valid(&self.tokens, &key_of(text), now).map(|stored| stored.workload)
    }

    /// Uses a token up. Of many who try at once, one succeeds. That it was used is durable when this returns.
    ///
    /// # Errors
    /// [`TokenError::Unknown`], [`TokenError::Used`], [`TokenError::Expired`], [`TokenError::Unavailable`].
    pub async fn redeem(&self, text: &str, now: Timestamp) -> Result<JoinToken, TokenError> {
        let (tokens, key) = (self.tokens.clone(), key_of(text));
        // Changes run one after another: between the look and the mark nobody else looks.
        self.database.commit(move || Ok(redeem_now(&tokens, &key, now))).await?
    }

    /// Forgets tokens that ended more than a day ago, and says how many there were.
    ///
    /// # Errors
    /// [`TokenError::Unavailable`].
    pub async fn prune(&self, now: Timestamp) -> Result<usize, TokenError> {
        let tokens = self.tokens.clone();
        self.database.commit(move || Ok(prune_now(&tokens, now))).await?
    }
}

/// The key that a text is kept under, whatever text it is.
fn key_of(text: &str) -> [u8; 32] {
    sha256(text.as_bytes())
}

fn valid(tokens: &sled::Tree, key: &[u8], now: Timestamp) -> Result<Stored, TokenError> {
    let stored = Stored::read(&tokens.get(key)?.ok_or(TokenError::Unknown)?)?;
    match stored.used_at {
        Some(_) => Err(TokenError::Used),
        None if now >= stored.expires_at => Err(TokenError::Expired),
        None => Ok(stored),
    }
}

fn id_of(key: &[u8]) -> String {
    hex::encode(&key[..8])
}

fn redeem_now(tokens: &sled::Tree, key: &[u8], now: Timestamp) -> Result<JoinToken, TokenError> {
    let stored = valid(tokens, key, now)?;
    let used = Stored { used_at: Some(now), ..stored };
    tokens.insert(key, used.write()?)?;
    Ok(JoinToken { id: id_of(key).into(), made_by: used.made_by.map(Into::into) })
}

fn prune_now(tokens: &sled::Tree, now: Timestamp) -> Result<usize, TokenError> {
    let mut batch = sled::Batch::default();
    let mut count = 0;
    for entry in tokens {
        let (key, text) = entry?;
        if Stored::read(&text)?.expires_at + REMEMBERED < now {
            batch.remove(key);
            count += 1;
        }
    }
    tokens.apply_batch(batch)?;
    Ok(count)
}

#[cfg(test)]
mod tests;

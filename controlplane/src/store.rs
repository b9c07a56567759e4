//! Where the mesh is kept: every write checked against all that is there, durable before it is answered.
//!
//! ```text
//!                    ┌──────────── one at a time ───────────┐          durable
//!  Write ──────────▶ │ engine: rules(ahead) ─▶ Change ─▶ disk │ ──── sync ────▶ published records, Model
//!                    └──────────────────────────────────────┘                  get, list, subscribe
//! ```
//!
//! Invariants:
//! - A check and the write that it allows are one step: no interleaving leaves a reference that dangles.
//! - What `get`, `list` and `subscribe` show is durable, in the order of revisions, and includes every write
//!   that was answered before.
//! - What is on disk are versioned records with the caller's own JSON, never the model.

mod disagreement;
mod engine;
mod feed;
mod format;
mod memory;
mod project;
mod records;
mod rules;
mod sled;
#[cfg(test)]
mod suite;
mod tokens;

use std::sync::Arc;

use async_trait::async_trait;
use signet_durable::CommitError;
use thiserror::Error;
use tokio::sync::watch;
use uuid::Uuid;

pub use self::{
    disagreement::{Disagreement, Fault},
    feed::{Event, Happened, MAX_EVENTS},
    format::InvalidRecord,
    memory::MemoryStore,
    sled::{OpenError, SledStore},
    tokens::{MAX_TOKENS, TOKEN_LIFE},
};
use crate::{
    model::{
        Author, Document, Model, Tags,
        key::{Collection, Key, Kind},
    },
    quotas::Quota,
};

/// Holds the resources of the API. A back end is behind it, and the same rules before it.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes one write, if the rules allow it, and returns the resource as it then is (or, of a deletion, as
    /// it last was) once that is durable.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with nothing changed; [`StoreError::Unavailable`] with the outcome unknown.
    async fn write(&self, write: Write) -> Result<Arc<Resource>, StoreError> {
        self.write_by(None, write).await
    }

    /// As [`Store::write`], and the model's [`Changes`](crate::model::Changes) say who made it.
    ///
    /// # Errors
    /// As for [`Store::write`].
    async fn write_by(&self, by: Option<Author>, write: Write) -> Result<Arc<Resource>, StoreError>;

    /// Finds one resource.
    ///
    /// # Errors
    /// [`Refusal::Missing`], naming the topmost thing that is not there: the mesh before the route.
    async fn get(&self, key: &Key) -> Result<Arc<Resource>, StoreError>;

    /// The first `limit` resources of a collection whose names come after `after`, in the order of names.
    ///
    /// # Errors
    /// [`Refusal::Missing`] where that which the collection lives under is not there.
    async fn list(
        &self,
        collection: &Collection,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<Resource>>, StoreError>;

    /// The tags of a resource.
    ///
    /// # Errors
    /// As for [`Store::get`].
    async fn tags(&self, key: &Key) -> Result<Arc<Tags>, StoreError>;

    /// The first `limit` changes after a revision, in order; waits until there is one.
    ///
    /// With the revision of [`Store::subscribe`]'s model this is how a copy is kept: a back end that is not in this
    /// process has such a feed of its own to build the model from.
    ///
    /// # Errors
    /// [`Refusal::Compacted`] where they are not known any more, or the revision never was.
    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// Everything, parsed: now, and whenever something has changed.
    fn subscribe(&self) -> watch::Receiver<Arc<Model>>;
}

/// A resource as the API shows it, but for what depends on the account.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its spec, and its key.
    pub document: Document,
    /// What the store keeps beside the spec.
    pub metadata: Metadata,
}

/// What the store keeps beside a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Another one whenever the name is taken anew.
    pub uid: Uuid,
    /// 1 when created, one more with every update.
    pub version: u64,
    /// Milliseconds since the epoch.
    pub created_at: u64,
    /// Milliseconds since the epoch; never before `created_at`.
    pub updated_at: u64,
}

/// What can be done to a resource.
#[derive(Clone, Debug)]
pub enum Write {
    /// A new resource.
    Create {
        /// Its spec, and its key.
        document: Document,
        /// Its identity, chosen by the caller.
        uid: Uuid,
        /// Makes a repetition harmless: for [`TOKEN_LIFE`] the same token, spec and tags get the same answer.
        token: Option<String>,
        /// What it is tagged with from the start.
        tags: Tags,
        /// Milliseconds since the epoch.
        at: u64,
    },
    /// A new spec for a resource, in place of the old one.
    Update {
        /// Its new spec, and its key.
        document: Document,
        /// As for a creation.
        token: Option<String>,
        /// The version it must have, for whoever must not overwrite another's change.
        expected: Option<u64>,
        /// Milliseconds since the epoch.
        at: u64,
    },
    /// More tags for a resource, or other values; its version stays.
    Tag {
        /// Which.
        key: Key,
        /// They are added to those that are there, and win.
        tags: Tags,
    },
    /// Fewer tags for a resource; its version stays.
    Untag {
        /// Which.
        key: Key,
        /// The keys of the tags, there or not.
        names: Vec<String>,
    },
    /// The end of a resource, and of its tags.
    Delete {
        /// Which.
        key: Key,
        /// The version it must have.
        expected: Option<u64>,
        /// Milliseconds since the epoch.
        at: u64,
    },
}

/// Why the rules refuse a write or a read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The resource, or what it lives under, is not there.
    #[error("{0} does not exist")]
    Missing(Key),
    /// What a spec refers to is not there.
    #[error("{0}, which the spec refers to, does not exist")]
    MissingTarget(Key),
    /// The name is taken.
    #[error("{0} exists already")]
    Exists(Key),
    /// The token was used for this resource with another spec, other tags, or in another operation.
    #[error("the client token was used for {0} with another spec")]
    TokenReused(Key),
    /// The resource would have more than [`Tags::MAX`] tags.
    #[error("{key} would have {count} tags")]
    TooManyTags {
        /// The resource.
        key: Key,
        /// How many it would have.
        count: usize,
    },
    /// There would be more than the operator lets there be.
    #[error("{key} would exceed the quota {quota}={limit}")]
    Quota {
        /// The resource that was to be written.
        key: Key,
        /// What is bounded.
        quota: Quota,
        /// The most.
        limit: usize,
    },
    /// It is not at the version that the caller saw.
    #[error("{key} is at version {found}, not {expected}")]
    Version {
        /// The resource.
        key: Key,
        /// What the caller saw.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Something lives under it.
    #[error("{key} has resources of kind {children}")]
    HasChildren {
        /// What was to be deleted.
        key: Key,
        /// The first kind that is in the way.
        children: Kind,
    },
    /// Something refers to it.
    #[error("{key} is referred to by {} other(s)", by.len())]
    Referenced {
        /// What was to be deleted.
        key: Key,
        /// Who refers to it, all of one kind.
        by: Vec<Key>,
    },
    /// What changed since a revision is not known any more: list everything, and go on from there.
    #[error(
        "changes are known from revision {oldest} to {newest}, and not from {after}; list everything anew"
    )]
    Compacted {
        /// The revision that was asked about.
        after: u64,
        /// The first that can be asked about.
        oldest: u64,
        /// The last one.
        newest: u64,
    },
    /// It does not go together with the others.
    #[error(transparent)]
    Disagrees(#[from] Box<Disagreement>),
}

impl From<Disagreement> for Refusal {
    fn from(disagreement: Disagreement) -> Self {
        Self::Disagrees(Box::new(disagreement))
    }
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The rules forbid it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk is full or failing, or the store is being closed.
    #[error("the store is not available")]
    Unavailable(#[from] CommitError),
}

impl Write {
    /// What it is about.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Create { document, .. } | Self::Update { document, .. } => document.key(),
            Self::Delete { key, .. } | Self::Tag { key, .. } | Self::Untag { key, .. } => key,
        }
    }
}

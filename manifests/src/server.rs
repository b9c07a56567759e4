//! The server's side: the port through which it is asked, and what it holds.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use signet_controlplane::model::{
    Document,
    key::{Collection, Key},
    shape::Invalid,
};
use signet_policies::identity::ResourceName;
use thiserror::Error;

use crate::resource::{Bundle, Resource, Tags};

/// Requests under way at once.
const CONCURRENCY: usize = 16;

/// The App Mesh API, as far as it is needed here.
#[async_trait]
pub trait Api: Send + Sync {
    /// The names in a collection; none where that which it lives under is not there.
    async fn list(&self, collection: &Collection) -> Result<Vec<String>, ApiError>;
    /// One resource.
    async fn describe(&self, key: &Key) -> Result<Described, ApiError>;
    /// A new resource.
    async fn create(&self, document: &Document, tags: &Tags) -> Result<Described, ApiError>;
    /// A new spec for a resource that is at a version.
    async fn update(&self, document: &Document, expected: u64) -> Result<Described, ApiError>;
    /// The end of a resource that is at a version.
    async fn delete(&self, key: &Key, expected: u64) -> Result<(), ApiError>;
    /// All tags of what has an ARN.
    async fn tags(&self, arn: &str) -> Result<Tags, ApiError>;
    /// Sets tags.
    async fn tag(&self, arn: &str, tags: &Tags) -> Result<(), ApiError>;
    /// Takes tags away.
    async fn untag(&self, arn: &str, keys: &[String]) -> Result<(), ApiError>;
}

/// A resource as the server shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// `metadata.arn`.
    pub arn: String,
    /// Which life of the name, and which version in it.
    pub version: Version,
    /// `spec`.
    pub spec: Value,
}

/// Tells whether a resource was changed between two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.version`.
    pub number: u64,
}

/// Why the server did not do something.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApiError {
    /// There is no such resource.
    #[error("it is not there")]
    Missing,
    /// It said no.
    #[error("the server refused: {code}: {message}")]
    Refused {
        /// The exception.
        code: String,
        /// What it said.
        message: String,
    },
    /// It gave no answer, or none that makes sense.
    #[error("{0}")]
    Unreachable(String),
}

/// Why a server's state could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A request failed.
    #[error("cannot read {what}")]
    Request {
        /// What was asked for.
        what: String,
        /// Why it failed.
        #[source]
        cause: ApiError,
    },
    /// The server is newer than this program.
    #[error("the server's {key} is not one that this version of Signet understands")]
    Unreadable {
        /// Which.
        key: Key,
        /// What it does not understand.
        #[source]
        cause: Box<Invalid>,
    },
    /// A name that the server lists is none.
    #[error("the server lists {0:?}, which is no name")]
    Name(String),
}

/// A resource that the server holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its spec.
    pub document: Document,
    /// Its tags, where they were asked for.
    pub tags: Option<Tags>,
    /// Its ARN.
    pub arn: String,
    /// When it was read.
    pub version: Version,
}

/// All that a server holds in some meshes.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// By key.
    pub resources: BTreeMap<Key, Held>,
}

impl State {
    /// Reads meshes whole, as far as they are there, and the tags of whatever `wants_tags`.
    ///
    /// # Errors
    /// The server does not answer, refuses, or is newer than this program.
    pub async fn read(
        api: &dyn Api,
        meshes: &BTreeSet<ResourceName>,
        wants_tags: impl Fn(&Key) -> bool,
    ) -> Result<Self, ReadError> {
        let mut resources = BTreeMap::new();
        let mut level: Vec<Key> = meshes.iter().cloned().map(Key::Mesh).collect();
        // Three levels: meshes, what is in them, routes.
        while !level.is_empty() {
            let found = level.iter().map(|key| held(api, key, wants_tags(key)));
            let found: Vec<Option<(Key, Held)>> =
                stream::iter(found.collect::<Vec<_>>()).buffered(CONCURRENCY).try_collect().await?;
            let found: Vec<(Key, Held)> = found.into_iter().flatten().collect();
            let collections: Vec<Collection> = found.iter().flat_map(|(key, _)| key.children()).collect();
            let names = collections.iter().map(|collection| names(api, collection));
            let below: Vec<Vec<Key>> =
                stream::iter(names.collect::<Vec<_>>()).buffered(CONCURRENCY).try_collect().await?;
            resources.extend(found);
            level = below.into_iter().flatten().collect();
        }
        Ok(Self { resources })
    }

    /// The same as a bundle, to be written to files.
    #[must_use]
    pub fn into_bundle(self) -> Bundle {
        let place = crate::place::Place { file: "the server".into(), line: 1 };
        let resource =
            |held: Held| Resource { document: held.document, tags: held.tags, place: place.clone() };
        let resources = self.resources.into_iter().map(|(key, held)| (key, resource(held)));
        Bundle { resources: resources.collect(), notes: Vec::new() }
    }
}

/// All meshes of a server.
///
/// # Errors
/// The server does not answer, or refuses.
pub async fn meshes(api: &dyn Api) -> Result<BTreeSet<ResourceName>, ReadError> {
    let keys = names(api, &Collection::Meshes).await?;
    Ok(keys.iter().map(|key| key.mesh().clone()).collect())
}

async fn names(api: &dyn Api, collection: &Collection) -> Result<Vec<Key>, ReadError> {
    let what = || match collection.parent() {
        None => "the list of meshes".to_owned(),
        Some(parent) => format!("the list of {}s in {parent}", collection.kind()),
    };
    let names = match api.list(collection).await {
        Err(ApiError::Missing) => Vec::new(),
        listed => listed.map_err(|cause| ReadError::Request { what: what(), cause })?,
    };
    names.iter().map(|name| collection.key(name).map_err(|_| ReadError::Name(name.clone()))).collect()
}

/// One that went since it was listed is not there.
async fn held(api: &dyn Api, key: &Key, wants_tags: bool) -> Result<Option<(Key, Held)>, ReadError> {
    let failed = |cause| ReadError::Request { what: key.to_string(), cause };
    let described = match api.describe(key).await {
        Err(ApiError::Missing) => return Ok(None),
        described => described.map_err(failed)?,
    };
    let document = Document::parse(key.clone(), described.spec);
    let document =
        document.map_err(|cause| ReadError::Unreadable { key: key.clone(), cause: cause.into() })?;
    let tags = match wants_tags {
        true => match api.tags(&described.arn).await {
            Err(ApiError::Missing) => return Ok(None),
            tags => Some(tags.map_err(failed)?),
        },
        false => None,
    };
    Ok(Some((key.clone(), Held { document, tags, arn: described.arn, version: described.version })))
}

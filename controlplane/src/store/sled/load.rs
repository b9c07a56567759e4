//! Reads every record of a tree, and refuses to go on with less than all of them.

use std::{collections::BTreeMap, num::NonZero, panic::resume_unwind, sync::Arc, thread};

use signet_durable::CommitError;

use super::OpenError;
use crate::{
    model::{Tags, key::Key},
    quotas::Quotas,
    store::{
        Refusal, Resource,
        format::{self, InvalidRecord, Place},
        records::{Change, Effect},
        rules::State,
        tokens::Use,
    },
};

/// Most threads that read, and the fewest records for which there is another one.
const MAX_READERS: usize = 4;
const LEAST_SHARE: usize = 512;

/// Key and value.
type Stored = (sled::IVec, sled::IVec);

/// What is on disk.
pub(super) struct Loaded {
    pub(super) revision: u64,
    /// With all of it.
    pub(super) state: State,
    /// What makes it, parents before children.
    pub(super) changes: Vec<Change>,
}

#[derive(Default)]
struct Entries {
    revision: u64,
    resources: Vec<Arc<Resource>>,
    tags: BTreeMap<Key, Arc<Tags>>,
    /// By the records that hold them.
    tokens: Vec<(u64, Use)>,
}

pub(super) fn load(tree: &sled::Tree, quotas: Quotas) -> Result<Loaded, OpenError> {
    let Entries { revision, mut resources, mut tags, tokens } = entries(tree)?;
    // Kinds are in the order of their dependencies, with what is referred to before who refers to it.
    resources.sort_by_key(|resource| match resource.document.key() {
        Key::Mesh(_) => 0,
        Key::VirtualNode { .. } => 1,
        Key::VirtualRouter { .. } => 2,
        Key::Route { .. } | Key::VirtualService { .. } | Key::VirtualGateway { .. } => 3,
        Key::GatewayRoute { .. } => 4,
    });
    let mut state = State::new(quotas);
    let mut changes = Vec::with_capacity(resources.len());
    for resource in resources {
        let key = resource.document.key();
        check_fits(&state, &resource).map_err(|refusal| misfit(&Place::Resource(key.clone()), refusal))?;
        let tags = tags.remove(key);
        let (effect, forgotten) = (Effect::Put, Vec::new());
        let change = Change { revision, by: None, effect, resource, tags, used: None, forgotten };
        state.apply(&change);
        changes.push(change);
    }
    if let Some((key, _)) = tags.pop_first() {
        return Err(misfit(&Place::Tags(key.clone()), Refusal::Missing(key)));
    }
    tokens.iter().for_each(|(record, used)| state.tokens.remember(*record, used));
    Ok(Loaded { revision, state, changes })
}

/// Reads the tree, and its records on as many threads as there are processors.
fn entries(tree: &sled::Tree) -> Result<Entries, OpenError> {
    let unreadable = |error: sled::Error| OpenError::Database(CommitError::Write(error.to_string()));
    let all: Vec<Stored> = tree.iter().collect::<Result<_, _>>().map_err(unreadable)?;
    let readers = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_READERS);
    let share = all.len().div_ceil(readers).max(LEAST_SHARE);
    let parts: Vec<Result<Entries, OpenError>> = thread::scope(|scope| {
        let readers: Vec<_> = all.chunks(share).map(|part| scope.spawn(|| read(part))).collect();
        let joined = readers.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|part| part.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    parts.into_iter().try_fold(Entries::default(), |whole, part| Ok(whole.with(part?)))
}

impl Entries {
    /// These, and those that come after them in the tree.
    fn with(mut self, later: Self) -> Self {
        let Self { revision, resources, tags, tokens } = later;
        self.revision = self.revision.max(revision);
        self.resources.extend(resources);
        self.tags.extend(tags);
        self.tokens.extend(tokens);
        self
    }
}

fn read(part: &[Stored]) -> Result<Entries, OpenError> {
    let mut entries = Entries::default();
    for (key, value) in part {
        let in_it = |source| named(String::from_utf8_lossy(key).into_owned(), source);
        match Place::parse(key).map_err(in_it)? {
            Place::Revision => entries.revision = parse_revision(value)?,
            Place::Resource(key) => {
                let (resource, used) = format::decode(key, value).map_err(in_it)?;
                entries.resources.push(resource);
                entries.tokens.extend(used.map(|used| (0, used)));
            }
            Place::Tags(key) => {
                entries.tags.insert(key, format::decode_tags(value).map_err(in_it)?.into());
            }
            Place::Tokens(record) => {
                let uses = format::decode_tokens(value).map_err(in_it)?;
                entries.tokens.extend(uses.into_iter().map(|used| (record, used)));
            }
        }
    }
    Ok(entries)
}

fn check_fits(state: &State, resource: &Resource) -> Result<(), Refusal> {
    state.records.require_parent(&resource.document.key().collection())?;
    state.check_references(&resource.document)
}

fn misfit(place: &Place, refusal: Refusal) -> OpenError {
    named(place.text(), InvalidRecord::Reference(Box::new(refusal)))
}

fn named(key: String, source: InvalidRecord) -> OpenError {
    OpenError::Record { key, source: Box::new(source) }
}

pub(super) fn parse_revision(value: &[u8]) -> Result<u64, OpenError> {
    let text = String::from_utf8_lossy(value);
    text.parse().map_err(|_| OpenError::Revision(text.into_owned()))
}

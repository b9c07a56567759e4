//! Writes a change whole, so that a crash leaves all of it or nothing.

use signet_durable::{CommitError, Writes};

use crate::store::{
    format::{self, Place},
    records::{Change, Effect},
};

/// Notes what a change writes.
///
/// # Errors
/// A record cannot be written down. Some of it may be noted, and none must be kept.
pub(super) fn persist(writes: &mut Writes, tree: &sled::Tree, change: &Change) -> Result<(), CommitError> {
    note(writes, tree, change).map_err(|error| CommitError::Write(error.to_string()))
}

fn note(writes: &mut Writes, tree: &sled::Tree, change: &Change) -> Result<(), serde_json::Error> {
    let key = change.resource.document.key();
    match change.effect {
        Effect::Put => {
            writes.insert(tree, text(Place::Resource(key.clone())), format::encode(&change.resource)?);
        }
        Effect::Tag => {}
        Effect::Remove => {
            writes.remove(tree, text(Place::Resource(key.clone())));
            writes.remove(tree, text(Place::Tags(key.clone())));
        }
    }
    match &change.tags {
        Some(tags) if tags.is_empty() => writes.remove(tree, text(Place::Tags(key.clone()))),
        Some(tags) => writes.insert(tree, text(Place::Tags(key.clone())), format::encode_tags(tags)?),
        None => {}
    }
    for record in &change.forgotten {
        writes.remove(tree, text(Place::Tokens(*record)));
    }
    if let Some((record, used)) = &change.used {
        writes.append(tree, text(Place::Tokens(*record)), format::encode_token(used)?);
    }
    writes.insert(tree, text(Place::Revision), change.revision.to_string().as_bytes());
    Ok(())
}

fn text(place: Place) -> Vec<u8> {
    place.text().into_bytes()
}

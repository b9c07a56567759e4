//! Writes a change as one batch, so that a crash leaves all of it or nothing.

use crate::store::{
    format::{self, Place},
    records::{Change, Effect},
};

pub(super) fn persist(tree: &sled::Tree, change: &Change) -> Result<(), sled::Error> {
    let encoded = batch(change).map_err(|error| sled::Error::Unsupported(error.to_string()))?;
    tree.apply_batch(encoded)
}

fn batch(change: &Change) -> Result<sled::Batch, serde_json::Error> {
    let mut batch = sled::Batch::default();
    let key = change.resource.document.key();
    match change.effect {
        Effect::Put => {
            batch.insert(text(Place::Resource(key.clone())), format::encode(&change.resource)?);
        }
        Effect::Tag => {}
        Effect::Remove => {
            batch.remove(text(Place::Resource(key.clone())));
            batch.remove(text(Place::Tags(key.clone())));
        }
    }
    match &change.tags {
        Some(tags) if tags.is_empty() => batch.remove(text(Place::Tags(key.clone()))),
        Some(tags) => batch.insert(text(Place::Tags(key.clone())), format::encode_tags(tags)?),
        None => {}
    }
    for revision in &change.forgotten {
        batch.remove(text(Place::Token(*revision)));
    }
    if let Some(used) = &change.used {
        batch.insert(text(Place::Token(change.revision)), format::encode_token(used)?);
    }
    batch.insert(text(Place::Revision), change.revision.to_string().as_bytes());
    Ok(batch)
}

fn text(place: Place) -> Vec<u8> {
    place.text().into_bytes()
}

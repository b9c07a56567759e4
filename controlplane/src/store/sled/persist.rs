//! Writes a change whole, so that a crash leaves all of it or nothing.

use signet_durable::{Database, Writes};

use crate::store::{
    format::{self, Place},
    records::{Change, Effect},
};

/// Within a commit of the database.
pub(super) fn persist(database: &Database, tree: &sled::Tree, change: &Change) -> Result<(), sled::Error> {
    let writes = writes(change).map_err(|error| sled::Error::Unsupported(error.to_string()))?;
    database.stage(tree, writes)
}

fn writes(change: &Change) -> Result<Writes, serde_json::Error> {
    let mut writes = Writes::default();
    let key = change.resource.document.key();
    match change.effect {
        Effect::Put => {
            writes.insert(text(Place::Resource(key.clone())), format::encode(&change.resource)?);
        }
        Effect::Tag => {}
        Effect::Remove => {
            writes.remove(text(Place::Resource(key.clone())));
            writes.remove(text(Place::Tags(key.clone())));
        }
    }
    match &change.tags {
        Some(tags) if tags.is_empty() => writes.remove(text(Place::Tags(key.clone()))),
        Some(tags) => writes.insert(text(Place::Tags(key.clone())), format::encode_tags(tags)?),
        None => {}
    }
    for revision in &change.forgotten {
        writes.remove(text(Place::Token(*revision)));
    }
    if let Some(used) = &change.used {
        writes.insert(text(Place::Token(change.revision)), format::encode_token(used)?);
    }
    writes.insert(text(Place::Revision), change.revision.to_string().as_bytes());
    Ok(writes)
}

fn text(place: Place) -> Vec<u8> {
    place.text().into_bytes()
}

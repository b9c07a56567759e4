//! What an input comes to: documents that the API's own parser has judged.

use std::collections::{BTreeMap, btree_map};

use serde_json::Value;
use signet_controlplane::model::{
    Document,
    key::{Collection, Key},
};

use signet_policies::identity::TrustDomain;

use crate::{
    node::Node,
    place::{Fault, Note, Place},
    shape,
    spell::Reader,
};

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// A resource that an input asks for.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its key and its spec, legal by itself.
    pub document: Document,
    /// Its tags, all of them; `None` where the input says nothing about tags, so that they are left alone.
    pub tags: Option<Tags>,
    /// Where it begins.
    pub place: Place,
}

/// All that an input asks for.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// By key.
    pub resources: BTreeMap<Key, Resource>,
    /// What was left out or not honoured, and does no harm.
    pub notes: Vec<Note>,
}

/// A resource as it was found, before the model has seen it.
pub(crate) struct Draft<'a> {
    pub(crate) collection: Collection,
    /// The name, and where it is said.
    pub(crate) name: (String, Place),
    /// The spec as it was written; absent where nothing was.
    pub(crate) spec: Option<&'a Node>,
    pub(crate) tags: Option<Tags>,
    pub(crate) place: Place,
    /// As [`crate::Settings::trust_domain`].
    pub(crate) trust_domain: Option<&'a TrustDomain>,
}

impl Draft<'_> {
    /// Reads the spec and lets the API's parser judge it.
    pub(crate) fn judge(self, reader: &Reader<'_>) -> Result<Resource, Fault> {
        let shape = shape::spec(self.collection.kind());
        let read = self.spec.map(|spec| reader.json(spec, &shape)).transpose()?.flatten();
        self.judge_json(read, |path, draft| match draft.spec {
            Some(spec) => reader.locate(spec, &shape, path),
            None => draft.place.clone(),
        })
    }

    /// As [`Draft::judge`], for a spec that was read already. `locate` says where a member of it stands.
    pub(crate) fn judge_json(
        self,
        spec: Option<Value>,
        locate: impl Fn(&str, &Self) -> Place,
    ) -> Result<Resource, Fault> {
        let (name, said_at) = &self.name;
        let key = self.collection.key(name).map_err(|error| {
            let hint = if name.starts_with("arn:") { "; an ARN is no name" } else { "" };
            said_at.fault(format!("{name:?} cannot be a name: {error}{hint}"))
        })?;
        let whose = key.to_string();
        let spec = spec.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let document = Document::parse_within(key, spec, self.trust_domain).map_err(|invalid| {
            let path = invalid.path.trim_start_matches("spec").trim_start_matches('.');
            locate(path, &self).fault(invalid.to_string()).of(&whose)
        })?;
        Ok(Resource { document, tags: self.tags, place: self.place })
    }
}

impl Bundle {
    /// Adds a resource.
    ///
    /// # Errors
    /// It is there already.
    pub(crate) fn add(&mut self, resource: Resource) -> Result<(), Fault> {
        match self.resources.entry(resource.document.key().clone()) {
            btree_map::Entry::Vacant(entry) => {
                entry.insert(resource);
                Ok(())
            }
            btree_map::Entry::Occupied(entry) => {
                let what = format!("{} is declared at {} already", entry.key(), entry.get().place);
                Err(resource.place.fault(what))
            }
        }
    }

    /// The names of meshes that it declares itself.
    pub fn declared_meshes(&self) -> impl Iterator<Item = &Key> {
        self.resources.keys().filter(|key| matches!(key, Key::Mesh(_)))
    }
}

/// Tags as a list of `{key, value}`, in the names that `key` and `value` give.
pub(crate) fn tags(node: &Node, key: &str, value: &str) -> Result<Tags, Fault> {
    let mut tags = Tags::new();
    for item in node.items()? {
        let entries = item.entries()?;
        if let Some(entry) = entries.iter().find(|entry| entry.key != key && entry.key != value) {
            return Err(entry.place.fault(format!("a tag has {key} and {value}, and no {:?}", entry.key)));
        }
        let member = |name: &str| {
            let found = entries.iter().find(|entry| entry.key == name);
            found.map(|entry| entry.value.text_or_empty()).transpose()
        };
        let name = member(key)?.ok_or_else(|| item.fault(format!("a tag has a {key}")))?;
        let text = member(value)?.unwrap_or_default();
        check_tag(item, &name, &text)?;
        if tags.insert(name.clone(), text).is_some() {
            return Err(item.fault(format!("the tag {name:?} is here for the second time")));
        }
    }
    check_count(node, &tags)?;
    Ok(tags)
}

const MAX_TAGS: usize = 50;

/// As the API bounds a resource's tags.
pub(crate) fn check_tags(at: &Node, tags: &Tags) -> Result<(), Fault> {
    tags.iter().try_for_each(|(key, value)| check_tag(at, key, value))?;
    check_count(at, tags)
}

fn check_count(at: &Node, tags: &Tags) -> Result<(), Fault> {
    match tags.len() {
        0..=MAX_TAGS => Ok(()),
        count => Err(at.fault(format!("a resource has at most {MAX_TAGS} tags, not {count}"))),
    }
}

fn check_tag(at: &Node, key: &str, value: &str) -> Result<(), Fault> {
    let (key_length, value_length) = (key.chars().count(), value.chars().count());
    if key.chars().chain(value.chars()).any(char::is_control) {
        return Err(at.fault("a tag holds no control characters"));
    }
    match ((1..=128).contains(&key_length), value_length <= 256) {
        (true, true) => Ok(()),
        (false, _) => Err(at.fault(format!("a tag's key has 1 to 128 characters, not {key_length}"))),
        (true, false) => Err(at.fault(format!("a tag's value has up to 256 characters, not {value_length}"))),
    }
}

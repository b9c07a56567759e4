//! Where messages become bytes: once each, however many proxies are told the same.

use std::{any::Any, collections::HashMap};

use signet_xds::{Resource, ResourceType};

/// So many different messages are remembered; a few thousand bytes each.
const REMEMBERED: usize = 4096;

/// A message of whatever type, and its encoding.
type Made = (Box<dyn Any + Send>, Resource);

/// Encodes the resources of one round of translation.
#[derive(Default)]
pub(crate) struct Forge {
    /// What may be asked for again, with the message that it is the encoding of.
    made: HashMap<(ResourceType, String), Vec<Made>>,
    remembered: usize,
    encoded: u64,
}

impl Forge {
    /// Encodes a message that only one proxy, or one node's, are told of.
    pub(crate) fn make<M: prost::Name>(&mut self, kind: ResourceType, name: String, message: &M) -> Resource {
        self.encoded += 1;
        Resource::new(kind, name, message)
    }

    /// Encodes a message that others may be told of too, unless it has been.
    pub(crate) fn share<M>(&mut self, kind: ResourceType, name: String, message: M) -> Resource
    where
        M: prost::Name + PartialEq + Send + 'static,
    {
        let key = (kind, name);
        let known = self.made.get(&key).into_iter().flatten();
        let mut same = known.filter(|(known, _)| known.downcast_ref() == Some(&message));
        if let Some((_, resource)) = same.next() {
            return resource.clone();
        }
        let resource = self.make(kind, key.1.clone(), &message);
        if self.remembered < REMEMBERED {
            self.remembered += 1;
            self.made.entry(key).or_default().push((Box::new(message), resource.clone()));
        }
        resource
    }

    /// How many messages were encoded.
    pub(crate) const fn encoded(&self) -> u64 {
        self.encoded
    }
}

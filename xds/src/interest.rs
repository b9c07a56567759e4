//! Which resources of one kind a client asks for.

use crate::{
    layer::{Layer, There},
    resource::Name,
};

/// Everything, or these names, or both.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interest {
    pub(crate) all: bool,
    pub(crate) names: Layer<There>,
}

impl Interest {
    pub(crate) fn covers(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty()
    }

    /// The name that is asked for, where it is the only one.
    pub(crate) fn only(&self) -> Option<&Name> {
        let is_one = !self.all && self.names.len() == 1;
        if is_one { self.names.names().next() } else { None }
    }

    /// Adds a name.
    pub(crate) fn add(&mut self, name: &Name) {
        self.names.put(name, Some(There));
    }

    /// Takes a name out; says whether it was there.
    pub(crate) fn take(&mut self, name: &Name) -> bool {
        let was_there = self.names.contains(name);
        self.names.put(name, None);
        was_there
    }

    /// Whether these are exactly its names; puts them in order.
    pub(crate) fn is_of(&self, names: &mut Vec<String>) -> bool {
        names.sort_unstable();
        names.dedup();
        names.len() == self.names.len() && self.names.names().zip(&*names).all(|(own, name)| **own == **name)
    }
}

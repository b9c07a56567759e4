//! Which resources of one kind a client asks for.

use crate::{
    layer::{Layer, There},
    resource::Name,
};

/// What is asked for without a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unnamed {
    #[default]
    Nothing,
    Everything,
    /// What has a SPIFFE ID for its name. Secrets have second names, and go out once.
    SpiffeIds,
}

/// Everything, or these names, or both.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interest {
    pub(crate) unnamed: Unnamed,
    pub(crate) names: Layer<There>,
}

impl Interest {
    pub(crate) fn covers(&self, name: &str) -> bool {
        let is_unnamed = match self.unnamed {
            Unnamed::Nothing => false,
            Unnamed::Everything => true,
            Unnamed::SpiffeIds => name.starts_with("spiffe://"),
        };
        is_unnamed || self.names.contains(name)
    }

    /// Whether more is asked for than names.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.unnamed != Unnamed::Nothing
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.is_wildcard() && self.names.is_empty()
    }

    /// The name that is asked for, where it is the only one.
    pub(crate) fn only(&self) -> Option<&Name> {
        let is_one = !self.is_wildcard() && self.names.len() == 1;
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

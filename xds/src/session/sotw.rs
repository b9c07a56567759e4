//! SotW requests: the whole list of names, every time.

use std::{mem, sync::Arc};

use super::watch::Watch;
use crate::{
    interest::{Interest, Unnamed},
    resource::Name,
    status::Status,
};

impl Watch {
    /// Takes in a SotW request.
    ///
    /// Only the nonce of the last response counts: an older one means that the client had not seen that
    /// response yet, and will ask again when it has. Until something was sent, and whenever the nonce is
    /// empty, the request is a first one (a client that reconnects may bring a nonce of another stream).
    pub(super) fn on_names(
        &mut self,
        nonce: &str,
        rejection: Option<&str>,
        mut names: Vec<String>,
        status: &mut Status,
    ) {
        let first = nonce.is_empty() || self.nonce.is_none();
        if !first {
            if self.nonce.is_none_or(|last| last != *nonce) {
                status.count_stale_nonce();
                return;
            }
            self.settle(nonce, rejection, status);
        }
        self.opened = true;
        if first || !self.asks_for_the_same(&mut names) {
            let interest = Arc::new(self.interest_in(names));
            let before = mem::replace(&mut self.interest, interest);
            let added = |name: &&Name| first || !before.names.contains(name);
            self.asked.extend(self.interest.names.names().filter(added).cloned());
            self.owes |= self.interest.is_wildcard() && (first || !before.is_wildcard());
        }
        self.forget_unwanted(status);
    }

    /// As every acknowledgement does. Puts the names in order.
    fn asks_for_the_same(&self, names: &mut Vec<String>) -> bool {
        let unnamed = if names.is_empty() && !self.listed { self.wildcard } else { Unnamed::Nothing };
        self.interest.unnamed == unnamed && self.interest.is_of(names)
    }

    /// Nothing listed means everything, but only where that is possible and as long as nothing was ever
    /// listed; `*` always means everything. For other kinds `*` is a name like any other.
    fn interest_in(&mut self, names: Vec<String>) -> Interest {
        let mut interest = Interest::default();
        names.into_iter().for_each(|name| interest.add(&Name::from(name)));
        self.listed |= !interest.names.is_empty();
        if self.wildcard != Unnamed::Nothing && (interest.take(&Name::from("*")) || !self.listed) {
            interest.unnamed = self.wildcard;
        }
        interest
    }
}

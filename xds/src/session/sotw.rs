//! SotW requests: the whole list of names, every time.

use std::mem;

use super::watch::Watch;
use crate::{
    resource::Name,
    status::{Interest, Status},
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
        names: Vec<String>,
        status: &mut Status,
    ) {
        let first = nonce.is_empty() || self.nonce.is_none();
        if !first {
            if self.nonce.as_deref() != Some(nonce) {
                status.count_stale_nonce();
                return;
            }
            self.settle(nonce, rejection, status);
        }
        self.opened = true;
        let interest = self.interest_in(names);
        let before = mem::replace(&mut self.interest, interest);
        let added = |name: &&Name| first || !before.names.contains(*name);
        self.asked.extend(self.interest.names.iter().filter(added).cloned());
        self.owes |= self.interest.all && (first || !before.all);
        self.forget_unwanted(status);
    }

    /// Nothing listed means everything, but only where that is possible and as long as nothing was ever
    /// listed; `*` always means everything. For other kinds `*` is a name like any other.
    fn interest_in(&mut self, names: Vec<String>) -> Interest {
        let mut interest = Interest { all: false, names: names.into_iter().map(Name::from).collect() };
        self.listed |= !interest.names.is_empty();
        if self.kind.is_wildcard() {
            interest.all = interest.names.remove("*") || !self.listed;
        }
        interest
    }
}

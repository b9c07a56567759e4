//! Delta requests: changes of a subscription, honoured whatever the nonce.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    ProtocolError,
    request::most_names,
    watch::{Told, Watch},
};
use crate::{
    interest::Unnamed,
    resource::{Name, Version},
    status::Status,
};

/// How many responses a client may leave unanswered. Only new subscriptions can add to them.
const MAX_FLIGHTS: usize = 1024;

impl Watch {
    /// Takes in the ACK or NACK of a delta request, if it is one. A nonce that is not known is counted, except
    /// on the first request, where it is that of an earlier stream.
    pub(super) fn acknowledge(&mut self, nonce: &str, rejection: Option<&str>, status: &mut Status) {
        if !nonce.is_empty() && !self.settle(nonce, rejection, status) && self.opened {
            status.count_stale_nonce();
        }
    }

    /// Takes in the subscription part of a delta request.
    pub(super) fn on_changes(
        &mut self,
        subscribe: Vec<String>,
        unsubscribe: &[String],
        initial: BTreeMap<String, String>,
        status: &mut Status,
    ) -> Result<(), ProtocolError> {
        let first = !std::mem::replace(&mut self.opened, true);
        let initial = if first { initial } else { BTreeMap::new() };
        if first || !subscribe.is_empty() || !unsubscribe.is_empty() {
            self.change_interest(first, subscribe, unsubscribe, &initial);
        }
        let most = most_names(self.kind);
        if self.interest.names.len() > most {
            return Err(ProtocolError::TooManyNames(most));
        }
        if self.flights.len() > MAX_FLIGHTS {
            return Err(ProtocolError::Unacknowledged);
        }
        for (name, version) in initial {
            let (name, version) = (Name::from(name), Version::from(version));
            if self.interest.covers(&name) {
                status.of_mut(self.kind).accepted.put(&name, Some(Arc::clone(&version)));
                self.told.put(&name, Some(Told::Held(version)));
            }
        }
        self.forget_unwanted(status);
        Ok(())
    }

    fn change_interest(
        &mut self,
        first: bool,
        subscribe: Vec<String>,
        unsubscribe: &[String],
        initial: &BTreeMap<String, String>,
    ) {
        let wildcard = self.wildcard;
        let has_wildcard = wildcard != Unnamed::Nothing;
        let interest = Arc::make_mut(&mut self.interest);
        if first && has_wildcard && subscribe.is_empty() {
            (interest.unnamed, self.owes) = (wildcard, true);
        }
        for name in subscribe {
            if has_wildcard && name == "*" {
                (interest.unnamed, self.owes) = (wildcard, true);
                continue;
            }
            let name = Name::from(name);
            // A client that brings a version along is told only what differs from it.
            if !initial.contains_key(&*name) {
                self.asked.insert(name.clone());
            }
            interest.add(&name);
        }
        for name in unsubscribe {
            let name = Name::from(&**name);
            if has_wildcard && *name == *"*" {
                interest.unnamed = Unnamed::Nothing;
            } else if interest.take(&name) && interest.covers(&name) {
                // Under a wildcard the client cannot know whether it still gets the resource: it is told.
                self.asked.insert(name);
            }
        }
    }
}

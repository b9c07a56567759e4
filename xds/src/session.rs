//! One client's stream as a state machine without I/O.
//!
//! ```text
//!   Request ─▶ on_request ─▶ Watch per kind: interest · told · asked · flights · refused
//!                                 │
//!   Snapshot ─▶ next_response ────┤  order: which kind may say what now
//!                                 │  changes: what differs        (delta; SotW of endpoints, routes, secrets)
//!                                 │  whole_set: all that it wants (SotW of clusters and listeners)
//!                                 ▼
//!                             Response, and what is known as Status
//! ```
//!
//! The session is level-triggered. It keeps no queue: each call of [`Session::next_response`] compares what the
//! client was told with the newest snapshot, so a newer snapshot simply takes the place of an older one.

mod changes;
mod commit;
mod delta;
mod nonce;
mod order;
mod reason;
mod request;
mod response;
mod sotw;
mod watch;
mod whole_set;

use std::fmt::{self, Display, Formatter};

use tracing::warn;

use crate::{by_kind::ByKind, interest::Unnamed, resource::ResourceType, snapshot::Snapshot, status::Status};
use nonce::Nonce;
use order::Step;
pub use request::{Ask, MAX_NAME, MAX_NAMES, MAX_SECRETS, ProtocolError, Request};
pub use response::Response;
use watch::Watch;

/// State of the world or incremental: how requests name resources and responses carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Each request lists every name, and clusters and listeners come as whole sets.
    Sotw,
    /// Requests and responses carry differences.
    Delta,
}

/// What a stream may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Every kind on one stream (ADS); a type URL and a node with an id are demanded.
    Aggregated,
    /// One kind, which a request need not name.
    Only(ResourceType),
}

impl Service {
    /// What a stream is not about is not even touched: thousands of streams are looked at one after the other.
    fn is_about(self) -> impl Fn(&ResourceType) -> bool + Copy {
        move |kind| match self {
            Self::Aggregated => true,
            Self::Only(only) => only == *kind,
        }
    }
}

impl Display for Service {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aggregated => f.write_str("ads"),
            Self::Only(kind) => Display::fmt(kind, f),
        }
    }
}

/// The server's side of one xDS stream.
///
/// Feed it with [`on_request`](Self::on_request), then, and whenever the snapshot changed, send what
/// [`next_response`](Self::next_response) gives until it gives nothing.
#[derive(Debug)]
pub struct Session {
    variant: Variant,
    service: Service,
    node: Option<String>,
    opened: bool,
    warned: bool,
    watches: ByKind<Watch>,
    status: Status,
    stream: u64,
    responses: u64,
}

impl Session {
    /// A session for a new stream. `stream` tells the streams of a process apart: it makes nonces unique.
    pub fn new(variant: Variant, service: Service, stream: u64) -> Self {
        Self {
            variant,
            service,
            node: None,
            opened: false,
            warned: false,
            watches: ByKind::new(Watch::new),
            status: Status::default(),
            stream,
            responses: 0,
        }
    }

    /// Has a client that names no secret in its first request, or `*`, get every secret once, by its SPIFFE ID, as SPIRE's
    /// agent does. Without this it gets none: to xDS, secrets have no wildcard.
    #[must_use]
    pub fn with_unnamed_secrets(mut self) -> Self {
        self.watches.of_mut(ResourceType::Secret).wildcard = Unnamed::SpiffeIds;
        self
    }

    /// Takes in a request: an ACK, a NACK, a change of subscription, or several of them at once.
    ///
    /// # Errors
    /// The request breaks the protocol or a bound; the stream must end with INVALID_ARGUMENT.
    pub fn on_request(&mut self, request: Request) -> Result<(), ProtocolError> {
        self.pin_node(request.node.as_deref())?;
        let Some(kind) = self.kind(&request.type_url)? else {
            return Ok(());
        };
        request.ask.check(kind)?;
        let watch = self.watches.of_mut(kind);
        let rejection = request.rejection.as_deref();
        match (self.variant, request.ask) {
            (Variant::Sotw, Ask::Names(names)) => {
                watch.on_names(&request.nonce, rejection, names, &mut self.status);
            }
            (Variant::Delta, Ask::Changes { subscribe, unsubscribe, initial }) => {
                watch.acknowledge(&request.nonce, rejection, &mut self.status);
                watch.on_changes(subscribe, &unsubscribe, initial, &mut self.status)?;
            }
            (Variant::Sotw, Ask::Changes { .. }) | (Variant::Delta, Ask::Names(_)) => {
                return Err(ProtocolError::OtherVariant);
            }
        }
        self.status.set_interest(kind, &watch.interest);
        Ok(())
    }

    /// What to send next, if anything; it counts as sent. `snapshot` is the newest one.
    pub fn next_response(&mut self, snapshot: &Snapshot) -> Option<Response> {
        let is_it = self.service.is_about();
        for kind in ResourceType::ALL.into_iter().filter(is_it) {
            self.watches.of_mut(kind).look_at(snapshot, &mut self.status);
        }
        let additions = ResourceType::ALL.into_iter().filter(is_it).map(|kind| (kind, Step::Additions));
        let removals = order::REMOVALS.into_iter().filter(is_it).map(|kind| (kind, Step::Removals));
        additions.chain(removals).find_map(|(kind, step)| self.compose(kind, step, snapshot))
    }

    /// Whether it can be seen at once that there is nothing to send, nor anything to forget. Where it cannot,
    /// [`next_response`](Self::next_response) may still give nothing.
    pub(crate) fn has_nothing_for(&self, snapshot: &Snapshot) -> bool {
        ResourceType::ALL.into_iter().filter(self.service.is_about()).all(|kind| {
            let watch = self.watches.of(kind);
            watch.has_refused_nothing()
                && (!watch.opened || watch.is_told_all(&watch.view(snapshot.kind(kind))))
        })
    }

    /// What is known of the client so far.
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// The id of the node at the other end, once it was given.
    pub fn node_id(&self) -> Option<&str> {
        self.node.as_deref()
    }

    fn compose(&mut self, kind: ResourceType, step: Step, snapshot: &Snapshot) -> Option<Response> {
        let watch = self.watches.of(kind);
        if !watch.opened {
            return None;
        }
        let newest = watch.view(snapshot.kind(kind));
        if watch.is_told_all(&newest) {
            return None;
        }
        let gate = order::gate(&self.watches, &self.status, kind, step, snapshot);
        let watch = self.watches.of_mut(kind);
        let draft = match self.variant {
            Variant::Sotw if kind.is_wildcard() => watch.whole_set(&newest, gate)?,
            Variant::Sotw | Variant::Delta => watch.changes(&newest, gate, self.variant, &mut self.status)?,
        };
        self.responses = self.responses.wrapping_add(1);
        let nonce = Nonce { stream: self.stream, response: self.responses };
        let warming = watch.commit(&draft, nonce, self.variant, &newest, &mut self.status);
        let (version, removed) = match self.variant {
            Variant::Sotw => (Some(watch.version()), Vec::new()),
            Variant::Delta => (None, draft.removed),
        };
        self.watches.of_mut(ResourceType::Endpoint).send_again(warming);
        Some(Response { kind, nonce: nonce.to_string(), version, resources: draft.resources, removed })
    }

    /// A stream belongs to one node: the first request says which (on ADS it must), later ones may only repeat it.
    fn pin_node(&mut self, id: Option<&str>) -> Result<(), ProtocolError> {
        let id = id.filter(|id| !id.is_empty());
        let first = !std::mem::replace(&mut self.opened, true);
        match (id, &self.node) {
            (None, _) if first && self.service == Service::Aggregated => Err(ProtocolError::MissingNode),
            (Some(id), _) if id.len() > MAX_NAME => Err(ProtocolError::LongNode),
            (Some(id), Some(pinned)) if id != pinned => Err(ProtocolError::OtherNode),
            (Some(id), None) => {
                self.node = Some(id.to_owned());
                Ok(())
            }
            (None, _) | (Some(_), Some(_)) => Ok(()),
        }
    }

    /// Which kind a request is about; `None` for one that ADS does not know and therefore leaves unanswered.
    fn kind(&mut self, type_url: &str) -> Result<Option<ResourceType>, ProtocolError> {
        match (self.service, ResourceType::from_type_url(type_url)) {
            (Service::Only(kind), _) if type_url.is_empty() => Ok(Some(kind)),
            (Service::Only(kind), Some(asked)) if asked == kind => Ok(Some(kind)),
            (Service::Only(kind), _) => Err(ProtocolError::OtherType(kind)),
            (Service::Aggregated, _) if type_url.is_empty() => Err(ProtocolError::MissingType),
            (Service::Aggregated, Some(kind)) => Ok(Some(kind)),
            (Service::Aggregated, None) => {
                if !std::mem::replace(&mut self.warned, true) {
                    let type_url = type_url.chars().take(128).collect::<String>();
                    warn!(type_url, "request for an unknown type left unanswered");
                }
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;

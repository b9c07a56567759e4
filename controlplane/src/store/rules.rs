//! Which writes are allowed, decided from all that is there. Pure: the back ends bring durability.

mod agreement;
mod bounds;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Metadata, Refusal, Resource, Write,
    records::{Change, Effect, Records},
    tokens::{Operation, Request, Tokens, Use},
};
use crate::{
    model::{
        Document, Provider, Spec, Tags,
        key::{Key, Kind},
    },
    quotas::Quotas,
};

/// All resources, who refers to whom, and what was asked for lately.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) records: Records,
    pub(super) tokens: Tokens,
    quotas: Quotas,
    /// By what is referred to. No set in it is empty.
    referrers: BTreeMap<Key, BTreeSet<Key>>,
}

/// What the rules make of a write.
#[derive(Debug)]
pub(super) enum Decision {
    /// The write is allowed, and is this change.
    Change(Box<Change>),
    /// There is nothing left to do; this is its answer.
    Repeated(Arc<Resource>),
}

/// A creation or an update, as far as its token knows it.
struct Asked {
    operation: Operation,
    token: Option<String>,
    at: u64,
}

impl State {
    /// Nothing, which may grow within these bounds.
    pub(super) fn new(quotas: Quotas) -> Self {
        Self { quotas, ..Self::default() }
    }

    /// Decides on a write. Nothing is changed.
    pub(super) fn decide(&self, write: Write) -> Result<Decision, Refusal> {
        match write {
            Write::Create { document, uid, token, tags, at } => {
                let asked = Asked { operation: Operation::Create, token, at };
                let metadata = Metadata { uid, version: 1, created_at: at, updated_at: at };
                self.create(document, metadata, tags, asked)
            }
            Write::Update { document, token, expected, at } => {
                self.update(document, expected, Asked { operation: Operation::Update, token, at })
            }
            Write::Tag { key, tags } => self.retag(&key, |there| there.with(&tags)),
            Write::Untag { key, names } => self.retag(&key, |there| there.without(&names)),
            Write::Delete { key, expected, at } => self.delete(&key, expected, at),
        }
    }

    fn create(
        &self,
        document: Document,
        metadata: Metadata,
        tags: Tags,
        asked: Asked,
    ) -> Result<Decision, Refusal> {
        self.records.require_parent(&document.key().collection())?;
        if let Some(found) = self.records.find(document.key()) {
            // The creation itself may have been sent again because its answer was lost.
            let repeated = self.repetition(found, &document, &tags, &asked)?;
            return repeated.ok_or_else(|| Refusal::Exists(document.key().clone()));
        }
        self.check_count(document.key())?;
        self.check_size(&document)?;
        self.check_tags(document.key(), &Tags::default(), &tags)?;
        self.check_references(&document)?;
        self.check_agreement(&document)?;
        let request = Request::new(asked.operation, &document, &tags);
        let change = self.change(Effect::Put, document, metadata);
        let tags = (!tags.is_empty()).then(|| Arc::new(tags));
        Ok(Decision::Change(self.under_token(Change { tags, ..change }, request, asked).into()))
    }

    fn update(&self, document: Document, expected: Option<u64>, asked: Asked) -> Result<Decision, Refusal> {
        let found = self.records.get(document.key())?;
        if let Some(repeated) = self.repetition(found, &document, &Tags::default(), &asked)? {
            return Ok(repeated);
        }
        check_version(found, expected)?;
        self.check_size(&document)?;
        self.check_references(&document)?;
        self.check_agreement(&document)?;
        let request = Request::new(asked.operation, &document, &Tags::default());
        let change = self.change(Effect::Put, document, next(&found.metadata, asked.at));
        Ok(Decision::Change(self.under_token(change, request, asked).into()))
    }

    fn retag(&self, key: &Key, edit: impl FnOnce(&Tags) -> Tags) -> Result<Decision, Refusal> {
        let (found, before) = (self.records.get(key)?, self.records.tags(key)?);
        let tags = edit(&before);
        self.check_tags(key, &before, &tags)?;
        if tags == *before {
            return Ok(Decision::Repeated(found.clone()));
        }
        let change = self.change_of(Effect::Tag, found.clone());
        Ok(Decision::Change(Box::new(Change { tags: Some(tags.into()), ..change })))
    }

    fn delete(&self, key: &Key, expected: Option<u64>, at: u64) -> Result<Decision, Refusal> {
        let found = self.records.get(key)?;
        check_version(found, expected)?;
        self.check_unused(key)?;
        let last = next(&found.metadata, at);
        let metadata = match key.kind() {
            // As AWS's own examples have it.
            Kind::Mesh => Metadata { version: found.metadata.version, ..last },
            Kind::VirtualNode
            | Kind::VirtualService
            | Kind::VirtualRouter
            | Kind::Route
            | Kind::VirtualGateway
            | Kind::GatewayRoute => last,
        };
        Ok(Decision::Change(self.change(Effect::Remove, found.document.clone(), metadata).into()))
    }

    /// The answer to a write that was made already, or the refusal of another one under its token.
    fn repetition(
        &self,
        found: &Arc<Resource>,
        document: &Document,
        tags: &Tags,
        asked: &Asked,
    ) -> Result<Option<Decision>, Refusal> {
        let used = asked
            .token
            .as_deref()
            .and_then(|token| self.tokens.find(document.key(), found.metadata.uid, token, asked.at));
        match used {
            None => Ok(None),
            Some((request, _)) if request != Request::new(asked.operation, document, tags) => {
                Err(Refusal::TokenReused(document.key().clone()))
            }
            Some((_, metadata)) if *metadata == found.metadata => Ok(Some(Decision::Repeated(found.clone()))),
            // Others have changed the resource since: the answer is what it was then.
            Some((_, metadata)) => {
                let earlier = Resource { document: document.clone(), metadata: metadata.clone() };
                Ok(Some(Decision::Repeated(earlier.into())))
            }
        }
    }

    /// Notes the token that a change is made under, for whoever sends it again.
    fn under_token(&self, change: Change, request: Request, asked: Asked) -> Change {
        let Asked { token: Some(token), at, .. } = asked else {
            return change;
        };
        let key = change.resource.document.key().clone();
        let forgotten = self.tokens.outlived(&key, &token, at);
        let metadata = change.resource.metadata.clone();
        let record = self.tokens.record_of(change.revision);
        Change { used: Some((record, Use { key, token, request, at, metadata })), forgotten, ..change }
    }

    /// Makes a change that was decided on.
    pub(super) fn apply(&mut self, change: &Change) {
        let key = change.resource.document.key();
        if change.effect == Effect::Tag {
            self.apply_beside(change);
            return;
        }
        if let Some(old) = self.records.find(key) {
            for target in references(&old.document) {
                if let Some(referrers) = self.referrers.get_mut(&target) {
                    referrers.remove(key);
                    if referrers.is_empty() {
                        self.referrers.remove(&target);
                    }
                }
            }
        }
        if change.effect == Effect::Put {
            for target in references(&change.resource.document) {
                self.referrers.entry(target).or_default().insert(key.clone());
            }
        }
        self.apply_beside(change);
    }

    fn apply_beside(&mut self, change: &Change) {
        self.records.apply(change);
        self.tokens.forget(&change.forgotten);
        if let Some((record, used)) = &change.used {
            self.tokens.note(*record, used);
        }
    }

    fn change(&self, effect: Effect, document: Document, metadata: Metadata) -> Change {
        self.change_of(effect, Arc::new(Resource { document, metadata }))
    }

    fn change_of(&self, effect: Effect, resource: Arc<Resource>) -> Change {
        let revision = self.records.revision + 1;
        Change { revision, by: None, effect, resource, tags: None, used: None, forgotten: Vec::new() }
    }

    /// What a spec refers to must be there.
    pub(super) fn check_references(&self, document: &Document) -> Result<(), Refusal> {
        let mut targets = references(document).into_iter();
        match targets.find(|target| self.records.find(target).is_none()) {
            Some(missing) => Err(Refusal::MissingTarget(missing)),
            None => Ok(()),
        }
    }

    fn check_unused(&self, key: &Key) -> Result<(), Refusal> {
        if let Some(children) = key.children().iter().find(|children| !self.records.is_empty(children)) {
            return Err(Refusal::HasChildren { key: key.clone(), children: children.kind() });
        }
        let Some(referrers) = self.referrers.get(key) else {
            return Ok(());
        };
        let first = referrers.first().map(Key::kind);
        let by = referrers.iter().filter(|referrer| Some(referrer.kind()) == first).cloned().collect();
        Err(Refusal::Referenced { key: key.clone(), by })
    }
}

fn check_version(found: &Resource, expected: Option<u64>) -> Result<(), Refusal> {
    let version = found.metadata.version;
    match expected.filter(|expected| *expected != version) {
        Some(expected) => {
            Err(Refusal::Version { key: found.document.key().clone(), expected, found: version })
        }
        None => Ok(()),
    }
}

/// One version later. A clock that was set back does not make a resource older than it is.
fn next(metadata: &Metadata, at: u64) -> Metadata {
    Metadata { version: metadata.version + 1, updated_at: at.max(metadata.updated_at), ..metadata.clone() }
}

/// What a spec refers to and must find. A node's backends are not among it: App Mesh let them dangle.
fn references(document: &Document) -> Vec<Key> {
    let mesh = || document.key().mesh().clone();
    match document.spec() {
        Spec::Route(route) => {
            let targets = route.targets.iter();
            targets
                .map(|target| Key::VirtualNode { mesh: mesh(), name: target.virtual_node.clone() })
                .collect()
        }
        Spec::VirtualService(service) => match &service.provider {
            Some(Provider::VirtualNode(name)) => vec![Key::VirtualNode { mesh: mesh(), name: name.clone() }],
            Some(Provider::VirtualRouter(name)) => {
                vec![Key::VirtualRouter { mesh: mesh(), name: name.clone() }]
            }
            None => Vec::new(),
        },
        Spec::GatewayRoute(route) => {
            vec![Key::VirtualService { mesh: mesh(), name: route.virtual_service.clone() }]
        }
        Spec::Mesh(_) | Spec::VirtualNode(_) | Spec::VirtualRouter(_) | Spec::VirtualGateway(_) => Vec::new(),
    }
}

//! Which writes are allowed, decided from all that is there. Pure: the back ends bring durability.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
    sync::Arc,
};

use super::{
    Metadata, Refusal, Resource, Write,
    records::{Change, Effect, Records},
};
use crate::model::{
    Document, Provider, Route, Spec, VirtualNode, VirtualRouter, WeightedTarget,
    key::{Key, Kind},
};

/// All resources, and who refers to whom.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) records: Records,
    /// By what is referred to. No set in it is empty.
    referrers: BTreeMap<Key, BTreeSet<Key>>,
}

/// What the rules make of a write.
#[derive(Debug)]
pub(super) enum Decision {
    /// The write is allowed, and is this change.
    Change(Change),
    /// It was made already; this is its answer.
    Repeated(Arc<Resource>),
}

impl State {
    /// Decides on a write. Nothing is changed.
    pub(super) fn decide(&self, write: Write) -> Result<Decision, Refusal> {
        match write {
            Write::Create { document, uid, token, at } => {
                self.create(document, Metadata { uid, version: 1, created_at: at, updated_at: at, token })
            }
            Write::Update { document, token, expected, at } => self.update(document, token, expected, at),
            Write::Delete { key, expected, at } => self.delete(&key, expected, at),
        }
    }

    fn create(&self, document: Document, metadata: Metadata) -> Result<Decision, Refusal> {
        self.records.require_parent(&document.key().collection())?;
        match self.records.find(document.key()) {
            // The creation itself, sent again because its answer was lost.
            Some(found)
                if found.metadata.version == 1 && is_same_token(&found.metadata, metadata.token.as_ref()) =>
            {
                self.repetition(&document)
            }
            Some(_) => Err(Refusal::Exists(document.key().clone())),
            None => {
                self.check_references(&document)?;
                Ok(self.change(Effect::Put, document, metadata))
            }
        }
    }

    fn update(
        &self,
        document: Document,
        token: Option<String>,
        expected: Option<u64>,
        at: u64,
    ) -> Result<Decision, Refusal> {
        let found = self.records.get(document.key())?;
        if is_same_token(&found.metadata, token.as_ref()) {
            return self.repetition(&document);
        }
        check_version(found, expected)?;
        self.check_references(&document)?;
        Ok(self.change(Effect::Put, document, Metadata { token, ..next(&found.metadata, at) }))
    }

    fn delete(&self, key: &Key, expected: Option<u64>, at: u64) -> Result<Decision, Refusal> {
        let found = self.records.get(key)?;
        check_version(found, expected)?;
        self.check_unused(key)?;
        let last = next(&found.metadata, at);
        let metadata = match key.kind() {
            // As AWS's own examples have it.
            Kind::Mesh => Metadata { version: found.metadata.version, ..last },
            Kind::VirtualNode | Kind::VirtualService | Kind::VirtualRouter | Kind::Route => last,
        };
        Ok(self.change(Effect::Remove, found.document.clone(), metadata))
    }

    /// The answer to a write that was made already, or the refusal of another one under its token.
    fn repetition(&self, document: &Document) -> Result<Decision, Refusal> {
        let found = self.records.get(document.key())?;
        match found.document.text().get() == document.text().get() {
            true => Ok(Decision::Repeated(found.clone())),
            false => Err(Refusal::TokenReused(document.key().clone())),
        }
    }

    /// Makes a change that was decided on.
    pub(super) fn apply(&mut self, change: &Change) {
        let key = change.resource.document.key();
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
        self.records.apply(change);
    }

    fn change(&self, effect: Effect, document: Document, metadata: Metadata) -> Decision {
        let resource = Arc::new(Resource { document, metadata });
        Decision::Change(Change { revision: self.records.revision + 1, effect, resource })
    }

    /// Everything that a spec must find, and what it must agree with.
    pub(super) fn check_references(&self, document: &Document) -> Result<(), Refusal> {
        let targets = references(document);
        if let Some(missing) = targets.into_iter().find(|target| self.records.find(target).is_none()) {
            return Err(Refusal::MissingTarget(missing));
        }
        match (document.key(), document.spec()) {
            (Key::Route { mesh, router, .. }, Spec::Route(route)) => {
                let router = Key::VirtualRouter { mesh: mesh.clone(), name: router.clone() };
                self.check_route(document.key(), route, &router)
            }
            (_, Spec::VirtualRouter(router)) => self.check_router(document.key(), router),
            (_, Spec::VirtualNode(node)) => self.check_node(document.key(), node),
            (_, Spec::Mesh(_) | Spec::VirtualService(_) | Spec::Route(_)) => Ok(()),
        }
    }

    fn check_route(&self, key: &Key, route: &Route, router: &Key) -> Result<(), Refusal> {
        if let Some(Spec::VirtualRouter(router)) = self.spec(router) {
            match route.port {
                None if router.listeners.len() > 1 => return Err(Refusal::RouteNeedsPort(key.clone())),
                Some(port) if !listens(router, port) => {
                    return Err(Refusal::NoSuchListener { route: key.clone(), port: port.get() });
                }
                None | Some(_) => {}
            }
        }
        for target in &route.targets {
            let node = Key::VirtualNode { mesh: key.mesh().clone(), name: target.virtual_node.clone() };
            if let Some(Spec::VirtualNode(found)) = self.spec(&node) {
                check_target(key, target, &node, found)?;
            }
        }
        Ok(())
    }

    /// A router's listeners may not change under its routes.
    fn check_router(&self, key: &Key, router: &VirtualRouter) -> Result<(), Refusal> {
        let routes = || {
            let resources = key.children().into_iter().flat_map(|children| self.records.all(&children));
            resources.filter_map(|found| match found.document.spec() {
                Spec::Route(route) => Some((found.document.key(), route)),
                Spec::Mesh(_) | Spec::VirtualNode(_) | Spec::VirtualService(_) | Spec::VirtualRouter(_) => {
                    None
                }
            })
        };
        let without_port = || routes().filter(|(_, route)| route.port.is_none()).map(|(key, _)| key.clone());
        if router.listeners.len() > 1 && without_port().next().is_some() {
            return Err(Refusal::RoutesNeedPort { router: key.clone(), routes: without_port().collect() });
        }
        let orphan =
            routes().find_map(|(key, route)| Some((key, route.port.filter(|port| !listens(router, *port))?)));
        match orphan {
            Some((route, port)) => Err(Refusal::NoSuchListener { route: route.clone(), port: port.get() }),
            None => Ok(()),
        }
    }

    /// A node's listeners may not change under the routes to it.
    fn check_node(&self, key: &Key, node: &VirtualNode) -> Result<(), Refusal> {
        for referrer in self.referrers.get(key).into_iter().flatten() {
            let Some(Spec::Route(route)) = self.spec(referrer) else {
                continue;
            };
            for target in route.targets.iter().filter(|target| target.virtual_node.as_str() == key.name()) {
                check_target(referrer, target, key, node)?;
            }
        }
        Ok(())
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

    fn spec(&self, key: &Key) -> Option<&Spec> {
        self.records.find(key).map(|found| found.document.spec())
    }
}

/// A target names one of its node's ports, or none where there is no choice (constraint C11).
fn check_target(
    route: &Key,
    target: &WeightedTarget,
    node: &Key,
    found: &VirtualNode,
) -> Result<(), Refusal> {
    match target.port {
        None if found.listeners.len() > 1 => {
            Err(Refusal::TargetNeedsPort { route: route.clone(), node: node.clone() })
        }
        Some(port) if !found.listeners.iter().any(|listener| listener.port_mapping.port == port) => {
            Err(Refusal::NoSuchTargetPort { route: route.clone(), node: node.clone(), port: port.get() })
        }
        None | Some(_) => Ok(()),
    }
}

fn listens(router: &VirtualRouter, port: NonZeroU16) -> bool {
    router.listeners.iter().any(|listener| listener.port == port)
}

/// No token is the same as no other.
fn is_same_token(found: &Metadata, token: Option<&String>) -> bool {
    token.is_some() && found.token.as_ref() == token
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
        Spec::Mesh(_) | Spec::VirtualNode(_) | Spec::VirtualRouter(_) => Vec::new(),
    }
}

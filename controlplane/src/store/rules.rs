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
    Document, Provider, Route, Spec, VirtualNode, VirtualRouter,
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
                self.check_agreement(&document)?;
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
        self.check_agreement(&document)?;
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
            Kind::VirtualNode
            | Kind::VirtualService
            | Kind::VirtualRouter
            | Kind::Route
            | Kind::VirtualGateway
            | Kind::GatewayRoute => last,
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

    /// What a spec refers to must be there.
    pub(super) fn check_references(&self, document: &Document) -> Result<(), Refusal> {
        let mut targets = references(document).into_iter();
        match targets.find(|target| self.records.find(target).is_none()) {
            Some(missing) => Err(Refusal::MissingTarget(missing)),
            None => Ok(()),
        }
    }

    /// What a spec must agree with. Writes alone are held to it: what an earlier version took is served on.
    fn check_agreement(&self, document: &Document) -> Result<(), Refusal> {
        match (document.key(), document.spec()) {
            (Key::Route { mesh, router, .. }, Spec::Route(route)) => {
                let router = Key::VirtualRouter { mesh: mesh.clone(), name: router.clone() };
                self.check_route(document.key(), route, &router)
            }
            (_, Spec::VirtualRouter(router)) => self.check_router(document.key(), router),
            (_, Spec::VirtualNode(node)) => self.check_node(document.key(), node),
            (
                _,
                Spec::Mesh(_)
                | Spec::VirtualService(_)
                | Spec::Route(_)
                | Spec::VirtualGateway(_)
                | Spec::GatewayRoute(_),
            ) => Ok(()),
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
        for (index, target) in route.targets.iter().enumerate() {
            let node = Key::VirtualNode { mesh: key.mesh().clone(), name: target.virtual_node.clone() };
            let Some(Spec::VirtualNode(found)) = self.spec(&node) else {
                continue;
            };
            match target.port {
                None if found.listeners.len() > 1 => {
                    return Err(Refusal::TargetNeedsPort { route: key.clone(), node });
                }
                Some(port) if !serves(found, port) => {
                    let (route, port) = (key.clone(), port.get());
                    return Err(Refusal::NoSuchTargetPort { route, index, node, port });
                }
                None | Some(_) => {}
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
                Spec::Mesh(_)
                | Spec::VirtualNode(_)
                | Spec::VirtualService(_)
                | Spec::VirtualRouter(_)
                | Spec::VirtualGateway(_)
                | Spec::GatewayRoute(_) => None,
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

    /// A node's listeners may not change under the routes to it (constraint C11).
    fn check_node(&self, key: &Key, node: &VirtualNode) -> Result<(), Refusal> {
        let Some(Spec::VirtualNode(before)) = self.spec(key) else {
            return Ok(());
        };
        let is_open = |port: Option<NonZeroU16>| port.is_none() && node.listeners.len() > 1;
        if let Some(route) = self.routes_to(key, is_open).next() {
            return Err(Refusal::TargetNeedsPort { route: route.clone(), node: key.clone() });
        }
        let is_gone =
            |port: Option<NonZeroU16>| port.is_some_and(|port| serves(before, port) && !serves(node, port));
        let routes: Vec<Key> = self.routes_to(key, is_gone).cloned().collect();
        match routes.is_empty() {
            true => Ok(()),
            false => Err(Refusal::TargetedPorts { node: key.clone(), routes }),
        }
    }

    /// The routes with a target that is `node` at such a port.
    fn routes_to(&self, node: &Key, at: impl Fn(Option<NonZeroU16>) -> bool) -> impl Iterator<Item = &Key> {
        self.referrers.get(node).into_iter().flatten().filter(move |referrer| match self.spec(referrer) {
            Some(Spec::Route(route)) => {
                let mut targets = route.targets.iter();
                targets.any(|target| target.virtual_node.as_str() == node.name() && at(target.port))
            }
            Some(_) | None => false,
        })
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

fn serves(node: &VirtualNode, port: NonZeroU16) -> bool {
    node.listeners.iter().any(|listener| listener.port_mapping.port == port)
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
        Spec::GatewayRoute(route) => {
            vec![Key::VirtualService { mesh: mesh(), name: route.virtual_service.clone() }]
        }
        Spec::Mesh(_) | Spec::VirtualNode(_) | Spec::VirtualRouter(_) | Spec::VirtualGateway(_) => Vec::new(),
    }
}

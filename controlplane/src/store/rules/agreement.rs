//! What resources must agree on: ports that are named must be there, and must be named where there are several.

use std::num::NonZeroU16;

use super::State;
use crate::{
    model::{Document, Route, Spec, VirtualNode, VirtualRouter, key::Key},
    store::Refusal,
};

impl State {
    /// What a spec must agree with. Writes alone are held to it: what an earlier version took is served on.
    pub(super) fn check_agreement(&self, document: &Document) -> Result<(), Refusal> {
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

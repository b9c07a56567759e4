//! What resources must agree on: ports that are named must be there, and must be named where there are several.
//!
//! Only a write is held to it, and only for what it makes worse: what an earlier version took is served on.
//!
//! Of protocols (constraint C30) App Mesh's console asked that route, router listener and node listener be the
//! same, and its API took what the console would not offer. What has a meaning is taken here too: any of HTTP,
//! HTTP/2 and gRPC under each other, and any node under any router. What could only be left out of the
//! configuration without a word is refused: a TCP route for an HTTP listener, and the other way round.

mod listeners;

use std::num::NonZeroU16;

use super::State;
use crate::{
    model::{
        Document, GatewayRoute, GatewayRule, PortMapping, Protocol, Provider, Route, RouteRule, Spec,
        key::Key,
    },
    store::{
        Refusal,
        disagreement::{Disagreement, Fault},
    },
};

impl State {
    /// What a spec must agree with, both what it names and what names it.
    pub(super) fn check_agreement(&self, document: &Document) -> Result<(), Refusal> {
        let key = document.key();
        match document.spec() {
            Spec::Route(route) => self.check_route(key, route),
            Spec::GatewayRoute(route) => self.check_gateway_route(key, route),
            Spec::VirtualRouter(_) | Spec::VirtualGateway(_) => {
                self.check_matched(key, document.spec())?;
                self.check_targeted(key, document.spec())
            }
            Spec::VirtualNode(_) => self.check_targeted(key, document.spec()),
            Spec::VirtualService(service) => self.check_provider(key, service.provider.as_ref()),
            Spec::Mesh(_) => Ok(()),
        }
    }

    fn check_route(&self, key: &Key, route: &Route) -> Result<(), Refusal> {
        let member = route_member(&route.rule);
        let refuse = |at: String, what, with: &Key| refuse(key, format!("spec.{member}.{at}"), what, with);
        if let Some(router) = key.collection().parent() {
            let listeners = self.listeners(&router);
            let fault = match_fault(route.port, &listeners).or_else(|| protocol_fault(route, &listeners));
            fault.map_or(Ok(()), |fault| refuse("match.port".into(), fault, &router))?;
        }
        for (index, target) in route.targets.iter().enumerate() {
            let node = Key::VirtualNode { mesh: key.mesh().clone(), name: target.virtual_node.clone() };
            if let Some(fault) = target_fault(target.port, &self.listeners(&node)) {
                return refuse(format!("action.weightedTargets[{index}].port"), fault, &node);
            }
        }
        Ok(())
    }

    fn check_gateway_route(&self, key: &Key, route: &GatewayRoute) -> Result<(), Refusal> {
        let member = match route.rule {
            GatewayRule::Http(..) => "httpRoute",
            GatewayRule::Http2(..) => "http2Route",
            GatewayRule::Grpc(_) => "grpcRoute",
        };
        let refuse = |at: &str, what, with: &Key| refuse(key, format!("spec.{member}.{at}"), what, with);
        if let Some(gateway) = key.collection().parent() {
            let fault = match_fault(route.port, &self.listeners(&gateway));
            fault.map_or(Ok(()), |fault| refuse("match.port", fault, &gateway))?;
        }
        let service = Key::VirtualService { mesh: key.mesh().clone(), name: route.virtual_service.clone() };
        let Some(provider) = self.provider(&service) else {
            return Ok(());
        };
        let fault = target_fault(route.target_port, &self.listeners(&provider));
        fault.map_or(Ok(()), |fault| refuse("action.target.port", fault, &provider))
    }

    /// A router's or gateway's listeners may not change under its routes.
    fn check_matched(&self, key: &Key, spec: &Spec) -> Result<(), Refusal> {
        let (before, after) = (self.listeners(key), listeners::of(spec));
        let of = |document: &Document, listeners: &[PortMapping]| match document.spec() {
            Spec::Route(route) => {
                match_fault(route.port, listeners).or_else(|| protocol_fault(route, listeners))
            }
            Spec::GatewayRoute(route) => match_fault(route.port, listeners),
            Spec::Mesh(_)
            | Spec::VirtualNode(_)
            | Spec::VirtualService(_)
            | Spec::VirtualRouter(_)
            | Spec::VirtualGateway(_) => None,
        };
        let routes = key.children().into_iter().flat_map(|children| self.records.all(&children));
        let faults = routes.filter_map(|route| {
            let document = &route.document;
            Some((document.key(), worse(of(document, &before), of(document, &after))?))
        });
        refuse_all(key, "spec.listeners", faults.collect())
    }

    /// A node's or router's listeners may not change under the routes that lead to it.
    fn check_targeted(&self, key: &Key, spec: &Spec) -> Result<(), Refusal> {
        let (before, after) = (self.listeners(key), listeners::of(spec));
        let services = self.referrers(key).filter(|referrer| matches!(referrer, Key::VirtualService { .. }));
        let of_gateways = services.flat_map(|service| self.gateway_targets(service));
        let pointing: Vec<_> = self.route_targets(key).chain(of_gateways).collect();
        self.check_pointing(key, "spec.listeners", &pointing, &before, &after)
    }

    /// A service's provider may not change to one that the gateway routes to the service do not fit.
    fn check_provider(&self, key: &Key, provider: Option<&Provider>) -> Result<(), Refusal> {
        let Some(provider) = provider.map(|provider| listeners::provider_key(key, provider)) else {
            return Ok(());
        };
        let former = self.provider(key);
        let before = former.map_or_else(Vec::new, |former| self.listeners(&former));
        let pointing: Vec<_> = self.gateway_targets(key).collect();
        self.check_pointing(key, "spec.provider", &pointing, &before, &self.listeners(&provider))
    }

    fn check_pointing(
        &self,
        key: &Key,
        at: &str,
        pointing: &[(&Key, Option<NonZeroU16>)],
        before: &[PortMapping],
        after: &[PortMapping],
    ) -> Result<(), Refusal> {
        let fault = |port: &Option<NonZeroU16>| {
            // Nothing was wrong with a port of a provider that is only now given.
            let former = if before.is_empty() { None } else { target_fault(*port, before) };
            worse(former, target_fault(*port, after))
        };
        let faults = pointing.iter().filter_map(|(route, port)| Some((*route, fault(port)?)));
        refuse_all(key, at, faults.collect())
    }
}

/// What is wrong with the port that a route matches.
fn match_fault(port: Option<NonZeroU16>, listeners: &[PortMapping]) -> Option<Fault> {
    match port {
        None if listeners.len() > 1 => Some(Fault::MatchNeedsPort),
        Some(port) if !listens(listeners, port) => Some(Fault::NoSuchListener(port)),
        None | Some(_) => None,
    }
}

/// What is wrong with the port of a route's target.
fn target_fault(port: Option<NonZeroU16>, listeners: &[PortMapping]) -> Option<Fault> {
    match port {
        None if listeners.len() > 1 => Some(Fault::TargetNeedsPort),
        Some(port) if !listens(listeners, port) => Some(Fault::NoSuchTargetPort(port)),
        None | Some(_) => None,
    }
}

/// Whether a route is of the wrong kind for one of the listeners that it is for.
fn protocol_fault(route: &Route, listeners: &[PortMapping]) -> Option<Fault> {
    let is_tcp = matches!(route.rule, RouteRule::Tcp);
    let mut own = listeners.iter().filter(|listener| route.port.is_none_or(|port| port == listener.port));
    let wrong = own.find(|listener| (listener.protocol == Protocol::Tcp) != is_tcp);
    wrong.map(|listener| Fault::MatchedProtocol(listener.protocol))
}

/// A fault that the write makes; one of the same kind that was there already is not its own.
fn worse(before: Option<Fault>, after: Option<Fault>) -> Option<Fault> {
    after.filter(|after| before.is_none_or(|before| !is_same_kind(before, *after)))
}

fn is_same_kind(one: Fault, other: Fault) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
}

fn listens(listeners: &[PortMapping], port: NonZeroU16) -> bool {
    listeners.iter().any(|listener| listener.port == port)
}

fn refuse(key: &Key, at: String, what: Fault, with: &Key) -> Result<(), Refusal> {
    Err(Disagreement { key: key.clone(), at, what, with: vec![with.clone()] }.into())
}

/// Refuses the first fault, with all who have one of its kind and are of the first one's kind.
fn refuse_all(key: &Key, at: &str, faults: Vec<(&Key, Fault)>) -> Result<(), Refusal> {
    let Some((first, what)) = faults.first().copied() else {
        return Ok(());
    };
    let alike = |(route, fault): &(&Key, Fault)| is_same_kind(*fault, what) && route.kind() == first.kind();
    let with = faults.iter().filter(|found| alike(found)).map(|(route, _)| (*route).clone()).collect();
    Err(Disagreement { key: key.clone(), at: at.to_owned(), what, with }.into())
}

fn route_member(rule: &RouteRule) -> &'static str {
    match rule {
        RouteRule::Http(_) => "httpRoute",
        RouteRule::Http2(_) => "http2Route",
        RouteRule::Grpc(_) => "grpcRoute",
        RouteRule::Tcp => "tcpRoute",
    }
}

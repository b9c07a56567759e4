//! Ports and protocols that do not go together, in App Mesh's words where they are known.

use super::{MAX_NAMES, named, names};
use crate::{
    model::key::{Key, Kind},
    store::{Disagreement, Fault},
};

pub(super) fn text(disagreement: &Disagreement) -> String {
    match disagreement.key.kind() {
        Kind::Route | Kind::GatewayRoute => of_route(disagreement),
        Kind::Mesh
        | Kind::VirtualNode
        | Kind::VirtualService
        | Kind::VirtualRouter
        | Kind::VirtualGateway => under_routes(disagreement),
    }
}

/// The route itself was to be written.
fn of_route(Disagreement { key, at, what, with }: &Disagreement) -> String {
    let (route, other) = (named(key), with.first().map_or_else(String::new, named));
    match what {
        Fault::MatchNeedsPort if key.kind() == Kind::GatewayRoute => format!(
            "Gateway route must define a match port if the parent Virtual Gateway has multiple listeners. ({at})"
        ),
        Fault::MatchNeedsPort => format!(
            "Route must define a port match criteria if the Virtual Router has multiple listeners ({at})"
        ),
        Fault::NoSuchListener(port) => {
            format!(
                "{at}: {route} matches port {port}, which must be the port of a listener of its {}",
                parent(key)
            )
        }
        Fault::MatchedProtocol(protocol) => format!(
            "{at}: {route} is for a listener of {other} that speaks {protocol:?}; a tcpRoute must be for a tcp \
             listener, and every other route for one that is not tcp"
        ),
        Fault::TargetNeedsPort => {
            format!("{at}: {route} must define a port for its target {other}, which has multiple listeners")
        }
        Fault::NoSuchTargetPort(port) => {
            format!(
                "{at}: {route} targets port {port} of {other}, which must be the port of one of its listeners"
            )
        }
    }
}

/// What the routes are under, or lead to, was to be written.
fn under_routes(Disagreement { key, at, what, with }: &Disagreement) -> String {
    let (count, written) = (with.len(), named(key));
    let (kind, kinds) = match with.first().map(Key::kind) {
        Some(Kind::GatewayRoute) => ("Gateway Route", "gateway route"),
        Some(_) | None => ("Route", "route"),
    };
    let listing = format!("Listing up to {MAX_NAMES} {kinds} names: {}", names(with));
    match what {
        Fault::MatchNeedsPort => {
            let parent = spaced(key.kind());
            format!(
                "All {kind}s for this {parent} must define a port match before adding multiple listeners to this \
                 {parent}. {count} {kind}(s) are missing port. {listing}"
            )
        }
        Fault::NoSuchListener(_) => format!(
            "{at}: {written} must keep the ports that its {kinds}s match. {count} {kind}(s) match a port that would \
             be gone. {listing}"
        ),
        Fault::MatchedProtocol(_) => format!(
            "{at}: {written} must keep the protocols that its {kinds}s are for. {count} {kind}(s) would be for the \
             wrong one: a tcpRoute must be for a tcp listener, and every other route for one that is not tcp. \
             {listing}"
        ),
        Fault::TargetNeedsPort => format!(
            "{at}: all {kinds}s to {written} must define the port of their target before it leads to multiple \
             listeners. {count} {kind}(s) are missing port. {listing}"
        ),
        Fault::NoSuchTargetPort(_) => format!(
            "{at}: {written} must keep the ports that {kinds}s name. {count} {kind}(s) name a port that would be \
             gone. {listing}"
        ),
    }
}

fn parent(route: &Key) -> &'static str {
    match route.kind() {
        Kind::GatewayRoute => "Virtual Gateway",
        Kind::Route
        | Kind::Mesh
        | Kind::VirtualNode
        | Kind::VirtualService
        | Kind::VirtualRouter
        | Kind::VirtualGateway => "Virtual Router",
    }
}

fn spaced(kind: Kind) -> &'static str {
    match kind {
        Kind::VirtualGateway => "Virtual Gateway",
        Kind::VirtualNode => "Virtual Node",
        Kind::VirtualService => "Virtual Service",
        Kind::VirtualRouter => "Virtual Router",
        Kind::Mesh => "Mesh",
        Kind::Route => "Route",
        Kind::GatewayRoute => "Gateway Route",
    }
}

//! Route tables: everything to the application on the way in, by Host and rule on the way out.

pub(super) mod matcher;
mod redirected;

use std::{collections::BTreeSet, num::NonZeroU16, time::Duration};

use signet_xds::pb::envoy::config::route::v3::{
    DirectResponseAction, Route, RouteAction, RouteConfiguration, VirtualHost, WeightedCluster,
    route::Action, route_action::ClusterSpecifier, weighted_cluster::ClusterWeight,
};

pub(super) use self::redirected::redirected;
use super::{
    Scope,
    backend::{Backend, BackendPort, BackendRoute, Destination, Rule},
    metadata, naming, retry,
    scalar::{duration, uint},
};
use crate::model::{Listener, Timeout};

/// App Mesh's, of all tries together, on both sides.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// What callers get where every target has weight zero; Envoy refuses such a list.
const NO_TARGET: u32 = 503;

/// Everything to the application, within the time that the listener gives.
pub(super) fn ingress(scope: &Scope<'_>, listener: &Listener) -> RouteConfiguration {
    let mapping = listener.port_mapping;
    let workload = &scope.proxy.workload;
    let cluster = naming::local_cluster(&workload.mesh, &workload.name, mapping);
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.clone())),
        ..bounded(&listener.timeout)
    };
    let everything = Route {
        r#match: Some(matcher::of_rule(Rule::Everything)),
        action: Some(Action::Route(action)),
        ..Default::default()
    };
    RouteConfiguration {
        name: naming::ingress_routes(mapping),
        virtual_hosts: vec![VirtualHost {
            name: cluster,
            domains: vec!["*".to_owned()],
            routes: vec![everything],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// By Host, then by path. A Host that is no backend's is answered 404.
///
/// That holds for both egress filters: without interception a call carries no destination of its own that it
/// could be passed through to.
pub(super) fn egress(scope: &Scope<'_>, backends: &[Backend<'_>]) -> RouteConfiguration {
    let mut taken = BTreeSet::new();
    let hosts = backends.iter().flat_map(|backend| virtual_hosts(scope, backend, &mut taken));
    RouteConfiguration {
        name: naming::egress_routes(scope.proxy.egress_port),
        virtual_hosts: hosts.collect(),
        ..Default::default()
    }
}

/// One virtual host per port of a service.
///
/// The first port is also meant by the bare name, and by the name with the egress listener's own port, which
/// is what an application writes that was given `http://name:15001`.
fn virtual_hosts(scope: &Scope<'_>, backend: &Backend<'_>, taken: &mut BTreeSet<String>) -> Vec<VirtualHost> {
    let Backend { name, ports } = backend;
    let on = |port: NonZeroU16| format!("{name}:{port}");
    let ports: Vec<&BackendPort<'_>> = ports.iter().filter(|port| port.mapping.protocol.is_http()).collect();
    let bare = [(*name).to_owned(), on(scope.proxy.egress_port)];
    if ports.is_empty() {
        return virtual_host((*name).to_owned(), bare.into(), Vec::new(), taken).into_iter().collect();
    }
    let declared: BTreeSet<String> = ports.iter().map(|port| on(port.mapping.port)).collect();
    let mut bare = bare.into_iter().filter(|domain| !declared.contains(domain)).collect::<Vec<_>>();
    let mut hosts = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let host = if index == 0 { (*name).to_owned() } else { on(port.mapping.port) };
        let mut domains = std::mem::take(&mut bare);
        domains.push(on(port.mapping.port));
        let routes = port.routes.iter().map(|route| to_service(scope, name, route)).collect();
        hosts.extend(virtual_host(host, domains, routes, taken));
    }
    hosts
}

/// Envoy refuses a whole table for one domain that occurs twice in it, whatever the case, and takes `*` for a
/// wildcard. So the first service keeps a name, and what can be no host name is none.
pub(super) fn virtual_host(
    name: String,
    domains: Vec<String>,
    routes: Vec<Route>,
    taken: &mut BTreeSet<String>,
) -> Option<VirtualHost> {
    let domains: Vec<String> = domains
        .into_iter()
        .filter(|domain| is_host(domain))
        .filter(|domain| taken.insert(domain.to_ascii_lowercase()))
        .collect();
    (!domains.is_empty()).then(|| VirtualHost { name, domains, routes, ..Default::default() })
}

/// Whether Envoy takes it for the name of one host.
pub(super) fn is_host(domain: &str) -> bool {
    domain.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*')
}

/// With the metadata by which App Mesh's metrics are told apart.
pub(super) fn to_service(scope: &Scope<'_>, service: &str, route: &BackendRoute<'_>) -> Route {
    Route { metadata: Some(metadata::of_service(service)), ..outbound(scope, route) }
}

/// A rule of a service's provider, and where it leads.
fn outbound(scope: &Scope<'_>, route: &BackendRoute<'_>) -> Route {
    let BackendRoute { rule, timeout, retry, targets } = route;
    let action = match weighted(scope, targets) {
        None => Action::DirectResponse(DirectResponseAction { status: NO_TARGET, ..Default::default() }),
        Some(clusters) => Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::WeightedClusters(clusters)),
            retry_policy: Some(retry::policy(*retry)),
            ..bounded(timeout)
        }),
    };
    Route { r#match: Some(matcher::of_rule(*rule)), action: Some(action), ..Default::default() }
}

/// Targets by weight, whatever the sum; those of weight zero stay in the list, as App Mesh kept them. Nothing
/// where all are zero, because Envoy refuses such a list.
fn weighted(scope: &Scope<'_>, targets: &[(Destination<'_>, u32)]) -> Option<WeightedCluster> {
    let cluster = |(destination, weight): &(Destination<'_>, u32)| ClusterWeight {
        name: destination.cluster(&scope.proxy.workload.mesh),
        weight: uint(*weight),
        ..Default::default()
    };
    let any = targets.iter().any(|(_, weight)| *weight > 0);
    any.then(|| WeightedCluster { clusters: targets.iter().map(cluster).collect(), ..Default::default() })
}

/// All tries of a request together, and its silence. Without a word on silence Envoy's five minutes hold, which
/// are App Mesh's.
fn bounded(timeout: &Timeout) -> RouteAction {
    let Timeout { per_request, idle } = timeout;
    RouteAction {
        timeout: duration(per_request.unwrap_or(REQUEST_TIMEOUT)),
        idle_timeout: idle.and_then(duration),
        ..Default::default()
    }
}

//! Route tables: everything to the application on the way in, by Host and path on the way out.

use std::{collections::BTreeSet, num::NonZeroU16, time::Duration};

use signet_xds::pb::envoy::config::route::v3::{
    DirectResponseAction, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, WeightedCluster,
    route::Action, route_action::ClusterSpecifier, route_match::PathSpecifier,
    weighted_cluster::ClusterWeight,
};

use super::{
    Scope,
    backend::{Backend, BackendRoute},
    naming, retry,
    scalar::{duration, uint},
};
use crate::model::{EgressFilter, PortMapping};

/// App Mesh's, of all tries together, on both sides.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// What callers get where every target has weight zero; Envoy refuses such a list.
const NO_TARGET: u32 = 503;

/// Everything to the application.
pub(super) fn ingress(scope: &Scope<'_>, mapping: PortMapping) -> RouteConfiguration {
    let workload = &scope.proxy.workload;
    let cluster = naming::local_cluster(&workload.mesh, &workload.name, mapping);
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.clone())),
        timeout: duration(REQUEST_TIMEOUT),
        ..Default::default()
    };
    RouteConfiguration {
        name: naming::ingress_routes(mapping),
        virtual_hosts: vec![VirtualHost {
            name: cluster,
            domains: vec!["*".to_owned()],
            routes: vec![on_prefix("/", Action::Route(action))],
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
    match scope.mesh.settings.egress_filter {
        EgressFilter::DropAll | EgressFilter::AllowAll => {}
    }
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
    let bare = [(*name).to_owned(), on(scope.proxy.egress_port)];
    if ports.is_empty() {
        return virtual_host((*name).to_owned(), bare.into(), Vec::new(), taken).into_iter().collect();
    }
    let declared: BTreeSet<String> = ports.iter().map(|port| on(port.port)).collect();
    let mut bare = bare.into_iter().filter(|domain| !declared.contains(domain)).collect::<Vec<_>>();
    let mut hosts = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let host = if index == 0 { (*name).to_owned() } else { on(port.port) };
        let mut domains = std::mem::take(&mut bare);
        domains.push(on(port.port));
        let routes = port.routes.iter().map(|route| outbound(scope, route)).collect();
        hosts.extend(virtual_host(host, domains, routes, taken));
    }
    hosts
}

/// Envoy refuses a whole table for one domain that occurs twice in it, whatever the case, and takes `*` for a
/// wildcard. So the first service keeps a name, and what can be no host name is none.
fn virtual_host(
    name: String,
    domains: Vec<String>,
    routes: Vec<Route>,
    taken: &mut BTreeSet<String>,
) -> Option<VirtualHost> {
    let is_host = |domain: &String| domain.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
    let domains: Vec<String> = domains
        .into_iter()
        .filter(is_host)
        .filter(|domain| taken.insert(domain.to_ascii_lowercase()))
        .collect();
    (!domains.is_empty()).then(|| VirtualHost { name, domains, routes, ..Default::default() })
}

fn outbound(scope: &Scope<'_>, route: &BackendRoute<'_>) -> Route {
    let BackendRoute { prefix, retry, targets } = route;
    if targets.iter().all(|(_, weight)| *weight == 0) {
        let refusal = DirectResponseAction { status: NO_TARGET, ..Default::default() };
        return on_prefix(prefix, Action::DirectResponse(refusal));
    }
    let weighted = targets.iter().map(|(destination, weight)| ClusterWeight {
        name: naming::target_cluster(&scope.proxy.workload.mesh, destination.node, destination.mapping),
        weight: uint(*weight),
        ..Default::default()
    });
    let clusters = WeightedCluster { clusters: weighted.collect(), ..Default::default() };
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(clusters)),
        timeout: duration(REQUEST_TIMEOUT),
        retry_policy: Some(retry::policy(*retry)),
        ..Default::default()
    };
    on_prefix(prefix, Action::Route(action))
}

fn on_prefix(prefix: &str, action: Action) -> Route {
    Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix(prefix.to_owned())),
            ..Default::default()
        }),
        action: Some(action),
        ..Default::default()
    }
}

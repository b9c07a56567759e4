//! TCP proxies.

use std::time::Duration;

use signet_xds::pb::{
    envoy::{
        config::listener::v3 as envoy,
        extensions::filters::network::tcp_proxy::v3::{
            TcpProxy,
            tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight},
        },
    },
    pack,
};

use super::super::{Scope, log, scalar::duration};

/// Every connection to one cluster.
///
/// Without a word on silence Envoy's own hour holds: App Mesh's two descriptions of its default contradict each other,
/// and five minutes would cut a database's idle connections.
pub(super) fn to_cluster(
    scope: &Scope<'_>,
    stat_prefix: String,
    cluster: String,
    idle: Option<Duration>,
) -> envoy::Filter {
    proxy(scope, stat_prefix, ClusterSpecifier::Cluster(cluster), idle)
}

/// Connections by weight; nothing where no cluster has any.
pub(super) fn to_clusters(
    scope: &Scope<'_>,
    stat_prefix: String,
    clusters: impl Iterator<Item = (String, u32)>,
    idle: Option<Duration>,
) -> Option<envoy::Filter> {
    // Envoy refuses a weight of zero here.
    let weighted = clusters.filter(|(_, weight)| *weight > 0);
    let mut clusters: Vec<_> =
        weighted.map(|(name, weight)| ClusterWeight { name, weight, ..Default::default() }).collect();
    let specifier = match clusters.len() {
        0 => return None,
        1 => ClusterSpecifier::Cluster(clusters.remove(0).name),
        _ => ClusterSpecifier::WeightedClusters(WeightedCluster { clusters }),
    };
    Some(proxy(scope, stat_prefix, specifier, idle))
}

fn proxy(
    scope: &Scope<'_>,
    stat_prefix: String,
    cluster: ClusterSpecifier,
    idle: Option<Duration>,
) -> envoy::Filter {
    let proxy = TcpProxy {
        stat_prefix,
        cluster_specifier: Some(cluster),
        idle_timeout: idle.and_then(duration),
        access_log: log::of(scope.access_log()),
        ..Default::default()
    };
    envoy::Filter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config_type: Some(envoy::filter::ConfigType::TypedConfig(pack(&proxy))),
    }
}

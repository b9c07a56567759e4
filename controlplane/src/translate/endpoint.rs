//! Endpoints of the nodes that are found by Cloud Map's names.
//!
//! Who is called is what `DiscoverInstances` would have answered to `HEALTHY_OR_ELSE_ALL`: the healthy instances,
//! and where none is healthy, all of them. Envoy is told of the unhealthy ones too, in a second priority: there they
//! do not count when it looks whether too many of the first are ejected to be choosy, and wait for the case that
//! none of the first is left.

use std::{collections::BTreeMap, net::IpAddr};

use signet_policies::identity::ResourceName;
use signet_xds::{
    Resource, ResourceType,
    pb::envoy::config::{
        core::v3::HealthStatus,
        endpoint::v3::{
            ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
        },
    },
};

use super::{forge::Forge, naming, scalar::ip_address};
use crate::{
    discovery::{Health, Instances},
    model::{Discovery, Mesh, PortMapping},
};

/// The endpoints of a node's listener, as every client in the mesh is told of them: one resource, also where there
/// is no instance. Nothing where the node is not found by Cloud Map's names.
///
/// An instance is dialed on the listener's port, as App Mesh did; its `AWS_INSTANCE_PORT` says nothing here.
pub(crate) fn of(
    mesh_name: &ResourceName,
    mesh: &Mesh,
    node: &ResourceName,
    mapping: PortMapping,
    discovery: &Discovery,
    instances: &Instances,
    forge: &mut Forge,
) -> Option<Resource> {
    let Discovery::CloudMap { namespace, service, attributes, ip_preference } = discovery else {
        return None;
    };
    let preference = ip_preference.or(mesh.settings.ip_preference);
    // Two instances at one address are one to Envoy; it is as good as the better of them.
    let mut healths: BTreeMap<IpAddr, Health> = BTreeMap::new();
    for (_, instance) in instances.matching(namespace, service, attributes) {
        if let Some(address) = instance.attributes.address(preference) {
            let health = healths.entry(address).or_insert(instance.health);
            *health = instance.health.min(*health);
        }
    }
    let of_health = |wanted: Health| {
        let addresses = healths.iter().filter(move |(_, health)| **health == wanted);
        addresses.map(|(address, health)| endpoint(*address, mapping, *health)).collect()
    };
    let priorities: Vec<Vec<LbEndpoint>> = vec![of_health(Health::Healthy), of_health(Health::Unhealthy)];
    let priorities = priorities.into_iter().filter(|hosts: &Vec<LbEndpoint>| !hosts.is_empty());
    let localities = priorities.zip(0..).map(|(lb_endpoints, priority)| LocalityLbEndpoints {
        lb_endpoints,
        priority,
        ..Default::default()
    });
    let name = naming::target_cluster(mesh_name, node, mapping);
    let assignment = ClusterLoadAssignment {
        cluster_name: name.clone(),
        endpoints: localities.collect(),
        ..Default::default()
    };
    Some(forge.share(ResourceType::Endpoint, name, assignment))
}

fn endpoint(address: IpAddr, mapping: PortMapping, health: Health) -> LbEndpoint {
    let endpoint = Endpoint { address: Some(ip_address(address, mapping.port)), ..Default::default() };
    let status = match health {
        Health::Healthy => HealthStatus::Healthy,
        Health::Unhealthy => HealthStatus::Unhealthy,
    };
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
        health_status: status.into(),
        ..Default::default()
    }
}

//! Where messages become bytes: once each, however many proxies are told the same.

use std::{any::Any, collections::HashMap};

use signet_policies::identity::ResourceName;
use signet_xds::{Replacements, Resource, ResourceType, pb::envoy::config::cluster::v3::Cluster};

use super::backend::Destination;
use crate::model::{ClientTls, PortMapping};

/// So many different messages are remembered; a few thousand bytes each.
const REMEMBERED: usize = 4096;

/// A message of whatever type, and its encoding.
type Made = (Box<dyn Any + Send>, Resource);

/// A cluster, and what it follows from beside its node and what is the same for a whole round.
struct Way {
    mapping: PortMapping,
    policy: Option<ClientTls>,
    service: Option<String>,
    /// The cluster; none where the node has no such port.
    cluster: Option<Resource>,
}

impl Way {
    fn is_to(&self, destination: &Destination<'_>) -> bool {
        let Destination { node: _, mapping, found: _, policy, service } = destination;
        (self.mapping, self.policy.as_ref(), self.service.as_deref()) == (*mapping, *policy, *service)
    }
}

/// Encodes the resources of one round of translation, in which the model and all else that it is given stay the same.
#[derive(Default)]
pub(crate) struct Forge {
    /// What may be asked for again, with the message that it is the encoding of.
    made: HashMap<(ResourceType, String), Vec<Made>>,
    /// The clusters that lead to a node of a mesh.
    clusters: HashMap<(ResourceName, ResourceName), Vec<Way>>,
    /// What took another's place in what proxies were told before.
    pub(super) replacements: Replacements,
    remembered: usize,
    encoded: u64,
}

impl Forge {
    /// Encodes a message that only one proxy, or one node's, are told of.
    pub(crate) fn make<M: prost::Name>(&mut self, kind: ResourceType, name: String, message: &M) -> Resource {
        self.encoded += 1;
        Resource::new(kind, name, message)
    }

    /// Encodes a message that others may be told of too, unless it has been.
    pub(crate) fn share<M>(&mut self, kind: ResourceType, name: String, message: M) -> Resource
    where
        M: prost::Name + PartialEq + Send + 'static,
    {
        let key = (kind, name);
        let known = self.made.get(&key).into_iter().flatten();
        let mut same = known.filter(|(known, _)| known.downcast_ref() == Some(&message));
        if let Some((_, resource)) = same.next() {
            return resource.clone();
        }
        let resource = self.make(kind, key.1.clone(), &message);
        if self.remembered < REMEMBERED {
            self.remembered += 1;
            self.made.entry(key).or_default().push((Box::new(message), resource.clone()));
        }
        resource
    }

    /// The cluster that leads to a destination, which is the same for whoever calls it so.
    pub(super) fn cluster(
        &mut self,
        mesh: &ResourceName,
        destination: &Destination<'_>,
        make: impl FnOnce() -> Option<Cluster>,
    ) -> Option<Resource> {
        let key = (mesh.clone(), destination.node.clone());
        let mut known = self.clusters.get(&key).into_iter().flatten();
        if let Some(way) = known.find(|way| way.is_to(destination)) {
            return way.cluster.clone();
        }
        let cluster = make().map(|made| self.share(ResourceType::Cluster, made.name.clone(), made));
        let Destination { node: _, mapping, found: _, policy, service } = destination;
        let way = Way {
            mapping: *mapping,
            policy: policy.cloned(),
            service: service.map(ToOwned::to_owned),
            cluster: cluster.clone(),
        };
        self.clusters.entry(key).or_default().push(way);
        cluster
    }

    /// How many messages were encoded.
    pub(crate) const fn encoded(&self) -> u64 {
        self.encoded
    }
}

//! The snapshots of one round, in which the model stays the same: what proxies have in common is made once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use signet_policies::identity::ResourceName;
use signet_xds::{Pool, Snapshot};

use super::Touched;
use crate::{
    model::Model,
    proxies::Concerned,
    translate::{Forge, Given, Proxy, Scope, Since},
};

pub(super) struct Round<'a> {
    given: Given<'a>,
    /// What proxies were told of before.
    told: &'a Model,
    touched: &'a Touched,
    pool: &'a mut Pool,
    forge: Forge,
    /// What changed in each mesh, where that is no more than nodes and what leads to them.
    since: BTreeMap<ResourceName, Option<Since<'a>>>,
    /// Those of workloads that have several proxies.
    made: HashMap<Proxy, Arc<Snapshot>>,
}

impl<'a> Round<'a> {
    pub(super) fn new(given: Given<'a>, told: &'a Model, touched: &'a Touched, pool: &'a mut Pool) -> Self {
        let (since, made) = (BTreeMap::new(), HashMap::new());
        Self { given, told, touched, pool, forge: Forge::default(), since, made }
    }

    /// What a proxy should hold, where it was made for an equal one.
    pub(super) fn made<T>(&self, concerned: &Concerned<T>) -> Option<Arc<Snapshot>> {
        if concerned.is_alone { None } else { self.made.get(&concerned.proxy).cloned() }
    }

    /// Makes what a proxy should hold. What is equal to what it, or another, holds already is the very same in memory.
    pub(super) fn make<T>(&mut self, concerned: &Concerned<T>, scope: &Scope<'_>) -> Arc<Snapshot> {
        let Concerned { proxy, wanted, .. } = concerned;
        let Self { given, told, touched, forge, since, .. } = self;
        // What it was told before is of the model before, unless it is new.
        let patched = wanted.as_deref().filter(|_| !touched.has(&proxy.workload)).and_then(|before| {
            let mesh = &proxy.workload.mesh;
            let since = since
                .entry(mesh.clone())
                .or_insert_with(|| given.since(told, mesh, touched.nodes(mesh)?, touched.has_others(mesh)));
            scope.patch(before, since.as_ref()?, forge)
        });
        let mut snapshot = patched.unwrap_or_else(|| scope.snapshot(&mut self.forge));
        if let Some(before) = wanted {
            snapshot.share_with(before);
        }
        self.pool.intern(&mut snapshot);
        let snapshot = Arc::new(snapshot);
        if !concerned.is_alone {
            self.made.insert(proxy.clone(), Arc::clone(&snapshot));
        }
        snapshot
    }

    /// How many messages were encoded.
    pub(super) const fn encoded(&self) -> u64 {
        self.forge.encoded()
    }
}

#[cfg(test)]
mod tests {
    use signet_policies::identity::Workload;
    use signet_xds::ResourceType;

    use super::*;
    use crate::{
        discovery::Instances,
        model::{Listener, Mesh, PortMapping, Protocol, VirtualNode},
        translate::{InForce, Interception},
    };

    #[test]
    fn what_is_equal_to_what_a_proxy_holds_is_the_very_same_and_nobody_looks_for_it_elsewhere() {
        let port_mapping = PortMapping { port: 8080.try_into().unwrap(), protocol: Protocol::Http };
        let node = VirtualNode { listeners: vec![Listener::new(port_mapping)], ..VirtualNode::default() };
        let mut mesh = Mesh::default();
        mesh.virtual_nodes.insert("a".parse().unwrap(), node.into());
        let meshes = [("m".parse().unwrap(), Arc::new(mesh))].into();
        let model = Model { revision: 1, meshes, ..Model::default() };
        let (in_force, instances) = (InForce::default(), Instances::default());
        let trust_domain = "td".parse().unwrap();
        let given =
            Given { model: &model, in_force: &in_force, instances: &instances, trust_domain: &trust_domain };
        let proxy = Proxy {
            workload: Workload::virtual_node("m", "a").unwrap(),
            interception: Interception::None,
            ingress_address: [127, 0, 0, 1].into(),
            egress_port: 15001.try_into().unwrap(),
        };
        let before = Arc::new(given.snapshot(&proxy, &mut Forge::default()));
        // Of a mesh that changed as a whole everything is made anew, and a pool that knows nothing yet is no help.
        let (mut touched, mut pool) = (Touched::default(), Pool::default());
        touched.add_mesh(&proxy.workload.mesh);
        let scope = given.scope(&proxy).unwrap();
        let concerned = Concerned {
            key: 0,
            proxy: proxy.clone(),
            is_alone: true,
            wanted: Some(Arc::clone(&before)),
            why: Some(()),
        };
        let mut round = Round::new(given, &model, &touched, &mut pool);
        let made = round.make(&concerned, &scope);
        assert!(round.encoded() > 0, "it was made anew");
        assert!(made.count(ResourceType::Listener) > 0);
        for kind in ResourceType::ALL {
            assert!(made.shares(kind, &before), "{kind}");
        }
        assert!(pool.is_empty(), "{} were looked for", pool.len());
    }
}

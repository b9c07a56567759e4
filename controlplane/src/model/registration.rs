//! What the mesh says a workload may hold.

use signet_policies::{
    identity::{DnsName, SpiffeId, Workload, WorkloadKind},
    issuance::Registration,
};

use super::{Certificate, Discovery, Model, VirtualNode};

impl Model {
    /// What the spec of `workload` allows it to hold; nothing where it does not exist.
    ///
    /// Its names are its discovery name, where that is a DNS name, and the SPIFFE IDs among the SDS secrets
    /// that its listeners present.
    #[must_use]
    pub fn registration(&self, workload: &Workload) -> Option<Registration> {
        match workload.kind {
            WorkloadKind::VirtualNode => {
                let node = self.meshes.get(&workload.mesh)?.virtual_nodes.get(&workload.name)?;
                Some(Registration {
                    workload: workload.clone(),
                    dns_names: dns_name(node).into_iter().collect(),
                    spiffe_ids: spiffe_ids(node),
                })
            }
            // This version's API makes none.
            WorkloadKind::VirtualGateway => None,
        }
    }
}

fn dns_name(node: &VirtualNode) -> Option<DnsName> {
    match node.discovery.as_ref()? {
        Discovery::Dns { hostname, .. } => hostname.parse().ok(),
        Discovery::CloudMap { .. } => node.discovery.as_ref()?.host().parse().ok(),
    }
}

fn spiffe_ids(node: &VirtualNode) -> Vec<SpiffeId> {
    let certificates = node.listeners.iter().filter_map(|listener| Some(&listener.tls.as_ref()?.certificate));
    let mut ids: Vec<SpiffeId> = certificates
        .filter_map(|certificate| match certificate {
            Certificate::Sds { secret_name } => secret_name.parse().ok(),
            Certificate::Acm { .. } | Certificate::File { .. } => None,
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::model::{Document, Mesh, Spec};

    fn model(spec: serde_json::Value) -> Model {
        let document = Document::parse("mesh/m/virtualNode/a".parse().unwrap(), spec).unwrap();
        let Spec::VirtualNode(node) = document.spec() else { panic!("{document:?}") };
        let virtual_nodes = [("a".parse().unwrap(), node.clone())].into();
        let mesh = Mesh { virtual_nodes, ..Mesh::default() };
        Model { revision: 1, meshes: [("m".parse().unwrap(), mesh.into())].into() }
    }

    fn listener(port: u16, certificate: serde_json::Value) -> serde_json::Value {
        json!({"portMapping": {"port": port, "protocol": "http"}, "tls": {"mode": "STRICT", "certificate": certificate}})
    }

    #[test]
    fn a_node_may_hold_its_discovery_name_and_the_identities_its_listeners_present() {
        let id = "spiffe://signet.internal/team/a";
        let mut model = model(json!({
            "serviceDiscovery": {"dns": {"hostname": "A.apps.local"}},
            "listeners": [
                listener(1, json!({"sds": {"secretName": "default"}})),
                listener(2, json!({"sds": {"secretName": "default"}})),
                listener(3, json!({"sds": {"secretName": "default"}})),
                listener(4, json!({"acm": {"certificateArn": "spiffe://signet.internal/team/b"}})),
            ],
        }));
        // The API takes no other name yet; the model can hold it.
        let mesh = Arc::make_mut(model.meshes.values_mut().next().unwrap());
        let node = Arc::make_mut(mesh.virtual_nodes.values_mut().next().unwrap());
        for listener in node.listeners.iter_mut().take(2) {
            listener.tls.as_mut().unwrap().certificate = Certificate::Sds { secret_name: id.to_owned() };
        }
        let workload = Workload::virtual_node("m", "a").unwrap();
        let registration = model.registration(&workload).unwrap();
        let expected = Registration {
            workload,
            dns_names: vec!["a.apps.local".parse().unwrap()],
            spiffe_ids: vec![id.parse().unwrap()],
        };
        assert_eq!(registration, expected);
    }

    #[test]
    fn an_address_is_no_name_and_a_stranger_has_no_registration() {
        let model = model(json!({"serviceDiscovery": {"dns": {"hostname": "10.0.0.1"}}}));
        let node = |mesh, name| Workload::virtual_node(mesh, name).unwrap();
        assert_eq!(model.registration(&node("m", "a")).unwrap().dns_names, []);
        assert_eq!(model.registration(&node("m", "b")), None);
        assert_eq!(model.registration(&node("n", "a")), None);
        let gateway = Workload { kind: WorkloadKind::VirtualGateway, ..node("m", "a") };
        assert_eq!(model.registration(&gateway), None);
    }
}

//! What the mesh says a workload may hold.

use std::collections::BTreeSet;

use signet_policies::{
    identity::{DnsName, SpiffeId, Workload, WorkloadKind},
    issuance::Registration,
};

use super::{Certificate, ClientPolicy, Discovery, Listener, Model, VirtualNode};

impl Model {
    /// Whether there is such a virtual node or gateway.
    #[must_use]
    pub fn has(&self, workload: &Workload) -> bool {
        self.meshes.get(&workload.mesh).is_some_and(|mesh| match workload.kind {
            WorkloadKind::VirtualNode => mesh.virtual_nodes.contains_key(&workload.name),
            WorkloadKind::VirtualGateway => mesh.virtual_gateways.contains_key(&workload.name),
        })
    }

    /// The ports that a virtual node or gateway serves; none where it does not exist.
    #[must_use]
    pub fn listeners(&self, workload: &Workload) -> &[Listener] {
        let mesh = self.meshes.get(&workload.mesh);
        let listeners = mesh.and_then(|mesh| match workload.kind {
            WorkloadKind::VirtualNode => Some(&mesh.virtual_nodes.get(&workload.name)?.listeners),
            WorkloadKind::VirtualGateway => Some(&mesh.virtual_gateways.get(&workload.name)?.listeners),
        });
        listeners.map_or(&[], Vec::as_slice)
    }

    /// How a virtual node is found; `None` also for a gateway.
    #[must_use]
    pub fn discovery(&self, workload: &Workload) -> Option<&Discovery> {
        let mesh = self.meshes.get(&workload.mesh)?;
        match workload.kind {
            WorkloadKind::VirtualNode => mesh.virtual_nodes.get(&workload.name)?.discovery.as_ref(),
            WorkloadKind::VirtualGateway => None,
        }
    }

    /// What the spec of `workload` allows it to hold; nothing where it does not exist.
    ///
    /// Its names are its discovery name, where it has one that is a DNS name, and the SPIFFE IDs among the SDS
    /// secrets that its listeners and client policies present.
    #[must_use]
    pub fn registration(&self, workload: &Workload) -> Option<Registration> {
        let mesh = self.meshes.get(&workload.mesh)?;
        let (dns_name, spiffe_ids) = match workload.kind {
            WorkloadKind::VirtualNode => {
                let node = mesh.virtual_nodes.get(&workload.name)?;
                let policies = node.backends.iter().map(|backend| &backend.client_policy);
                let policies = policies.chain([&node.client_policy]);
                (dns_name(node), spiffe_ids(&node.listeners, policies))
            }
            WorkloadKind::VirtualGateway => {
                let gateway = mesh.virtual_gateways.get(&workload.name)?;
                // Nothing in the mesh calls a gateway, so it has no discovery name. The host names that its routes
                // match are the world's, for which this CA does not speak.
                (None, spiffe_ids(&gateway.listeners, [&gateway.client_policy]))
            }
        };
        let dns_names = dns_name.into_iter().collect();
        Some(Registration { workload: workload.clone(), dns_names, spiffe_ids })
    }
}

fn dns_name(node: &VirtualNode) -> Option<DnsName> {
    node.discovery.as_ref()?.host().parse().ok()
}

/// The identities among the certificates that are presented, each once.
fn spiffe_ids<'a>(
    listeners: &[Listener],
    policies: impl IntoIterator<Item = &'a Option<ClientPolicy>>,
) -> Vec<SpiffeId> {
    let servers = listeners.iter().filter_map(|listener| Some(&listener.tls.as_ref()?.certificate));
    let clients =
        policies.into_iter().filter_map(|policy| policy.as_ref()?.tls.as_ref()?.certificate.as_ref());
    let identity = |certificate: &Certificate| match certificate {
        Certificate::Sds { secret_name } => secret_name.parse().ok(),
        Certificate::Acm { .. } | Certificate::File { .. } => None,
    };
    let ids: BTreeSet<SpiffeId> = servers.chain(clients).filter_map(identity).collect();
    ids.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{Document, Mesh, Spec};

    /// A model of one resource.
    fn model(key: &str, spec: Value) -> Model {
        let document = Document::parse(key.parse().unwrap(), spec).unwrap();
        let name = document.key().name().parse().unwrap();
        let mut mesh = Mesh::default();
        if let Spec::VirtualNode(node) = document.spec() {
            mesh.virtual_nodes.insert(name, node.clone());
        } else if let Spec::VirtualGateway(gateway) = document.spec() {
            mesh.virtual_gateways.insert(name, gateway.clone());
        }
        Model { revision: 1, meshes: [("m".parse().unwrap(), mesh.into())].into(), ..Model::default() }
    }

    fn listener(port: u16, certificate: Value) -> Value {
        json!({"portMapping": {"port": port, "protocol": "http"}, "tls": {"mode": "STRICT", "certificate": certificate}})
    }

    fn sds(name: &str) -> Value {
        json!({"sds": {"secretName": name}})
    }

    fn policy(certificate: Value) -> Value {
        json!({"tls": {"certificate": certificate, "validation": {"trust": sds("ROOTCA")}}})
    }

    fn workload(text: &str) -> Workload {
        text.parse().unwrap()
    }

    #[test]
    fn a_node_may_hold_its_discovery_name_and_the_identities_it_presents() {
        let id = |domain: &str| format!("spiffe://{domain}/mesh/m/virtual-node/a");
        let model = model(
            "mesh/m/virtualNode/a",
            json!({
                "serviceDiscovery": {"dns": {"hostname": "A.apps.local"}},
                "listeners": [
                    listener(1, sds(&id("a"))),
                    listener(2, sds(&id("a"))),
                    listener(3, sds("default")),
                    listener(4, json!({"acm": {"certificateArn": id("acm")}})),
                ],
                "backendDefaults": {"clientPolicy": policy(sds(&id("c")))},
                "backends": [
                    {"virtualService": {"virtualServiceName": "s", "clientPolicy": policy(sds(&id("b")))}},
                    {"virtualService": {"virtualServiceName": "t"}},
                ],
            }),
        );
        let workload = workload("mesh/m/virtualNode/a");
        let expected = Registration {
            workload: workload.clone(),
            dns_names: vec!["a.apps.local".parse().unwrap()],
            spiffe_ids: ["a", "b", "c"].map(|name| id(name).parse().unwrap()).into(),
        };
        assert_eq!(model.registration(&workload), Some(expected));
    }

    #[test]
    fn a_gateway_may_hold_the_identities_it_presents_and_no_dns_name() {
        let id = "spiffe://signet.internal/mesh/m/virtual-gateway/g";
        let model = model(
            "mesh/m/virtualGateway/g",
            json!({
                "listeners": [listener(1, sds(id)), listener(2, sds("default"))],
                "backendDefaults": {"clientPolicy": policy(sds(id))},
            }),
        );
        let workload = workload("mesh/m/virtualGateway/g");
        let spiffe_ids = vec![id.parse().unwrap()];
        let expected = Registration { workload: workload.clone(), dns_names: vec![], spiffe_ids };
        assert_eq!(model.registration(&workload), Some(expected));
    }

    #[test]
    fn a_node_that_cloud_map_finds_is_named_as_it_is_found() {
        let map = json!({"namespaceName": "apps.local", "serviceName": "b"});
        let model = model("mesh/m/virtualNode/a", json!({"serviceDiscovery": {"awsCloudMap": map}}));
        let registration = model.registration(&workload("mesh/m/virtualNode/a")).unwrap();
        assert_eq!(registration.dns_names, ["b.apps.local".parse().unwrap()]);
    }

    #[test]
    fn an_address_is_no_name_and_a_stranger_has_no_registration() {
        let spec = json!({"serviceDiscovery": {"dns": {"hostname": "10.0.0.1"}}});
        let model = model("mesh/m/virtualNode/a", spec);
        assert_eq!(model.registration(&workload("mesh/m/virtualNode/a")).unwrap().dns_names, []);
        for stranger in ["mesh/m/virtualNode/b", "mesh/n/virtualNode/a", "mesh/m/virtualGateway/a"] {
            assert_eq!(model.registration(&workload(stranger)), None, "{stranger}");
            assert!(!model.has(&workload(stranger)), "{stranger}");
        }
    }
}

//! What exists, and what each port is declared to speak.

use signet_audit::inventory::{Mode, Peer, Port, Registered};
use signet_controlplane::{
    model::{Discovery, Listener, Mesh, key::Key},
    reconcile::Ports,
    translate::PortId,
};
use signet_policies::{
    identity::{Workload, WorkloadKind},
    mtls::{self, Stance, Stances, resolve},
};

use super::super::V1;

pub(super) async fn collect(v1: &V1) -> (Vec<Registered>, Vec<Port>) {
    let model = v1.model.borrow().clone();
    let instances = v1.discovery.subscribe().borrow().clone();
    let in_force = v1.ports.borrow().clone();
    let (mut workloads, mut ports) = (Vec::new(), Vec::new());
    for (mesh_name, mesh) in model.meshes.iter() {
        for (kind, name, listeners) in proxies(mesh) {
            let workload = Workload { mesh: mesh_name.clone(), kind, name };
            let Some(registration) = model.registration(&workload) else { continue };
            let spec_ids = registration.spiffe_ids.iter().map(ToString::to_string);
            let counted =
                match mesh.virtual_nodes.get(&workload.name).and_then(|node| node.discovery.as_ref()) {
                    Some(Discovery::CloudMap { namespace, service, attributes, .. })
                        if kind == WorkloadKind::VirtualNode =>
                    {
                        u64::try_from(instances.matching(namespace, service, attributes).count()).ok()
                    }
                    _ => None,
                };
            workloads.push(Registered {
                workload: workload.to_string(),
                dns_names: registration.dns_names.iter().map(ToString::to_string).collect(),
                spiffe_ids: std::iter::once(workload.spiffe_id(&v1.trust_domain).to_string())
                    .chain(spec_ids)
                    .collect(),
                changed_at: changed_at(v1, &workload).await,
                // A node that only calls others registers nothing.
                instances: counted.filter(|count| *count > 0),
            });
            ports.extend(listeners.iter().map(|listener| port(&workload, listener, &in_force)));
        }
    }
    (workloads, ports)
}

fn proxies(mesh: &Mesh) -> Vec<(WorkloadKind, signet_policies::identity::ResourceName, &[Listener])> {
    let nodes = mesh.virtual_nodes.iter();
    let nodes =
        nodes.map(|(name, node)| (WorkloadKind::VirtualNode, name.clone(), node.listeners.as_slice()));
    let gateways = mesh.virtual_gateways.iter();
    let gateways = gateways
        .map(|(name, gateway)| (WorkloadKind::VirtualGateway, name.clone(), gateway.listeners.as_slice()));
    nodes.chain(gateways).collect()
}

/// In seconds since the epoch; 0 where it went meanwhile.
async fn changed_at(v1: &V1, workload: &Workload) -> i64 {
    let Ok(key) = workload.to_string().parse::<Key>() else { return 0 };
    let found = v1.audit.store.get(&key).await;
    found.map_or(0, |resource| i64::try_from(resource.metadata.updated_at / 1000).unwrap_or(i64::MAX))
}

fn port(workload: &Workload, listener: &Listener, in_force: &Ports) -> Port {
    let tls = listener.tls.as_ref();
    let asked = tls.map(|tls| if tls.validation.is_some() { mtls::Peer::Required } else { mtls::Peer::None });
    let spec = Stance { mode: tls.map(|tls| tls.mode), peer: asked };
    let effective = resolve(&Stances { spec, ..Stances::default() });
    let declared = mode(effective.mode.value);
    let port = listener.port_mapping.port;
    let now = in_force.get(&PortId { workload: workload.clone(), port });
    Port {
        workload: workload.to_string(),
        port: port.get(),
        declared,
        in_force: now.map_or(declared, |view| match (view.accepts_tls, view.accepts_plaintext) {
            (true, false) => Mode::Strict,
            (true, true) => Mode::Permissive,
            (false, _) => Mode::Disabled,
        }),
        peer: match effective.peer.value {
            mtls::Peer::None => Peer::None,
            mtls::Peer::Optional => Peer::Optional,
            mtls::Peer::Required => Peer::Required,
        },
    }
}

fn mode(mode: mtls::Mode) -> Mode {
    match mode {
        mtls::Mode::Disabled => Mode::Disabled,
        mtls::Mode::Permissive => Mode::Permissive,
        mtls::Mode::Strict => Mode::Strict,
    }
}

//! `VirtualNodeSpec`.

use std::collections::BTreeMap;

use super::{discovery, listener, log, name, secret::Owner, tls};
use crate::model::{
    Backend, ClientPolicy, VirtualNode,
    key::ServiceName,
    shape::{Field, Invalid, Object},
};

pub(super) fn parse(spec: &Object<'_>, owner: &Owner<'_>) -> Result<VirtualNode, Invalid> {
    let listeners = listener::of_node(&spec.list("listeners")?, owner)?;
    let discovery = spec.read("serviceDiscovery", discovery::parse)?;
    // Constraint C5.
    let rule = || "must be given, because the node has listeners that others call".to_owned();
    spec.check("serviceDiscovery", discovery.is_some() || listeners.is_empty(), rule)?;
    Ok(VirtualNode {
        listeners,
        discovery,
        backends: backends(spec, owner)?,
        client_policy: backend_defaults(spec, owner)?,
        access_log: log::access_log(spec)?,
    })
}

/// The client policy of all backends that have none of their own.
pub(super) fn backend_defaults(
    spec: &Object<'_>,
    owner: &Owner<'_>,
) -> Result<Option<ClientPolicy>, Invalid> {
    let policy =
        |field: &Field<'_>| field.object()?.read("clientPolicy", |field| tls::client_policy(field, owner));
    Ok(spec.read("backendDefaults", policy)?.flatten())
}

/// The services called, each once: a proxy refuses a configuration that names one twice, and App Mesh did not.
fn backends(spec: &Object<'_>, owner: &Owner<'_>) -> Result<Vec<Backend>, Invalid> {
    let mut seen: BTreeMap<ServiceName, Option<ClientPolicy>> = BTreeMap::new();
    let mut backends = Vec::new();
    for field in spec.list("backends")? {
        let backend = field.object()?.union(&[("virtualService", &|field| virtual_service(field, owner))])?;
        let Backend { virtual_service, client_policy } = backend.clone();
        match seen.insert(virtual_service, client_policy) {
            None => backends.push(backend),
            Some(before) if before == backend.client_policy => {}
            Some(_) => {
                let name = backend.virtual_service;
                field.check(false, || format!("another backend is {name}, with another client policy"))?;
            }
        }
    }
    Ok(backends)
}

fn virtual_service(field: &Field<'_>, owner: &Owner<'_>) -> Result<Backend, Invalid> {
    let service = field.object()?;
    Ok(Backend {
        virtual_service: name::service_or_arn(
            &service.required("virtualServiceName")?,
            &owner.workload.mesh,
        )?,
        client_policy: service.read("clientPolicy", |field| tls::client_policy(field, owner))?,
    })
}

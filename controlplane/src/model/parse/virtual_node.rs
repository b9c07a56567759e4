//! `VirtualNodeSpec`.

use std::{collections::BTreeSet, net::IpAddr};

use signet_policies::identity::DnsName;

use super::{port, tls};
use crate::model::{
    Backend, Discovery, DnsResponseType, Listener, VirtualNode,
    key::{Key, ServiceName},
    shape::{Field, Invalid, Object, Rule},
};

pub(super) fn parse(spec: &Object<'_>) -> Result<VirtualNode, Invalid> {
    spec.refuse_unless_empty(&["backendDefaults", "logging"])?;
    let fields = spec.list("listeners")?;
    let listeners = fields.iter().map(listener).collect::<Result<Vec<_>, _>>()?;
    port::distinct(&fields, listeners.iter().map(|listener| listener.port_mapping.port))?;
    let discovery = spec.optional("serviceDiscovery").map(|field| discovery(&field)).transpose()?;
    if discovery.is_none() && !listeners.is_empty() {
        let rule = "must be given, because the node has listeners that others call";
        return Err(spec.invalid("serviceDiscovery", Rule::Other(rule.into())));
    }
    Ok(VirtualNode { listeners, discovery, backends: backends(spec)?, client_policy: None, access_log: None })
}

fn listener(field: &Field<'_>) -> Result<Listener, Invalid> {
    let listener = field.object()?;
    listener.refuse(&["connectionPool", "healthCheck", "outlierDetection", "timeout"])?;
    Ok(Listener {
        tls: listener.optional("tls").map(|field| tls::parse(&field)).transpose()?,
        ..Listener::new(port::mapping(&listener)?)
    })
}

fn discovery(field: &Field<'_>) -> Result<Discovery, Invalid> {
    let (_, dns) = field.object()?.union(&["dns"], &["awsCloudMap"])?;
    let dns = dns.object()?;
    dns.refuse(&["ipPreference"])?;
    let types = [("LOADBALANCER", DnsResponseType::LoadBalancer), ("ENDPOINTS", DnsResponseType::Endpoints)];
    let response_type = dns.optional("responseType").map(|field| field.one_of(&types)).transpose()?;
    Ok(Discovery::Dns {
        hostname: hostname(&dns.required("hostname")?)?.to_owned(),
        response_type: response_type.unwrap_or_default(),
        ip_preference: None,
    })
}

/// What a resolver can be asked for. Anything else would only fail later, in the proxy.
fn hostname<'a>(field: &Field<'a>) -> Result<&'a str, Invalid> {
    let text = field.text(1..=255)?;
    match (text.parse::<IpAddr>(), text.parse::<DnsName>()) {
        (Ok(_), _) | (_, Ok(_)) => Ok(text),
        (Err(_), Err(error)) => {
            Err(field.invalid(Rule::Other(format!("must be a host name or an IP address: {error}"))))
        }
    }
}

/// The names of the services called, each once: a proxy refuses a configuration that names one twice.
fn backends(spec: &Object<'_>) -> Result<Vec<Backend>, Invalid> {
    let (mut seen, mut names) = (BTreeSet::new(), Vec::new());
    for field in spec.list("backends")? {
        let (_, service) = field.object()?.union(&["virtualService"], &[])?;
        let service = service.object()?;
        service.refuse_unless_empty(&["clientPolicy"])?;
        let name = service_name(&service.required("virtualServiceName")?)?;
        if seen.insert(name.clone()) {
            names.push(Backend { virtual_service: name, client_policy: None });
        }
    }
    Ok(names)
}

/// A virtual service's name, or its ARN.
fn service_name(field: &Field<'_>) -> Result<ServiceName, Invalid> {
    let text = field.text(1..=2048)?;
    let name = match text.strip_prefix("arn:") {
        // partition : service : region : account : resource
        Some(arn) => arn.splitn(5, ':').nth(4).and_then(|key| match key.parse() {
            Ok(Key::VirtualService { name, .. }) => Some(name),
            Ok(_) | Err(_) => None,
        }),
        None => text.parse::<ServiceName>().ok(),
    };
    let why = "must be the name or the ARN of a virtual service";
    name.ok_or_else(|| field.invalid(Rule::Other(why.into())))
}

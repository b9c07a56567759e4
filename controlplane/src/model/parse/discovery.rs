//! `ServiceDiscovery`.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
};

use signet_policies::identity::DnsName;

use crate::model::{
    Discovery, DnsResponseType, IpPreference,
    shape::{Field, Invalid, Object},
};

/// Longest name of a namespace or a service.
const MAX_NAME: usize = 1024;

pub(super) fn parse(field: &Field<'_>) -> Result<Discovery, Invalid> {
    field.object()?.union(&[("dns", &dns), ("awsCloudMap", &cloud_map)])
}

/// The `ipPreference` of a mesh's or a node's discovery.
pub(super) fn ip_preference(discovery: &Object<'_>) -> Result<Option<IpPreference>, Invalid> {
    let preferences = [
        ("IPv6_PREFERRED", IpPreference::Ipv6Preferred),
        ("IPv4_PREFERRED", IpPreference::Ipv4Preferred),
        ("IPv4_ONLY", IpPreference::Ipv4Only),
        ("IPv6_ONLY", IpPreference::Ipv6Only),
    ];
    discovery.read("ipPreference", |field| field.one_of(&preferences))
}

fn dns(field: &Field<'_>) -> Result<Discovery, Invalid> {
    let dns = field.object()?;
    let types = [("LOADBALANCER", DnsResponseType::LoadBalancer), ("ENDPOINTS", DnsResponseType::Endpoints)];
    Ok(Discovery::Dns {
        hostname: hostname(&dns.required("hostname")?)?.to_owned(),
        response_type: dns.read("responseType", |field| field.one_of(&types))?.unwrap_or_default(),
        ip_preference: ip_preference(&dns)?,
    })
}

/// What a resolver can be asked for. Anything else would only fail later, in the proxy.
fn hostname<'a>(field: &Field<'a>) -> Result<&'a str, Invalid> {
    let text = field.text(1..=255)?;
    match (text.parse::<IpAddr>(), text.parse::<DnsName>()) {
        (Ok(_), _) | (_, Ok(_)) => Ok(text),
        (Err(_), Err(error)) => Err(field.broken(format!("must be a host name or an IP address: {error}"))),
    }
}

fn cloud_map(field: &Field<'_>) -> Result<Discovery, Invalid> {
    let map = field.object()?;
    let mut attributes = BTreeMap::new();
    for field in map.list("attributes")? {
        let (key, value) = attribute(&field)?;
        match attributes.entry(key) {
            Entry::Vacant(entry) => drop(entry.insert(value)),
            Entry::Occupied(entry) if *entry.get() == value => {}
            Entry::Occupied(entry) => {
                let (key, other) = (entry.key(), entry.get());
                let rule = format!("no instance can match: {key:?} must be {other:?} already");
                return Err(field.broken(rule));
            }
        }
    }
    Ok(Discovery::CloudMap {
        namespace: map.required("namespaceName")?.text(1..=MAX_NAME)?.to_owned(),
        service: map.required("serviceName")?.text(1..=MAX_NAME)?.to_owned(),
        attributes,
        ip_preference: ip_preference(&map)?,
    })
}

/// `AwsCloudMapInstanceAttribute`.
fn attribute(field: &Field<'_>) -> Result<(String, String), Invalid> {
    let attribute = field.object()?;
    let (key, value) = (attribute.required("key")?, attribute.required("value")?);
    let (key_text, value_text) = (key.any_text(1..=255)?, value.any_text(1..=1024)?);
    if !key_text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(key.broken("must be of visible ASCII characters"));
    }
    let is_allowed = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
    if value_text.starts_with([' ', '\t']) || !value_text.bytes().all(is_allowed) {
        return Err(value.broken("must be of visible ASCII characters, with spaces and tabs after the first"));
    }
    Ok((key_text.to_owned(), value_text.to_owned()))
}

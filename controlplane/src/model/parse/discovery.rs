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
    if let (Err(_), Err(error)) = (text.parse::<IpAddr>(), text.parse::<DnsName>()) {
        field.check(false, || format!("must be a host name or an IP address: {error}"))?;
    }
    Ok(text)
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
                field.check(false, || format!("no instance can match: {key:?} must be {other:?} already"))?;
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
    let is_visible = key_text.bytes().all(|byte| byte.is_ascii_graphic());
    key.check(is_visible, || "must be of visible ASCII characters".to_owned())?;
    let is_allowed = |byte: u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
    let is_kept = !value_text.starts_with([' ', '\t']) && value_text.bytes().all(is_allowed);
    let rule = || "must be of visible ASCII characters, with spaces and tabs after the first".to_owned();
    value.check(is_kept, rule)?;
    Ok((key_text.to_owned(), value_text.to_owned()))
}

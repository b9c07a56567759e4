//! Instances as plain data, in an order of their own.

mod log;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::InstanceKey;
use crate::model::{ByName, IpPreference};
use log::Log;

/// Longest attribute key, in characters; Cloud Map's bound.
const MAX_KEY: usize = 255;
/// Longest attribute value, in characters; Cloud Map's bound.
const MAX_VALUE: usize = 1024;
/// Most attributes of one instance.
const MAX_ATTRIBUTES: usize = 60;
/// Most characters of all keys and values together; Cloud Map's bound.
const MAX_CHARACTERS: usize = 5000;

const IPV4: &str = "AWS_INSTANCE_IPV4";
const IPV6: &str = "AWS_INSTANCE_IPV6";
const PORT: &str = "AWS_INSTANCE_PORT";
const INITIAL_HEALTH: &str = "AWS_INIT_HEALTH_STATUS";
/// What Cloud Map knows and nobody here would follow.
const ELSEWHERE: [&str; 3] = ["AWS_ALIAS_DNS_NAME", "AWS_INSTANCE_CNAME", "AWS_EC2_INSTANCE_ID"];

/// Every instance of every service, at one moment. Cheap to clone and to change: the parts are shared.
#[derive(Clone, Debug, Default)]
pub struct Instances {
    namespaces: BTreeMap<String, Arc<Services>>,
    count: usize,
    log: Log,
}

/// The services of one namespace, by name.
type Services = ByName<String, Service>;

/// The instances of one service, by their ids.
pub type Service = BTreeMap<String, Arc<Instance>>;

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// What was said of it when it was registered.
    pub attributes: Attributes,
    /// What was said of it last.
    pub health: Health,
    /// Milliseconds since the epoch.
    pub registered_at: u64,
}

/// Whether an instance wants calls; Cloud Map's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Health {
    /// It does.
    #[default]
    Healthy,
    /// It does only if there is no other.
    Unhealthy,
}

/// Attributes of an instance, at least one address among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    all: BTreeMap<String, String>,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
}

/// Why attributes are refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidAttributes {
    /// Nothing says where the instance is.
    #[error("one of {IPV4} and {IPV6} is required: it says where the instance is")]
    NoAddress,
    /// A well-known attribute is no such thing.
    #[error("{key} must be {expected}; it is {found:?}")]
    Value {
        /// Which.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is, cut short.
        found: String,
    },
    /// Cloud Map would resolve it; Signet does not.
    #[error("{0} is not supported: give the instance's address as {IPV4} or {IPV6}")]
    Elsewhere(&'static str),
    /// Too many.
    #[error("an instance has at most {MAX_ATTRIBUTES} attributes; this one has {0}")]
    Many(usize),
    /// A key.
    #[error("attribute key {0:?} must have 1 to {MAX_KEY} visible characters")]
    Key(String),
    /// A value.
    #[error(
        "the value of attribute {0:?} must have at most {MAX_VALUE} characters, none of them a control character"
    )]
    Long(String),
    /// All of it.
    #[error("all keys and values together must have at most {MAX_CHARACTERS} characters; these have {0}")]
    Bulk(usize),
}

impl Attributes {
    /// Reads what a caller says of an instance.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(all: BTreeMap<String, String>) -> Result<Self, InvalidAttributes> {
        if all.len() > MAX_ATTRIBUTES {
            return Err(InvalidAttributes::Many(all.len()));
        }
        for (key, value) in &all {
            let visible = !key.chars().any(|char| char.is_control() || char.is_whitespace());
            if !visible || key.is_empty() || key.chars().count() > MAX_KEY {
                return Err(InvalidAttributes::Key(shown(key)));
            }
            if value.chars().count() > MAX_VALUE || value.chars().any(char::is_control) {
                return Err(InvalidAttributes::Long(shown(key)));
            }
        }
        let bulk = all.iter().map(|(key, value)| key.chars().count() + value.chars().count()).sum();
        if bulk > MAX_CHARACTERS {
            return Err(InvalidAttributes::Bulk(bulk));
        }
        if let Some(key) = ELSEWHERE.into_iter().find(|key| all.contains_key(*key)) {
            return Err(InvalidAttributes::Elsewhere(key));
        }
        let ipv4: Option<Ipv4Addr> = well_known(&all, IPV4, "an IPv4 address")?;
        let ipv6: Option<Ipv6Addr> = well_known(&all, IPV6, "an IPv6 address")?;
        well_known::<std::num::NonZeroU16>(&all, PORT, "a port, 1 to 65535")?;
        initial_health(&all)?;
        for (key, found) in [(IPV4, ipv4.map(IpAddr::V4)), (IPV6, ipv6.map(IpAddr::V6))] {
            if let Some(address) = found.filter(|it| it.is_unspecified() || it.is_multicast()) {
                let expected = "the address of one host";
                return Err(InvalidAttributes::Value { key, expected, found: address.to_string() });
            }
        }
        match (ipv4, ipv6) {
            (None, None) => Err(InvalidAttributes::NoAddress),
            _ => Ok(Self { all, ipv4, ipv6 }),
        }
    }

    /// All of them, by key.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<String, String> {
        &self.all
    }

    /// `AWS_INIT_HEALTH_STATUS`, else healthy: what an instance is when it is new.
    #[must_use]
    pub fn initial_health(&self) -> Health {
        // It was read when these were made.
        initial_health(&self.all).unwrap_or_default()
    }

    /// Where the instance is dialed; `None` where it has no address of a family that is wanted.
    ///
    /// Without a preference, IPv4 is preferred, as App Mesh did.
    #[must_use]
    pub fn address(&self, preference: Option<IpPreference>) -> Option<IpAddr> {
        let (v4, v6) = (self.ipv4.map(IpAddr::V4), self.ipv6.map(IpAddr::V6));
        match preference {
            None | Some(IpPreference::Ipv4Preferred) => v4.or(v6),
            Some(IpPreference::Ipv6Preferred) => v6.or(v4),
            Some(IpPreference::Ipv4Only) => v4,
            Some(IpPreference::Ipv6Only) => v6,
        }
    }
}

fn well_known<T: std::str::FromStr>(
    all: &BTreeMap<String, String>,
    key: &'static str,
    expected: &'static str,
) -> Result<Option<T>, InvalidAttributes> {
    let read = |found: &String| {
        found.parse().map_err(|_| InvalidAttributes::Value { key, expected, found: shown(found) })
    };
    all.get(key).map(read).transpose()
}

fn initial_health(all: &BTreeMap<String, String>) -> Result<Health, InvalidAttributes> {
    match all.get(INITIAL_HEALTH).map(String::as_str) {
        None | Some("HEALTHY") => Ok(Health::Healthy),
        Some("UNHEALTHY") => Ok(Health::Unhealthy),
        Some(found) => {
            let expected = "HEALTHY or UNHEALTHY";
            Err(InvalidAttributes::Value { key: INITIAL_HEALTH, expected, found: shown(found) })
        }
    }
}

/// What a caller sent, cut to a length that can be shown.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

impl Instances {
    /// The instances of a service.
    #[must_use]
    pub fn service(&self, namespace: &str, service: &str) -> Option<&Arc<Service>> {
        self.namespaces.get(namespace)?.get(service)
    }

    /// The instances of a service that have all of `attributes`, by id.
    pub fn matching<'a>(
        &'a self,
        namespace: &str,
        service: &str,
        attributes: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a str, &'a Instance)> {
        let has_all =
            |it: &Instance| attributes.iter().all(|(key, value)| it.attributes.all.get(key) == Some(value));
        let instances = self.service(namespace, service).into_iter().flat_map(|service| service.iter());
        instances.map(|(id, instance)| (id.as_str(), &**instance)).filter(move |(_, it)| has_all(it))
    }

    /// Every instance with its namespace, service and id, in the order of all three.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &str, &Arc<Instance>)> {
        let services = self.namespaces.iter().flat_map(|(namespace, services)| {
            services.iter().map(move |(service, instances)| (namespace.as_str(), service.as_str(), instances))
        });
        services.flat_map(|(namespace, service, instances)| {
            instances.iter().map(move |(id, instance)| (namespace, service, id.as_str(), instance))
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// One instance.
    #[must_use]
    pub fn get(&self, key: &InstanceKey) -> Option<&Arc<Instance>> {
        self.service(&key.namespace, &key.service)?.get(&key.id)
    }

    /// Adds an instance, or takes one's place.
    pub fn insert(&mut self, key: &InstanceKey, instance: Instance) {
        let InstanceKey { namespace, service, id } = key.clone();
        self.log.note(&namespace, &service);
        let services = Arc::make_mut(self.namespaces.entry(namespace).or_default());
        let mut before = None;
        services.edit(&service, |instances| before = instances.insert(id, Arc::new(instance)));
        self.count += usize::from(before.is_none());
    }

    /// Takes an instance out.
    pub fn remove(&mut self, key: &InstanceKey) -> Option<Arc<Instance>> {
        let removed = Arc::clone(self.get(key)?);
        let services = Arc::make_mut(self.namespaces.get_mut(&key.namespace)?);
        services.edit(&key.service, |instances| drop(instances.remove(&key.id)));
        if services.get(&key.service).is_some_and(|instances| instances.is_empty()) {
            services.remove(&key.service);
        }
        if services.is_empty() {
            self.namespaces.remove(&key.namespace);
        }
        self.log.note(&key.namespace, &key.service);
        self.count -= 1;
        Some(removed)
    }

    /// The services, by namespace and name, that differ from what they were.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> BTreeSet<(String, String)> {
        let is_same = |(namespace, service): &(String, String)| match (
            self.service(namespace, service),
            before.service(namespace, service),
        ) {
            (Some(now), Some(then)) => Arc::ptr_eq(now, then) || now == then,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let names =
            self.log.since(&before.log).unwrap_or_else(|| self.names().chain(before.names()).collect());
        names.into_iter().filter(|names| !is_same(names)).collect()
    }

    /// Namespace and name of every service.
    fn names(&self) -> impl Iterator<Item = (String, String)> {
        let of = |(namespace, services): (&String, &Arc<Services>)| {
            services.keys().map(|service| (namespace.clone(), service.clone())).collect::<Vec<_>>()
        };
        self.namespaces.iter().flat_map(of)
    }
}

/// How they came about is no part of what they are.
impl PartialEq for Instances {
    fn eq(&self, other: &Self) -> bool {
        self.namespaces == other.namespaces
    }
}

//! What an Envoy says of itself: its id, and what the agent wrote into its metadata.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
};

use signet_policies::identity::{InvalidWorkload, Workload, WorkloadKind};
use signet_xds::pb::{
    envoy::config::core::v3::{Node, node::UserAgentVersionType},
    google::protobuf::{Value, value::Kind},
};
use thiserror::Error;

use crate::{
    proxies::Said,
    translate::{Interception, Proxy},
};

/// The agent's part of the metadata.
const METADATA: &str = "signet";
/// App Mesh's own.
const INGRESS_PORT: NonZeroU16 = NonZeroU16::new(15_000).unwrap();
const EGRESS_PORT: NonZeroU16 = NonZeroU16::new(15_001).unwrap();
/// The most characters of a text that are kept.
const MAX_TEXT: usize = 64;

/// Why a node's description is not understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Misdescribed {
    /// The first request has no node.
    #[error("the first request has no node")]
    Absent,
    /// Its id.
    #[error("the node id names no workload: {0}")]
    Id(#[from] InvalidWorkload),
    /// Traffic is captured in a way that nobody here knows.
    #[error("interception {0:?} is unknown; run the agent with --interception none or iptables")]
    Interception(String),
    /// There the proxy would take its own calls to the application, which listens on 127.0.0.1, for calls to serve.
    #[error(
        "ingress address {0} is where the application listens, or every address, so that the proxy would call \
         itself; give the agent another --ingress-address, such as 127.0.0.12"
    )]
    Ingress(IpAddr),
    /// A member is missing, or is no such thing.
    #[error("node.metadata.signet.{member} must be {expected}, not {found:?}")]
    Member {
        /// Which.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
}

/// Reads what translation needs, and what else the proxy says of itself.
///
/// # Errors
/// The first thing that is not understood.
pub fn describe(node: &Node) -> Result<(Proxy, Said), Misdescribed> {
    let workload: Workload = node.id.parse()?;
    // Beside a gateway is none.
    let has_application = workload.kind == WorkloadKind::VirtualNode;
    let metadata = node.metadata.as_ref().and_then(|metadata| members(metadata.fields.get(METADATA)?));
    let member = |name: &str| metadata.and_then(|members| text(members.get(name)?)).unwrap_or_default();
    let instance = Some(member("instance")).filter(|instance| !instance.is_empty()).map(bounded);
    let said = Said { envoy: version(node), instance };
    // Absence means what App Mesh's own proxies did.
    match member("interception") {
        "none" => {}
        // Nothing is redirected to a gateway.
        "" | "iptables" if has_application => return Ok((redirected(workload, member)?, said)),
        "" | "iptables" => {}
        unknown => return Err(Misdescribed::Interception(bounded(unknown))),
    }
    let ingress_address = match member("ingressAddress") {
        "" if !has_application => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        said => parse("ingressAddress", "an IP address", said)?,
    };
    if has_application && is_the_applications(ingress_address) {
        return Err(Misdescribed::Ingress(ingress_address));
    }
    let egress_port = match member("egressPort") {
        "" if !has_application => EGRESS_PORT,
        said => parse("egressPort", "a port, as text", said)?,
    };
    Ok((Proxy { workload, interception: Interception::None, ingress_address, egress_port }, said))
}

/// A proxy that traffic is redirected to; where it says no ports, those are App Mesh's.
fn redirected<'a>(workload: Workload, member: impl Fn(&str) -> &'a str) -> Result<Proxy, Misdescribed> {
    let port = |name, usual| match member(name) {
        "" => Ok(usual),
        said => parse(name, "a port, as text", said),
    };
    Ok(Proxy {
        workload,
        interception: Interception::Redirected { ingress_port: port("ingressPort", INGRESS_PORT)? },
        ingress_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        egress_port: port("egressPort", EGRESS_PORT)?,
    })
}

/// Whether a listener there would sit before the application's own, at 127.0.0.1.
fn is_the_applications(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let hosts = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    address.is_unspecified() || hosts.contains(&address)
}

fn parse<T: std::str::FromStr>(
    member: &'static str,
    expected: &'static str,
    found: &str,
) -> Result<T, Misdescribed> {
    found.parse().map_err(|_| Misdescribed::Member { member, expected, found: bounded(found) })
}

fn bounded(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

fn members(value: &Value) -> Option<&HashMap<String, Value>> {
    match value.kind.as_ref()? {
        Kind::StructValue(members) => Some(&members.fields),
        Kind::NullValue(_)
        | Kind::NumberValue(_)
        | Kind::StringValue(_)
        | Kind::BoolValue(_)
        | Kind::ListValue(_) => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    match value.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        Kind::NullValue(_)
        | Kind::NumberValue(_)
        | Kind::StructValue(_)
        | Kind::BoolValue(_)
        | Kind::ListValue(_) => None,
    }
}

/// `1.40.0`.
fn version(node: &Node) -> Option<String> {
    match node.user_agent_version_type.as_ref()? {
        UserAgentVersionType::UserAgentVersion(version) => Some(bounded(version)),
        UserAgentVersionType::UserAgentBuildVersion(build) => {
            let version = build.version.as_ref()?;
            Some(format!("{}.{}.{}", version.major_number, version.minor_number, version.patch))
        }
    }
}

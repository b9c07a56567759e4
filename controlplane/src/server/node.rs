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

use crate::translate::Proxy;

/// The agent's part of the metadata.
const METADATA: &str = "signet";
/// Longest version text that is kept.
const MAX_VERSION: usize = 64;

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
    /// Traffic is captured in a way that this version does not configure.
    #[error("interception {0:?} is not supported yet; run the agent with --interception none")]
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

/// Reads what translation needs, and the version that the proxy says it is.
///
/// # Errors
/// The first thing that is not understood.
pub fn describe(node: &Node) -> Result<(Proxy, Option<String>), Misdescribed> {
    let workload: Workload = node.id.parse()?;
    // Nothing is redirected to a gateway, and no application is beside it.
    let has_application = workload.kind == WorkloadKind::VirtualNode;
    let metadata = node.metadata.as_ref().and_then(|metadata| members(metadata.fields.get(METADATA)?));
    let member = |name: &str| metadata.and_then(|members| text(members.get(name)?)).unwrap_or_default();
    // Absence means what App Mesh's own proxies did.
    let interception = match member("interception") {
        "" => "iptables",
        said => said,
    };
    if has_application && interception != "none" {
        return Err(Misdescribed::Interception(bounded(interception)));
    }
    let ingress_address: IpAddr = parse("ingressAddress", "an IP address", member("ingressAddress"))?;
    if has_application && is_the_applications(ingress_address) {
        return Err(Misdescribed::Ingress(ingress_address));
    }
    let egress_port: NonZeroU16 = parse("egressPort", "a port, as text", member("egressPort"))?;
    Ok((Proxy { workload, ingress_address, egress_port }, version(node)))
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
    text.chars().take(MAX_VERSION).collect()
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

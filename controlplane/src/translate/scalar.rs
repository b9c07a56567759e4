//! Protobuf's wrappers, and the few shapes that every part of the translation needs.

use std::{net::IpAddr, num::NonZeroU16, time::Duration};

use signet_xds::pb::{
    envoy::config::core::v3::{
        Address, ApiVersion, ConfigSource, SocketAddress, address, config_source, socket_address,
    },
    google::protobuf,
};

pub(super) fn yes() -> Option<protobuf::BoolValue> {
    Some(protobuf::BoolValue { value: true })
}

pub(super) fn uint(value: u32) -> Option<protobuf::UInt32Value> {
    Some(protobuf::UInt32Value { value })
}

/// Beyond protobuf's range (10 000 years) the longest that fits.
pub(super) fn duration(span: Duration) -> Option<protobuf::Duration> {
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(span.subsec_nanos()).unwrap_or_default();
    Some(protobuf::Duration { seconds: seconds.min(315_576_000_000), nanos })
}

pub(super) fn ip_address(address: IpAddr, port: NonZeroU16) -> Address {
    socket_address(address.to_string(), port)
}

/// `host` is an IP address, or a name where the cluster is resolved by DNS.
pub(super) fn socket_address(host: String, port: NonZeroU16) -> Address {
    let port = socket_address::PortSpecifier::PortValue(u32::from(port.get()));
    let socket = SocketAddress { address: host, port_specifier: Some(port), ..Default::default() };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}

/// More of the stream that the asking resource came over.
pub(super) fn same_stream() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(Default::default())),
        ..Default::default()
    }
}

//! Which version of HTTP a cluster is called in.

use std::collections::HashMap;

use signet_xds::pb::{
    envoy::{
        config::core::v3::{Http1ProtocolOptions, Http2ProtocolOptions},
        extensions::upstreams::http::v3::{
            HttpProtocolOptions,
            http_protocol_options::{
                ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
                explicit_http_config::ProtocolConfig,
            },
        },
    },
    google::protobuf::Any,
    pack,
};

use crate::model::Protocol;

/// The one key that the map of protocol options ever holds.
const KEY: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// By what the listener that is called speaks; nothing for TCP.
pub(super) fn of(protocol: Protocol) -> HashMap<String, Any> {
    let config = match protocol {
        Protocol::Tcp => return HashMap::new(),
        Protocol::Http => ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default()),
        Protocol::Http2 | Protocol::Grpc => {
            ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default())
        }
    };
    keyed(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(config) }))
}

/// As the caller itself speaks.
pub(super) fn as_the_caller_speaks() -> HashMap<String, Any> {
    keyed(UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
        http_protocol_options: Some(Http1ProtocolOptions::default()),
        http2_protocol_options: Some(Http2ProtocolOptions::default()),
        http3_protocol_options: None,
    }))
}

fn keyed(options: UpstreamProtocolOptions) -> HashMap<String, Any> {
    let options = HttpProtocolOptions { upstream_protocol_options: Some(options), ..Default::default() };
    HashMap::from([(KEY.to_owned(), pack(&options))])
}

//! Listeners: the node's ports towards the mesh, and those that take the application's own calls.
//!
//! ```text
//!                 not redirected                        redirected
//!  ingress   one listener per port, on its own    one on 15000, a pair of chains per port
//!  egress    one for all HTTP, by Host; one       one on 15001, a chain per port, by the
//!            per TCP port                         address that was dialed
//! ```

mod egress;
mod http;
mod ingress;
mod tcp;

use std::{num::NonZeroU16, time::Duration};

use signet_xds::pb::{
    envoy::{
        config::listener::v3::{
            FilterChain, FilterChainMatch, ListenerFilter, ListenerFilterChainMatchPredicate,
            listener_filter, listener_filter_chain_match_predicate::Rule,
        },
        extensions::filters::listener::{original_dst::v3::OriginalDst, tls_inspector::v3::TlsInspector},
        r#type::v3::Int32Range,
    },
    google::protobuf::Any,
    pack,
};

pub(super) use self::{egress::egress, ingress::ingress};

/// How long a connection may be silent before it is taken for plaintext.
const INSPECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// The same where a server that speaks first may be behind the port: each of its plaintext clients waits so long.
const SHORT_INSPECTION_TIMEOUT: Duration = Duration::from_secs(1);

fn tls_inspector() -> ListenerFilter {
    listener_filter("envoy.filters.listener.tls_inspector", pack(&TlsInspector::default()))
}

/// Brings back the address that was dialed before the connection was redirected.
fn original_destination() -> ListenerFilter {
    listener_filter("envoy.filters.listener.original_dst", pack(&OriginalDst::default()))
}

fn listener_filter(name: &str, config: Any) -> ListenerFilter {
    ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

/// Connections to this port.
fn to_port(port: NonZeroU16) -> ListenerFilterChainMatchPredicate {
    let start = i32::from(port.get());
    let range = Int32Range { start, end: start + 1 };
    ListenerFilterChainMatchPredicate { rule: Some(Rule::DestinationPortRange(range)) }
}

/// A chain that ends what comes to it.
fn closed(name: &str, to: FilterChainMatch) -> FilterChain {
    FilterChain { name: name.to_owned(), filter_chain_match: Some(to), ..Default::default() }
}

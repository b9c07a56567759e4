//! The one door to Envoy's protobufs.
//!
//! Everything is addressed from here: `pb::envoy::config::cluster::v3::Cluster`, `pb::google::protobuf::Any`,
//! `pb::google::rpc::Status`. Map fields of these messages are hash maps, whose encoding has no order: see
//! [`Resource::new`](crate::Resource::new) for what that asks of whoever builds a message.

pub use envoy_types::pb::*;
use google::protobuf::Any;

/// Packs a message into an `Any` under its own type URL (`type.googleapis.com/<full name>`).
pub fn pack<M: prost::Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

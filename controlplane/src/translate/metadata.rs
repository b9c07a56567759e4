//! What App Mesh's metrics extension reads beside listeners, clusters and routes: a JSON text in their metadata.

use std::collections::HashMap;

use serde_json::json;
use signet_policies::identity::ResourceName;
use signet_xds::pb::{
    envoy::config::core::v3::Metadata,
    google::protobuf::{Struct, UInt64Value, Value, value::Kind},
    pack,
};

/// The one namespace that such metadata has, and the one key in it.
const NAMESPACE: &str = "aws.appmesh.aggregate_stats";
const KEY: &str = "config";
/// Where the number by which connections are renewed is.
const GENERATION: &str = "signet.generation";

/// Of a cluster that leads to a node.
pub(super) fn of_target(node: &ResourceName) -> Metadata {
    tagged(Some(("TargetVirtualNode", node.as_str())))
}

/// Of a route to a virtual service.
pub(super) fn of_service(name: &str) -> Metadata {
    tagged(Some(("TargetVirtualService", name)))
}

/// Of a listener.
pub(super) fn of_listener() -> Metadata {
    tagged(None)
}

/// With the number by which connections are renewed; 0 says nothing.
///
/// It has a map of its own, since maps of two entries have no order, and as a message that Envoy knows it is shown in its
/// config dump.
pub(super) fn with_generation(metadata: Option<Metadata>, generation: u64) -> Option<Metadata> {
    if generation == 0 {
        return metadata;
    }
    let number = pack(&UInt64Value { value: generation });
    let typed_filter_metadata = HashMap::from([(GENERATION.to_owned(), number)]);
    Some(Metadata { typed_filter_metadata, ..metadata.unwrap_or_default() })
}

fn tagged(tag: Option<(&str, &str)>) -> Metadata {
    let tags: Vec<_> = tag.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    let text = Value { kind: Some(Kind::StringValue(json!({"tags": tags}).to_string())) };
    let config = Struct { fields: HashMap::from([(KEY.to_owned(), text)]) };
    Metadata { filter_metadata: HashMap::from([(NAMESPACE.to_owned(), config)]), ..Default::default() }
}

//! Resources in protobuf's canonical JSON with the fields' own names, which Envoy's `/config_dump` and its files are
//! written in.

use std::sync::OnceLock;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;
use thiserror::Error;

use crate::{Resource, ResourceType};

/// Descriptors of what xDS carries here, and of the extensions that are inside it.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/envoy.bin"));

/// Why something is not shown.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JsonError {
    /// A secret may hold a private key.
    #[error("secrets are not shown")]
    Secret,
    /// The descriptors do not describe it.
    #[error("there is no description of {0}")]
    Unknown(String),
    /// It is no such message.
    #[error("it is no {kind}")]
    Bytes {
        /// What it was taken for.
        kind: ResourceType,
        /// What is wrong with it.
        #[source]
        source: prost::DecodeError,
    },
    /// It has no JSON, or is none of such a message.
    #[error("a {kind} has no such JSON")]
    Json {
        /// What it was taken for.
        kind: ResourceType,
        /// What is wrong with it: an extension that is not described, or a field that there is not.
        #[source]
        source: serde_json::Error,
    },
}

/// A resource as JSON.
///
/// # Errors
/// It is a secret, or holds an extension that Signet itself never sends.
pub fn shown(resource: &Resource) -> Result<Value, JsonError> {
    let kind = resource.kind();
    if kind == ResourceType::Secret {
        return Err(JsonError::Secret);
    }
    let message = DynamicMessage::decode(descriptor(kind)?, resource.value().clone())
        .map_err(|source| JsonError::Bytes { kind, source })?;
    written(kind, &message)
}

/// The bytes of a message that is written as JSON, of any kind.
///
/// # Errors
/// It is none of this kind.
pub fn encoded(kind: ResourceType, json: &Value) -> Result<Vec<u8>, JsonError> {
    let message = DynamicMessage::deserialize(descriptor(kind)?, json);
    Ok(message.map_err(|source| JsonError::Json { kind, source })?.encode_to_vec())
}

/// JSON of a message of any kind as [`shown`] would have written it.
///
/// # Errors
/// It is none of this kind.
pub fn rewritten(kind: ResourceType, json: &Value) -> Result<Value, JsonError> {
    let message = DynamicMessage::deserialize(descriptor(kind)?, json);
    written(kind, &message.map_err(|source| JsonError::Json { kind, source })?)
}

fn written(kind: ResourceType, message: &DynamicMessage) -> Result<Value, JsonError> {
    let options = SerializeOptions::new().use_proto_field_name(true);
    let written = message.serialize_with_options(serde_json::value::Serializer, &options);
    written.map_err(|source| JsonError::Json { kind, source })
}

fn descriptor(kind: ResourceType) -> Result<MessageDescriptor, JsonError> {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    let pool = match POOL.get() {
        Some(pool) => pool,
        None => {
            let pool =
                DescriptorPool::decode(DESCRIPTORS).map_err(|error| JsonError::Unknown(error.to_string()))?;
            POOL.get_or_init(|| pool)
        }
    };
    let name = kind.type_url().rsplit('/').next().unwrap_or_default();
    pool.get_message_by_name(name).ok_or_else(|| JsonError::Unknown(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pb::{
        envoy::{
            config::{
                cluster::v3::Cluster, core::v3::TransportSocket, core::v3::transport_socket::ConfigType,
            },
            extensions::transport_sockets::tls::v3::{Secret, UpstreamTlsContext},
        },
        google::protobuf::Duration,
        pack,
    };

    fn cluster() -> Resource {
        let context = UpstreamTlsContext { sni: "a.test".into(), ..Default::default() };
        let message = Cluster {
            name: "c".into(),
            connect_timeout: Some(Duration { seconds: 0, nanos: 250_000_000 }),
            transport_socket: Some(TransportSocket {
                name: "tls".into(),
                config_type: Some(ConfigType::TypedConfig(pack(&context))),
            }),
            ..Default::default()
        };
        Resource::new(ResourceType::Cluster, "c", &message)
    }

    #[test]
    fn a_resource_is_shown_by_envoys_own_names_with_what_is_inside_it_and_read_again() {
        let shown = shown(&cluster()).unwrap();
        let expected = json!({
            "name": "c", "connect_timeout": "0.250s",
            "transport_socket": {"name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": "a.test"
            }}
        });
        assert_eq!(shown, expected);
        assert_eq!(encoded(ResourceType::Cluster, &shown).unwrap(), cluster().value()[..]);
        assert!(encoded(ResourceType::Cluster, &json!({"nam": "c"})).is_err());
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret =
            Resource::new(ResourceType::Secret, "s", &Secret { name: "s".into(), ..Default::default() });
        assert!(matches!(shown(&secret), Err(JsonError::Secret)));
    }
}

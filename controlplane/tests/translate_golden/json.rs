//! Snapshots as protobuf's canonical JSON, which Envoy's own `/config_dump` and bootstrap files are written in,
//! and what must hold for every message of one.

use std::{path::PathBuf, process::Command, sync::LazyLock};

use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage, SerializeOptions, Value};
use signet_xds::{Resource, ResourceType, Snapshot};

/// Envoy's descriptors, which `envoy-types` ships with its source but does not export.
static ENVOY: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    // Without a platform cargo wants the packages of every platform there is, which a build never fetched.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let command = ["metadata", "--format-version", "1", "--offline", "--filter-platform", &platform];
    let command = [&command[..], &["--manifest-path", manifest]].concat();
    let output = Command::new(env!("CARGO")).args(command).output().unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let envoy_types = packages.iter().find(|package| package["name"] == "envoy-types").unwrap();
    let manifest = PathBuf::from(envoy_types["manifest_path"].as_str().unwrap());
    let descriptors = std::fs::read(manifest.with_file_name("src/generated/types.bin")).unwrap();
    DescriptorPool::decode(&*descriptors).unwrap()
});

/// One resource as a message that can be looked into.
fn message(resource: &Resource) -> DynamicMessage {
    decode(resource.kind().type_url(), resource.value())
}

fn decode(type_url: &str, value: &[u8]) -> DynamicMessage {
    let name = type_url.rsplit('/').next().unwrap();
    let descriptor = ENVOY.get_message_by_name(name).unwrap_or_else(|| panic!("no descriptor of {name}"));
    DynamicMessage::decode(descriptor, value).unwrap()
}

/// `{"cluster": […], "listener": […], "route": […]}`, in the order of names.
pub(crate) fn canonical(snapshot: &Snapshot) -> String {
    canonical_kinds(snapshot, &ResourceType::ALL)
}

/// The same of resources of these kinds alone.
pub(crate) fn canonical_kinds(snapshot: &Snapshot, kinds: &[ResourceType]) -> String {
    let options = SerializeOptions::new().use_proto_field_name(true);
    let json = |resource: &Resource| {
        message(resource).serialize_with_options(serde_json::value::Serializer, &options).unwrap()
    };
    let kinds = kinds.iter().filter_map(|&kind| {
        let resources: Vec<_> = snapshot.resources(kind).map(json).collect();
        (!resources.is_empty()).then(|| (kind.to_string(), resources.into()))
    });
    serde_json::to_string_pretty(&serde_json::Value::Object(kinds.collect())).unwrap()
}

/// Calls `look` for every message in a snapshot, those inside an `Any` included.
pub(crate) fn visit(snapshot: &Snapshot, look: &mut dyn FnMut(&DynamicMessage)) {
    for kind in ResourceType::ALL {
        snapshot.resources(kind).for_each(|resource| visit_message(&message(resource), look));
    }
}

fn visit_message(message: &DynamicMessage, look: &mut dyn FnMut(&DynamicMessage)) {
    look(message);
    if message.descriptor().full_name() == "google.protobuf.Any" {
        let type_url = message.get_field_by_name("type_url").unwrap();
        let value = message.get_field_by_name("value").unwrap();
        visit_message(&decode(type_url.as_str().unwrap(), value.as_bytes().unwrap()), look);
        return;
    }
    for (_, value) in message.fields() {
        visit_value(value, look);
    }
}

fn visit_value(value: &Value, look: &mut dyn FnMut(&DynamicMessage)) {
    match value {
        Value::Message(message) => visit_message(message, look),
        Value::List(values) => values.iter().for_each(|value| visit_value(value, look)),
        Value::Map(values) => values.values().for_each(|value| visit_value(value, look)),
        Value::Bool(_)
        | Value::I32(_)
        | Value::I64(_)
        | Value::U32(_)
        | Value::U64(_)
        | Value::F32(_)
        | Value::F64(_)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::EnumNumber(_) => {}
    }
}

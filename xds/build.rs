//! Picks the descriptors of Envoy's messages that `json` reads: those of what xDS carries here, of the extensions inside
//! it, and of all that they refer to, without their comments. `envoy-types` ships them with its source, and does not
//! export them.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script what it must know by its environment"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    error::Error,
    fs,
    path::PathBuf,
    process::Command,
};

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

/// The files that everything in a resource is described in, or in what they import.
const ROOTS: [&str; 14] = [
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/config/route/v3/route.proto",
    "envoy/extensions/transport_sockets/tls/v3/secret.proto",
    "envoy/extensions/access_loggers/file/v3/file.proto",
    "envoy/extensions/filters/http/router/v3/router.proto",
    "envoy/extensions/filters/listener/original_dst/v3/original_dst.proto",
    "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto",
    "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto",
    "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let source = envoy_types()?.join("src/generated/types.bin");
    println!("cargo::rerun-if-changed={}", source.display());
    let all = FileDescriptorSet::decode(&*fs::read(&source)?)?;
    let all: BTreeMap<String, FileDescriptorProto> =
        all.file.into_iter().map(|file| (file.name().to_owned(), file)).collect();
    let (mut wanted, mut queue) = (BTreeSet::new(), ROOTS.map(str::to_owned).to_vec());
    while let Some(name) = queue.pop() {
        let file = all.get(&name).ok_or_else(|| format!("envoy-types describes no {name}"))?;
        if wanted.insert(name) {
            queue.extend(file.dependency.iter().cloned());
        }
    }
    let is_wanted = |(name, _): &(String, FileDescriptorProto)| wanted.contains(name);
    let bare = |(_, file)| FileDescriptorProto { source_code_info: None, ..file };
    let picked = FileDescriptorSet { file: all.into_iter().filter(is_wanted).map(bare).collect() };
    let out = PathBuf::from(env::var("OUT_DIR")?).join("envoy.bin");
    fs::write(out, picked.encode_to_vec())?;
    Ok(())
}

/// Where the source of `envoy-types` is.
fn envoy_types() -> Result<PathBuf, Box<dyn Error>> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    // Without a platform cargo wants the packages of every platform there is. It fetches what this build did not need.
    let command =
        ["metadata", "--format-version", "1", "--locked", "--filter-platform", &env::var("TARGET")?];
    let output =
        Command::new(env::var("CARGO")?).args(command).arg("--manifest-path").arg(manifest).output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let package = packages.iter().find(|package| package["name"] == "envoy-types");
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let manifest = PathBuf::from(manifest.ok_or("cargo metadata does not list envoy-types")?);
    Ok(manifest.parent().ok_or("envoy-types has no folder")?.to_owned())
}

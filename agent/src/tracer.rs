//! Where Envoy sends its spans: the three providers that App Mesh's image could be told of.
//!
//! The control plane turns tracing on in every connection manager and names no provider, so the bootstrap's holds. Envoy
//! 1.40 calls that place of it deprecated, and says so in its log; it is the one that needs no word with the server.

use std::net::IpAddr;

use serde_json::{Value, json};
use signet_policies::identity::Workload;

use crate::bootstrap::{load_assignment, socket_address, type_url};

/// Where X-Ray's daemon listens, by UDP.
pub const XRAY_PORT: u16 = 2000;
/// Where Jaeger's collector takes Zipkin's spans.
pub const JAEGER_PORT: u16 = 9411;
/// Where Datadog's agent takes traces.
pub const DATADOG_PORT: u16 = 8126;
/// Of how many requests X-Ray hears beyond the first of each second, in hundredths.
pub const XRAY_PERCENT: u8 = 5;

/// The host that providers are looked for on where none is named.
pub const HOST: &str = "127.0.0.1";
/// Jaeger's collector.
const JAEGER_CLUSTER: &str = "jaeger";
/// Datadog's agent.
const DATADOG_CLUSTER: &str = "datadog_agent";

/// A provider, and how it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tracer {
    /// AWS X-Ray's daemon.
    XRay {
        /// Envoy looks up no name for it.
        address: IpAddr,
        /// Of UDP.
        port: u16,
        /// What is told of which requests.
        sampling: Sampling,
        /// What the segments are called; `<mesh>/<resource>` without.
        segment: Option<String>,
    },
    /// Jaeger, or whatever else takes Zipkin's spans.
    Jaeger {
        /// A name or an address.
        host: String,
        /// Of HTTP.
        port: u16,
        /// Spans as JSON, not as protobuf.
        json: bool,
    },
    /// Datadog's agent.
    Datadog {
        /// A name or an address.
        host: String,
        /// Of HTTP.
        port: u16,
        /// Whose spans they are; `envoy-<mesh>/<resource>` without.
        service: Option<String>,
    },
}

/// Which requests X-Ray is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// The first of each second, and so many of a hundred others, at most 100.
    Percent(u8),
    /// As the rules in a file say, X-Ray's own, of version 2.
    Manifest(String),
}

impl Tracer {
    /// `tracing` of the bootstrap of a workload's proxy.
    pub(crate) fn provider(&self, workload: &Workload) -> Value {
        let resource = format!("{}/{}", workload.mesh, workload.name);
        let (name, config) = match self {
            Self::XRay { address, port, sampling, segment } => {
                let manifest = match sampling {
                    Sampling::Percent(percent) => json!({ "inline_string": rules(*percent).to_string() }),
                    Sampling::Manifest(path) => json!({ "filename": path }),
                };
                let config = json!({
                    "@type": type_url("envoy.config.trace.v3.XRayConfig"),
                    "daemon_endpoint": { "protocol": "UDP", "address": address.to_string(), "port_value": port },
                    "segment_name": segment.as_deref().unwrap_or(&resource),
                    "sampling_rule_manifest": manifest,
                    // X-Ray's console knows Envoys of a mesh by these; the image wrote gateways as nodes, too.
                    "segment_fields": {
                        "origin": "AWS::AppMesh::Proxy",
                        "aws": { "app_mesh": {
                            "mesh_name": workload.mesh.as_str(), "virtual_node_name": workload.name.as_str() } }
                    }
                });
                ("envoy.tracers.xray", config)
            }
            Self::Jaeger { json, .. } => {
                let config = json!({
                    "@type": type_url("envoy.config.trace.v3.ZipkinConfig"),
                    "collector_cluster": JAEGER_CLUSTER,
                    "collector_endpoint": "/api/v2/spans",
                    "collector_endpoint_version": if *json { "HTTP_JSON" } else { "HTTP_PROTO" },
                    "shared_span_context": false
                });
                ("envoy.tracers.zipkin", config)
            }
            Self::Datadog { service, .. } => {
                let config = json!({
                    "@type": type_url("envoy.config.trace.v3.DatadogConfig"),
                    "collector_cluster": DATADOG_CLUSTER,
                    "service_name": service.clone().unwrap_or_else(|| format!("envoy-{resource}"))
                });
                ("envoy.tracers.datadog", config)
            }
        };
        json!({ "http": { "name": name, "typed_config": config } })
    }

    /// The cluster that leads to the provider; X-Ray's daemon is told past Envoy's clusters.
    pub(crate) fn cluster(&self) -> Option<Value> {
        let (name, host, port) = match self {
            Self::XRay { .. } => return None,
            Self::Jaeger { host, port, .. } => (JAEGER_CLUSTER, host, port),
            Self::Datadog { host, port, .. } => (DATADOG_CLUSTER, host, port),
        };
        let discovery = if host.parse::<IpAddr>().is_ok() { "STATIC" } else { "STRICT_DNS" };
        Some(json!({
            "name": name,
            "type": discovery,
            "connect_timeout": "1s",
            "dns_lookup_family": "V4_PREFERRED",
            "load_assignment": load_assignment(name, socket_address(host, *port))
        }))
    }
}

/// X-Ray's rules, in which a rate is a fraction of one.
fn rules(percent: u8) -> Value {
    json!({ "version": 2, "rules": [], "default": { "fixed_target": 1, "rate": f64::from(percent) / 100.0 } })
}

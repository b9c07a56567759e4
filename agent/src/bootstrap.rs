//! Envoy's bootstrap: how it finds its secrets and its control plane. Everything else comes over ADS.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};
use signet_policies::identity::{SpiffeId, Workload};
use signet_sds::translate::{DEFAULT, ROOT_CA};

use crate::{server_addr::ServerAddr, tracer::Tracer};

/// The cluster that leads to the agent's socket; what the control plane sends refers to it by this name.
pub const SDS_CLUSTER: &str = "static_cluster_sds_unix_socket";
/// The cluster that leads to the Signet server.
pub const CONTROL_PLANE_CLUSTER: &str = "signet_control_plane";
/// Where Envoy's admin interface listens: this host only, as it can do anything.
pub const ADMIN_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Most connections that a proxy accepts at once; without a bound, clients can use up its memory.
const MAX_DOWNSTREAM_CONNECTIONS: u32 = 50_000;

const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// How traffic gets to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interception {
    /// Nothing is redirected: applications call the egress port on loopback.
    None,
    /// iptables rules redirect others' calls to one port, and the application's own to the egress port; see
    /// [`interception`](crate::interception).
    Iptables {
        /// Where others' calls arrive.
        ingress_port: u16,
    },
}

impl Interception {
    /// As node metadata spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Iptables { .. } => "iptables",
        }
    }
}

/// What a bootstrap is made from.
#[derive(Clone, Debug)]
pub struct Bootstrap<'a> {
    /// Whose proxy this is; its short name is the node id.
    pub workload: &'a Workload,
    /// Envoy's `node.cluster`; the node id where there is none.
    pub cluster: Option<&'a str>,
    /// Where the Signet server is.
    pub server: &'a ServerAddr,
    /// The one identity that it must show.
    pub server_id: &'a SpiffeId,
    /// The agent's socket, an absolute path.
    pub sds_socket: &'a Path,
    /// Port of the admin interface on [`ADMIN_ADDRESS`].
    pub admin_port: u16,
    /// Port of the egress listener on loopback.
    pub egress_port: u16,
    /// Where the node's listeners are bound; it means nothing where traffic is redirected.
    pub ingress_address: IpAddr,
    /// Which of its workload's proxies this is: replicas may be alike in everything else.
    pub instance: &'a str,
    /// How traffic gets here.
    pub interception: Interception,
    /// How long Envoy waits for its first clusters and listeners before it serves without; zero is for ever.
    pub initial_fetch_timeout: Duration,
    /// Where spans are sent; nowhere without.
    pub tracer: Option<&'a Tracer>,
}

impl Bootstrap<'_> {
    /// The bootstrap, the same bytes for the same input.
    #[must_use]
    pub fn render(&self) -> Value {
        let ads = json!({
            "resource_api_version": "V3",
            "initial_fetch_timeout": format!("{}s", self.initial_fetch_timeout.as_secs()),
            "ads": {}
        });
        let tracer = self.tracer.and_then(Tracer::cluster);
        let clusters: Vec<Value> =
            [self.sds_cluster(), self.control_plane_cluster()].into_iter().chain(tracer).collect();
        let mut bootstrap = json!({
            "node": self.node(),
            "admin": { "address": socket_address(&ADMIN_ADDRESS.to_string(), self.admin_port) },
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [grpc_service(CONTROL_PLANE_CLUSTER)]
                },
                "cds_config": ads,
                "lds_config": ads
            },
            "static_resources": { "clusters": clusters },
            "layered_runtime": { "layers": [
                { "name": "static_layer_0", "static_layer": { "re2": { "max_program_size": { "error_level": 1000 } } } },
                { "name": "admin_layer", "admin_layer": {} }
            ] },
            "overload_manager": { "resource_monitors": [{
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": type_url("envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"),
                    "max_active_downstream_connections": MAX_DOWNSTREAM_CONNECTIONS.to_string()
                }
            }] }
        });
        if let Some(tracer) = self.tracer {
            bootstrap["tracing"] = tracer.provider(self.workload);
        }
        bootstrap
    }

    /// All numbers are strings: a protobuf `Struct` has only doubles.
    fn node(&self) -> Value {
        let id = self.workload.to_string();
        let (member, ingress) = match self.interception {
            Interception::None => ("ingressAddress", self.ingress_address.to_string()),
            Interception::Iptables { ingress_port } => ("ingressPort", ingress_port.to_string()),
        };
        json!({
            "id": id,
            "cluster": self.cluster.unwrap_or(&id),
            "metadata": { "signet": {
                "interception": self.interception.as_str(),
                member: ingress,
                "egressPort": self.egress_port.to_string(),
                "instance": self.instance
            } }
        })
    }

    fn sds_cluster(&self) -> Value {
        json!({
            "name": SDS_CLUSTER,
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": http2(json!({})),
            "load_assignment": load_assignment(SDS_CLUSTER, json!({ "pipe": { "path": self.sds_socket } }))
        })
    }

    fn control_plane_cluster(&self) -> Value {
        let address = socket_address(self.server.host(), self.server.port());
        let discovery = if self.server.ip().is_some() { "STATIC" } else { "STRICT_DNS" };
        // A dead server behind a silent network is noticed within 35 s.
        let keepalive = json!({ "connection_keepalive": { "interval": "30s", "timeout": "5s" } });
        json!({
            "name": CONTROL_PLANE_CLUSTER,
            "type": discovery,
            "connect_timeout": "2s",
            "dns_lookup_family": "V4_PREFERRED",
            "typed_extension_protocol_options": http2(keepalive),
            "load_assignment": load_assignment(CONTROL_PLANE_CLUSTER, address),
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": self.tls_to_control_plane()
            }
        })
    }

    /// The workload's own certificate both ways: the stream is its identity's and no other's.
    fn tls_to_control_plane(&self) -> Value {
        let san = json!({ "san_type": "URI", "matcher": { "exact": self.server_id.to_string() } });
        let mut context = json!({
            "@type": type_url("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"),
            "common_tls_context": {
                "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
                "alpn_protocols": ["h2"],
                "tls_certificate_sds_secret_configs": [{ "name": DEFAULT, "sds_config": sds_config() }],
                "combined_validation_context": {
                    "default_validation_context": { "match_typed_subject_alt_names": [san] },
                    "validation_context_sds_secret_config": { "name": ROOT_CA, "sds_config": sds_config() }
                }
            }
        });
        // An IP address is no server name (RFC 6066, section 3).
        if self.server.ip().is_none() {
            context["sni"] = self.server.host().into();
        }
        context
    }
}

/// The admin and the egress port that a rendered bootstrap names.
pub(crate) fn ports_in(bootstrap: &[u8]) -> Option<(u16, u16)> {
    let bootstrap: Value = serde_json::from_slice(bootstrap).ok()?;
    let admin = bootstrap.pointer("/admin/address/socket_address/port_value")?.as_u64()?;
    let egress = bootstrap.pointer("/node/metadata/signet/egressPort")?.as_str()?;
    Some((admin.try_into().ok()?, egress.parse().ok()?))
}

/// How Envoy asks for a secret. The control plane writes the same, to the letter: only then does Envoy use one
/// subscription for both.
fn sds_config() -> Value {
    json!({
        "resource_api_version": "V3",
        "initial_fetch_timeout": "15s",
        "api_config_source": {
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [{ "envoy_grpc": { "cluster_name": SDS_CLUSTER } }]
        }
    })
}

/// Envoy's own back-off grows to half a minute, which is long for whoever waits for a server that is back.
fn grpc_service(cluster: &str) -> Value {
    json!({ "envoy_grpc": {
        "cluster_name": cluster,
        "retry_policy": { "retry_back_off": { "base_interval": "0.5s", "max_interval": "5s" } }
    } })
}

fn http2(options: Value) -> Value {
    json!({ HTTP_OPTIONS: {
        "@type": type_url(HTTP_OPTIONS),
        "explicit_http_config": { "http2_protocol_options": options }
    } })
}

pub(crate) fn load_assignment(cluster: &str, address: Value) -> Value {
    json!({
        "cluster_name": cluster,
        "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }]
    })
}

pub(crate) fn socket_address(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}

pub(crate) fn type_url(message: &str) -> String {
    format!("type.googleapis.com/{message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(server: &str) -> Value {
        render_with(server, Interception::None)
    }

    fn render_with(server: &str, interception: Interception) -> Value {
        let bootstrap = Bootstrap {
            workload: &Workload::virtual_node("my-mesh", "service-a").unwrap(),
            cluster: None,
            server: &server.parse().unwrap(),
            server_id: &"spiffe://signet.internal/signet/server".parse().unwrap(),
            sds_socket: Path::new("/run/signet/agent.sock"),
            admin_port: 9901,
            egress_port: 15_001,
            ingress_address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)),
            instance: "pod-1-42",
            interception,
            initial_fetch_timeout: Duration::ZERO,
            tracer: None,
        };
        bootstrap.render()
    }

    #[test]
    fn the_bootstrap_of_a_node_is_this() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&render("signet.example.com:7443")).unwrap());
    }

    #[test]
    fn the_ports_of_a_rendered_bootstrap_are_read_again() {
        let rendered = render("127.0.0.1:7443").to_string();
        assert_eq!(ports_in(rendered.as_bytes()), Some((9901, 15_001)));
        for other in ["", "{}", &rendered.replace("9901", "99010"), &rendered.replace("15001", "one")] {
            assert_eq!(ports_in(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_proxy_that_traffic_is_redirected_to_says_to_which_ports() {
        let rendered = render_with("127.0.0.1:7443", Interception::Iptables { ingress_port: 15_000 });
        let said = &rendered["node"]["metadata"]["signet"];
        let ports = json!(["iptables", "15000", "15001"]);
        assert_eq!(json!([said["interception"], said["ingressPort"], said["egressPort"]]), ports);
        assert_eq!(said["ingressAddress"], Value::Null);
    }

    #[test]
    fn a_server_with_an_address_is_not_looked_up_and_gets_no_server_name() {
        let cluster = &render("127.0.0.1:7443")["static_resources"]["clusters"][1];
        assert_eq!(cluster["type"], "STATIC");
        assert_eq!(cluster["transport_socket"]["typed_config"]["sni"], Value::Null);
    }
}

//! How clients watch the instances that they call: by asking, and by what comes back.

use signet_xds::pb::envoy::{
    config::{
        cluster::v3 as cluster,
        core::v3::{
            HealthCheck,
            health_check::{GrpcHealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck},
        },
    },
    r#type::v3::CodecClientType,
};

use super::super::scalar::{duration, uint, yes};
use crate::model::{self, Listener, OutlierDetection, Protocol};

/// The check that a listener asks its clients to make; `server_name` is how the node is found.
pub(super) fn check(listener: &Listener, server_name: &str) -> Option<HealthCheck> {
    let model::HealthCheck {
        protocol,
        path,
        port,
        healthy_threshold,
        unhealthy_threshold,
        interval,
        timeout,
    } = listener.health_check.as_ref()?;
    let http = |codec: CodecClientType| {
        HealthChecker::HttpHealthCheck(HttpHealthCheck {
            host: format!("{server_name}:{port}"),
            path: path.clone().unwrap_or_else(|| "/".to_owned()),
            codec_client_type: codec.into(),
            ..Default::default()
        })
    };
    let checker = match protocol {
        Protocol::Http => http(CodecClientType::Http1),
        Protocol::Http2 => http(CodecClientType::Http2),
        Protocol::Grpc => HealthChecker::GrpcHealthCheck(GrpcHealthCheck::default()),
        Protocol::Tcp => HealthChecker::TcpHealthCheck(TcpHealthCheck::default()),
    };
    Some(HealthCheck {
        timeout: duration(*timeout),
        interval: duration(*interval),
        // Envoy would look only once a minute at whom it has not called yet.
        no_traffic_interval: duration(*interval),
        healthy_threshold: uint(*healthy_threshold),
        unhealthy_threshold: uint(*unhealthy_threshold),
        alt_port: (*port != listener.port_mapping.port).then(|| u32::from(port.get())).and_then(uint),
        health_checker: Some(checker),
        ..Default::default()
    })
}

/// What makes clients leave out an instance for a while, and nothing beside it: Envoy would compare success rates too.
pub(super) fn outliers(detection: OutlierDetection) -> cluster::OutlierDetection {
    let OutlierDetection { max_server_errors, interval, base_ejection_duration, max_ejection_percent } =
        detection;
    cluster::OutlierDetection {
        consecutive_5xx: uint(max_server_errors),
        interval: duration(interval),
        base_ejection_time: duration(base_ejection_duration),
        max_ejection_percent: uint(max_ejection_percent),
        // App Mesh's promise: one is left out, whatever the percentage.
        always_eject_one_host: yes(),
        enforcing_success_rate: uint(0),
        ..Default::default()
    }
}

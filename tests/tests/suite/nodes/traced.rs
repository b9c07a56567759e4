//! Tracing: spans arrive at the provider that the agent is told of, by the variables of App Mesh's image or by what it
//! passes on to Envoy, and the application is told of the trace.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use axum::{Router, body::Bytes, extract::State, http::Uri};
use serde_json::Value;
use signet_tests::{
    bed::{Bed, PATIENCE, app::App, calling, listening},
    eventually, program,
};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{Mutex, mpsc},
    task::JoinSet,
};

const SERVICE: &str = "app.test";

/// What arrives at a provider: the path where there is one, and the bytes.
type Arrived = (String, Vec<u8>);

/// What a caller's agent is told, what its Envoy must tell the provider, and the application of the trace.
struct Case {
    node: &'static str,
    variables: String,
    /// For Envoy, beside what the agent itself writes into the bootstrap.
    config: Option<Value>,
    path: &'static str,
    said: &'static [&'static str],
    header: &'static str,
}

async fn collect(State(sender): State<mpsc::UnboundedSender<Arrived>>, uri: Uri, body: Bytes) {
    drop(sender.send((uri.path().to_owned(), body.to_vec())));
}

/// A stand-in for all three: Jaeger's and Datadog's by HTTP, X-Ray's by UDP.
async fn provider(
    tasks: &mut JoinSet<()>,
) -> Result<(SocketAddr, SocketAddr, mpsc::UnboundedReceiver<Arrived>)> {
    let (sender, arrived) = mpsc::unbounded_channel();
    let (http, udp) = (
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?,
    );
    let addresses = (http.local_addr()?, udp.local_addr()?);
    let router = Router::new().fallback(collect).with_state(sender.clone());
    tasks.spawn(async move { drop(axum::serve(http, router).await) });
    tasks.spawn(async move {
        let mut bytes = vec![0; 65_536];
        while let Ok(read) = udp.recv(&mut bytes).await {
            drop(sender.send((String::new(), bytes[..read].to_vec())));
        }
    });
    Ok((addresses.0, addresses.1, arrived))
}

/// The agent's program, told what a case tells it.
fn told(bed: &Bed, case: &Case) -> Result<PathBuf> {
    let Case { node, variables, config, .. } = case;
    let path = bed.path(&format!("agent-{node}"));
    let more = config.as_ref().map(|config| format!("--config-yaml '{config}'")).unwrap_or_default();
    let script = format!("#!/bin/sh\nexec env {variables} '{}' \"$@\" {more}\n", program()?.display());
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// As `docs/tracing.md` has it.
fn open_telemetry(port: u16) -> Value {
    let page = include_str!("../../../../docs/tracing.md");
    let config = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
    serde_json::from_str(&config.replace("4318", &port.to_string())).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_at_the_provider_that_the_agent_is_told_of_and_the_application_sees_the_trace()
-> Result<()> {
    let mut bed = Bed::start().await?;
    let mut tasks = JoinSet::new();
    let (http, udp, arrived) = provider(&mut tasks).await?;
    let arrived = Arc::new(Mutex::new(arrived));
    bed.mesh("m").await?;
    let app = App::http("app").await?;
    bed.virtual_node("m", "app", listening("127.0.0.1", app.port, "http")).await?;
    bed.service_of_node("m", SERVICE, "app").await?;
    let port = http.port();
    let cases = [
        Case {
            node: "by-x-ray",
            variables: format!(
                "ENABLE_ENVOY_XRAY_TRACING=1 AWS_XRAY_DAEMON_ADDRESS={udp} XRAY_SAMPLING_RATE=1"
            ),
            config: None,
            path: "",
            said: &["\"name\":\"m/by-x-ray\"", "\"mesh_name\":\"m\"", "AWS::AppMesh::Proxy"],
            header: "x-amzn-trace-id",
        },
        Case {
            node: "by-jaeger",
            variables: format!(
                "ENABLE_ENVOY_JAEGER_TRACING=1 JAEGER_TRACER_ADDRESS=localhost JAEGER_TRACER_PORT={port} \
                 JAEGER_TRACER_VERSION=JSON APPMESH_RESOURCE_CLUSTER=callers"
            ),
            config: None,
            path: "/api/v2/spans",
            said: &["\"serviceName\":\"callers\"", "cds_egress_m_app_http_"],
            header: "x-b3-traceid",
        },
        Case {
            node: "by-datadog",
            variables: format!("ENABLE_ENVOY_DATADOG_TRACING=1 DATADOG_TRACER_PORT={port}"),
            config: None,
            path: "/v0.4/traces",
            said: &["envoy-m/by-datadog", "cds_egress_m_app_http_"],
            header: "x-datadog-trace-id",
        },
        Case {
            node: "by-otlp",
            variables: String::new(),
            config: Some(open_telemetry(port)),
            path: "/v1/traces",
            said: &["shop", "cds_egress_m_app_http_"],
            header: "traceparent",
        },
        Case { node: "untraced", variables: String::new(), config: None, path: "", said: &[], header: "" },
    ];
    for case in cases {
        bed.programs.agent = told(&bed, &case)?;
        bed.virtual_node("m", case.node, calling(&[SERVICE])).await?;
        let caller = bed.node("m", case.node).await?;
        bed.synced().await?;
        let headers = async || {
            let told = caller.call(SERVICE).send().await?.json()?;
            anyhow::Ok(told["headers"].clone())
        };
        if case.header.is_empty() {
            let headers = headers().await?;
            let names = headers.as_object().context("headers")?.keys();
            let traced: Vec<_> = names.filter(|name| name.contains("trace")).collect();
            assert!(traced.is_empty(), "{traced:?}");
            continue;
        }
        eventually(&format!("a span of {}", case.node), PATIENCE, || async {
            let seen = headers().await?[case.header].clone();
            ensure!(seen != Value::Null, "the application was told of no trace");
            let (path, bytes) = arrived.lock().await.try_recv().context("nothing arrived")?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            ensure!(path == case.path && case.said.iter().all(|word| text.contains(word)), "{path} {text}");
            Ok(())
        })
        .await?;
    }
    bed.end().await;
    Ok(())
}

//! Retry policies, counted by the application that is retried.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use axum::{Router, extract::State, http::StatusCode};
use serde_json::{Value, json};
use signet::{
    client::Client,
    local::{
        app::NAME_HEADER,
        load::{Load, Plan},
        mesh::{Server, Sidecar, SidecarPlan, put},
    },
};
use signet_policies::identity::Workload;
use signet_tests::{clock, envoy_binary, eventually, machine, program};
use tokio::{net::TcpListener, task::JoinSet};

const PATIENCE: Duration = Duration::from_secs(20);
const SERVICE: &str = "flaky.test.internal";

/// An application that answers `status` as often as it is told, and 200 from then on.
#[derive(Clone, Default)]
struct Flaky {
    failures: Arc<AtomicU32>,
    status: Arc<AtomicU32>,
    tries: Arc<AtomicU32>,
}

async fn answer(State(flaky): State<Flaky>) -> (StatusCode, [(&'static str, &'static str); 1]) {
    flaky.tries.fetch_add(1, Ordering::SeqCst);
    let fails =
        flaky.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    let status = flaky.status.load(Ordering::SeqCst);
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    (status.filter(|_| fails).unwrap_or(StatusCode::OK), [(NAME_HEADER, "flaky")])
}

async fn start_application(flaky: Flaky, tasks: &mut JoinSet<()>) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let router = Router::new().fallback(answer).with_state(flaky);
    tasks.spawn(async move { drop(axum::serve(listener, router).await) });
    Ok(address)
}

fn route(retry: Option<&Value>) -> Value {
    let targets = json!([{"virtualNode": "flaky", "weight": 1}]);
    let mut http = json!({"match": {"prefix": "/"}, "action": {"weightedTargets": targets}});
    if let Some(retry) = retry {
        http["retryPolicy"] = retry.clone();
    }
    json!({"httpRoute": http})
}

async fn create(client: &Client, application: SocketAddr) -> Result<()> {
    put(client, "meshes", json!({"meshName": "m"})).await?;
    let listeners = json!([{"portMapping": {"port": application.port(), "protocol": "http"}}]);
    let spec = json!({"listeners": listeners, "serviceDiscovery": {"dns": {"hostname": "127.0.0.1"}}});
    put(client, "meshes/m/virtualNodes", json!({"virtualNodeName": "flaky", "spec": spec})).await?;
    let backends = json!([{"virtualService": {"virtualServiceName": SERVICE}}]);
    put(
        client,
        "meshes/m/virtualNodes",
        json!({"virtualNodeName": "caller", "spec": {"backends": backends}}),
    )
    .await?;
    let router = json!({"listeners": [{"portMapping": {"port": 80, "protocol": "http"}}]});
    put(client, "meshes/m/virtualRouters", json!({"virtualRouterName": "r", "spec": router})).await?;
    let first = json!({"routeName": "route", "spec": route(None)});
    put(client, "meshes/m/virtualRouter/r/routes", first).await?;
    let provider = json!({"provider": {"virtualRouter": {"virtualRouterName": "r"}}});
    put(client, "meshes/m/virtualServices", json!({"virtualServiceName": SERVICE, "spec": provider})).await?;
    Ok(())
}

/// One request through the caller's Envoy; whether it came back with 200.
async fn call(egress: SocketAddr) -> Result<bool> {
    let plan =
        Plan { address: egress, host: SERVICE.into(), new_connections: 1, kept_alive: 1, connections: 0 };
    let load = Load::start(&plan);
    let tally = eventually("an answer", PATIENCE, || async {
        let tally = load.take();
        ensure!(tally.requests() > 0, "none yet");
        Ok(tally)
    })
    .await?;
    Ok(tally.failed == 0)
}

/// A policy, the status and number of failures in a row, the tries it must take, and whether the caller sees 200.
type Case = (Option<Value>, u32, u32, u32, bool);

fn policy(retries: u32, events: &[&str]) -> Option<Value> {
    let timeout = json!({"unit": "ms", "value": 2000});
    Some(json!({"maxRetries": retries, "perRetryTimeout": timeout, "httpRetryEvents": events}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_retried_as_often_and_for_what_its_policy_says() -> Result<()> {
    let _machine = machine().await?;
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let client = server.client(clock())?;
    let (flaky, mut tasks) = (Flaky::default(), JoinSet::new());
    create(&client, start_application(flaky.clone(), &mut tasks).await?).await?;
    let ingress = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 31));
    let plan = SidecarPlan::on_loopback(Workload::virtual_node("m", "caller")?, ingress, envoy_binary()?);
    let mut sidecar = Sidecar::start(&program()?, &server, &client, &plan).await?;
    let admin = sidecar.admin();

    let cases: [Case; 6] = [
        (policy(3, &["server-error", "gateway-error"]), 503, 3, 4, true),
        (policy(3, &["server-error"]), 500, 9, 4, false),
        (policy(3, &["gateway-error"]), 500, 9, 1, false),
        (policy(2, &["client-error"]), 409, 2, 3, true),
        (None, 503, 2, 3, true),
        (None, 500, 9, 1, false),
    ];
    for (retry, status, failures, tries, served) in cases {
        put(&client, "meshes/m/virtualRouter/r/routes/route", json!({"spec": route(retry.as_ref())})).await?;
        // The policy's own number of retries tells that Envoy has it.
        let mark = match &retry {
            Some(policy) => format!("\"num_retries\": {}", policy["maxRetries"]),
            None => "\"num_retries\": 2".to_owned(),
        };
        let codes = match &retry {
            Some(policy) if policy["httpRetryEvents"][0] == "gateway-error" => "504",
            Some(policy) if policy["httpRetryEvents"][0] == "client-error" => "409",
            Some(_) => "511",
            None => "503",
        };
        eventually("Envoy has the policy", PATIENCE, || async {
            let dump = admin.text("/config_dump?resource=dynamic_route_configs").await?;
            let only_503 = retry.is_some() || !dump.contains("504");
            ensure!(dump.contains(&mark) && dump.contains(codes) && only_503, "it has {dump}");
            Ok(())
        })
        .await?;
        flaky.status.store(status, Ordering::SeqCst);
        flaky.failures.store(failures, Ordering::SeqCst);
        flaky.tries.store(0, Ordering::SeqCst);
        let was_served = call(sidecar.ready.egress).await?;
        flaky.failures.store(0, Ordering::SeqCst);
        assert_eq!(was_served, served, "{retry:?} and {failures} × {status}");
        assert_eq!(flaky.tries.load(Ordering::SeqCst), tries, "{retry:?} and {failures} × {status}");
    }
    sidecar.stop().await;
    server.stop().await;
    Ok(())
}

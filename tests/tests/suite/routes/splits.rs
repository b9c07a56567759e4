//! Weights, measured.

use std::{collections::BTreeMap, net::Ipv4Addr};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use signet_tests::bed::{Bed, Node, app::App, call, grpc, listening};
use tonic::metadata::MetadataMap;

use super::standing_alone;

const SERVICE: &str = "split.test";
/// Calls of one measurement.
const CALLS: u32 = 400;

fn weights(targets: &[(&str, u32)]) -> Value {
    let targets: Vec<Value> =
        targets.iter().map(|(node, weight)| json!({"virtualNode": node, "weight": weight})).collect();
    json!({"weightedTargets": targets})
}

/// How often each application answered.
async fn answers(caller: &Node) -> Result<BTreeMap<String, u32>> {
    let mut answers = BTreeMap::new();
    for _ in 0..CALLS {
        let answer = caller.call(SERVICE).send().await?;
        ensure!(answer.code() == 200, "{answer:?}");
        *answers.entry(answer.app().to_owned()).or_default() += 1;
    }
    Ok(answers)
}

/// Within five standard deviations of what the weights ask for, which one run in a million is not.
fn assert_share(answers: &BTreeMap<String, u32>, total: u32, app: &str, weight: u32, sum: u32) {
    let share = f64::from(weight) / f64::from(sum);
    let expected = f64::from(total) * share;
    let tolerance = 5.0 * (expected * (1.0 - share)).sqrt();
    let found = f64::from(answers.get(app).copied().unwrap_or_default());
    assert!((found - expected).abs() <= tolerance, "{app}: {expected} ± {tolerance} expected of {answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_split_by_weight_whatever_the_sum_and_a_zero_gets_none() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let mut apps = Vec::new();
    for name in ["a", "b", "c"] {
        apps.push(standing_alone(&bed, "m", name, "http").await?);
    }
    bed.router("m", SERVICE, "r", &[(80, "http")]).await?;
    let route = |targets: &[(&str, u32)]| json!({"httpRoute": {"match": {"prefix": "/"}, "action": weights(targets)}});
    let first = [("a", 2), ("b", 1), ("c", 0)];
    bed.route("m", "r", "split", route(&first)).await?;
    let caller = bed.caller("m", "caller", &[SERVICE]).await?;
    for targets in [first, [("a", 1), ("b", 90), ("c", 9)], [("a", 0), ("b", 0), ("c", 100)]] {
        bed.put("meshes/m/virtualRouter/r/routes/split", json!({"spec": route(&targets)})).await?;
        bed.synced().await?;
        let answers = answers(&caller).await?;
        let sum = targets.iter().map(|(_, weight)| weight).sum();
        for (app, weight) in targets {
            assert_share(&answers, CALLS, app, weight, sum);
        }
    }
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_calls_and_tcp_connections_are_split_by_weight_too() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let mut apps = Vec::new();
    for name in ["a", "b", "c"] {
        apps.push(standing_alone(&bed, "m", name, "grpc").await?);
        let tcp = App::tcp(&format!("tcp-{name}"), true).await?;
        bed.virtual_node("m", &format!("tcp-{name}"), listening("127.0.0.1", tcp.port, "tcp")).await?;
        apps.push(tcp);
    }
    // A TCP service is called on its own port of loopback.
    let port = call::free_port()?;
    bed.router("m", SERVICE, "r", &[(80, "grpc")]).await?;
    bed.router("m", "tcp.test", "tcp", &[(port, "tcp")]).await?;
    let grpc = json!({"grpcRoute": {"match": {}, "action": weights(&[("a", 30), ("b", 10), ("c", 0)])}});
    bed.route("m", "r", "split", grpc).await?;
    let tcp = json!({"tcpRoute": {"action": weights(&[("tcp-a", 1), ("tcp-b", 3), ("tcp-c", 0)])}});
    bed.route("m", "tcp", "split", tcp).await?;
    let caller = bed.caller("m", "caller", &[SERVICE, "tcp.test"]).await?;
    bed.synced().await?;

    let mut answers = BTreeMap::new();
    for _ in 0..CALLS {
        let told = grpc::call(caller.sidecar.ready.egress, SERVICE, "/pkg.S/M", MetadataMap::new()).await??;
        *answers.entry(told["app"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        let greeting = call::tcp((Ipv4Addr::LOCALHOST, port).into(), "", 6).await?;
        *answers.entry(greeting.trim().to_owned()).or_default() += 1;
    }
    for (app, weight) in [("a", 3), ("b", 1), ("c", 0), ("tcp-a", 1), ("tcp-b", 3), ("tcp-c", 0)] {
        assert_share(&answers, CALLS, app, weight, 4);
    }
    bed.end().await;
    Ok(())
}

//! Weights, measured.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use signet_tests::bed::{Bed, Node};

use super::standing_alone;

const SERVICE: &str = "split.test";
/// Calls of one measurement.
const CALLS: u32 = 600;

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

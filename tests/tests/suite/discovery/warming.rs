//! A cluster whose endpoints come by EDS changes under load: Envoy warms the new one until it is given its endpoints
//! again, 15 s where nobody does, and goes on with the old one for as long.

use signet_tests::bed::PATIENCE;
use tokio::time::Instant;

use super::*;

/// A tenth of this, on a machine that does nothing else. It is less than half of what Envoy waits.
const AT_ONCE: Duration = Duration::from_secs(6);

/// The spec of `colors` with more in its listener.
fn with(spec: &Value, member: &str, value: Value) -> Value {
    let mut spec = spec.clone();
    spec["listeners"][0][member] = value;
    spec
}

/// What Envoy runs of the cluster, not what it warms.
async fn active(caller: &Node) -> Result<Value> {
    let dump = caller.admin().json("/config_dump?resource=dynamic_active_clusters").await?;
    let clusters = dump["configs"].as_array().context("no clusters")?;
    let ours = |one: &&Value| one["cluster"]["name"].as_str().is_some_and(|name| name.starts_with(CLUSTER));
    Ok(clusters.iter().find(ours).context("no such cluster")?["cluster"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_cluster_that_is_found_by_cloud_map_is_in_force_at_once_and_fails_no_request()
-> Result<()> {
    let mut bed = Bed::start().await?;
    let port = free_port_of(bed.address())?;
    let caller = peopled(&mut bed, port, json!({})).await?;
    let (one, two) = (
        Instance::start("one", bed.address(), port).await?,
        Instance::start("two", bed.address(), port).await?,
    );
    register(&bed, &one, "blue").await?;
    register(&bed, &two, "blue").await?;
    let path = "/v20190125/meshes/m/virtualNodes/colors";
    let spec = bed.client.call(Method::GET, path, None).await?["spec"].take();
    let outliers = |errors: u32| {
        let span = json!({"unit": "s", "value": 30});
        json!({"baseEjectionDuration": span, "interval": span, "maxEjectionPercent": 50, "maxServerErrors": errors})
    };
    let check = json!({"protocol": "tcp", "healthyThreshold": 2, "unhealthyThreshold": 2,
                       "intervalMillis": 5000, "timeoutMillis": 2000});
    // Each is another cluster to Envoy, seen by the field that it brings.
    let steps = [
        (with(&spec, "outlierDetection", outliers(77)), "/outlier_detection/consecutive_5xx", json!(77)),
        (with(&spec, "outlierDetection", outliers(78)), "/outlier_detection/consecutive_5xx", json!(78)),
        (with(&spec, "healthCheck", check), "/health_checks/0/unhealthy_threshold", json!(2)),
        (spec.clone(), "/health_checks/0/unhealthy_threshold", Value::Null),
    ];
    let traffic = Traffic::start(&caller);
    traffic.goes_to(&["one", "two"]).await?;
    let clusters = updates(&caller).await?.0;
    for (spec, field, expected) in &steps {
        let started = Instant::now();
        bed.respec("m", "colors", spec.clone()).await?;
        eventually(&format!("{field} is {expected}"), PATIENCE, || async {
            let cluster = active(&caller).await?;
            let found = cluster.pointer(field).cloned().unwrap_or_default();
            ensure!(found == *expected, "{cluster}");
            Ok(())
        })
        .await?;
        let took = started.elapsed();
        assert!(took < AT_ONCE, "{field} took {took:?}: the cluster waited for endpoints");
        let warming = caller.total("cluster_manager.warming_clusters").await?;
        assert_eq!(warming, 0, "{field}");
        traffic.goes_to(&["one", "two"]).await.with_context(|| field.to_string())?;
    }
    assert_eq!(updates(&caller).await?.0 - clusters, 4, "one update of clusters for each change");
    let timeouts = caller.total(&format!("{CLUSTER}.*init_fetch_timeout")).await?;
    assert_eq!(timeouts, 0, "Envoy gave up waiting for endpoints");
    let tally = traffic.stop().await;
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.requests(), tally.failures);
    assert_eq!(caller.total(&format!("{CLUSTER}.*upstream_rq_retry$")).await?, 0);
    bed.end().await;
    Ok(())
}

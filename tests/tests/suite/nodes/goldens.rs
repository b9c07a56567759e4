//! The goldens of the translation, judged by Envoy itself: as it validates each, and as it runs one after the other.

mod running;

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use signet_tests::envoy_binary;

/// A golden as a bootstrap of its own: what would come over the stream stands where it is asked for.
pub(in super::super) fn bootstrap(golden: &Value) -> Value {
    let of = |kind: &str| golden[kind].as_array().cloned().unwrap_or_default();
    let (mut clusters, mut listeners) = (of("cluster"), of("listener"));
    let (routes, endpoints) = (of("route"), of("endpoint"));
    clusters.iter_mut().for_each(|cluster| inline(cluster, &routes, &endpoints));
    listeners.iter_mut().for_each(|listener| inline(listener, &routes, &endpoints));
    clusters.push(json!({
        "name": "static_cluster_sds_unix_socket", "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "static_cluster_sds_unix_socket", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"pipe": {"path": "/run/signet/agent.sock"}}}}]}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}}}}
    }));
    json!({
        "node": {"id": "golden", "cluster": "golden"},
        "static_resources": {"clusters": clusters, "listeners": listeners},
        "layered_runtime": {"layers": [{"name": "s", "static_layer": {"re2.max_program_size.error_level": 1000}}]}
    })
}

fn inline(value: &mut Value, routes: &[Value], endpoints: &[Value]) {
    let named = |of: &[Value], key: &str, name: &Value| of.iter().find(|one| one[key] == *name).cloned();
    match value {
        Value::Object(members) => {
            if let Some(rds) = members.remove("rds") {
                let mut table = named(routes, "name", &rds["route_config_name"]).unwrap_or_default();
                // Clusters that do not exist are answered 503, on purpose.
                table["validate_clusters"] = false.into();
                members.insert("route_config".to_owned(), table);
            }
            if members.remove("eds_cluster_config").is_some() {
                let name = members["name"].clone();
                members.insert("type".to_owned(), "STATIC".into());
                let assignment = named(endpoints, "cluster_name", &name);
                members.insert(
                    "load_assignment".to_owned(),
                    assignment.unwrap_or(json!({"cluster_name": name})),
                );
            }
            // A static cluster with a secret over ADS ends Envoy 1.40 at once; only such clusters stand here.
            if members.get("sds_config").is_some_and(|source| source.get("ads").is_some()) {
                members.insert(
                    "sds_config".to_owned(),
                    json!({"resource_api_version": "V3",
                    "path_config_source": {"path": "/dev/null"}}),
                );
            }
            members.values_mut().for_each(|member| inline(member, routes, endpoints));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| inline(item, routes, endpoints)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Every golden by its name.
fn goldens() -> Result<Vec<(String, Value)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../controlplane/golden");
    let mut goldens = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "snap") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let json = text.splitn(3, "---\n").nth(2).context("a snapshot has a head")?;
        let name = path.file_stem().context("a name")?.to_string_lossy().into_owned();
        goldens.push((name, serde_json::from_str(json)?));
    }
    ensure!(goldens.len() > 30, "only {} goldens", goldens.len());
    goldens.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(goldens)
}

/// What Envoy says against a golden; empty where it takes it.
fn refusal(name: &str, golden: &Value, folder: &Path) -> Result<String> {
    let file = folder.join(format!("{name}.json"));
    std::fs::write(&file, bootstrap(golden).to_string())?;
    let mut envoy = Command::new(envoy_binary()?);
    let output = envoy.args(["--mode", "validate", "--log-level", "warning", "-c"]).arg(&file).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let deprecated = said.contains("Deprecated field") || said.contains("Using deprecated option");
    let refused = !output.status.success() || deprecated;
    Ok(if refused { format!("{name}: {said}\n") } else { String::new() })
}

#[test]
fn envoy_takes_every_golden() -> Result<()> {
    let (folder, goldens) = (tempfile::tempdir()?, goldens()?);
    let refusals = std::thread::scope(|scope| {
        let halves: Vec<_> = goldens.chunks(goldens.len().div_ceil(2)).collect();
        let judges: Vec<_> = halves
            .into_iter()
            .map(|half| {
                scope.spawn(|| {
                    let refusals = half.iter().map(|(name, golden)| refusal(name, golden, folder.path()));
                    refusals.collect::<Result<String>>()
                })
            })
            .collect();
        judges.into_iter().map(|judge| judge.join().unwrap()).collect::<Result<String>>()
    })?;
    assert!(refusals.is_empty(), "{refusals}");
    Ok(())
}

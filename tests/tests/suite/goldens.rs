//! What translation is held to, before Envoy itself: every golden is a configuration that it takes.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use signet_tests::{envoy_binary, machine};

/// A cluster of the agent's bootstrap that what is sent refers to.
fn of_the_agent(name: &str) -> Value {
    let pipe = json!({"endpoint": {"address": {"pipe": {"path": "/nowhere"}}}});
    let assignment = json!({"cluster_name": name, "endpoints": [{"lb_endpoints": [pipe]}]});
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let http2 = json!({
        "@type": format!("type.googleapis.com/{options}"),
        "explicit_http_config": {"http2_protocol_options": {}}
    });
    json!({
        "name": name, "type": "STATIC", "load_assignment": assignment,
        "typed_extension_protocol_options": {options: http2}
    })
}

/// A listener that carries a table. Tables are asked for by name where they belong, so nothing would look at them.
fn carrying(table: &Value, index: usize) -> Value {
    let filters = "type.googleapis.com/envoy.extensions.filters";
    let router =
        json!({"name": "router", "typed_config": {"@type": format!("{filters}.http.router.v3.Router")}});
    let mut table = table.clone();
    // A node that is gone has no cluster; the stream does not mind.
    table["validate_clusters"] = false.into();
    let manager = json!({
        "@type": format!("{filters}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "s", "http_filters": [router], "route_config": table
    });
    json!({
        "name": format!("table-{index}"),
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 20_000 + index}},
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}]
    })
}

fn bootstrap(golden: &Value) -> Value {
    let of_kind = |kind: &str| golden[kind].as_array().cloned().unwrap_or_default();
    let agent = ["static_cluster_sds_unix_socket", "xds"].map(of_the_agent);
    let clusters: Vec<Value> = agent.into_iter().chain(of_kind("cluster")).collect();
    let tables = of_kind("route").into_iter().enumerate().map(|(index, table)| carrying(&table, index));
    let listeners: Vec<Value> = of_kind("listener").into_iter().chain(tables).collect();
    let stream = json!({
        "api_type": "DELTA_GRPC", "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]
    });
    json!({
        "node": {"id": "mesh/m/virtualNode/n", "cluster": "m"},
        "dynamic_resources": {"ads_config": stream},
        "static_resources": {"clusters": clusters, "listeners": listeners}
    })
}

fn goldens() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../controlplane/golden");
    let files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(files.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "snap")).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_takes_every_golden() -> Result<()> {
    let (_machine, envoy, goldens) = (machine().await?, envoy_binary()?, goldens()?);
    ensure!(goldens.len() > 20, "the folder is broken");
    for path in goldens {
        let text = std::fs::read_to_string(&path)?;
        let (_, text) = text.split_once("\n---\n").context("a snapshot's head")?;
        let golden: Value = serde_json::from_str(text).with_context(|| path.display().to_string())?;
        let mut file = tempfile::Builder::new().suffix(".json").tempfile()?;
        file.write_all(bootstrap(&golden).to_string().as_bytes())?;
        let validate = ["--mode", "validate", "--disable-hot-restart", "-l", "warning", "-c"];
        let output = Command::new(&envoy).args(validate).arg(file.path()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", path.display());
        assert!(!said.contains("deprecated"), "{}: {said}", path.display());
    }
    Ok(())
}

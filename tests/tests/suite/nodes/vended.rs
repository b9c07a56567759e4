//! Proxies that say of themselves what those of App Mesh's image say: ids in both spellings, that image's metadata and
//! runtime, and nothing of Signet's; state of the world as that image asked, and delta.
//!
//! Two things of the image cannot be had here: its own Envoy, and its way to the server (Google's gRPC library with AWS
//! signatures and no client certificate, which Signet does not take). So an Envoy of ours starts from the agent's
//! bootstrap, and what the image wrote otherwise is written over it.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use signet_tests::{
    bed::{
        Bed, PATIENCE,
        app::{App, Kind},
        call::Call,
        calling, listening,
        namespace::within_hub,
        resolver::Resolver,
    },
    envoy_binary, eventually,
};

const ARN: &str = "arn:aws:appmesh:us-east-1:000000000000:mesh/m/virtualNode/b";

/// What the image's own agent wrote, as far as an Envoy of today takes it.
fn as_the_image_wrote(id: &str, cluster: &str, api_type: &str) -> Value {
    let runtime = json!({
        "re2.max_program_size.error_level": 1000,
        "envoy.reloadable_features.no_extension_lookup_by_name": true
    });
    let interfaces = json!({"ipv4": {"eth0": ["10.99.0.2/24"]}, "ipv6": {}});
    let platform =
        json!({"k8sPlatformInfo": {"k8sVersion": "v1.31", "podUid": "1"}, "supportedIPFamilies": "ALL"});
    // Over the bootstrap that the agent renders, field by field: what the agent says of itself is emptied.
    json!({
        "node": {
            "id": id, "cluster": cluster, "locality": {"region": "us-east-1", "zone": "use1-az1"},
            "metadata": {
                "signet": {}, "aws.appmesh.static_runtime": runtime, "aws.appmesh.task.interfaces": interfaces,
                "aws.appmesh.platformInfo": platform
            }
        },
        "dynamic_resources": {"ads_config": {"api_type": api_type}},
        "layered_runtime": {"layers": [{"name": "static_layer_1", "static_layer": runtime}]},
        // Of Service Connect: a cluster that nobody answers for must hold nothing up.
        "cluster_manager": {
            "local_cluster_name": "local_cluster", "outlier_detection": {"event_log_path": "/dev/null"}},
        "static_resources": {"clusters": [
            {"name": "local_cluster", "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": {"eds_config": {
                "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0.001s"}}}
        ]}
    })
}

/// A program that is started as Envoy, and becomes one that has this written over its bootstrap.
fn wrapper(folder: &Path, name: &str, over: &Value) -> Result<PathBuf> {
    let path = folder.join(name);
    let (envoy, over) = (envoy_binary()?.display().to_string(), over.to_string());
    ensure!(!over.contains('\''), "a quote would end the shell's word");
    std::fs::write(&path, format!("#!/bin/sh\nexec '{envoy}' \"$@\" --config-yaml '{over}'\n"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

#[test]
fn proxies_that_say_what_app_meshs_image_said_are_known_by_either_id_and_serve_mtls() -> Result<()> {
    within_hub(|mut hub| async move {
        let resolver = Resolver::start(&["127.0.0.1:53", "10.99.0.1:53"]).await?;
        let (a, b) = (hub.host()?, hub.host()?);
        resolver.set("b.test", &[b.address.into()]);
        let mut bed = Bed::start_on("10.99.0.1".parse()?).await?;
        bed.mesh("m").await?;
        let mut spec = listening("b.test", 8080, "http");
        let any = json!({"certificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/b"});
        spec["listeners"][0]["tls"] = json!({"mode": "STRICT", "certificate": {"acm": any}});
        bed.virtual_node("m", "b", spec).await?;
        bed.service_of_node("m", "b.test", "b").await?;
        bed.virtual_node("m", "a", calling(&["b.test"])).await?;
        let _app = App::on("b", b.namespace.listen("127.0.0.1:8080")?, Kind::Http)?;

        let folder = tempfile::tempdir()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let as_b = wrapper(folder.path(), "b", &as_the_image_wrote(ARN, ARN, "GRPC"))?;
        let short = "mesh/m/virtualNode/a";
        let as_a = wrapper(folder.path(), "a", &as_the_image_wrote(short, "callers", "DELTA_GRPC"))?;
        let _b = b.redirected_by(&mut bed, "m", "b", "8080", as_b).await?;
        let _a = a.redirected_by(&mut bed, "m", "a", "7000", as_a).await?;
        bed.synced().await?;

        let to = (b.address, 8080).into();
        eventually("a call goes through", PATIENCE, || async {
            let answer = Call::to(to, "b.test").send_on(a.namespace.connect(to)?).await?;
            ensure!(answer.code() == 200 && answer.app() == "b", "{answer:?}");
            Ok(())
        })
        .await?;
        // Straight to b, past its caller's Envoy, there is no plaintext.
        assert!(Call::to(to, "b.test").send_on(hub.namespace.connect(to)?).await.is_err());
        let told = bed.proxies().await?;
        let proxies = told["proxies"].as_array().context("proxies")?;
        let found: Vec<_> = proxies
            .iter()
            .map(|proxy| (&proxy["workload"], &proxy["ingressAddress"], &proxy["status"]))
            .collect();
        let [synced, everywhere] = [json!("synced"), json!("0.0.0.0")];
        let [a, b] = ["a", "b"].map(|name| json!(format!("mesh/m/virtualNode/{name}")));
        assert_eq!(found, [(&a, &everywhere, &synced), (&b, &everywhere, &synced)], "{told}");
        assert!(
            proxies.iter().all(|proxy| proxy["instance"].is_null()),
            "it says nothing of Signet's: {told}"
        );
        bed.end().await;
        Ok(())
    })
}

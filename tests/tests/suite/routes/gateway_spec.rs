//! What a gateway's own spec says beside its ports: pools, logs, and how it calls the services behind it.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use pem::Pem;
use serde_json::{Value, json};
use signet_policies::identity::{Workload, WorkloadKind};
use signet_tests::{
    bed::{Bed, Node, PATIENCE, app::App, at, call::Call},
    clock, eventually,
};
use tokio::task::JoinSet;

use super::standing_alone;

const PORT: u16 = 8088;
const SECURE: u16 = 8443;
const NODE: &str = "spiffe://signet.internal/mesh/m/virtual-node/app";
const GATEWAY: &str = "spiffe://signet.internal/mesh/m/virtual-gateway/g";

fn listener(port: u16, protocol: &str) -> Value {
    json!({"portMapping": {"port": port, "protocol": protocol}})
}

/// A gateway whose requests all go to `app.test`, with its Envoy.
async fn gateway(bed: &mut Bed, spec: &Value) -> Result<Node> {
    bed.put("meshes/m/virtualGateways", json!({"virtualGatewayName": "g", "spec": spec})).await?;
    let target = json!({"virtualService": {"virtualServiceName": "app.test"}});
    for listener in spec["listeners"].as_array().into_iter().flatten() {
        let port = &listener["portMapping"]["port"];
        let matched = json!({"prefix": "/", "port": port});
        let route = json!({"httpRoute": {"match": matched, "action": {"target": target}}});
        let body = json!({"gatewayRouteName": format!("on-{port}"), "spec": route});
        bed.put("meshes/m/virtualGateway/g/gatewayRoutes", body).await?;
    }
    let address = bed.address();
    bed.gateway_at("m", "g", address).await
}

async fn respec(bed: &Bed, spec: &Value) -> Result<()> {
    bed.put("meshes/m/virtualGateways/g", json!({"spec": spec})).await?;
    bed.synced().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateways_pool_bounds_what_comes_in_by_its_port_and_its_log_says_what_passed() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let app = standing_alone(&bed, "m", "app", "http").await?;
    bed.service_of_node("m", "app.test", "app").await?;
    let (mut one, mut two) = (listener(PORT, "http"), listener(8089, "http2"));
    one["connectionPool"] = json!({"http": {"maxConnections": 1, "maxPendingRequests": 1}});
    two["connectionPool"] = json!({"http2": {"maxRequests": 2}});
    let log = |format: Value| {
        let path = bed.path("access.log");
        json!({"accessLog": {"file": {"path": path, "format": format}}})
    };
    let text =
        log(json!({"text": "text %REQ(:AUTHORITY)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %RESPONSE_CODE%\n"}));
    let members = json!({"json": [{"key": "code", "value": "%RESPONSE_CODE%"}, {"key": "who", "value": "%REQ(:AUTHORITY)%"}]});
    let json = log(members);
    let mut spec = json!({"listeners": [one, two], "logging": text});
    let gateway = gateway(&mut bed, &spec).await?;
    bed.synced().await?;

    app.delay(Duration::from_secs(1));
    for (port, h2, served, counter) in [
        (PORT, false, 2, "upstream_rq_pending_overflow"),
        (8089, true, 2, "upstream_rq_(active|pending)_overflow"),
    ] {
        app.take_requests();
        let mut calls = JoinSet::new();
        for place in 0..6 {
            let call = Call::to(at(&gateway, port), "h").path("/pooled");
            let call = if h2 { call.h2() } else { call };
            calls.spawn(async move { call.send().await });
            if place == 0 {
                // While a connection is being made, who waits for it has the one place in the queue.
                eventually("the application has the first", PATIENCE, || async {
                    ensure!(app.take_requests() > 0, "not yet");
                    Ok(())
                })
                .await?;
            }
        }
        let codes: Vec<u16> = calls
            .join_all()
            .await
            .into_iter()
            .map(|answer| answer.map(|answer| answer.code()))
            .collect::<Result<_>>()?;
        assert_eq!(codes.iter().filter(|code| **code == 200).count(), served, "{codes:?}");
        assert_eq!(codes.iter().filter(|code| **code == 503).count(), 6 - served, "{codes:?}");
        let protocol = if h2 { "http2" } else { "http" };
        let cluster = format!("^cluster.cds_ingress_m_g_self_redirect_{port}_{protocol}_.*{counter}$");
        assert_eq!(gateway.total(&cluster).await?, 4, "{:?}", gateway.stats(&cluster).await?);
    }
    app.delay(Duration::ZERO);
    spec["logging"] = json;
    respec(&bed, &spec).await?;
    Call::to(at(&gateway, PORT), "in.json").send().await?;
    // Envoy writes out what it holds back when it is asked to reopen its logs.
    let reopen = ["-USR1".to_owned(), gateway.sidecar.ready.envoy_pid.to_string()];
    eventually("both formats are in the log", PATIENCE, || async {
        ensure!(std::process::Command::new("kill").args(&reopen).status()?.success(), "no signal");
        let log = std::fs::read_to_string(bed.path("access.log"))?;
        for line in
            ["text app.test /pooled 200", "text app.test /pooled 503", r#"{"code":200,"who":"app.test"}"#]
        {
            ensure!(log.lines().any(|found| found == line), "no {line} in {log}");
        }
        Ok(())
    })
    .await?;
    bed.end().await;
    Ok(())
}

/// Files with a workload's certificate, its key, and the mesh's roots.
struct Files {
    chain: PathBuf,
    key: PathBuf,
    roots: PathBuf,
}

async fn files(bed: &Bed, workload: &Workload) -> Result<Files> {
    let held = bed.server.join(&bed.client, workload, clock()).await?;
    let files =
        Files { chain: bed.path("chain.pem"), key: bed.path("key.pem"), roots: bed.path("roots.pem") };
    let certificates = |ders: Vec<Vec<u8>>| -> String {
        ders.into_iter().map(|der| pem::encode(&Pem::new("CERTIFICATE", der))).collect()
    };
    let chain = held.leaf().chain().iter().map(|der| der.to_vec()).collect();
    std::fs::write(&files.chain, certificates(chain))?;
    std::fs::write(&files.key, pem::encode(&Pem::new("PRIVATE KEY", held.leaf().key().pkcs8())))?;
    let roots = held.bundle().roots().iter().map(|der| der.to_vec()).collect();
    std::fs::write(&files.roots, certificates(roots))?;
    Ok(files)
}

fn tls(mode: &str, certificate: Value, validation: Value) -> Value {
    let mut tls = json!({"mode": mode, "certificate": certificate});
    if !validation.is_null() {
        tls["validation"] = validation;
    }
    tls
}

fn validation(trust: Value, names: &[&str]) -> Value {
    let mut validation = json!({"trust": trust});
    if !names.is_empty() {
        validation["subjectAlternativeNames"] = json!({"match": {"exact": names}});
    }
    validation
}

/// `backendDefaults` with a TLS policy.
fn policy(enforce: bool, ports: &[u16], certificate: Value, validation: Value) -> Value {
    let mut tls = json!({"enforce": enforce, "validation": validation});
    if !ports.is_empty() {
        tls["ports"] = json!(ports);
    }
    if !certificate.is_null() {
        tls["certificate"] = certificate;
    }
    json!({"clientPolicy": {"tls": tls}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_calls_services_as_its_client_policy_says() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let app = App::http("app").await?;
    let port = app.port;
    let _node = bed.served("m", "app", &app, "http", |_| {}).await?;
    let with = |node: &Value, tls: Value| {
        let mut node = node.clone();
        node["listeners"][0]["tls"] = tls;
        node
    };
    let described = bed.client.call(http::Method::GET, "/v20190125/meshes/m/virtualNodes/app", None).await?;
    let plain = described["spec"].clone();
    bed.service_of_node("m", "app.test", "app").await?;
    let other = Workload { kind: WorkloadKind::VirtualGateway, ..Workload::virtual_node("m", "g")? };
    let mut spec = json!({"listeners": [listener(PORT, "http")]});
    let gateway = gateway(&mut bed, &spec).await?;
    let Files { chain, key, roots } = files(&bed, &other).await?;
    let sds = json!({"sds": {"secretName": "ROOTCA"}});
    let file = json!({"file": {"certificateChain": roots}});
    let acm = json!({"acm": {"certificateAuthorityArns": ["arn:aws:acm-pca:us-east-1:000000000000:certificate-authority/1"]}});
    let foreign = bed.path("foreign.pem");
    std::fs::write(&foreign, rcgen::generate_simple_self_signed(["foreign".to_owned()])?.cert.pem())?;
    let strangers = json!({"file": {"certificateChain": foreign}});
    let own = json!({"sds": {"secretName": "default"}});
    let from_files = json!({"file": {"certificateChain": chain, "privateKey": key}});
    let mutual = tls("STRICT", own.clone(), validation(sds.clone(), &[GATEWAY]));
    let node_names = &[NODE][..];
    let none = Value::Null;

    let plaintext = [
        ("enforced", policy(true, &[], none.clone(), validation(sds.clone(), node_names)), 503),
        ("not enforced", policy(false, &[], none.clone(), validation(sds.clone(), node_names)), 200),
        ("of another port", policy(true, &[1], none.clone(), validation(sds.clone(), node_names)), 200),
        ("of this port", policy(true, &[port], none.clone(), validation(sds.clone(), node_names)), 503),
    ];
    let secure = [
        ("by secret", policy(true, &[], none.clone(), validation(sds.clone(), node_names)), 200),
        ("another name", policy(true, &[], none.clone(), validation(sds.clone(), &[GATEWAY])), 503),
        ("by file", policy(true, &[], none.clone(), validation(file, node_names)), 200),
        ("roots of nobody", policy(true, &[], none.clone(), validation(strangers, node_names)), 503),
        ("by authority", policy(true, &[], none, validation(acm, node_names)), 200),
        ("own from secret", policy(true, &[], own.clone(), validation(sds.clone(), node_names)), 200),
        ("own from files", policy(true, &[], from_files, validation(sds, node_names)), 200),
    ];
    let rounds = [(plain.clone(), &plaintext[..]), (with(&plain, mutual), &secure[..])];
    for (node, cases) in rounds {
        spec["backendDefaults"] = json!({});
        respec(&bed, &spec).await?;
        bed.respec("m", "app", node).await?;
        bed.synced().await?;
        for (name, policy, code) in cases {
            spec["backendDefaults"] = policy.clone();
            respec(&bed, &spec).await?;
            let answer =
                Call::to(at(&gateway, PORT), "h").send().await.with_context(|| (*name).to_owned())?;
            assert_eq!(answer.code(), *code, "{name}: {answer:?}");
        }
    }
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_serves_from_files_and_takes_the_clients_that_it_names() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let _app = standing_alone(&bed, "m", "app", "http").await?;
    bed.service_of_node("m", "app.test", "app").await?;
    bed.virtual_node("m", "client", json!({})).await?;
    let client = Workload::virtual_node("m", "client")?;
    let Files { chain, key, roots } = files(&bed, &client).await?;
    let from_files = json!({"file": {"certificateChain": chain, "privateKey": key}});
    let own = json!({"sds": {"secretName": "default"}});
    let name = client.spiffe_id(&"signet.internal".parse()?).to_string();
    let by_file = validation(json!({"file": {"certificateChain": roots}}), &[&name]);
    let by_secret = |name: &str| validation(json!({"sds": {"secretName": "ROOTCA"}}), &[name]);
    let secure = |tls: Value| {
        let mut listener = listener(SECURE, "http");
        listener["tls"] = tls;
        json!({"listeners": [listener]})
    };
    let gateway = gateway(&mut bed, &secure(tls("STRICT", own.clone(), Value::Null))).await?;
    let url = format!("https://{}:{SECURE}/", gateway.ingress);
    let fetch = |with_certificate: bool| -> Result<bool> {
        let mut curl = std::process::Command::new("curl");
        curl.args(["--noproxy", "*", "--silent", "--fail", "--insecure", "--max-time", "5", &url]);
        if with_certificate {
            curl.arg("--cert").arg(&chain).arg("--key").arg(&key);
        }
        Ok(curl.output().context("curl")?.status.success())
    };
    let cases = [
        ("from files", tls("STRICT", from_files.clone(), Value::Null), true, true),
        ("clients by file", tls("STRICT", from_files, by_file), false, true),
        ("clients by secret", tls("STRICT", own.clone(), by_secret(&name)), false, true),
        ("other clients", tls("STRICT", own.clone(), by_secret(NODE)), false, false),
        ("whoever sends one", tls("PERMISSIVE", own, by_secret(&name)), true, true),
    ];
    for (case, tls, anonymous, named) in cases {
        respec(&bed, &secure(tls)).await?;
        assert_eq!((fetch(false)?, fetch(true)?), (anonymous, named), "{case}");
    }
    bed.end().await;
    Ok(())
}

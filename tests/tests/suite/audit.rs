//! `signet audit` against a server with real Envoys, in good order and with real faults.

mod change;
mod decoy;
mod forged;
mod issued;
mod laggard;
mod reported;
mod wire;

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use http::Method;
use pem::Pem;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use signet_policies::identity::Workload;
use signet_tests::{
    bed::{Bed, Node, PATIENCE, app::App},
    clock, eventually, program,
};

/// Runs `signet audit` as an operator would.
fn audit_with(bed: &Bed, credentials: &str, args: &[&str]) -> Result<Output> {
    let connect = ["--endpoint", &bed.server.ready.api, "--credentials", credentials];
    Ok(Command::new(program()?).arg("audit").args(args).args(connect).output()?)
}

fn audit(bed: &Bed, args: &[&str]) -> Result<Output> {
    audit_with(bed, &bed.server.credentials().display().to_string(), args)
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

/// The exit code, the report, and the findings as `id severity`.
fn report(bed: &Bed, args: &[&str]) -> Result<(Option<i32>, Value, Vec<String>)> {
    let output = audit(bed, &[&["--format", "json"], args].concat())?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| printed(&output))?;
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let text = |finding: &Value| format!("{} {}", finding["id"], finding["severity"]).replace('"', "");
    Ok((output.status.code(), report, findings.iter().map(text).collect()))
}

/// Waits until an audit comes to exactly this.
async fn comes_to(bed: &Bed, args: &[&str], code: i32, findings: &[&str]) -> Result<Value> {
    eventually(&format!("an audit that finds {findings:?}"), PATIENCE, || async {
        let (found_code, report, found) = report(bed, args)?;
        let open: Vec<&Value> = report["checks"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|ran| ran["outcome"] == "not-run" || ran["outcome"] == "partial")
            .collect();
        ensure!(
            found == findings && found_code == Some(code),
            "exit {found_code:?}, {found:?}, open {open:?}, {}",
            report["findings"]
        );
        Ok(report)
    })
    .await
}

fn mutual() -> Value {
    let arn = "arn:aws:acm:us-east-1:000000000000:certificate/1";
    let roots = json!({"sds": {"secretName": "ROOTCA"}});
    json!({
        "mode": "STRICT",
        "certificate": {"acm": {"certificateArn": arn}},
        "validation": {"trust": roots}
    })
}

/// A server with STRICT mutual TLS and a caller.
async fn strict_mesh() -> Result<(Bed, App, Node, Node)> {
    let mut bed = Bed::start().await?;
    bed.mesh("shop").await?;
    let app = App::http("one").await?;
    let served =
        bed.served("shop", "one", &app, "http", |spec| spec["listeners"][0]["tls"] = mutual()).await?;
    bed.service_of_node("shop", "one.test", "one").await?;
    let caller = bed.caller("shop", "caller", &["one.test"]).await?;
    bed.synced().await?;
    Ok((bed, app, served, caller))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_in_good_order_has_no_finding_in_any_format_and_readers_may_audit() -> Result<()> {
    let (bed, app, served, _caller) = strict_mesh().await?;
    let report = comes_to(&bed, &[], 0, &[]).await?;
    let checks = report["checks"].as_array().context("checks")?;
    let passed = checks.iter().filter(|ran| ran["outcome"] == "passed").count();
    assert_eq!((checks.len(), passed), (40, 40), "{checks:?}");
    assert_eq!(report["coverage"]["nodesExamined"], 2);
    for (format, part) in [
        ("table", "no findings"),
        ("jsonl", "\"summary\""),
        ("sarif", "\"2.1.0\""),
        ("junit", "failures=\"0\" errors=\"0\""),
        ("csv", "spiffe://signet.internal/mesh/shop/virtual-node/one"),
        ("openmetrics", "signet_audit_check_complete{check=\"E07\"} 1"),
    ] {
        let output = audit(&bed, &["--format", format])?;
        assert!(output.status.success() && printed(&output).contains(part), "{format}: {}", printed(&output));
    }
    for (policy, code) in [(json!({"readOnly": true}), 0), (json!({"mesh": "shop", "readOnly": true}), 5)] {
        let file = bed.path(&format!("reader-{code}"));
        let mut create = Command::new(program()?);
        create.args([
            "credentials",
            "create",
            &format!("reader{code}"),
            "--as-profile",
            "default",
            "--read-only",
        ]);
        if let Some(mesh) = policy["mesh"].as_str() {
            create.args(["--mesh", mesh]);
        }
        create.args(["--endpoint", &bed.server.ready.api, "--credentials"]).arg(bed.server.credentials());
        let made = create.output()?;
        ensure!(made.status.success(), "{}", printed(&made));
        std::fs::write(&file, made.stdout)?;
        let output = audit_with(&bed, &file.display().to_string(), &[])?;
        assert_eq!(output.status.code(), Some(code), "{}", printed(&output));
    }
    wire::what_is_presented_judged_by_itself(&bed, app.port, &served).await?;
    wire::every_metric_is_documented(&bed).await?;
    wire::metrics_agree_with_handshakes(&bed, app.port, &served).await?;
    bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_are_found_one_after_the_other_and_nothing_else() -> Result<()> {
    let (bed, app, mut served, _caller) = strict_mesh().await?;
    comes_to(&bed, &[], 0, &[]).await?;

    // An issuer that ends within the horizon; lived with, it is none.
    comes_to(&bed, &["--horizon", "400d"], 3, &["B03 warning", "B03 warning"]).await?;
    let waiver = "id=B03,until=2999-01-01,reason=changed next year";
    let waived = comes_to(&bed, &["--horizon", "400d", "--waive", waiver], 0, &[]).await?;
    assert_eq!(waived["waived"][0]["findings"].as_array().map(Vec::len), Some(2));

    // An agent that is gone: what it would tell is missing, and that is no clean bill.
    served.sidecar.kill_agent().await?;
    let report = comes_to(&bed, &[], 5, &[]).await?;
    assert!(report["gaps"].to_string().contains("mesh/shop/virtualNode/one/"), "{}", report["gaps"]);
    served.sidecar.restart_agent().await?;
    comes_to(&bed, &[], 0, &[]).await?;

    // A node that is deleted while its certificate is valid.
    bed.virtual_node("shop", "legacy", json!({})).await?;
    let legacy = Workload::virtual_node("shop", "legacy")?;
    bed.server.join(&bed.client, &legacy, clock()).await?;
    comes_to(&bed, &[], 0, &[]).await?;
    bed.delete("meshes/shop/virtualNodes/legacy").await?;
    let report = comes_to(&bed, &[], 3, &["D06 warning"]).await?;
    let identity = "spiffe://signet.internal/mesh/shop/virtual-node/legacy";
    assert_eq!(report["findings"][0]["subject"]["identity"], identity);
    let baseline = bed.path("baseline.json");
    std::fs::write(&baseline, report.to_string())?;
    let baseline = ["--baseline", &baseline.display().to_string()].map(str::to_owned);
    let known: Vec<&str> = baseline.iter().map(String::as_str).collect();
    comes_to(&bed, &known, 0, &[]).await?;

    // A certificate from a file that the ledger does not know.
    let key = KeyPair::generate()?;
    let foreign = CertificateParams::new(vec!["one.test".to_owned()])?.self_signed(&key)?;
    serve_file(&bed, &app, &served, &foreign.pem(), &key.serialize_pem()).await?;
    let report = comes_to(&bed, &known, 4, &["E01 critical"]).await?;
    assert_eq!(report["findings"][0]["subject"]["node"], "mesh/shop/virtualNode/one");

    // One that the ledger knows, from a file, until it is revoked.
    bed.virtual_node("shop", "spare", json!({})).await?;
    let spare = bed.server.join(&bed.client, &Workload::virtual_node("shop", "spare")?, clock()).await?;
    let chain: String =
        spare.leaf().chain().iter().map(|der| pem::encode(&Pem::new("CERTIFICATE", der.to_vec()))).collect();
    let key = pem::encode(&Pem::new("PRIVATE KEY", spare.leaf().key().pkcs8()));
    serve_file(&bed, &app, &served, &chain, &key).await?;
    comes_to(&bed, &known, 0, &[]).await?;
    let revocation = json!({"subject": spare.leaf().serial(), "reason": "keyCompromise"});
    bed.client.call(Method::POST, "/v1/ca/revocations", Some(&revocation)).await?;
    let report = comes_to(&bed, &known, 4, &["E03 critical"]).await?;
    assert_eq!(report["findings"][0]["subject"]["serial"], spare.leaf().serial());
    bed.end().await;
    Ok(())
}

/// Has the node present a certificate from files, and its callers not look at it.
async fn serve_file(bed: &Bed, app: &App, served: &Node, chain: &str, key: &str) -> Result<()> {
    let number = chain.len() + key.len();
    let (chain_file, key_file) = (bed.path(&format!("{number}.pem")), bed.path(&format!("{number}.key")));
    std::fs::write(&chain_file, chain)?;
    std::fs::write(&key_file, key)?;
    let mut spec = signet_tests::bed::listening(&served.ingress.to_string(), app.port, "http");
    spec["listeners"][0]["tls"] = json!({
        "mode": "STRICT",
        "certificate": {"file": {"certificateChain": chain_file, "privateKey": key_file}}
    });
    bed.respec("shop", "one", spec).await
}

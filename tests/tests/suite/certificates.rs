//! What the live mesh presents, before foreign judges.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use pem::Pem;
use serde_json::Value;
use signet::demo::{stage::MESH, steps::ModeStep};
use signet_policies::identity::Workload;
use signet_tests::{TestMesh, clock, python_tool};

/// Runs a judge and returns what it printed.
fn judge(program: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    ensure!(output.status.success(), "{} {args:?}: {text}", program.display());
    Ok(text)
}

/// What pkilint finds, but for its URI check, which knows a fixed list of schemes without `spiffe`.
fn findings(report: &str) -> Result<Vec<String>> {
    let report: Value = serde_json::from_str(report)?;
    let results = report["results"].as_array().context("no results")?;
    let findings = results.iter().filter_map(|result| result["finding_descriptions"].as_array()).flatten();
    let unknown_scheme = |finding: &Value| {
        finding["code"] == "pkix.invalid_uri_syntax"
            && finding["message"].as_str().is_some_and(|message| message.contains("\"spiffe://"))
    };
    Ok(findings.filter(|finding| !unknown_scheme(finding)).map(Value::to_string).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_completes_a_mutual_handshake_and_pkilint_finds_nothing_in_what_a_live_envoy_presents()
-> Result<()> {
    let mesh = TestMesh::start().await?;
    mesh.stage.set_mode(ModeStep::StrictVerified).await?;
    mesh.stage.until_in_force(ModeStep::StrictVerified).await;
    let destination = &mesh.stage.destinations[0];
    let ca = mesh.stage.server.ca_file();
    let outsider = Workload::virtual_node(MESH, "outsider")?;
    let held = mesh.stage.server.join(&mesh.stage.client, &outsider, clock()).await?;
    let write = |name: &str, pem: String| {
        let path = mesh.folder.path().join(name);
        std::fs::write(&path, pem).map(|()| path.display().to_string())
    };
    let certificates =
        held.leaf().chain().iter().map(|der| pem::encode(&Pem::new("CERTIFICATE", der.to_vec())));
    let chain = write("outsider.pem", certificates.collect())?;
    let key = write("outsider.key", pem::encode(&Pem::new("PRIVATE KEY", held.leaf().key().pkcs8())))?;
    let script = format!(
        "printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | openssl s_client -connect {} \
         -CAfile {} -cert {chain} -cert_chain {chain} -key {key} -verify_return_error -showcerts -ign_eof",
        destination.address,
        ca.display()
    );
    let text = judge(Path::new("sh"), &["-c", &script])?;
    assert!(text.contains("Verify return code: 0 (ok)") && text.contains("HTTP/1.1 200"), "{text}");

    let blocks: Vec<String> = text
        .split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("-----END CERTIFICATE-----")?.0))
        .map(|body| format!("-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n"))
        .collect();
    assert!(blocks.len() >= 2, "the leaf and its issuer are presented: {text}");
    let lint = python_tool("lint_pkix_cert")?;
    let mut files = vec![ca];
    for (index, block) in blocks.iter().take(2).enumerate() {
        let file = mesh.folder.path().join(format!("presented-{index}.pem"));
        std::fs::write(&file, block)?;
        files.push(file);
    }
    for file in files {
        let report =
            Command::new(&lint).args(["lint", "-s", "NOTICE", "-f", "JSON"]).arg(&file).output()?.stdout;
        let report = String::from_utf8(report)?;
        let findings =
            findings(&report).with_context(|| format!("pkilint on {}: {report}", file.display()))?;
        assert_eq!(findings, Vec::<String>::new(), "pkilint on {}", file.display());
    }
    let names = judge(
        Path::new("openssl"),
        &[
            "x509",
            "-noout",
            "-ext",
            "subjectAltName",
            "-in",
            &mesh.folder.path().join("presented-0.pem").display().to_string(),
        ],
    )?;
    assert!(names.contains("URI:spiffe://signet.internal/mesh/demo/virtual-node/service-b-v1"), "{names}");
    assert_eq!(names.matches("URI:").count(), 1, "exactly one URI: {names}");
    mesh.end().await;
    Ok(())
}

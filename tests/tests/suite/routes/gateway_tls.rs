//! A gateway as a workload: its token, its certificate, and both its ends of TLS.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use signet_tests::bed::{Bed, app::App, at, call::Call};

const PORT: u16 = 8443;
const IDENTITY: &str = "spiffe://signet.internal/mesh/m/virtual-gateway/g";

fn shell(script: &str) -> Result<String> {
    let Output { status, stdout, stderr } = Command::new("sh").args(["-c", script]).output()?;
    let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    ensure!(status.success(), "{script}: {text}");
    Ok(text)
}

fn listener(mode: &str) -> Value {
    let certificate = json!({"acm": {"certificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/1"}});
    json!({"listeners": [{
        "portMapping": {"port": PORT, "protocol": "http"},
        "tls": {"mode": mode, "certificate": certificate}
    }]})
}

/// A node that takes nobody but the gateway.
fn closed(spec: &mut Value) {
    spec["listeners"][0]["tls"] = json!({
        "mode": "STRICT",
        "certificate": {"sds": {"secretName": "default"}},
        "validation": {
            "trust": {"sds": {"secretName": "ROOTCA"}},
            "subjectAlternativeNames": {"match": {"exact": [IDENTITY]}}
        }
    });
}

/// Asks the server for a token as an operator does.
fn token(bed: &Bed, gateway: &str) -> Result<Output> {
    let credentials = bed.server.credentials().display().to_string();
    Ok(Command::new(signet_tests::program()?)
        .args(["token", "create", "--mesh", "m", "--virtual-gateway", gateway, "--format", "json"])
        .args(["--endpoint", &bed.server.ready.api])
        .env("AWS_SHARED_CREDENTIALS_FILE", credentials)
        .output()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_joins_serves_tls_with_its_own_certificate_and_shows_it_to_the_nodes_behind() -> Result<()>
{
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let app = App::http("app").await?;
    let _node = bed.served("m", "app", &app, "http", closed).await?;
    bed.service_of_node("m", "app.test", "app").await?;
    let refused = token(&bed, "g")?;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("virtualGateway/g does not exist"), "{words}");

    let spec = json!({"virtualGatewayName": "g", "spec": listener("STRICT")});
    bed.put("meshes/m/virtualGateways", spec).await?;
    let target = json!({"virtualService": {"virtualServiceName": "app.test"}});
    let route = json!({"httpRoute": {"match": {"prefix": "/"}, "action": {"target": target}}});
    let route = json!({"gatewayRouteName": "r", "spec": route});
    bed.put("meshes/m/virtualGateway/g/gatewayRoutes", route).await?;
    let made = token(&bed, "g")?;
    let made: Value = serde_json::from_slice(&made.stdout).context("the token")?;
    assert_eq!(made["resource"], "mesh/m/virtualGateway/g");
    let address = bed.address();
    let gateway = bed.gateway_at("m", "g", address).await?;
    assert_eq!(gateway.sidecar.ready.identity, IDENTITY);
    bed.synced().await?;

    let connect =
        format!("openssl s_client -connect {address}:{PORT} -CAfile {}", bed.server.ca_file().display());
    let request = "printf 'GET /x HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n'";
    let answer = shell(&format!("{request} | {connect} -verify_return_error -ign_eof"))?;
    assert!(answer.contains("Verify return code: 0 (ok)") && answer.contains("HTTP/1.1 200"), "{answer}");
    let names = shell(&format!("{connect} </dev/null | openssl x509 -noout -ext subjectAltName"))?;
    assert!(names.contains(&format!("URI:{IDENTITY}")) && !names.contains("DNS:"), "{names}");
    let told = app.last();
    let proven = told["headers"]["x-forwarded-client-cert"].as_str().unwrap_or_default();
    assert!(told["path"] == "/x" && proven.contains(&format!("URI={IDENTITY}")), "{told}");
    assert!(Call::to(at(&gateway, PORT), "h").send().await.is_err(), "plaintext at a STRICT port");

    bed.put("meshes/m/virtualGateways/g", json!({"spec": listener("PERMISSIVE")})).await?;
    bed.synced().await?;
    assert_eq!(Call::to(at(&gateway, PORT), "h").send().await?.app(), "app");
    assert!(shell(&format!("{request} | {connect} -ign_eof"))?.contains("HTTP/1.1 200"));
    let both = gateway.stats("^http.ingress_http_8443_(tls|plaintext).downstream_rq_2xx").await?;
    assert!(both.len() == 2 && both.iter().all(|(_, count)| *count >= 1), "{both:?}");
    bed.end().await;
    Ok(())
}

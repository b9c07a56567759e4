//! A real client with a certificate that is revoked, at real Envoys.

use anyhow::Result;
use http::Method;
use pem::Pem;
use serde_json::json;
use signet_policies::identity::Workload;
use signet_tests::{bed::listening, clock};

use super::{audit, comes_to, mutual, printed, strict_mesh};

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_listener_refuses_what_is_revoked_is_tried_on_the_wire() -> Result<()> {
    let (bed, app, served, _caller) = strict_mesh().await?;
    bed.virtual_node("shop", "decoy", json!({})).await?;
    let decoy = bed.server.join(&bed.client, &Workload::virtual_node("shop", "decoy")?, clock()).await?;
    let chain = decoy.leaf().chain().iter().map(|der| pem::encode(&Pem::new("CERTIFICATE", der.to_vec())));
    let key = pem::encode(&Pem::new("PRIVATE KEY", decoy.leaf().key().pkcs8()));
    let file = bed.path("decoy.pem");
    std::fs::write(&file, chain.chain([key]).collect::<String>())?;
    let file = file.display().to_string();
    let flags = ["--revoked", file.as_str()];

    let early = audit(&bed, &flags)?;
    assert_eq!(early.status.code(), Some(2), "{}", printed(&early));
    assert!(printed(&early).contains("is not revoked; no listener is called with it"), "{}", printed(&early));
    let revocation = json!({"subject": decoy.leaf().serial(), "reason": "keyCompromise"});
    bed.client.call(Method::POST, "/v1/ca/revocations", Some(&revocation)).await?;
    comes_to(&bed, &flags, 0, &[]).await?;

    // Trust from a file brings no lists: Envoy takes whatever chains to it.
    let mut spec = listening(&served.ingress.to_string(), app.port, "http");
    let mut tls = mutual();
    tls["validation"]["trust"] = json!({"file": {"certificateChain": bed.server.ca_file()}});
    spec["listeners"][0]["tls"] = tls;
    bed.respec("shop", "one", spec).await?;
    let report = comes_to(&bed, &flags, 4, &["E03 critical"]).await?;
    let subject = &report["findings"][0]["subject"];
    assert_eq!((&subject["node"], &subject["port"]), (&json!("mesh/shop/virtualNode/one"), &json!(app.port)));
    comes_to(&bed, &[], 0, &[]).await?;

    bed.end().await;
    Ok(())
}

//! Where the CA's keys are: on a token, or with an offline root, as an operator has it.

mod ceremony;
mod refusals;
mod token;

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use signet::{
    demo::{stage::Stage, steps::ModeStep},
    local::load::Load,
};
use signet_tests::{
    ceremony::{Signet, openssl},
    clock, envoy_binary, tally_of,
};

/// Takes the demo's mesh to mutual TLS, sends requests through it, renews every leaf, and returns the certificates that a
/// destination presents, PEM, the leaf first.
async fn mutual_tls(signet: &Signet, folder: &Path) -> Result<Vec<String>> {
    let stage = Stage::set(&signet.program, &envoy_binary()?, folder, &clock(), |_| {}).await?;
    let presented = with_load(&stage, folder).await;
    let log = stage.server.log();
    stage.strike().await;
    presented.map_err(|error| anyhow!("{error:#}\nthe server logged\n{log}"))
}

async fn with_load(stage: &Stage, folder: &Path) -> Result<Vec<String>> {
    stage.set_mode(ModeStep::StrictVerified).await?;
    stage.until_in_force(ModeStep::StrictVerified).await;
    let load = Load::start(&stage.load_plan()?);
    stage.rotate(&stage.serials().await?).await?;
    let tally = tally_of(load, 100).await?;
    ensure!(tally.failed == 0, "of {}: {:?}", tally.requests(), tally.failures);
    for probe in stage.probe(ModeStep::StrictVerified).await {
        ensure!(probe.got == probe.expected, "{probe:?}");
    }
    let address = stage.destinations[0].address;
    // The handshake fails for want of a client certificate; what is presented comes before.
    let script = format!(
        "openssl s_client -connect {address} -showcerts -CAfile '{}' </dev/null 2>/dev/null || true",
        stage.server.ca_file().display()
    );
    let said = signet_tests::ceremony::run(Path::new("sh"), &["-c", &script])?;
    ensure!(said.contains("Verify return code: 0 (ok)"), "{said}");
    let blocks = said.split("-----BEGIN CERTIFICATE-----").skip(1);
    let ended = |block: &str| Some(block.split_once("-----END CERTIFICATE-----")?.0.to_owned());
    let whole = |body| format!("-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n");
    // s_client shows the leaf once more at its end.
    let mut presented: Vec<String> = blocks.filter_map(ended).map(whole).collect();
    presented.dedup();
    let leaf = presented.first().cloned().context("nothing was presented")?;
    if presented.len() > 1 && presented.last() == Some(&leaf) {
        presented.pop();
    }
    std::fs::copy(stage.server.ca_file(), folder.join("trusted.pem"))?;
    Ok(presented)
}

/// OpenSSL's verdict by the letter of RFC 5280 on certificates that were presented, under `trusted.pem`.
fn verify_strictly(folder: &Path, presented: &[String]) -> Result<()> {
    let (leaf, above) = presented.split_first().context("nothing was presented")?;
    std::fs::write(folder.join("leaf.pem"), leaf)?;
    std::fs::write(folder.join("above.pem"), above.concat())?;
    for purpose in ["sslserver", "sslclient"] {
        let flags = "-x509_strict -CAfile trusted.pem -untrusted above.pem";
        openssl(folder, &format!("verify {flags} -purpose {purpose} leaf.pem"))?;
    }
    Ok(())
}

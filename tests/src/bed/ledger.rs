//! What a server's ledger says, and whether it was altered.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::Value;
use signet::{client::Client, local::mesh::Server};

use crate::program;

/// Every entry from a position on, as it is stored.
///
/// # Errors
/// The server does not answer, or leaves one out.
pub async fn entries(client: &Client, from: u64) -> Result<Vec<Value>> {
    let mut entries = Vec::new();
    loop {
        let next = from + entries.len() as u64;
        let answer = client.call(Method::GET, &format!("/v1/audit/entries?from={next}"), None).await?;
        let page = answer["entries"].as_array().context("no entries")?;
        if page.is_empty() {
            return Ok(entries);
        }
        for (entry, position) in page.iter().zip(next..) {
            ensure!(entry["position"] == position, "{position} is left out: {entry}");
            let text = entry["text"].as_str().context("no text")?;
            entries.push(serde_json::from_slice(&STANDARD.decode(text)?)?);
        }
    }
}

/// The serial numbers of the certificates among entries.
///
/// # Errors
/// One is there twice.
pub fn serials(entries: &[Value]) -> Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    for serial in entries.iter().filter_map(|entry| entry["serial"].as_str()) {
        ensure!(seen.insert(serial.to_owned()), "the serial number {serial} is there twice");
    }
    Ok(seen)
}

/// Whether the ledger of a server that does not run is as it was written.
///
/// # Errors
/// It is not, or the server runs.
pub fn verified(server: &Server) -> Result<()> {
    let output =
        Command::new(program()?).args(["ca", "verify", "--data-dir"]).arg(&server.ready.data_dir).output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "signet ca verify: {said}");
    Ok(())
}

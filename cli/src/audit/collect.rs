//! Fetches what an audit looks at.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize as _;
use signet_audit::{Inventory, inventory::Log};
use signet_ca::ledger::{Checkpoint, LogVerifier, RawEntry};

use super::entries::Entries;
use crate::{
    client::{Client, Refusal},
    server::{EntriesAnswer, StateAnswer},
};

/// The server's state, then every entry of its ledger, as far as the checkpoint goes at least.
///
/// # Errors
/// The server refuses or cannot be reached, or what it answers makes no sense.
pub(super) async fn collect(client: &Client, anchor: Option<&Path>) -> Result<Inventory> {
    let answer = client.call(Method::GET, "/v1/audit", None).await?;
    let state = StateAnswer::deserialize(&answer).context("the server's answer is no inventory")?;
    let verifier: LogVerifier =
        state.verifier.parse().context("the server names no verifier key for its ledger")?;
    let checkpoint = Checkpoint::open(&state.checkpoint, &verifier);
    let anchors = anchor.map(|path| read_anchor(path, &verifier)).transpose()?;
    let mut entries = Entries::default();
    let size = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.head().size);
    fetch(client, size, &mut entries).await?;
    let (size, root, signature_fault) = match checkpoint {
        Ok(checkpoint) => (checkpoint.head().size, hex::encode(checkpoint.head().root), None),
        Err(error) => (0, String::new(), Some(error.to_string())),
    };
    let log = Log {
        hashes: std::mem::take(&mut entries.hashes),
        size,
        root,
        signed_at: state.checkpoint_at,
        signature_fault,
        faults: std::mem::take(&mut entries.faults),
        anchors: anchors.into_iter().collect(),
    };
    let mut inventory = Inventory { log: Some(log), ..state.inventory };
    entries.into_inventory(&mut inventory, &state.delivered);
    Ok(inventory)
}

async fn fetch(client: &Client, size: u64, entries: &mut Entries) -> Result<()> {
    let progress = progress(size);
    loop {
        let path = format!("/v1/audit/entries?from={}", entries.count());
        let page = client.call(Method::GET, &path, None).await?;
        let page =
            EntriesAnswer::deserialize(&page).context("the server's answer is no page of its ledger")?;
        if page.entries.is_empty() {
            break;
        }
        for entry in page.entries {
            if entry.position != entries.count() {
                return Err(anyhow!("the server answered entry {} for {}", entry.position, entries.count()));
            }
            let text = STANDARD.decode(&entry.text).context("an entry of the ledger is no base64")?;
            entries.take(&RawEntry { position: entry.position, text });
        }
        progress.set_position(entries.count());
    }
    progress.finish_and_clear();
    Ok(())
}

/// Shown when it takes longer than a second.
fn progress(size: u64) -> ProgressBar {
    let progress = ProgressBar::new(size);
    let style = ProgressStyle::with_template("reading the ledger {bar:30} {pos} of {len} entries");
    if let Ok(style) = style {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_secs(1));
    progress
}

/// Size and root of a checkpoint that was kept elsewhere.
fn read_anchor(path: &Path, verifier: &LogVerifier) -> Result<(u64, String)> {
    let note = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let opened = Checkpoint::open(&note, verifier);
    let opened =
        opened.with_context(|| format!("{} is no checkpoint of this server's ledger", path.display()))?;
    Ok((opened.head().size, hex::encode(opened.head().root)))
}

/// Whether the server said that the caller, whom it knows, may not.
pub(super) fn is_forbidden(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.code == "ForbiddenException")
}

//! The ledger as the server starts with it: compared with what was stated of it, and stated anew as it grows.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use signet_ca::{
    Ledger as _, SledLedger,
    ledger::{Notary, NotaryError},
};
use signet_durable::Database;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ServerArgs;
use crate::ca::ledger::VERIFIER_FILE;

/// How often the ledger is looked at, and a checkpoint made where it grew.
const CHECKPOINT: Duration = Duration::from_secs(2);
/// Entries up to which all are read at every start; beyond that `signet ca verify --data-dir` does.
const CHECKED_AT_START: u64 = 100_000;

/// Where the ledger is anchored.
#[derive(Args, Clone, Debug)]
pub(super) struct LedgerArgs {
    /// A file outside of the data folder that holds the ledger's last checkpoint. A start with a data folder that is
    /// older, or another one, is refused [default: none]
    #[arg(long, env = "SIGNET_ANCHOR", value_name = "FILE")]
    anchor: Option<PathBuf>,
}

/// Opens the ledger and whoever signs its checkpoints, and makes the first one.
///
/// # Errors
/// An entry was altered, the ledger is older than its checkpoint or its anchor, or something cannot be read or written.
pub(super) async fn open(args: &ServerArgs, database: Database) -> Result<(SledLedger, Notary)> {
    let ledger = SledLedger::new(database).context("the ledger")?;
    let taken_in = ledger.take_in_first_records().await.context("the ledger")?;
    if taken_in > 0 {
        info!(records = taken_in, "took the records of an earlier version into the ledger's tree");
    }
    let keys = args.data_dir.join("ca");
    let passphrase = args.ca_keys.passphrase()?;
    let anchor = args.ledger.anchor.as_deref();
    let notary = Notary::open(&keys, passphrase.as_ref(), &args.trust_domain, ledger.clone(), anchor)?;
    if ledger.size() <= CHECKED_AT_START {
        let whole = ledger.clone();
        let checked = tokio::task::spawn_blocking(move || whole.check()).await;
        checked.context("the look at the ledger broke off")?.context(
            "the ledger was altered; restore a backup of before, or look with `signet ca verify --data-dir`",
        )?;
    }
    notary.checkpoint().await?;
    let verifier = args.data_dir.join(VERIFIER_FILE);
    super::assembly::publish(&verifier, &format!("{}\n", notary.verifier()))?;
    Ok((ledger, notary))
}

/// Makes checkpoints of a ledger that grows, until `stop`, and then the last one.
///
/// # Errors
/// None; what fails is tried again.
pub(super) async fn keep(notary: Arc<Notary>, stop: CancellationToken) -> Result<()> {
    let mut looks = tokio::time::interval(CHECKPOINT);
    let mut last_trouble = None;
    while stop.run_until_cancelled(looks.tick()).await.is_some() {
        last_trouble = tell(notary.checkpoint().await.err(), last_trouble);
    }
    tell(notary.checkpoint().await.err(), last_trouble);
    Ok(())
}

/// Logs a trouble that is news.
fn tell(trouble: Option<NotaryError>, last: Option<String>) -> Option<String> {
    let trouble = trouble.map(|error| format!("{:#}", anyhow::Error::from(error)));
    match (&trouble, &last) {
        (Some(reason), last) if last.as_ref() != Some(reason) => {
            warn!(reason, "cannot make a checkpoint of the ledger; trying again");
        }
        (None, Some(_)) => info!("checkpoints of the ledger are made again"),
        _ => {}
    }
    trouble
}

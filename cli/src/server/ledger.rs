//! The ledger as the server starts with it: compared with what was stated of it, and stated anew as it grows.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use signet_ca::{
    Ledger as _, LedgerError, SledLedger,
    ledger::{Notary, NotaryError},
    standing::Guard,
};
use signet_durable::Database;
use signet_policies::time::Clock;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ServerArgs;
use crate::ca::ledger::VERIFIER_FILE;

/// How often the ledger is looked at, and a checkpoint made where it grew.
const CHECKPOINT: Duration = Duration::from_secs(2);
/// Entries up to which all are read before the server serves; more of them are read while it does.
const CHECKED_AT_START: u64 = 100_000;
/// Entries that are read in one go while the server serves, and the pause between two.
const STEP: usize = 5_000;
const PAUSE: Duration = Duration::from_millis(200);

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

/// Reads every entry of a ledger that was too long for that before the start. One that was altered halts issuing: what
/// else was altered, nobody knows before somebody has looked.
///
/// # Errors
/// None.
pub(super) async fn look_through(
    ledger: SledLedger,
    guard: Guard,
    clock: Clock,
    stop: CancellationToken,
) -> Result<()> {
    look_through_beyond(CHECKED_AT_START, ledger, guard, clock, stop.clone()).await?;
    // A task that ends is one that failed.
    stop.cancelled().await;
    Ok(())
}

async fn look_through_beyond(
    read_already: u64,
    ledger: SledLedger,
    guard: Guard,
    clock: Clock,
    stop: CancellationToken,
) -> Result<()> {
    if ledger.size() <= read_already {
        return Ok(());
    }
    let mut check = ledger.begin_check();
    loop {
        let ledger = ledger.clone();
        let step = tokio::task::spawn_blocking(move || {
            let mut check = check?;
            let found = ledger.check_further(&mut check, STEP)?;
            Ok::<_, LedgerError>((check, found))
        });
        match step.await.context("the look at the ledger broke off")? {
            Ok((_, Some(checked))) => {
                info!(entries = checked.head.size, "every entry of the ledger is as it was written");
                return Ok(());
            }
            Ok((further, None)) => check = Ok(further),
            Err(error @ LedgerError::Damaged { .. }) => {
                let cause = format!(
                    "the ledger was altered: {error}; restore a backup of before, or look with `signet ca verify \
                     --data-dir`"
                );
                guard.halt(&cause, clock().into()).await;
                return Ok(());
            }
            Err(error) => {
                warn!(%error, "the ledger cannot be read to its end");
                return Ok(());
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return Ok(());
        }
    }
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

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use signet_ca::ledger::{Entry, What};
    use signet_policies::time::Timestamp;

    use super::*;

    /// What halts issuing after a look at a ledger of three entries, of which the second may be altered.
    async fn halted_by(is_altered: bool) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let ledger = SledLedger::new(database.clone()).unwrap();
        for reason in ["one", "two", "three"] {
            let entry = Entry::event(What::Released(reason.to_owned()), "test", Timestamp::from_unix(0));
            ledger.append(entry).await.unwrap();
        }
        ledger.head().await.unwrap();
        if is_altered {
            let entries = database.tree("ledger").unwrap();
            let mut value = entries.get(1_u64.to_be_bytes()).unwrap().unwrap().to_vec();
            let place = value.windows(3).position(|window| window == b"two").unwrap();
            value[place] = b'T';
            entries.insert(1_u64.to_be_bytes(), value).unwrap();
        }
        let guard = Guard::of_new(Arc::new(ledger.clone()));
        let clock: Clock = Arc::new(|| UNIX_EPOCH);
        look_through_beyond(2, ledger, guard.clone(), clock, CancellationToken::new()).await.unwrap();
        guard.now().halted().map(|halt| halt.cause.clone())
    }

    #[tokio::test]
    async fn a_long_ledger_that_was_altered_halts_issuing_and_another_does_not() {
        assert_eq!(halted_by(false).await, None);
        let cause = halted_by(true).await.unwrap();
        assert!(cause.contains("record 1 cannot be read") && cause.contains("signet ca verify"), "{cause}");
    }
}

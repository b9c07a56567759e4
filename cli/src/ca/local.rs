//! The authority of a data folder whose server is stopped.

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt as _, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use signet_ca::{
    Adopted, Authority, Ledger as _, Random, Rotations, SledLedger,
    ledger::{AuthorityChange, Entry, What},
};
use signet_durable::Database;
use signet_policies::{
    identity::TrustDomain,
    time::{Clock, Timestamp},
};

use super::CustodyArgs;
use crate::server::STORE;

/// Who did it, in the ledger.
const WHO: &str = "command line";

/// How the authority's keys are kept, and whose names it certifies.
#[derive(Args, Clone, Debug)]
pub(super) struct KeysArgs {
    #[command(flatten)]
    pub(super) custody: CustodyArgs,
    /// The trust domain of every identity, as the server has it
    #[arg(long, env = "SIGNET_TRUST_DOMAIN", value_name = "NAME", default_value = "signet.internal")]
    pub(super) trust_domain: TrustDomain,
}

/// A data folder that no server uses while this is held.
pub(super) struct Folder {
    pub(super) keys: PathBuf,
    ledger: SledLedger,
    clock: Clock,
}

impl Folder {
    /// Opens a data folder, or makes one.
    pub(super) fn open(data_dir: &std::path::Path, clock: Clock) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
        made.with_context(|| format!("cannot make the data folder {}", data_dir.display()))?;
        let database = Database::open(&data_dir.join(STORE))?;
        let ledger = SledLedger::new(database).context("the ledger")?;
        let keys = data_dir.join("ca");
        // What a server that was killed had begun comes to its end before anything else is done here.
        Rotations::recover(&keys)?;
        Ok(Self { keys, ledger, clock })
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.clock)().into()
    }

    /// The authority in it.
    pub(super) fn authority(&self, keys: &KeysArgs) -> Result<Authority> {
        let custody = keys.custody.custody()?;
        Ok(Authority::open_existing(&self.keys, custody, &keys.trust_domain, Random::system(), self.now())?)
    }

    /// Writes into the ledger what was taken over.
    pub(super) async fn record(&self, change: AuthorityChange, name: &str, adopted: &Adopted) -> Result<()> {
        let what = What::Authority { change, name: name.to_owned(), certificate: adopted.der.clone() };
        let recorded = self.ledger.append(Entry::event(what, WHO, self.now())).await;
        recorded.context("it was done, but the ledger could not be written")?;
        Ok(())
    }
}

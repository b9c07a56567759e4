//! Refusals on disk: asked for after a restart, and an explanation for what is refused again.
//!
//! One tree, one record per refusal: `{"v1":{…}}`. A record's form never changes once written by a release; members are
//! added, and a new form is a new variant.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use signet_durable::{CommitError, Database};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    Proxies,
    refusals::{RefusalView, Refusals},
};

/// By their numbers, big-endian.
const TREE: &str = "refusals";
/// After the disk refused a record.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Record {
    V1(RefusalView),
}

impl Proxies {
    /// Takes up what was refused before a restart. A record that cannot be read is logged and left out: a history
    /// with a hole is no reason to serve nobody.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn recall_refusals(&self, database: &Database) -> Result<(), CommitError> {
        let mut records = BTreeMap::new();
        for entry in &database.tree(TREE)? {
            let (key, value) = entry.map_err(|error| CommitError::Write(error.to_string()))?;
            let number = <[u8; 8]>::try_from(&*key).map(u64::from_be_bytes);
            match (number, serde_json::from_slice(&value)) {
                (Ok(number), Ok(Record::V1(view))) => drop(records.insert(number, view)),
                (number, record) => {
                    let error = record.err().map(|error| error.to_string());
                    error!(?key, ?number, error, "the record of a refusal cannot be read; it is left out");
                }
            }
        }
        let now = (self.clock)();
        self.lock().refusals = Refusals::recalled(records, now);
        Ok(())
    }

    /// Writes down what is refused as it happens, until `stop`. Where the disk does not take it, it is tried again.
    ///
    /// # Errors
    /// The tree cannot be opened.
    pub async fn keep_refusals(
        self: Arc<Self>,
        database: Database,
        stop: CancellationToken,
    ) -> Result<(), CommitError> {
        let tree = database.tree(TREE)?;
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let unsaved = self.lock().refusals.take_unsaved();
            let batch = batch(&unsaved);
            let tree = tree.clone();
            if !unsaved.is_empty()
                && let Err(error) = database.commit(move || tree.apply_batch(batch)).await
            {
                warn!(%error, "what proxies refuse is not written down; it is tried again");
                self.lock().refusals.put_back(unsaved);
                if stop.run_until_cancelled(sleep(AGAIN)).await.is_none() {
                    return Ok(());
                }
                continue;
            }
            // The sender is this registry's own.
            if stop.run_until_cancelled(changes.changed()).await.is_none() {
                return Ok(());
            }
        }
    }
}

fn batch(records: &BTreeMap<u64, Option<RefusalView>>) -> sled::Batch {
    let mut batch = sled::Batch::default();
    for (number, view) in records {
        let key = &number.to_be_bytes();
        // Names and times: there is nothing in it that has no JSON.
        match view.as_ref().and_then(|view| serde_json::to_vec(&Record::V1(view.clone())).ok()) {
            Some(record) => batch.insert(key, record),
            None => batch.remove(key),
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    /// As the first release that kept refusals wrote it.
    const V1: &str = r#"{"v1":{"at":"2026-11-26T15:00:00Z","workload":"mesh/m/virtualNode/a","ingressAddress":"127.0.0.1",
        "kind":"listener","name":"lds_ingress_127.0.0.1_8080","version":"5f2c","reason":"cannot bind","suspected":false,
        "revision":7,"changes":[{"revision":7,"operation":"UpdateVirtualNode","resource":"mesh/m/virtualNode/a",
        "accessKeyId":"AKIA1","user":"alice","at":"2026-11-26T14:59:59Z"}]}}"#;

    #[tokio::test]
    async fn a_record_of_the_first_form_is_read_and_one_that_cannot_be_read_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let tree = database.tree(TREE).unwrap();
        let write = move || {
            tree.insert(3_u64.to_be_bytes(), V1)?;
            tree.insert(4_u64.to_be_bytes(), "{}")?;
            tree.insert("odd", V1).map(drop)
        };
        database.commit(write).await.unwrap();
        let proxies = Proxies::new(Arc::new(|| std::time::SystemTime::UNIX_EPOCH));
        proxies.recall_refusals(&database).unwrap();
        let [refusal] = &proxies.refusals()[..] else { panic!("one can be read") };
        assert_eq!(refusal.rejection.changes[0].access_key_id.as_deref(), Some("AKIA1"));
        assert_eq!(refusal.ended_at.as_deref(), Some("1970-01-01T00:00:00Z"), "nobody is connected");

        let stop = CancellationToken::new();
        let mut kept = JoinSet::new();
        kept.spawn(Arc::clone(&proxies).keep_refusals(database.clone(), stop.clone()));
        let tree = database.tree(TREE).unwrap();
        let end_is_written = |value: &[u8]| String::from_utf8_lossy(value).contains("endedAt");
        while !tree.get(3_u64.to_be_bytes()).unwrap().is_some_and(|value| end_is_written(&value)) {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        kept.join_next().await.unwrap().unwrap().unwrap();
    }
}

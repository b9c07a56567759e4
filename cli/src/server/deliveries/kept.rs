//! Which certificates arrived, on disk.
//!
//! One tree: `since` since when certificates are followed, and of each that arrived, by the 16 bytes of its serial, when.
//! Moments are milliseconds since the epoch, eight bytes, big-endian.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use signet_ca::Serial;
use signet_durable::{CommitError, Database, Writes};
use signet_policies::issuance::MAX_LEAF_LIFE;
use tracing::warn;

use super::{Deliveries, Followed, Steps, lock};

const TREE: &str = "deliveries";
const SINCE: &[u8] = b"since";

/// Since when certificates are followed, where it is known, and what arrived and may still be valid.
pub(super) fn recall(
    database: &Database,
    now: SystemTime,
) -> Result<(Option<SystemTime>, Followed), CommitError> {
    let (mut since, mut held) = (None, Vec::new());
    let mut followed = Followed::default();
    for entry in &database.tree(TREE)? {
        let (key, value) = entry.map_err(|error| CommitError::Write(error.to_string()))?;
        let Some(at) = moment(&value) else { continue };
        match Serial::from_be_bytes(&key) {
            _ if *key == *SINCE => since = Some(at),
            // What is longer ago is about a certificate that has ended.
            Some(serial) if now.duration_since(at).is_ok_and(|ago| ago > MAX_LEAF_LIFE) => {
                followed.unsaved.insert(serial, None);
            }
            Some(serial) => held.push((at, serial)),
            None => {}
        }
    }
    held.sort();
    for (at, serial) in held {
        followed.add(serial, Steps { held: Some(at), ..Steps::default() });
    }
    Ok((since, followed))
}

impl Deliveries {
    /// Writes down what is new. Where the disk does not take it, it is tried again with the next report.
    ///
    /// # Errors
    /// The tree cannot be opened.
    pub(super) async fn keep(&self) -> Result<(), CommitError> {
        let unsaved = std::mem::take(&mut lock(&self.followed).unsaved);
        if unsaved.is_empty() {
            return Ok(());
        }
        let tree = self.database.tree(TREE)?;
        let (since, rows) = (self.since, unsaved.clone());
        let note = move |writes: &mut Writes| {
            writes.insert(&tree, SINCE, bytes(since));
            for (serial, at) in rows {
                match at {
                    Some(at) => writes.insert(&tree, serial.to_bytes(), bytes(at)),
                    None => writes.remove(&tree, serial.to_bytes()),
                }
            }
            Ok(())
        };
        if let Err(error) = self.database.journal(note, |()| ()).await {
            warn!(%error, "that certificates arrived is not written down; it is tried again");
            let mut followed = lock(&self.followed);
            for (serial, at) in unsaved {
                followed.unsaved.entry(serial).or_insert(at);
            }
        }
        Ok(())
    }
}

fn bytes(moment: SystemTime) -> [u8; 8] {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).to_be_bytes()
}

fn moment(bytes: &[u8]) -> Option<SystemTime> {
    let millis = u64::from_be_bytes(bytes.try_into().ok()?);
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_651_200 + seconds)
    }

    #[tokio::test]
    async fn what_arrived_is_known_after_a_restart_until_no_certificate_can_be_that_old() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second]: [Serial; 2] =
            ["01", "02"].map(|end| format!("{:0>30}{end}", 7).parse().unwrap());
        let open = |now| {
            let database = Database::open(folder.path()).unwrap();
            Deliveries::open(&mut Registry::default(), database, now).unwrap()
        };
        let deliveries = open(at(0));
        lock(&deliveries.followed).follow(first, at(5));
        lock(&deliveries.followed).take(first, super::super::Step::Loaded, at(7), &deliveries.histograms);
        lock(&deliveries.followed).follow(second, at(6));
        deliveries.keep().await.unwrap();
        drop(deliveries);
        let deliveries = open(at(100));
        assert_eq!(deliveries.since(), 1_795_651_200, "nothing was signed meanwhile, so nothing was missed");
        let held: Vec<_> = deliveries.held().into_iter().collect();
        assert_eq!(held, [(first.to_string(), 1_795_651_207)]);
        drop(deliveries);
        let deliveries = open(at(8) + MAX_LEAF_LIFE);
        assert!(deliveries.held().is_empty());
        deliveries.keep().await.unwrap();
        let tree = deliveries.database.tree(TREE).unwrap();
        // The writer has put into the trees whatever it answered before.
        let rows = deliveries.database.commit(move || Ok(tree.len())).await.unwrap();
        assert_eq!(rows, 1, "since when certificates are followed, and nothing else");
    }
}

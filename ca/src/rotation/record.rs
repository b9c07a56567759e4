//! A change as it is kept on disk, so that a server that is killed in any phase goes on where it was.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Phase;
use crate::Succession;

/// In the authority's folder.
const FILE: &str = "rotation.json";

/// A change of root or issuer. Moments in seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Names the change.
    pub id: String,
    /// What is replaced.
    pub what: Succession,
    /// Where it stands.
    pub phase: Phase,
    /// Whether it waits for somebody to let it go on.
    pub paused: bool,
    /// Over how many seconds the holders' renewals are spread.
    pub spread_secs: u64,
    /// Who began it.
    pub by: String,
    /// What goes, by the serial number of its certificate: the name of its folder among the retired.
    pub retired: String,
    /// Every phase that was entered, in order.
    pub entered: Vec<Entered>,
    /// Proxies that nobody waits for.
    pub overrides: Vec<Override>,
    /// Why it goes back; empty where it does not.
    pub reason: String,
}

/// When a phase began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entered {
    /// Which.
    pub phase: Phase,
    /// In milliseconds since the epoch.
    pub at_unix_ms: i64,
}

/// A proxy that nobody waits for, as somebody said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// `mesh/MESH/virtualNode/NAME`, the same with `/INSTANCE`, or a serial number.
    pub node: String,
    /// Who said so.
    pub by: String,
    /// When, in milliseconds since the epoch.
    pub at_unix_ms: i64,
    /// The certificate that it held, by which alone it is known after a restart of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum Stored {
    #[serde(rename = "1")]
    V1(V1),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct V1 {
    id: String,
    what: String,
    phase: Phase,
    paused: bool,
    spread_secs: u64,
    by: String,
    retired: String,
    entered: Vec<Entered>,
    overrides: Vec<Override>,
    reason: String,
}

/// Why the record cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The system refused.
    #[error("cannot read or write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not one, or was written by a later version.
    #[error(
        "{path} is no record of a change of root or issuer that this version reads ({reason}); restore it from a backup: \
         without it nobody knows which root signs"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Record {
    /// The last change of the authority in `folder`, over or not.
    ///
    /// # Errors
    /// [`RecordError`]; a record that is there and not understood is never passed over.
    pub fn read(folder: &Path) -> Result<Option<Self>, RecordError> {
        let path = folder.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RecordError::Io { path, source }),
        };
        parse(&text).map(Some).map_err(|reason| RecordError::Malformed { path, reason })
    }

    /// Keeps it; a reader, also after a crash, finds all of the old or all of the new.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn write(&self, folder: &Path) -> Result<(), RecordError> {
        let path = folder.join(FILE);
        let write = || -> io::Result<()> {
            let beside = path.with_extension("new");
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(&self.encode()?)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|source| RecordError::Io { path, source })
    }

    fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let Self { id, what, phase, paused, spread_secs, by, retired, entered, overrides, reason } =
            self.clone();
        let what = what.to_string();
        let stored = V1 { id, what, phase, paused, spread_secs, by, retired, entered, overrides, reason };
        serde_json::to_vec(&Stored::V1(stored))
    }
}

fn parse(text: &[u8]) -> Result<Record, String> {
    let Stored::V1(stored) = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let V1 { id, what, phase, paused, spread_secs, by, retired, entered, overrides, reason } = stored;
    let what = what.parse().map_err(|error| format!("{what:?}: {error}"))?;
    // It becomes a folder's name.
    if retired.is_empty() || retired.bytes().any(|byte| !byte.is_ascii_hexdigit()) {
        return Err(format!("{retired:?} is no serial number"));
    }
    Ok(Record { id, what, phase, paused, spread_secs, by, retired, entered, overrides, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as released versions wrote them. Lines are added, never changed.
    const CORPUS: &str = include_str!("record/corpus.jsonl");

    #[test]
    fn every_record_that_was_ever_written_is_read_as_what_it_was_and_written_as_it_is_now() {
        let records: Vec<Record> = CORPUS.lines().map(|line| parse(line.as_bytes()).unwrap()).collect();
        let [root, issuer, held] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!((&root.what, root.phase, root.paused), (&Succession::Root, Phase::Issue, true));
        assert_eq!((root.spread_secs, root.entered.len(), root.overrides.len()), (600, 2, 1));
        assert_eq!(root.overrides[0].node, "mesh/m/virtualNode/a");
        assert_eq!(issuer.what.to_string(), "mesh/shop");
        assert_eq!((issuer.phase, issuer.reason.as_str()), (Phase::Withdraw, "a proxy refuses it"));
        let certificate = held.overrides[0].certificate.as_deref();
        assert_eq!(certificate, Some("4b51c0de4b51c0de4b51c0de4b51c0de"));
        for line in CORPUS.lines() {
            assert_eq!(String::from_utf8(parse(line.as_bytes()).unwrap().encode().unwrap()).unwrap(), line);
        }
    }

    #[test]
    fn a_record_is_kept_whole_and_one_that_is_not_understood_is_never_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Record::read(folder.path()).unwrap().is_none());
        let record = parse(CORPUS.lines().next().unwrap().as_bytes()).unwrap();
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap().unwrap(), record);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        let good = fs::read_to_string(folder.path().join(FILE)).unwrap();
        for junk in ["", "{}", &good.replace("\"1\"", "\"2\""), &good.replace("0a1b", "../x")] {
            fs::write(folder.path().join(FILE), junk).unwrap();
            assert!(matches!(Record::read(folder.path()), Err(RecordError::Malformed { .. })), "{junk}");
        }
    }
}

//! What the last process left in the folder, and sled trips over.

use std::{
    fs::{self, File},
    path::Path,
};

use rustix::fs::{FlockOperation, flock};
use tracing::info;

use crate::{disk::LOG, room::SPARE};

/// The ending of a snapshot that sled has not finished. It renames the file once it has.
const UNFINISHED: &str = ".generating";

/// Makes a folder ready to be opened, unless somebody has it open.
///
/// sled writes a snapshot of where its pages are whenever it opens. One that it could not finish, because it was
/// killed or the disk was full, it takes for a damaged one ever after, although it can do without. So the file
/// that keeps room for a snapshot goes before, and unfinished snapshots go too.
pub(crate) fn clear(folder: &Path) {
    let is_held = File::open(folder.join(LOG))
        .is_ok_and(|log| flock(&log, FlockOperation::NonBlockingLockExclusive).is_err());
    if is_held {
        return;
    }
    // It is not there at first, and where the disk was full until the end.
    let _ = fs::remove_file(folder.join(SPARE));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
            info!(file = %entry.path().display(), "taking away a snapshot that was not finished");
            let _ = fs::remove_file(entry.path());
        }
    }
}

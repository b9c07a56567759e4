//! Files that only their owner may read.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use zeroize::Zeroizing;

/// A file that is longer holds something else. In bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The text of a file, or nothing where there is no file.
///
/// # Errors
/// It cannot be read, or others can.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
    };
    // Of the open file, so that nobody swaps it between the check and the use.
    let mode = file.metadata()?.permissions().mode() & 0o777;
    ensure!(
        mode & 0o077 == 0,
        "{path} can be read by others (mode {mode:o}); run: chmod 600 {path}",
        path = path.display()
    );
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(text))
}

/// Makes a file of mode 0600. A crash leaves the whole file or none: it is made beside, synced and renamed.
///
/// # Errors
/// It cannot be written.
pub(super) fn write_new(path: &Path, text: &str) -> Result<()> {
    let write = || -> Result<()> {
        let beside = path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_reads_back_and_is_refused_once_others_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(read(&path).unwrap().is_none());
        write_new(&path, "text").unwrap();
        assert_eq!(read(&path).unwrap().as_deref().map(String::as_str), Some("text"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("chmod 600"));
    }
}

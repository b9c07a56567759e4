//! The seal on an installed piece.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Says that the folder holds what `asked` describes, completely.
pub(crate) struct Stamp {
    path: PathBuf,
    asked: String,
}

impl Stamp {
    /// The folder's own path is part of the stamp: what pip installs cannot be moved.
    pub(crate) fn new(folder: &Path, pins: &str) -> Self {
        Self { path: folder.join(".installed"), asked: format!("{}\n{pins}", folder.display()) }
    }

    pub(crate) fn holds(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|found| found == self.asked)
    }

    pub(crate) fn seal(&self) -> Result<()> {
        fs::write(&self.path, &self.asked).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_holds_until_the_pins_or_the_place_change() {
        let folder = tempfile::tempdir().unwrap();
        let stamp = Stamp::new(folder.path(), "tool==1");
        assert!(!stamp.holds());
        stamp.seal().unwrap();
        assert!(Stamp::new(folder.path(), "tool==1").holds());
        assert!(!Stamp::new(folder.path(), "tool==2").holds());

        let moved = tempfile::tempdir().unwrap();
        fs::copy(folder.path().join(".installed"), moved.path().join(".installed")).unwrap();
        assert!(!Stamp::new(moved.path(), "tool==1").holds());
    }
}

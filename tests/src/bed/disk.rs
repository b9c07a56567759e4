//! A small disk that can be filled.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

/// A small disk of memory, mounted on a folder until it is dropped. It takes root.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one of so many megabytes on a folder that exists.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn mount(folder: &Path, megabytes: u32) -> Result<Self> {
        let size = format!("size={megabytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).status()?;
        ensure!(mounted.success(), "a tmpfs cannot be mounted; run this as root");
        Ok(Self(folder.to_owned()))
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Takes what is free, to the last byte.
    ///
    /// # Errors
    /// Not even an empty file can be made.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.filler())?;
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
        Ok(())
    }

    /// Gives back what [`Disk::fill`] took. Emptied first: a process that another test starts holds the open file until
    /// it has become what it starts, and its bytes with it.
    ///
    /// # Errors
    /// It was not filled.
    pub fn free(&self) -> Result<()> {
        File::create(self.filler())?;
        Ok(std::fs::remove_file(self.filler())?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

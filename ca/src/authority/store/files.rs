//! Files and folders that are there as a whole or not at all.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::{Error, Serial};

/// Starts the names of folders that a crash left behind. No mesh is called so.
const UNFINISHED: &str = ".unfinished-";
/// A file that is longer holds no certificates of ours. In bytes.
const MAX_FILE: u64 = 64 * 1024;

/// A folder that is being written under another name.
#[derive(Debug)]
pub(super) struct Folder {
    made: PathBuf,
    parent: PathBuf,
    target: PathBuf,
    serial: Serial,
}

impl Folder {
    /// Starts what will be `target`.
    pub(super) fn begin(target: &Path, serial: Serial) -> Result<Self, Error> {
        let parent = target.parent().unwrap_or(target).to_owned();
        let made = parent.join(format!("{UNFINISHED}{serial}"));
        DirBuilder::new().mode(0o700).create(&made).map_err(at(&made))?;
        Ok(Self { made, parent, target: target.to_owned(), serial })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.made.join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.path(name);
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(at(&path))
    }

    /// Puts it in place of what was there, and waits for the disk.
    pub(super) fn finish(self) -> Result<(), Error> {
        sync(&self.made)?;
        let old = self.parent.join(format!("{UNFINISHED}old-{}", self.serial));
        // Between the two renames an issuer is missing, and after a crash there it is made anew when needed.
        move_away(&self.target, &old)?;
        fs::rename(&self.made, &self.target).map_err(at(&self.target))?;
        sync(&self.parent)?;
        remove_if_there(&old)
    }
}

/// Takes a folder away as a whole.
pub(super) fn remove(folder: &Path, serial: Serial) -> Result<(), Error> {
    let parent = folder.parent().unwrap_or(folder);
    let old = parent.join(format!("{UNFINISHED}old-{serial}"));
    move_away(folder, &old)?;
    sync(parent)?;
    remove_if_there(&old)
}

pub(super) fn make_folder(folder: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))
}

/// Removes what a crash left.
pub(super) fn clear_unfinished(parent: &Path) -> Result<(), Error> {
    for name in entries(parent)?.iter().filter(|name| name.starts_with(UNFINISHED)) {
        let path = parent.join(name);
        fs::remove_dir_all(&path).map_err(at(&path))?;
    }
    Ok(())
}

pub(super) fn exists(path: &Path) -> Result<bool, Error> {
    path.try_exists().map_err(at(path))
}

/// What a file holds; `None` when it is too long or no text.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    let length = read.map_err(at(path))?;
    let is_short = u64::try_from(length).is_ok_and(|length| length <= MAX_FILE);
    Ok(String::from_utf8(bytes).ok().filter(|_| is_short))
}

/// The names in a folder; those that are not UTF-8 are nobody's we know.
pub(super) fn entries(folder: &Path) -> Result<Vec<String>, Error> {
    let names: io::Result<Vec<_>> =
        fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    let names = names.map_err(at(folder))?;
    Ok(names.iter().filter_map(|name| OsStr::to_str(name)).map(str::to_owned).collect())
}

fn move_away(folder: &Path, to: &Path) -> Result<(), Error> {
    match fs::rename(folder, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(folder)(error)),
        Err(_) | Ok(()) => Ok(()),
    }
}

fn remove_if_there(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(folder)(error)),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Puts what is in `next` in the place of what is in `place`, which goes to `shelf`; where nothing comes, the place is
/// left empty. Whoever was interrupted does the same again: what is on the shelf is not shelved again.
pub(crate) fn put_in_place(next: &Path, place: &Path, shelf: &Path) -> Result<(), Error> {
    if !exists(shelf)? {
        let above = shelf.parent().unwrap_or(shelf);
        make_folder(above)?;
        match exists(place)? {
            true => move_away(place, shelf)?,
            false => make_folder(shelf)?,
        }
        sync(above)?;
    }
    if exists(next)? {
        fs::rename(next, place).map_err(at(place))?;
        sync(next.parent().unwrap_or(next))?;
    }
    sync(place.parent().unwrap_or(place))
}

/// Removes every private key below a folder.
pub(crate) fn forget_keys(folder: &Path) -> Result<(), Error> {
    if !exists(folder)? {
        return Ok(());
    }
    for name in entries(folder)? {
        let path = folder.join(&name);
        if path.is_dir() {
            forget_keys(&path)?;
        } else if name == super::KEY {
            fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    Ok(())
}

/// Removes a folder, if it is there.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), Error> {
    remove_if_there(folder)
}

/// Makes a folder's entries durable.
fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    |source| Error::Io { path, source }
}

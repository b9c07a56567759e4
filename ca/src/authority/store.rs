//! The authority's folder.
//!
//! A pair of key and certificate is a folder of its own. It is written under another name, synced, and then
//! renamed: after a crash it is there as a whole or not at all. So a pair that lacks a file was damaged by
//! somebody, and is never completed or replaced in silence.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::{Error, IssuerName, Passphrase, PrivateKey, Serial, pem};

const KEY: &str = "key.pem";
const CERTIFICATE: &str = "cert.pem";
const MESHES: &str = "meshes";
/// Starts the names of folders that a crash left behind. No mesh is called so.
const UNFINISHED: &str = ".unfinished-";

/// The folder that holds root and issuers, for its owner's eyes only.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    /// Seals every key.
    passphrase: Option<Passphrase>,
}

/// Whose pair it is.
#[derive(Debug)]
pub(super) enum Slot<'a> {
    Root,
    Issuer(&'a IssuerName),
}

/// A pair as it was read, not yet checked.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) key: PrivateKey,
    /// DER; empty when the file holds no certificate.
    pub(super) certificate: Vec<u8>,
    /// Where the certificate was read.
    pub(super) path: PathBuf,
}

impl Store {
    /// Opens the folder, makes it where it is not there, and clears away what a crash left.
    pub(super) fn open(folder: &Path, passphrase: Option<Passphrase>) -> Result<Self, Error> {
        let store = Self { folder: folder.to_owned(), passphrase };
        let meshes = folder.join(MESHES);
        DirBuilder::new().recursive(true).mode(0o700).create(&meshes).map_err(at(&meshes))?;
        for parent in [folder, &meshes] {
            for name in entries(parent)?.iter().filter(|name| name.starts_with(UNFINISHED)) {
                let path = parent.join(name);
                fs::remove_dir_all(&path).map_err(at(&path))?;
            }
        }
        Ok(store)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The root; `None` in a folder that never had one.
    pub(super) fn root(&self) -> Result<Option<Stored>, Error> {
        let folder = self.path(&Slot::Root);
        if folder.try_exists().map_err(at(&folder))? {
            return self.read(&folder).map(Some);
        }
        match self.issuers()?.is_empty() {
            true => Ok(None),
            false => Err(Error::RootMissing { folder: self.folder.clone() }),
        }
    }

    /// The issuers that are there.
    pub(super) fn issuers(&self) -> Result<Vec<IssuerName>, Error> {
        let meshes = entries(&self.folder.join(MESHES))?;
        let mut names: Vec<_> =
            meshes.iter().filter_map(|mesh| mesh.parse().ok()).map(IssuerName::Mesh).collect();
        let server = self.path(&Slot::Issuer(&IssuerName::Server));
        if server.try_exists().map_err(at(&server))? {
            names.push(IssuerName::Server);
        }
        Ok(names)
    }

    pub(super) fn issuer(&self, name: &IssuerName) -> Result<Stored, Error> {
        self.read(&self.path(&Slot::Issuer(name)))
    }

    /// Puts a pair in place of the one before, if there was one, and waits for the disk.
    pub(super) fn put(
        &self,
        slot: &Slot<'_>,
        key: &PrivateKey,
        certificate: &[u8],
        serial: Serial,
    ) -> Result<(), Error> {
        let folder = self.path(slot);
        let parent = folder.parent().unwrap_or(&self.folder);
        let made = parent.join(format!("{UNFINISHED}{serial}"));
        DirBuilder::new().mode(0o700).create(&made).map_err(at(&made))?;
        key.write_new(&made.join(KEY), self.passphrase.as_ref())?;
        write_certificate(&made.join(CERTIFICATE), certificate)?;
        sync(&made)?;
        let old = parent.join(format!("{UNFINISHED}old-{serial}"));
        // Between the two renames an issuer is missing, and after a crash there it is made anew when needed.
        match fs::rename(&folder, &old) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(&folder)(error)),
            Err(_) | Ok(()) => {}
        }
        fs::rename(&made, &folder).map_err(at(&folder))?;
        sync(parent)?;
        match fs::remove_dir_all(&old) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(at(&old)(error)),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    /// Where the keys are: the root's first, then the issuers'.
    pub(super) fn keys(&self) -> Result<Vec<PathBuf>, Error> {
        let issuers = self.issuers()?;
        let slots = std::iter::once(Slot::Root).chain(issuers.iter().map(Slot::Issuer));
        Ok(slots.map(|slot| self.path(&slot).join(KEY)).collect())
    }

    fn read(&self, folder: &Path) -> Result<Stored, Error> {
        for missing in [KEY, CERTIFICATE] {
            let path = folder.join(missing);
            if !path.try_exists().map_err(at(&path))? {
                return Err(Error::IncompletePair { folder: folder.to_owned(), missing });
            }
        }
        let key = PrivateKey::read(&folder.join(KEY), self.passphrase.as_ref())?;
        let path = folder.join(CERTIFICATE);
        let text = fs::read(&path).map_err(at(&path))?;
        let decoded = std::str::from_utf8(&text).ok().and_then(|text| pem::decode("CERTIFICATE", text));
        let certificate = decoded.map(|der| der.to_vec()).unwrap_or_default();
        Ok(Stored { key, certificate, path })
    }

    fn path(&self, slot: &Slot<'_>) -> PathBuf {
        match slot {
            Slot::Root => self.folder.join("root"),
            Slot::Issuer(IssuerName::Server) => self.folder.join("server"),
            Slot::Issuer(IssuerName::Mesh(mesh)) => self.folder.join(MESHES).join(mesh.as_str()),
        }
    }
}

fn write_certificate(path: &Path, der: &[u8]) -> Result<(), Error> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(pem::encode("CERTIFICATE", der).as_bytes())?;
        file.sync_all()
    };
    write().map_err(at(path))
}

/// Makes a folder's entries durable.
fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

/// The names in a folder; those that are not UTF-8 are nobody's we know.
fn entries(folder: &Path) -> Result<Vec<String>, Error> {
    let names: io::Result<Vec<_>> =
        fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    let names = names.map_err(at(folder))?;
    Ok(names.iter().filter_map(|name| OsStr::to_str(name)).map(str::to_owned).collect())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    |source| Error::Io { path, source }
}

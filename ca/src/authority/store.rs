//! The authority's folder.
//!
//! A key and its certificate are a folder of their own. It is written under another name, synced, and then
//! renamed: after a crash it is there as a whole or not at all. So one that lacks a file was damaged by
//! somebody, and is never completed or replaced in silence.

mod files;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Custody, Error, IssuerName, PrivateKey, Random, Serial,
    key::{Key, Record},
    pem,
};
use files::Folder;
pub(super) use files::{forget_keys, put_in_place, remove_folder};

const KEY: &str = "key.pem";
/// Says where the key is when it is not in a file.
const RECORD: &str = "key.json";
const CERTIFICATE: &str = "cert.pem";
/// The certificates between this one and the root; not there when the root signed it.
const CHAIN: &str = "chain.pem";
const REQUEST: &str = "request.pem";
const MESHES: &str = "meshes";
const REQUESTS: &str = "requests";

/// The folder that holds root and issuers, for its owner's eyes only.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    pub(super) custody: Arc<Custody>,
}

/// Whose key and certificate they are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot<'a> {
    Root,
    /// The operator's, which signs issuers where the root's key is elsewhere.
    Intermediate,
    Issuer(&'a IssuerName),
    /// A key for an issuer whose certificate is yet to be signed by somebody else.
    Request(&'a IssuerName),
}

/// A key and its certificate as they were read, not yet checked.
#[derive(Debug)]
pub(super) struct Stored {
    /// `None` when nobody here has it.
    pub(super) key: Option<Key>,
    /// DER; empty when the file holds no certificate.
    pub(super) certificate: Vec<u8>,
    /// The certificates between it and the root, from the bottom up.
    pub(super) above: Vec<Vec<u8>>,
    /// Where the certificate was read.
    pub(super) path: PathBuf,
}

impl Store {
    /// Opens the folder, makes it where it is not there, and clears away what a crash left.
    pub(super) fn open(folder: &Path, custody: Arc<Custody>) -> Result<Self, Error> {
        let store = Self { folder: folder.to_owned(), custody };
        let requests = folder.join(REQUESTS);
        for parent in [folder.join(MESHES), requests.join(MESHES)] {
            files::make_folder(&parent)?;
            files::clear_unfinished(&parent)?;
        }
        files::clear_unfinished(folder)?;
        files::clear_unfinished(&requests)?;
        Ok(store)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The same folder for another authority.
    pub(super) fn at_same_place(&self) -> Self {
        Self { folder: self.folder.clone(), custody: Arc::clone(&self.custody) }
    }

    /// Removes a folder in this one, if it is there.
    pub(super) fn clear(&self, folder: &Path) -> Result<(), Error> {
        remove_folder(folder)
    }

    /// The root; `None` in a folder that never had one.
    pub(super) fn root(&self) -> Result<Option<Stored>, Error> {
        if self.holds(Slot::Root)? {
            return self.read(Slot::Root).map(Some);
        }
        match self.issuers()?.is_empty() && !self.holds(Slot::Intermediate)? {
            true => Ok(None),
            false => Err(Error::RootMissing { folder: self.folder.clone() }),
        }
    }

    /// Whether something is there, whole or not.
    pub(super) fn holds(&self, slot: Slot<'_>) -> Result<bool, Error> {
        files::exists(&self.path(slot))
    }

    /// The issuers that are there.
    pub(super) fn issuers(&self) -> Result<Vec<IssuerName>, Error> {
        self.named(&self.folder, Slot::Issuer)
    }

    /// The issuers that wait for their certificates.
    pub(super) fn requests(&self) -> Result<Vec<IssuerName>, Error> {
        self.named(&self.folder.join(REQUESTS), Slot::Request)
    }

    fn named<'a>(
        &self,
        parent: &Path,
        slot: fn(&'a IssuerName) -> Slot<'a>,
    ) -> Result<Vec<IssuerName>, Error> {
        let meshes = files::entries(&parent.join(MESHES))?;
        let mut names: Vec<_> =
            meshes.iter().filter_map(|mesh| mesh.parse().ok()).map(IssuerName::Mesh).collect();
        if self.holds(slot(&IssuerName::Server))? {
            names.push(IssuerName::Server);
        }
        Ok(names)
    }

    /// What lies in a place.
    pub(super) fn read(&self, slot: Slot<'_>) -> Result<Stored, Error> {
        let folder = self.path(slot);
        let path = folder.join(CERTIFICATE);
        if !files::exists(&path)? {
            return Err(Error::IncompletePair { folder, missing: CERTIFICATE });
        }
        let key = self.key(&folder)?;
        let certificate = files::read_text(&path)?.and_then(|text| pem::decode("CERTIFICATE", &text));
        let certificate = certificate.map(|der| der.to_vec()).unwrap_or_default();
        let chain = folder.join(CHAIN);
        let above = match files::exists(&chain)? {
            true => {
                let text = files::read_text(&chain)?.unwrap_or_default();
                pem::certificates(&text).map_err(|source| Error::Chain { path: chain, source })?
            }
            false => Vec::new(),
        };
        Ok(Stored { key, certificate, above, path })
    }

    /// A request that waits for its certificate, PEM.
    pub(super) fn request(&self, name: &IssuerName) -> Result<Option<String>, Error> {
        if !self.holds(Slot::Request(name))? {
            return Ok(None);
        }
        let folder = self.path(Slot::Request(name));
        match files::exists(&folder.join(REQUEST))? {
            true => files::read_text(&folder.join(REQUEST)),
            false => Err(Error::IncompletePair { folder, missing: REQUEST }),
        }
    }

    /// The key of a request; `None` where there is no request.
    pub(super) fn requested(&self, name: &IssuerName) -> Result<Option<Key>, Error> {
        if !self.holds(Slot::Request(name))? {
            return Ok(None);
        }
        let folder = self.path(Slot::Request(name));
        match self.key(&folder)? {
            Some(key) => Ok(Some(key)),
            None => Err(Error::IncompletePair { folder, missing: KEY }),
        }
    }

    fn key(&self, folder: &Path) -> Result<Option<Key>, Error> {
        let (file, record) = (folder.join(KEY), folder.join(RECORD));
        match (files::exists(&file)?, files::exists(&record)?) {
            (true, true) => Err(Error::TwoKeys { folder: folder.to_owned() }),
            (true, false) => Ok(Some(Key::File(PrivateKey::read(&file, self.custody.passphrase.as_ref())?))),
            (false, true) => {
                let text = files::read_text(&record)?.unwrap_or_default();
                let read = Record::read(text.as_bytes())
                    .map_err(|source| Error::KeyRecord { path: record.clone(), source })?;
                self.custody.find(&read).map_err(|source| Error::KeyElsewhere { path: record, source })
            }
            (false, false) => Err(Error::IncompletePair { folder: folder.to_owned(), missing: KEY }),
        }
    }

    /// Puts a key, a certificate and those above it in place of what was there, and waits for the disk.
    pub(super) fn put(
        &self,
        slot: Slot<'_>,
        key: Option<&Key>,
        certificates: &[&[u8]],
        serial: Serial,
    ) -> Result<(), Error> {
        let folder = Folder::begin(&self.path(slot), serial)?;
        self.write_key(&folder, key)?;
        if let Some((certificate, above)) = certificates.split_first() {
            folder.write(CERTIFICATE, &pem::encode("CERTIFICATE", certificate))?;
            if !above.is_empty() {
                let chain = above.iter().map(|der| pem::encode("CERTIFICATE", der).to_string());
                folder.write(CHAIN, &chain.collect::<String>())?;
            }
        }
        folder.finish()
    }

    /// Puts a request and its key in place of the one before, and waits for the disk.
    pub(super) fn put_request(
        &self,
        name: &IssuerName,
        key: &Key,
        request: &str,
        random: &Random,
    ) -> Result<(), Error> {
        let folder = Folder::begin(&self.path(Slot::Request(name)), Serial::draw(random))?;
        self.write_key(&folder, Some(key))?;
        folder.write(REQUEST, request)?;
        folder.finish()
    }

    /// Forgets a request, whose key has its certificate now.
    pub(super) fn forget_request(&self, name: &IssuerName, random: &Random) -> Result<(), Error> {
        files::remove(&self.path(Slot::Request(name)), Serial::draw(random))
    }

    fn write_key(&self, folder: &Folder, key: Option<&Key>) -> Result<(), Error> {
        match key {
            Some(Key::File(key)) => Ok(key.write_new(&folder.path(KEY), self.custody.passphrase.as_ref())?),
            Some(Key::Token(key)) => folder.write(RECORD, &Record::Token(key.place().clone()).write()),
            None => folder.write(RECORD, &Record::Offline.write()),
        }
    }

    /// Where the key files are: the root's first, then the issuers', then those of requests.
    pub(super) fn key_files(&self) -> Result<Vec<PathBuf>, Error> {
        let (issuers, requests) = (self.issuers()?, self.requests()?);
        let slots = [Slot::Root, Slot::Intermediate].into_iter();
        let slots = slots.chain(issuers.iter().map(Slot::Issuer)).chain(requests.iter().map(Slot::Request));
        let mut files = Vec::new();
        for slot in slots {
            let folder = self.path(slot);
            if !files::exists(&folder)? {
                continue;
            }
            let (file, record) = (folder.join(KEY), folder.join(RECORD));
            match (files::exists(&file)?, files::exists(&record)?) {
                (false, true) => {}
                (false, false) => return Err(Error::IncompletePair { folder, missing: KEY }),
                (true, _) => files.push(file),
            }
        }
        Ok(files)
    }

    fn path(&self, slot: Slot<'_>) -> PathBuf {
        let of = |parent: &Path, name: &IssuerName| match name {
            IssuerName::Server => parent.join("server"),
            IssuerName::Mesh(mesh) => parent.join(MESHES).join(mesh.as_str()),
        };
        match slot {
            Slot::Root => self.folder.join("root"),
            Slot::Intermediate => self.folder.join("intermediate"),
            Slot::Issuer(name) => of(&self.folder, name),
            Slot::Request(name) => of(&self.folder.join(REQUESTS), name),
        }
    }
}

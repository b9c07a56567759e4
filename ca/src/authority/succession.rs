//! A root or an issuer beside the one that is to go: made in `<folder>/next`, signing when told to, and put in its place
//! at the end.
//!
//! ```text
//!  <folder>/next/root, next/meshes/…, next/server    as above, all under the next root
//!           next/meshes/<mesh>                       for a change of one issuer: that one, under the root that stays
//!           retired/<serial>/…                       what was replaced, certificates without their keys
//! ```
//!
//! The next root may be an operator's whose key is elsewhere. Then the issuers below it are requested and installed in
//! `next` as they are beside it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use signet_policies::time::Timestamp;
use tracing::info;

use super::{
    Authority,
    fit::CaCertificate,
    import::given_root,
    issuers::Issuer,
    make_root,
    signer::{Chain, Signer, read_root},
    store::{Slot, Store, put_in_place},
};
use crate::{Error, IssuerName, Serial, pem};

/// What is to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Succession {
    /// The root, and with it every issuer.
    Root,
    /// One issuer, under the root that stays.
    Issuer(IssuerName),
}

/// Which roots are to be trusted while one takes the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trusted {
    /// The one that is to go.
    Old,
    /// Either.
    Both,
    /// The one that comes.
    New,
}

/// What stands ready to take over.
#[derive(Debug)]
pub(super) struct Next {
    heir: Heir,
    /// Whether it signs already.
    signs: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Heir {
    Root(Arc<Authority>),
    Issuer(IssuerName, Arc<Issuer>),
}

/// `root`, or an issuer's name.
impl std::fmt::Display for Succession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Issuer(name) => write!(f, "{name}"),
        }
    }
}

impl std::str::FromStr for Succession {
    type Err = <IssuerName as std::str::FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "root" { Ok(Self::Root) } else { text.parse().map(Self::Issuer) }
    }
}

impl Authority {
    /// Makes what is to take over, or takes the root that is `given`, PEM. It is trusted and signs when it is told to.
    ///
    /// # Errors
    /// Another change is under way, what would have to sign is not here, or what is given is not fit.
    pub(crate) fn prepare(
        &self,
        what: &Succession,
        given: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let given = self.given(what, given, now)?;
        let mut next = self.next.write().unwrap_or_else(PoisonError::into_inner);
        if next.is_some() {
            return Err(Error::Succession("another change is under way"));
        }
        let folder = self.next_folder();
        self.store.clear(&folder)?;
        let store = Store::open(&folder, Arc::clone(&self.store.custody))?;
        let heir = match (what, given) {
            (Succession::Root, Some(root)) => {
                store.put(Slot::Root, None, &[&root.der], Serial::draw(&self.random))?;
                self.read_root_heir(store, now)?
            }
            (Succession::Root, None) => {
                make_root(&store, &self.trust_domain, &self.random, now)?;
                let heir = self.read_root_heir(store, now)?;
                // Made now, so that lists of what is revoked name them before they sign.
                if let Heir::Root(heir) = &heir {
                    let names = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
                    names.keys().try_for_each(|name| heir.issuer(name, now).map(drop))?;
                }
                heir
            }
            (Succession::Issuer(name), _) => {
                let signer = self.signer.as_ref().ok_or_else(|| Error::NoSigner(name.clone()))?;
                Heir::Issuer(name.clone(), Arc::new(self.make_issuer_in(&store, name, signer, now)?))
            }
        };
        *next = Some(Next { heir, signs: false });
        Ok(())
    }

    /// Whether what is to take over can be made here, or may be what is `given`.
    ///
    /// # Errors
    /// [`Error::Succession`]; of what is given, [`Error::GivenPem`], [`Error::GivenRoot`], [`Error::SameRoot`].
    pub(crate) fn can_succeed(
        &self,
        what: &Succession,
        given: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.given(what, given, now).map(drop)
    }

    /// The root that is given, if one is and may take over.
    fn given(
        &self,
        what: &Succession,
        given: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<CaCertificate>, Error> {
        let is_own_root = self.signer.as_ref().is_some_and(|signer| signer.chain.certificates.is_empty());
        match (what, given) {
            (Succession::Root, Some(text)) => {
                let root = given_root(text, &self.trust_domain, now)?;
                match root.der == self.root.der {
                    true => Err(Error::SameRoot { folder: self.store.folder().to_owned() }),
                    false => Ok(Some(root)),
                }
            }
            (Succession::Root, None) if !is_own_root => Err(Error::Succession(
                "the root's key is not here, so that no other can be made in its place; bring its successor: \
                 signet ca rotate start --root --root-file FILE",
            )),
            (Succession::Issuer(_), Some(_)) => {
                Err(Error::Succession("an issuer is replaced below the root that stays, so none is given"))
            }
            (Succession::Issuer(_), None) if self.signer.is_none() => Err(Error::Succession(
                "nothing here signs issuers: get another certificate with `signet ca csr --fresh` and \
                 `signet ca install`",
            )),
            (Succession::Root | Succession::Issuer(_), None) => Ok(None),
        }
    }

    /// The root that is to take over, as an authority of its own; `None` where none is.
    #[must_use]
    pub fn successor(&self) -> Option<Arc<Self>> {
        match self.heir()? {
            Heir::Root(heir) => Some(heir),
            Heir::Issuer(..) => None,
        }
    }

    /// Whether what signs issuers is here.
    pub(crate) fn makes_issuers(&self) -> bool {
        self.signer.is_some()
    }

    /// The issuers that sign now and that a root whose key is elsewhere has not certified for its time yet.
    pub(crate) fn lacking(&self) -> Vec<IssuerName> {
        let Some(heir) = self.successor().filter(|heir| !heir.makes_issuers()) else { return Vec::new() };
        let there = heir.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        own.keys().filter(|name| !there.contains_key(name)).cloned().collect()
    }

    /// Takes up again what [`Authority::prepare`] made before a restart.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn resume(&self, what: &Succession, now: Timestamp) -> Result<(), Error> {
        let store = Store::open(&self.next_folder(), Arc::clone(&self.store.custody))?;
        let heir = match what {
            Succession::Root => self.read_root_heir(store, now)?,
            Succession::Issuer(name) => {
                Heir::Issuer(name.clone(), Arc::new(self.read_issuer_in(&store, name, now)?))
            }
        };
        let mut next = self.next.write().unwrap_or_else(PoisonError::into_inner);
        *next = Some(Next { heir, signs: false });
        Ok(())
    }

    fn read_root_heir(&self, store: Store, now: Timestamp) -> Result<Heir, Error> {
        let missing = || Error::RootMissing { folder: store.folder().to_owned() };
        let stored = store.root()?.ok_or_else(missing)?;
        let (root, key) = read_root(&stored, &self.trust_domain, now)?;
        let signer = key.map(|key| Signer::new(key, Chain::of_root(&root))).transpose();
        let signer = signer.map_err(|not_after| Error::ChainEnded { not_after, now })?.map(Arc::new);
        let heir = Self {
            trust_domain: self.trust_domain.clone(),
            store,
            random: self.random.clone(),
            root,
            signer,
            issuers: Mutex::default(),
            next: RwLock::default(),
        };
        for name in heir.store.issuers()? {
            heir.load(&name, now)?;
        }
        Ok(Heir::Root(Arc::new(heir)))
    }

    /// Has the one that comes sign from now on, or the one that was there before. Says whether that is another one.
    pub(crate) fn sign_with_next(&self, signs: bool) -> bool {
        let mut next = self.next.write().unwrap_or_else(PoisonError::into_inner);
        next.as_mut().is_some_and(|next| std::mem::replace(&mut next.signs, signs) != signs)
    }

    /// Forgets the one that was to come.
    ///
    /// # Errors
    /// Its folder cannot be removed.
    pub(crate) fn discard_next(&self) -> Result<(), Error> {
        *self.next.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.store.clear(&self.next_folder())
    }

    /// Puts the one that comes into the place of the one that goes, on disk and in memory. A root comes as another
    /// authority, which is to be used from now on.
    ///
    /// # Errors
    /// A folder cannot be moved; [`Authority::finish`] goes on where it stopped.
    pub(crate) fn promote(&self, what: &Succession, retired: &str) -> Result<Option<Self>, Error> {
        Self::finish(self.store.folder(), what, retired)?;
        let next = self.next.write().unwrap_or_else(PoisonError::into_inner).take();
        match next.map(|next| next.heir) {
            Some(Heir::Root(heir)) => {
                let issuers = heir.issuers.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Ok(Some(Self {
                    trust_domain: self.trust_domain.clone(),
                    store: self.store.at_same_place(),
                    random: self.random.clone(),
                    root: heir.root.clone(),
                    signer: heir.signer.clone(),
                    issuers: Mutex::new(issuers),
                    next: RwLock::default(),
                }))
            }
            Some(Heir::Issuer(name, issuer)) => {
                self.issuers.lock().unwrap_or_else(PoisonError::into_inner).insert(name, issuer);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Moves the folders of a change that is complete. It may have been interrupted anywhere, and be done already.
    ///
    /// # Errors
    /// A folder cannot be moved.
    pub(crate) fn finish(folder: &Path, what: &Succession, retired: &str) -> Result<(), Error> {
        let next = folder.join("next");
        let shelf = folder.join("retired").join(retired);
        let parts: Vec<PathBuf> = match what {
            // The root last: while it is in `next`, what is under it is not yet all in place.
            Succession::Root => {
                ["meshes", "server", "intermediate", "requests", "root"].map(PathBuf::from).to_vec()
            }
            Succession::Issuer(IssuerName::Server) => vec![PathBuf::from("server")],
            Succession::Issuer(IssuerName::Mesh(mesh)) => vec![Path::new("meshes").join(mesh.as_str())],
        };
        for part in parts {
            put_in_place(&next.join(&part), &folder.join(&part), &shelf.join(&part))?;
        }
        info!(change = %what, retired, "what was replaced is retired");
        super::store::forget_keys(&shelf)?;
        super::store::remove_folder(&next)
    }

    /// Removes what a change that never began left behind.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub(crate) fn forget_unbegun(folder: &Path) -> Result<(), Error> {
        super::store::remove_folder(&folder.join("next"))
    }

    /// The roots to trust, each DER.
    pub(crate) fn roots(&self, trusted: Trusted) -> Vec<Vec<u8>> {
        let next = self.next.read().unwrap_or_else(PoisonError::into_inner);
        let coming = next.as_ref().and_then(|next| match &next.heir {
            Heir::Root(heir) => Some(heir.root.der.to_vec()),
            Heir::Issuer(..) => None,
        });
        let own = self.root.der.to_vec();
        match (trusted, coming) {
            (Trusted::Old, _) | (_, None) => vec![own],
            (Trusted::Both, Some(coming)) => vec![own, coming],
            (Trusted::New, Some(coming)) => vec![coming],
        }
    }

    /// The key identifiers of the issuers that a holder's certificate should be from: the next ones', or those that were
    /// there before.
    pub(crate) fn issuer_keys(&self, next: bool) -> Vec<Vec<u8>> {
        let heir = self.next.read().unwrap_or_else(PoisonError::into_inner);
        match heir.as_ref().filter(|_| next).map(|next| &next.heir) {
            Some(Heir::Root(heir)) => heir.issuer_keys(false),
            Some(Heir::Issuer(_, issuer)) => vec![issuer.template.issuer_key_id.clone()],
            None => {
                let issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
                issuers.values().map(|issuer| issuer.template.issuer_key_id.clone()).collect()
            }
        }
    }

    /// The certificates of a change: what goes, and what comes where it is there. Each DER.
    pub(crate) fn parties(&self, what: &Succession) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let own = |issuer: &Arc<Issuer>| issuer.chain.lowest().der.to_vec();
        let going = match what {
            Succession::Root => Some(self.root.der.to_vec()),
            Succession::Issuer(name) => {
                self.issuers.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(own)
            }
        };
        let next = self.next.read().unwrap_or_else(PoisonError::into_inner);
        let coming = next.as_ref().map(|next| match &next.heir {
            Heir::Root(heir) => heir.root.der.to_vec(),
            Heir::Issuer(_, issuer) => own(issuer),
        });
        (going, coming)
    }

    /// The issuer that signs now for this name.
    pub(super) fn signing_issuer(&self, name: &IssuerName, now: Timestamp) -> Result<Arc<Issuer>, Error> {
        let next = self.next.read().unwrap_or_else(PoisonError::into_inner);
        match next.as_ref().filter(|next| next.signs).map(|next| &next.heir) {
            Some(Heir::Root(heir)) => {
                let heir = Arc::clone(heir);
                drop(next);
                let found = heir.issuer(name, now);
                if let Err(Error::NoSigner(name)) = found { Err(Error::NoNextSigner(name)) } else { found }
            }
            Some(Heir::Issuer(whose, issuer)) if whose == name => Ok(Arc::clone(issuer)),
            Some(Heir::Issuer(..)) | None => {
                drop(next);
                self.issuer(name, now)
            }
        }
    }

    /// The issuers that are there.
    pub(crate) fn issuer_names(&self) -> Vec<IssuerName> {
        self.issuers.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Whether there is anything to be replaced.
    #[must_use]
    pub fn holds(&self, what: &Succession) -> bool {
        self.parties(what).0.is_some()
    }

    /// What is to take over.
    pub(super) fn heir(&self) -> Option<Heir> {
        self.next.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|next| next.heir.clone())
    }

    fn next_folder(&self) -> PathBuf {
        self.store.folder().join("next")
    }

    /// Every root that is trusted, PEM, for people to hand to agents.
    #[must_use]
    pub fn roots_pem(roots: &[Vec<u8>]) -> String {
        roots.iter().map(|root| pem::encode("CERTIFICATE", root).to_string()).collect()
    }
}

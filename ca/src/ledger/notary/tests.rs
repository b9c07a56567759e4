use signet_durable::Database;

use super::*;
use crate::{
    fixtures::trust_domain,
    ledger::{Entry, suite::issued},
};

/// A data folder with a ledger, and an anchor outside of it.
struct Place {
    folder: tempfile::TempDir,
    outside: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), outside: tempfile::tempdir().unwrap() }
    }

    fn anchor(&self) -> PathBuf {
        self.outside.path().join("anchor")
    }

    fn open(&self) -> Result<Notary, NotaryError> {
        self.open_sealed(None)
    }

    fn open_sealed(&self, passphrase: Option<&Passphrase>) -> Result<Notary, NotaryError> {
        let ledger = self.ledger();
        Notary::open(self.folder.path(), passphrase, &trust_domain(), ledger, Some(&self.anchor()))
    }

    fn ledger(&self) -> SledLedger {
        SledLedger::new(Database::open(&self.folder.path().join("store")).unwrap()).unwrap()
    }

    async fn add(&self, entries: &[Entry]) {
        let notary = self.open().unwrap();
        for entry in entries {
            notary.ledger.append(entry.clone()).await.unwrap();
        }
        notary.checkpoint().await.unwrap();
    }

    fn copy_store(&self, to: &Path) {
        copy(&self.folder.path().join("store"), to);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[tokio::test]
async fn a_ledger_that_grew_goes_on_from_its_anchor() {
    let place = Place::new();
    place.add(&[issued(1), issued(2)]).await;
    let first = fs::read_to_string(place.anchor()).unwrap();
    place.add(&[issued(3)]).await;
    let notary = place.open().unwrap();
    let [old, new] = [first, fs::read_to_string(place.anchor()).unwrap()]
        .map(|note| Checkpoint::open(&note, notary.verifier()).unwrap().head());
    assert_eq!((old.size, new.size), (2, 3));
    let ledger: &dyn Ledger = &notary.ledger;
    ledger.prove_consistency(2, 3).unwrap().check(&old, &new).unwrap();
}

#[tokio::test]
async fn where_nothing_was_added_the_checkpoint_is_the_last_one() {
    let place = Place::new();
    place.add(&[issued(1)]).await;
    let before = fs::metadata(place.anchor()).unwrap().modified().unwrap();
    let notary = place.open().unwrap();
    let note = notary.checkpoint().await.unwrap();
    assert_eq!(note.note(), fs::read_to_string(place.anchor()).unwrap());
    assert_eq!(fs::metadata(place.anchor()).unwrap().modified().unwrap(), before);
}

#[tokio::test]
async fn a_folder_that_is_older_than_the_anchor_is_refused() {
    let place = Place::new();
    place.add(&[issued(1)]).await;
    let copied = place.outside.path().join("copy");
    place.copy_store(&copied);
    place.add(&[issued(2)]).await;
    fs::remove_dir_all(place.folder.path().join("store")).unwrap();
    fs::rename(&copied, place.folder.path().join("store")).unwrap();
    let refused = place.open().unwrap_err();
    assert!(matches!(refused, NotaryError::Older { has: 1, stated: 2, .. }), "{refused}");
    // Whatever is added to it, it does not become the one that it was.
    fs::rename(place.anchor(), place.outside.path().join("away")).unwrap();
    place.add(&[issued(3), issued(4)]).await;
    fs::rename(place.outside.path().join("away"), place.anchor()).unwrap();
    let refused = place.open().unwrap_err();
    assert!(matches!(refused, NotaryError::Altered { stated: 2, .. }), "{refused}");
}

#[tokio::test]
async fn an_empty_folder_is_refused_beside_the_anchor_of_another() {
    let place = Place::new();
    place.add(&[issued(1)]).await;
    let empty = Place::new();
    fs::copy(place.anchor(), empty.anchor()).unwrap();
    let refused = empty.open().unwrap_err();
    assert!(matches!(refused, NotaryError::Foreign { .. }), "{refused}");
    fs::remove_dir_all(place.folder.path().join("store")).unwrap();
    let refused = place.open().unwrap_err();
    assert!(matches!(refused, NotaryError::Older { has: 0, stated: 1, .. }), "{refused}");
    fs::write(place.anchor(), [0xff; 10]).unwrap();
    assert!(matches!(place.open(), Err(NotaryError::Foreign { .. })));
}

#[tokio::test]
async fn a_key_that_has_signed_is_never_replaced() {
    let place = Place::new();
    place.add(&[issued(1)]).await;
    let key = LogKey::file_in(place.folder.path());
    fs::remove_file(&key).unwrap();
    let refused = place.open().unwrap_err();
    assert!(matches!(refused, NotaryError::KeyMissing { .. }), "{refused}");
    assert!(!key.exists());
}

#[tokio::test]
async fn the_key_is_sealed_with_the_others() {
    let place = Place::new();
    place.add(&[issued(1)]).await;
    let secret = Passphrase::new(zeroize::Zeroizing::new("correct horse battery".to_owned())).unwrap();
    let key = LogKey::file_in(place.folder.path());
    assert!(LogKey::reseal(&key, None, Some(&secret)).unwrap());
    assert!(!LogKey::reseal(&key, None, Some(&secret)).unwrap(), "it is so already");
    assert!(matches!(place.open(), Err(NotaryError::Key(_))));
    place.open_sealed(Some(&secret)).unwrap();
    assert!(fs::read_to_string(&key).unwrap().contains("ENCRYPTED"));
}

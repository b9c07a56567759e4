//! What every agent must trust now: roots, and CRLs where anything is revoked.

use std::sync::Arc;

use ring::digest::{Context, SHA256};
use tokio::sync::watch;

/// Roots and CRLs, each DER, in canonical (bytewise) order and each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    version: String,
    bundle: Vec<Vec<u8>>,
    crls: Vec<Vec<u8>>,
}

impl Trust {
    /// Brings roots and CRLs into canonical form.
    #[must_use]
    pub fn new(bundle: Vec<Vec<u8>>, crls: Vec<Vec<u8>>) -> Self {
        let [bundle, crls] = [bundle, crls].map(|mut ders| {
            ders.sort();
            ders.dedup();
            ders
        });
        Self { version: version(&bundle, &crls), bundle, crls }
    }

    /// SHA-256 over the content, 64 lower-case hexadecimal digits: the same on every server and after every restart.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The roots, DER.
    #[must_use]
    pub fn bundle(&self) -> &[Vec<u8>] {
        &self.bundle
    }

    /// The CRLs, DER.
    #[must_use]
    pub fn crls(&self) -> &[Vec<u8>] {
        &self.crls
    }
}

/// Each list by its length, then each member by its length (big-endian, 32 bits) and its bytes. Agents compute the same.
fn version(bundle: &[Vec<u8>], crls: &[Vec<u8>]) -> String {
    let mut hash = Context::new(&SHA256);
    let length = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
    for list in [bundle, crls] {
        hash.update(&length(list.len()));
        for der in list {
            hash.update(&length(der.len()));
            hash.update(der);
        }
    }
    hex::encode(hash.finish().as_ref())
}

/// Tells everybody what to trust: the latest wins. Clones share it.
#[derive(Clone, Debug)]
pub struct TrustFeed(Arc<watch::Sender<Arc<Trust>>>);

impl TrustFeed {
    /// A feed that starts with these roots and no CRL.
    #[must_use]
    pub fn new(bundle: Vec<Vec<u8>>) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(Trust::new(bundle, Vec::new())))))
    }

    /// What is trusted now, and every change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Trust>> {
        self.0.subscribe()
    }

    /// What is trusted now.
    #[must_use]
    pub fn now(&self) -> Arc<Trust> {
        self.0.borrow().clone()
    }

    /// Other roots, with the CRLs that are there.
    pub fn set_bundle(&self, bundle: Vec<Vec<u8>>) {
        self.set(|now| Trust::new(bundle, now.crls.clone()));
    }

    /// Other CRLs, with the roots that are there.
    pub fn set_crls(&self, crls: Vec<Vec<u8>>) {
        self.set(|now| Trust::new(now.bundle.clone(), crls));
    }

    fn set(&self, next: impl FnOnce(&Trust) -> Trust) {
        self.0.send_if_modified(|now| {
            let next = next(now);
            let is_new = next != **now;
            *now = Arc::new(next);
            is_new
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ders(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_same_content_is_the_same_version_in_whatever_order_it_comes() {
        let one = Trust::new(ders(&["b", "a", "b"]), ders(&["c"]));
        assert_eq!(one, Trust::new(ders(&["a", "b"]), ders(&["c"])));
        assert_eq!(one.bundle(), ders(&["a", "b"]));
        assert_eq!(one.version().len(), 64);
        for other in [
            Trust::new(ders(&["a", "b", "c"]), vec![]),
            Trust::new(ders(&["ab"]), ders(&["c"])),
            Trust::new(ders(&["a"]), ders(&["b", "c"])),
        ] {
            assert_ne!(one.version(), other.version());
        }
        // `printf '\0\0\0\1\0\0\0\1a\0\0\0\0' | sha256sum`
        let small = "c1d9f77c60b28c6d707cb28155dd6d3cbbef1a25e0fce41ac9bc9c9f6638500d";
        assert_eq!(Trust::new(ders(&["a"]), vec![]).version(), small);
    }

    #[test]
    fn roots_and_crls_change_by_themselves_and_what_changes_nothing_is_no_news() {
        let feed = TrustFeed::new(ders(&["a"]));
        let mut news = feed.subscribe();
        feed.set_crls(ders(&["c"]));
        assert!(news.has_changed().unwrap());
        assert_eq!(**news.borrow_and_update(), Trust::new(ders(&["a"]), ders(&["c"])));
        feed.set_bundle(ders(&["a"]));
        assert!(!news.has_changed().unwrap(), "it is what it was");
        feed.set_bundle(ders(&["b", "a"]));
        assert_eq!(**news.borrow_and_update(), Trust::new(ders(&["a", "b"]), ders(&["c"])));
    }
}

//! Pages of a list. A token names the last item that was shown, so writes between two pages neither repeat
//! nor skip what was there all along; and it is signed for its list, so nobody makes one up.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{ApiError, input::QueryMembers};
use crate::model::key::{Collection, Key};

/// Most items of a page, and as many as come unasked.
pub(super) const MAX_LIMIT: usize = 100;
/// The same of a page of tags, of which a resource has no more.
pub(super) const MAX_TAGS_LIMIT: usize = 50;
/// Length of a signature, in bytes.
const MAC: usize = 16;

/// What tokens are signed with: 32 random bytes, kept so that a token holds over a restart.
#[derive(Clone)]
pub(super) struct PageKey(Zeroizing<[u8; 32]>);

/// What a caller wants to see of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) limit: usize,
    /// Items after this name.
    pub(super) after: Option<String>,
}

/// Which list a token is for.
#[derive(Clone, Debug)]
pub(super) struct Scope(String);

impl From<&Collection> for Scope {
    fn from(collection: &Collection) -> Self {
        let parent = collection.parent().map(|parent| parent.to_string()).unwrap_or_default();
        Self(format!("{} in {parent}", collection.kind()))
    }
}

impl Scope {
    pub(super) fn tags_of(key: &Key) -> Self {
        Self(format!("tags of {key}"))
    }
}

impl PageKey {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The token for what comes after a name.
    pub(super) fn token(&self, scope: &Scope, name: &str) -> String {
        let mac = self.mac(scope, name).finalize().into_bytes();
        hex::encode([mac.get(..MAC).unwrap_or_default(), name.as_bytes()].concat())
    }

    fn open(&self, scope: &Scope, token: &str) -> Option<String> {
        let bytes = hex::decode(token).ok()?;
        let (mac, name) = bytes.split_at_checked(MAC)?;
        let name = std::str::from_utf8(name).ok()?;
        self.mac(scope, name).verify_truncated_left(mac).ok()?;
        Some(name.to_owned())
    }

    fn mac(&self, scope: &Scope, name: &str) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104, section 2)")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0).expect("HMAC takes keys of every length");
        mac.update(scope.0.as_bytes());
        mac.update(&[0]);
        mac.update(name.as_bytes());
        mac
    }
}

impl fmt::Debug for PageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageKey(..)")
    }
}

impl Page {
    /// `most` is the largest limit, and the one that holds where none is asked for.
    pub(super) fn parse(
        query: &QueryMembers,
        key: &PageKey,
        scope: &Scope,
        most: usize,
    ) -> Result<Self, ApiError> {
        let limit = query.limit.as_deref().map_or(Some(most), |text| text.parse().ok());
        let limit = limit
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| ApiError::bad_request(format!("limit: must be 1 to {most}")))?;
        let open = |token: &str| {
            let foreign = || ApiError::bad_request("nextToken: it is not one that this list gave");
            key.open(scope, token).ok_or_else(foreign)
        };
        let after = query.next_token.as_deref().map(open).transpose()?;
        Ok(Self { limit, after })
    }
}

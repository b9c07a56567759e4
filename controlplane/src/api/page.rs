//! Pages of a list. A token names the last item that was shown, so writes between two pages neither repeat
//! nor skip what was there all along.

use super::{ApiError, input::QueryMembers};
use crate::model::key::{Collection, Key};

/// Most items of a page, and as many as come unasked.
const MAX_LIMIT: usize = 100;

/// What a caller wants to see of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) limit: usize,
    /// Items after this name.
    pub(super) after: Option<String>,
}

impl Page {
    pub(super) fn parse(query: &QueryMembers, collection: &Collection) -> Result<Self, ApiError> {
        let limit = query.limit.as_deref().map_or(Some(MAX_LIMIT), |text| text.parse().ok());
        let limit = limit
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| ApiError::bad_request(format!("limit: must be 1 to {MAX_LIMIT}")))?;
        let after = query.next_token.as_deref().map(|token| name_of(token, collection)).transpose()?;
        Ok(Self { limit, after })
    }
}

/// The token for what comes after an item.
pub(super) fn token_after(key: &Key) -> String {
    hex::encode(key.to_string())
}

fn name_of(token: &str, collection: &Collection) -> Result<String, ApiError> {
    let bytes = hex::decode(token).ok();
    let key = bytes.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<Key>().ok());
    key.filter(|key| key.collection() == *collection)
        .map(|key| key.name().to_owned())
        .ok_or_else(|| ApiError::bad_request("nextToken: it is not one that this list gave"))
}

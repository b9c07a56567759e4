//! Moments as people and programs write them.

use signet_policies::time::Timestamp;
use time::{OffsetDateTime, macros::format_description};

/// Seconds since the epoch as RFC 3339 has them, in UTC; the number itself where there is no such date.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    Timestamp::from_unix(seconds).to_string()
}

/// As AWS Private CA's audit reports have it: `2026-11-26T15:00:00+0000`.
pub(super) fn aws(seconds: i64) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+0000");
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
    moment.and_then(|moment| moment.format(&form).ok()).unwrap_or_default()
}

//! Findings that somebody decided to live with, for a while.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::{Date, OffsetDateTime, Time, format_description::well_known::Rfc3339, macros::format_description};

use crate::{checks::find, finding::Finding};

/// A decision to live with findings until some day. A waiver that ended waives nothing and is reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// A check's id, or the fingerprint of one finding.
    pub id: String,
    /// Until when, in seconds since the epoch.
    pub until: i64,
    /// Why.
    pub reason: String,
}

/// A waiver and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waived {
    /// The waiver.
    pub waiver: Waiver,
    /// Whether it ended before this audit.
    pub is_expired: bool,
    /// What it waived.
    pub findings: Vec<Finding>,
}

/// Why a text is no waiver.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidWaiver {
    /// A member is missing, or there is one more.
    #[error("a waiver has the form id=B05,until=2027-01-31,reason=TEXT, all three of them")]
    Form,
    /// Neither a check nor a fingerprint.
    #[error(
        "{0:?} is neither a check's id nor a finding's fingerprint; `signet audit --list` shows the checks"
    )]
    Id(String),
    /// No day and no moment.
    #[error("{0:?} is no day; write it as 2027-01-31, or as 2027-01-31T12:00:00Z")]
    Until(String),
}

impl Waiver {
    pub(crate) fn covers(&self, finding: &Finding) -> bool {
        self.id.eq_ignore_ascii_case(&finding.id) || self.id == finding.fingerprint
    }
}

/// `id=…,until=…,reason=…`; the reason is the rest, commas included. A day is waived to its end, in UTC.
impl FromStr for Waiver {
    type Err = InvalidWaiver;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (head, reason) = text.split_once(",reason=").ok_or(InvalidWaiver::Form)?;
        let rest = head.strip_prefix("id=").ok_or(InvalidWaiver::Form)?;
        let (id, until) = rest.split_once(",until=").ok_or(InvalidWaiver::Form)?;
        if reason.trim().is_empty() {
            return Err(InvalidWaiver::Form);
        }
        let is_fingerprint = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if find(id).is_none() && !is_fingerprint {
            return Err(InvalidWaiver::Id(id.to_owned()));
        }
        let id = find(id).map_or(id, |check| check.id);
        let until = moment(until).ok_or_else(|| InvalidWaiver::Until(until.to_owned()))?;
        Ok(Self { id: id.to_owned(), until, reason: reason.trim().to_owned() })
    }
}

fn moment(text: &str) -> Option<i64> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]"));
    let last = |day: Date| Some(OffsetDateTime::new_utc(day, Time::from_hms(23, 59, 59).ok()?));
    let moment = day.ok().and_then(last).or_else(|| OffsetDateTime::parse(text, &Rfc3339).ok());
    moment.map(OffsetDateTime::unix_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiver_needs_a_check_a_day_and_a_reason() {
        let waiver: Waiver = "id=b05,until=2027-01-31,reason=bought CA, replaced in January".parse().unwrap();
        assert_eq!((waiver.id.as_str(), waiver.until), ("B05", 1_801_439_999));
        assert_eq!(waiver.reason, "bought CA, replaced in January");
        for text in [
            "",
            "id=B05",
            "id=B05,until=2027-01-31",
            "id=B05,until=2027-01-31,reason= ",
            "B05,until=2027-01-31,reason=x",
        ] {
            assert_eq!(text.parse::<Waiver>(), Err(InvalidWaiver::Form), "{text}");
        }
        assert!(matches!("id=Z99,until=2027-01-31,reason=x".parse::<Waiver>(), Err(InvalidWaiver::Id(_))));
        assert!(matches!("id=E*,until=2027-01-31,reason=x".parse::<Waiver>(), Err(InvalidWaiver::Id(_))));
        assert!(matches!("id=B05,until=soon,reason=x".parse::<Waiver>(), Err(InvalidWaiver::Until(_))));
    }
}

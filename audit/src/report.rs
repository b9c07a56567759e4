//! What an audit came to.

use serde::{Deserialize, Serialize};

use crate::{
    finding::{Finding, Severity},
    inventory::Gap,
    waiver::Waived,
};

/// The version of the shape of a report.
pub(crate) const SCHEMA: &str = "signet.audit/1";

/// What an audit came to, the worst findings first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `signet.audit/1`.
    pub schema: String,
    /// When the inventory was taken, in seconds since the epoch.
    pub taken_at: i64,
    /// When the audit ran.
    pub ran_at: i64,
    /// The mesh that it is about; all where absent.
    pub mesh: Option<String>,
    /// The certificate that it is about, where it is about one from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Taken>,
    /// What was looked at.
    pub coverage: Coverage,
    /// Every check and what came of it.
    pub checks: Vec<Ran>,
    /// What is wrong, and neither waived nor in the baseline.
    pub findings: Vec<Finding>,
    /// What the baseline has already.
    pub known: Vec<Finding>,
    /// The waivers, and what each waived.
    pub waived: Vec<Waived>,
    /// What could not be found out, and was asked for.
    pub gaps: Vec<Gap>,
    /// Why what was looked at is too old; empty where it is not.
    pub stale: Vec<String>,
}

/// A certificate from a file, and what it was taken for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// By which profile it was judged.
    pub taken_for: Kind,
    /// What it says that told so.
    pub because: String,
    /// Its SPIFFE ID where it is a leaf, else its subject.
    pub subject: String,
    /// Its serial number, hexadecimal.
    pub serial: String,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It signs no certificates.
    Leaf,
    /// It signs leaves.
    Issuer,
    /// It signs authorities, and another one signed it.
    Intermediate,
    /// It signs authorities, and signed itself.
    Root,
}

impl Taken {
    /// Subject and serial number, for people.
    #[must_use]
    pub fn name(&self) -> String {
        match self.subject.as_str() {
            "" => format!("serial {}", self.serial),
            subject => format!("{subject}, serial {}", self.serial),
        }
    }
}

impl Kind {
    /// As reports spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Issuer => "issuer",
            Self::Intermediate => "intermediate",
            Self::Root => "root",
        }
    }
}

/// How much was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Certificates in the ledger.
    pub certificates: u64,
    /// Roots and issuers.
    pub authorities: u64,
    /// Proxies that there are.
    pub nodes: u64,
    /// Of these, those whose agent reported lately.
    pub nodes_examined: u64,
    /// Entries of the log by its checkpoint; absent where it has none.
    pub log_entries: Option<u64>,
}

/// One check and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ran {
    /// The check's id.
    pub id: String,
    /// The check's name.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How many faults it found, waived and known ones included.
    pub found: u64,
    /// Why it did not run, or not on everything; empty where it did.
    pub reason: String,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ran on everything and found nothing.
    Passed,
    /// It found something.
    Failed,
    /// It found nothing in what it could see, and could not see all.
    Partial,
    /// Something that it needs is not there.
    NotRun,
    /// Nobody asked for it.
    Skipped,
}

impl Outcome {
    /// As reports spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::NotRun => "not-run",
            Self::Skipped => "skipped",
        }
    }
}

impl Report {
    /// The worst of the findings.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Whether something that was asked for could not be looked at.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        !self.gaps.is_empty()
            || self.checks.iter().any(|ran| matches!(ran.outcome, Outcome::NotRun | Outcome::Partial))
    }

    /// The exit code: 4 and 3 for critical findings and others at or above `fail_on`, else 6 where the data is stale, 5
    /// where the audit is incomplete, 0 else.
    #[must_use]
    pub fn exit_code(&self, fail_on: Severity) -> u8 {
        match self.worst().filter(|worst| *worst >= fail_on) {
            Some(Severity::Critical) => 4,
            Some(Severity::Warning | Severity::Info) => 3,
            None if !self.stale.is_empty() => 6,
            None if self.is_incomplete() => 5,
            None => 0,
        }
    }

    /// How many findings there are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

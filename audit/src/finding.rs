//! What a check found.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How bad it is, from the mildest to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Mend it soon.
    Warning,
    /// Mend it now.
    Critical,
}

/// What a finding is about. Absent members do not apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    /// The mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<String>,
    /// The virtual node or gateway, as `mesh/M/virtualNode/N`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// One of its instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// A port of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A certificate's serial number, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// A SPIFFE ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// A root or an issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's id, such as `B03`.
    pub id: String,
    /// The check's name, such as `issuer-expiry`.
    pub name: String,
    /// How bad it is here; a check may say less than its own.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What was seen.
    pub evidence: Vec<String>,
    /// When an audit first found it, by the baseline; else now. Seconds since the epoch.
    pub first_seen: i64,
    /// When this audit ran.
    pub last_seen: i64,
    /// What to do.
    pub fix: String,
    /// Where to read on.
    pub docs: String,
    /// The same for the same fault in every audit; hexadecimal.
    pub fingerprint: String,
}

/// A fault as a check reports it; the audit makes a [`Finding`] of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The check's own where absent.
    pub(crate) severity: Option<Severity>,
    pub(crate) subject: Subject,
    pub(crate) message: String,
    pub(crate) evidence: Vec<String>,
    /// The check's own where absent.
    pub(crate) fix: Option<String>,
    /// Tells faults of one check about one subject apart, and holds no moment and no count.
    pub(crate) key: String,
}

impl Fault {
    pub(crate) fn new(subject: Subject, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity: None, subject, message, evidence: Vec::new(), fix: None, key: String::new() }
    }

    pub(crate) fn at(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    pub(crate) fn seen(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    pub(crate) fn by(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    pub(crate) fn keyed(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// Names the fault: the check, the subject and the key.
    pub(crate) fn fingerprint(&self, id: &str) -> String {
        let mut hash = Sha256::new();
        for part in [id, &self.subject.to_string(), &self.key] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        hex::encode(&hash.finalize()[..16])
    }
}

impl Severity {
    /// Every severity, the worst first.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Warning, Self::Info];

    /// As reports spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The members that are there, the widest first.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port.map(|port| port.to_string());
        let mesh = self.mesh.as_ref().filter(|_| self.node.is_none());
        let parts = [
            ("mesh", mesh),
            ("node", self.node.as_ref()),
            ("instance", self.instance.as_ref()),
            ("port", port.as_ref()),
            ("authority", self.authority.as_ref()),
            ("identity", self.identity.as_ref()),
            ("serial", self.serial.as_ref()),
        ];
        let mut separator = "";
        for (name, value) in parts {
            if let Some(value) = value {
                write!(f, "{separator}{name} {value}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

impl Subject {
    /// The subject that is a workload: `mesh/M/…`.
    pub(crate) fn workload(workload: &str) -> Self {
        let mesh = workload.strip_prefix("mesh/").and_then(|rest| rest.split('/').next());
        Self { mesh: mesh.map(str::to_owned), node: Some(workload.to_owned()), ..Self::default() }
    }

    /// The subject that is a root or an issuer.
    pub(crate) fn authority(name: &str) -> Self {
        let mesh = name.strip_prefix("mesh/").map(str::to_owned);
        Self { mesh, authority: Some(name.to_owned()), ..Self::default() }
    }
}

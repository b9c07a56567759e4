//! From where on something is a finding.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The limits of the checks. What a file does not name keeps its default; a name that is none is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Thresholds {
    /// A05: how far a certificate's start may lie from its issue, in seconds.
    pub backdate_limit_seconds: i64,
    /// A08: how many times the certificates that renewals alone explain one identity may get within an hour.
    pub burst_factor: u64,
    /// A08: for how long a silence is of interest, in seconds.
    pub silence_seconds: i64,
    /// A09: how long a certificate may be on its way to a proxy, in seconds.
    pub deliver_within_seconds: i64,
    /// B03: days to the end of a root.
    pub root_expiry_days: Ladder,
    /// B03: days to the end of an issuer.
    pub issuer_expiry_days: Ladder,
    /// B09: how long a retired root may linger in a bundle, in seconds.
    pub retired_within_seconds: i64,
    /// C01: the kinds of keys that are allowed, `RSA-2048` meaning that or longer.
    pub key_kinds: Vec<String>,
    /// C02: the signature algorithms that are allowed, dotted.
    pub signature_algorithms: Vec<String>,
    /// C03: keys that are known to others: SHA-256 of SubjectPublicKeyInfo, hexadecimal.
    pub blocked_keys: Vec<String>,
    /// C05: how many certificates of one identity may share a key.
    pub certificates_per_key: u64,
    /// D03: whether names may hold a `*`.
    pub allow_wildcards: bool,
    /// D03: whether `localhost` may be a name.
    pub allow_localhost: bool,
    /// D03: whether IP addresses may be names.
    pub allow_addresses: bool,
    /// D04: extensions that a leaf may have beside the profile's, dotted.
    pub extra_extensions: Vec<String>,
    /// D05: the shortest life in seconds; the server's own bound where absent.
    pub shortest_life_seconds: Option<i64>,
    /// D05: the longest life in seconds; the server's own bound where absent.
    pub longest_life_seconds: Option<i64>,
    /// E02: how long an Envoy may take to use what it was sent, in seconds.
    pub adopt_within_seconds: i64,
    /// E04: per cent of its life that a served certificate must have left.
    pub remaining_critical_percent: i64,
    /// E04: the same, for a warning; but not while the agent's own renewal is to come, before its latest moment.
    pub remaining_warning_percent: i64,
    /// E05: how long after its moment a renewal may be late, in seconds.
    pub renewal_grace_seconds: i64,
    /// E07: how long a port may take from one mode to the next, in seconds; counted from the node's last change.
    pub mode_change_seconds: i64,
    /// E08: the lowest protocol version that a listener may accept.
    pub lowest_protocol: String,
    /// E08: whether listeners may hand out session tickets, sealed with keys that they make for themselves.
    pub allow_session_tickets: bool,
    /// E09: milliseconds between two clocks for a warning.
    pub skew_warning_ms: i64,
    /// E09: the same, for the worst.
    pub skew_critical_ms: i64,
    /// How old a node's report may be, in seconds; older ones count as none.
    pub report_age_seconds: i64,
    /// How old the inventory may be, in seconds; older ones are stale.
    pub inventory_age_seconds: i64,
    /// How much older than the newest certificate the log's checkpoint may be, in seconds.
    pub checkpoint_age_seconds: i64,
}

/// Days to an end, by severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ladder {
    /// Critical below this.
    pub critical: i64,
    /// A warning below this.
    pub warning: i64,
    /// Information below this.
    pub info: i64,
}

/// Versions of TLS, the lowest first.
pub(crate) const PROTOCOLS: [&str; 4] = ["TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

/// The longest time that a file may name, in days and in seconds alike: a hundred years of seconds.
const LONGEST: i64 = 100 * 366 * 86_400;

impl Thresholds {
    /// Reads a file: one JSON object.
    ///
    /// # Errors
    /// It is no such object, a member is unknown, or a number makes no sense.
    pub fn from_json(text: &str) -> Result<Self, String> {
        // A list would be read as well, member by member.
        let object: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let read: Self = serde_json::from_value(Value::Object(object)).map_err(|error| error.to_string())?;
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<(), String> {
        for (name, ladder) in
            [("rootExpiryDays", self.root_expiry_days), ("issuerExpiryDays", self.issuer_expiry_days)]
        {
            if !(0 <= ladder.critical && ladder.critical <= ladder.warning && ladder.warning <= ladder.info) {
                return Err(format!("{name}: critical, warning and info must be days that do not fall"));
            }
        }
        if !PROTOCOLS.contains(&self.lowest_protocol.as_str()) {
            let known = PROTOCOLS.join(", ");
            return Err(format!("lowestProtocol: {:?} is none of {known}", self.lowest_protocol));
        }
        let is_hash = |text: &&String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some(other) = self.blocked_keys.iter().find(|text| !is_hash(text)) {
            return Err(format!("blockedKeys: {other:?} is no SHA-256 in 64 hexadecimal digits"));
        }
        if self.remaining_critical_percent > self.remaining_warning_percent {
            return Err("remainingCriticalPercent is above remainingWarningPercent".to_owned());
        }
        let spans = [
            self.root_expiry_days.info,
            self.issuer_expiry_days.info,
            self.backdate_limit_seconds,
            self.silence_seconds,
            self.deliver_within_seconds,
            self.retired_within_seconds,
            self.adopt_within_seconds,
            self.renewal_grace_seconds,
            self.mode_change_seconds,
            self.report_age_seconds,
            self.inventory_age_seconds,
            self.checkpoint_age_seconds,
            self.skew_warning_ms,
            self.skew_critical_ms,
            self.remaining_critical_percent,
            self.shortest_life_seconds.unwrap_or(0),
            self.longest_life_seconds.unwrap_or(0),
        ];
        match spans.iter().find(|span| !(0..=LONGEST).contains(*span)) {
            Some(span) => Err(format!("{span} is no span of time; it must be within 0 and {LONGEST}")),
            None => Ok(()),
        }
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            backdate_limit_seconds: 90,
            burst_factor: 4,
            silence_seconds: 7 * 86_400,
            deliver_within_seconds: 600,
            root_expiry_days: Ladder { critical: 182, warning: 365, info: 730 },
            issuer_expiry_days: Ladder { critical: 30, warning: 60, info: 180 },
            retired_within_seconds: 3600,
            key_kinds: owned(&["P-256", "P-384", "RSA-2048"]),
            // ecdsa-with-SHA256/384/512 (RFC 5758), sha256/384/512WithRSAEncryption (RFC 4055).
            signature_algorithms: owned(&[
                "1.2.840.10045.4.3.2",
                "1.2.840.10045.4.3.3",
                "1.2.840.10045.4.3.4",
                "1.2.840.113549.1.1.11",
                "1.2.840.113549.1.1.12",
                "1.2.840.113549.1.1.13",
            ]),
            blocked_keys: Vec::new(),
            certificates_per_key: 1,
            allow_wildcards: false,
            allow_localhost: false,
            allow_addresses: false,
            extra_extensions: Vec::new(),
            shortest_life_seconds: None,
            longest_life_seconds: None,
            adopt_within_seconds: 600,
            remaining_critical_percent: 10,
            remaining_warning_percent: 33,
            renewal_grace_seconds: 300,
            mode_change_seconds: 600,
            lowest_protocol: "TLSv1.2".to_owned(),
            allow_session_tickets: true,
            skew_warning_ms: 5_000,
            skew_critical_ms: 60_000,
            report_age_seconds: 60,
            inventory_age_seconds: 300,
            checkpoint_age_seconds: 3600,
        }
    }
}

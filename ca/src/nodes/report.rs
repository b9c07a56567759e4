//! What an agent tells, read from the wire within bounds.

use std::net::SocketAddr;

use signet_policies::time::Timestamp;
use thiserror::Error;

use super::PresentedLeaf;
use crate::{Serial, service::proto};

/// Secrets of a report, over all streams of the agent's socket.
pub const MAX_SECRETS: usize = 512;
/// Listeners and certificates of a report, each.
pub const MAX_CERTIFICATES: usize = 128;
/// Longest text of a report, in bytes.
pub const MAX_TEXT: usize = 1024;
/// Longest certificate of a report, in bytes.
pub const MAX_DER: usize = 16 * 1024;
/// Certificates behind a leaf.
pub const MAX_CHAIN: usize = 8;

/// A whole report of one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The agent's clock, in milliseconds since the epoch.
    pub now_unix_ms: i64,
    /// The agent's release.
    pub agent_version: String,
    /// The [`Trust`](crate::Trust) that the agent hands to its proxy; empty before there is one.
    pub trust_version: String,
    /// What it did not hand on.
    pub refused_trust: Option<RefusedTrust>,
    /// Every secret on every stream of the SDS socket.
    pub secrets: Vec<SecretState>,
    /// What the proxy's listeners present.
    pub presented: Vec<Presented>,
    /// What the proxy says that it holds.
    pub loaded: Vec<Loaded>,
    /// How renewal goes.
    pub renewal: Renewal,
    /// The leaf that the agent holds.
    pub held: Option<PresentedLeaf>,
    /// What the proxy's listeners accept.
    pub listeners: Vec<ListenerState>,
}

/// What one port of a proxy accepts, by Envoy's configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerState {
    /// The application's port that it stands for.
    pub port: u16,
    /// A filter chain takes connections without TLS.
    pub takes_plaintext: bool,
    /// A filter chain takes TLS.
    pub takes_tls: bool,
    /// Every filter chain with TLS requires a client's certificate.
    pub requires_client_certificate: bool,
    /// The lowest version, such as `TLSv1.2`; empty for Envoy's default.
    pub lowest_protocol: String,
    /// Empty for Envoy's default.
    pub cipher_suites: Vec<String>,
    /// Whether a connection without TLS was served, where one was tried.
    pub served_plaintext: Option<bool>,
    /// How sessions are resumed without state; `None` where the agent does not say.
    pub tickets: Option<Tickets>,
}

/// With what session tickets are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tickets {
    /// There are none.
    None,
    /// Keys that the proxy makes for itself.
    OwnKeys,
    /// Keys of its configuration.
    GivenKeys,
}

/// A trust that an agent kept from its proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedTrust {
    /// Its version.
    pub version: String,
    /// Why.
    pub reason: String,
}

/// One secret on one stream. A version is a [`Trust`](crate::Trust)'s, or the serial number of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretState {
    /// Tells the streams of a socket apart.
    pub stream: String,
    /// The secret's name.
    pub name: String,
    /// What was sent last; empty for nothing.
    pub sent: String,
    /// What the proxy accepted last.
    pub accepted: String,
    /// What it refuses.
    pub rejected: String,
    /// In its words.
    pub reason: String,
    /// When this was news, in milliseconds since the epoch.
    pub at_unix_ms: i64,
    /// Its validator passes revocation lists over.
    pub ignores_lists: bool,
}

/// What one listener presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Where it listens.
    pub address: SocketAddr,
    /// The leaf; `None` where the handshake failed.
    pub leaf: Option<PresentedLeaf>,
    /// What came after the leaf, DER.
    pub chain: Vec<Vec<u8>>,
    /// Why there is no leaf.
    pub error: String,
    /// When it was looked at, in milliseconds since the epoch.
    pub at_unix_ms: i64,
    /// The version that was agreed on, such as `TLSv1.3`; empty where there was none.
    pub protocol: String,
}

/// A certificate that Envoy says it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its serial number; `None` where it is none of ours.
    pub serial: Option<Serial>,
    /// The file it was read from, or `<inline>`.
    pub path: String,
    /// Its URI SANs.
    pub uris: Vec<String>,
    /// Its first valid second.
    pub not_before: Timestamp,
    /// Its last valid second.
    pub not_after: Timestamp,
}

/// How an agent's renewal goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    /// When it asks next.
    pub next: Option<Timestamp>,
    /// When it got a certificate last.
    pub last_success: Option<Timestamp>,
    /// Attempts that failed since.
    pub failures: u32,
    /// Why the last one did.
    pub last_error: String,
}

/// A report that is out of bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidReport {
    /// Too many of something.
    #[error("the report has {count} {what}; at most {most} are read")]
    Many {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The most.
        most: usize,
    },
    /// Something is too long.
    #[error("the report's {what} has {length} bytes; at most {most} are read")]
    Long {
        /// What.
        what: &'static str,
        /// How long.
        length: usize,
        /// The longest.
        most: usize,
    },
    /// The instance is empty, or holds what a name cannot.
    #[error("the report's instance is empty or not printable")]
    Instance,
    /// No listener has such an address.
    #[error("{0:?} is no address of a listener; it has the form IP:PORT")]
    Address(String),
}

/// Reads a report: the instance, and what it tells.
pub(crate) fn read(report: proto::NodeReport) -> Result<(String, Report), InvalidReport> {
    let proto::NodeReport {
        instance,
        now_unix_ms,
        agent_version,
        trust_version,
        secrets,
        presented,
        loaded,
        renewal,
        held,
        leaving: _,
        refused_trust_version,
        refused_trust_reason,
        listeners,
    } = report;
    if instance.is_empty() || instance.chars().any(|letter| letter.is_control() || letter == '/') {
        return Err(InvalidReport::Instance);
    }
    few("secrets", secrets.len(), MAX_SECRETS)?;
    few("listeners", presented.len(), MAX_CERTIFICATES)?;
    few("certificates", loaded.len(), MAX_CERTIFICATES)?;
    few("ports", listeners.len(), MAX_CERTIFICATES)?;
    let refused = RefusedTrust {
        version: text("refused trust", refused_trust_version)?,
        reason: text("refused trust", refused_trust_reason)?,
    };
    let report = Report {
        now_unix_ms,
        agent_version: text("agent version", agent_version)?,
        trust_version: text("trust version", trust_version)?,
        refused_trust: (!refused.version.is_empty()).then_some(refused),
        secrets: secrets.into_iter().map(secret).collect::<Result<_, _>>()?,
        presented: presented.into_iter().map(listener).collect::<Result<_, _>>()?,
        loaded: loaded.into_iter().map(certificate).collect::<Result<_, _>>()?,
        renewal: renewal.map(renewal_of).transpose()?.unwrap_or_default(),
        held: leaf(held)?,
        listeners: listeners.into_iter().map(accepted).collect::<Result<_, _>>()?,
    };
    Ok((text("instance", instance)?, report))
}

fn secret(secret: proto::SecretStatus) -> Result<SecretState, InvalidReport> {
    let proto::SecretStatus {
        stream,
        name,
        sent_version,
        accepted_version,
        rejected_version,
        reason,
        at_unix_ms,
        ignores_crls,
    } = secret;
    Ok(SecretState {
        stream: text("stream", stream)?,
        name: text("secret's name", name)?,
        sent: text("version", sent_version)?,
        accepted: text("version", accepted_version)?,
        rejected: text("version", rejected_version)?,
        reason: text("reason", reason)?,
        at_unix_ms,
        ignores_lists: ignores_crls,
    })
}

fn listener(presented: proto::PresentedCertificate) -> Result<Presented, InvalidReport> {
    let proto::PresentedCertificate { address, leaf: der, chain, error, at_unix_ms, protocol } = presented;
    few("certificates of a chain", chain.len(), MAX_CHAIN)?;
    chain.iter().try_for_each(|der| short("certificate", der.len(), MAX_DER))?;
    let address = text("address", address)?;
    let address = address.parse().map_err(|_| InvalidReport::Address(address))?;
    let (error, protocol) = (text("error", error)?, text("protocol", protocol)?);
    Ok(Presented { address, leaf: leaf(der)?, chain, error, at_unix_ms, protocol })
}

fn certificate(loaded: proto::LoadedCertificate) -> Result<Loaded, InvalidReport> {
    let proto::LoadedCertificate { serial, path, uris, not_before_unix, not_after_unix } = loaded;
    few("URIs of a certificate", uris.len(), MAX_CHAIN)?;
    let serial = text("serial number", serial)?;
    Ok(Loaded {
        serial: hex::decode(serial).ok().and_then(|bytes| Serial::from_be_bytes(&bytes)),
        path: text("path", path)?,
        uris: uris.into_iter().map(|uri| text("URI", uri)).collect::<Result<_, _>>()?,
        not_before: Timestamp::from_unix(not_before_unix),
        not_after: Timestamp::from_unix(not_after_unix),
    })
}

fn accepted(listener: proto::ListenerStatus) -> Result<ListenerState, InvalidReport> {
    few("cipher suites of a listener", listener.cipher_suites.len(), MAX_CERTIFICATES)?;
    let served_plaintext = match listener.plaintext_probe() {
        proto::listener_status::Probe::Unspecified => None,
        proto::listener_status::Probe::Refused => Some(false),
        proto::listener_status::Probe::Accepted => Some(true),
    };
    let tickets = match listener.tickets() {
        proto::listener_status::Tickets::Unspecified => None,
        proto::listener_status::Tickets::None => Some(Tickets::None),
        proto::listener_status::Tickets::OwnKeys => Some(Tickets::OwnKeys),
        proto::listener_status::Tickets::GivenKeys => Some(Tickets::GivenKeys),
    };
    let proto::ListenerStatus { port, takes_plaintext, takes_tls, requires_client_certificate, .. } =
        listener;
    let suites = listener.cipher_suites.into_iter();
    Ok(ListenerState {
        port: u16::try_from(port).map_err(|_| InvalidReport::Address(port.to_string()))?,
        takes_plaintext,
        takes_tls,
        requires_client_certificate,
        lowest_protocol: text("protocol", listener.lowest_protocol)?,
        cipher_suites: suites.map(|suite| text("cipher suite", suite)).collect::<Result<_, _>>()?,
        served_plaintext,
        tickets,
    })
}

fn renewal_of(renewal: proto::RenewalStatus) -> Result<Renewal, InvalidReport> {
    let proto::RenewalStatus { next_unix, last_success_unix, failures, last_error } = renewal;
    let moment = |unix: i64| (unix > 0).then(|| Timestamp::from_unix(unix));
    Ok(Renewal {
        next: moment(next_unix),
        last_success: moment(last_success_unix),
        failures,
        last_error: text("error", last_error)?,
    })
}

/// Bytes that are no certificate are told as none: what a listener presents may be anything.
fn leaf(der: Vec<u8>) -> Result<Option<PresentedLeaf>, InvalidReport> {
    short("certificate", der.len(), MAX_DER)?;
    Ok(PresentedLeaf::read(der))
}

fn text(what: &'static str, text: String) -> Result<String, InvalidReport> {
    short(what, text.len(), MAX_TEXT)?;
    Ok(text)
}

fn short(what: &'static str, length: usize, most: usize) -> Result<(), InvalidReport> {
    if length > most { Err(InvalidReport::Long { what, length, most }) } else { Ok(()) }
}

fn few(what: &'static str, count: usize, most: usize) -> Result<(), InvalidReport> {
    if count > most { Err(InvalidReport::Many { what, count, most }) } else { Ok(()) }
}

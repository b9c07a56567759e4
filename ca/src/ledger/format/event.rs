//! Everything that is no certificate.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use signet_policies::time::Timestamp;

use super::Reason as Wrong;
use crate::ledger::{AuthorityChange, Event, RevokedCertificate, What};

/// Moments in seconds since the epoch, serials in hexadecimal, DER in base64.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct V2 {
    at: i64,
    by: String,
    what: Stored,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Stored {
    Authority { change: StoredChange, name: String, certificate: String },
    Revoked { subject: String, reason: String, certificates: Vec<StoredRevoked> },
    Allowed { identity: String },
    Phase { rotation: String, phase: String, detail: String },
    Departed(StoredDeparture),
    Returned { node: String, serial: String },
    Halted { cause: String },
    Released { reason: String },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredDeparture {
    node: String,
    serial: String,
    not_after: i64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StoredChange {
    Made,
    Imported,
    Installed,
    InUse,
    Retired,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredRevoked {
    serial: String,
    identity: String,
    issuer: String,
    not_after: i64,
}

pub(super) fn to_v2(event: &Event) -> V2 {
    let what = match &event.what {
        What::Authority { change, name, certificate } => Stored::Authority {
            change: match change {
                AuthorityChange::Made => StoredChange::Made,
                AuthorityChange::Imported => StoredChange::Imported,
                AuthorityChange::Installed => StoredChange::Installed,
                AuthorityChange::InUse => StoredChange::InUse,
                AuthorityChange::Retired => StoredChange::Retired,
            },
            name: name.clone(),
            certificate: STANDARD.encode(certificate),
        },
        What::Revoked { subject, reason, certificates } => Stored::Revoked {
            subject: subject.to_string(),
            reason: reason.name().to_owned(),
            certificates: certificates.iter().map(to_revoked).collect(),
        },
        What::Allowed(identity) => Stored::Allowed { identity: identity.to_string() },
        What::Phase { rotation, phase, detail } => {
            Stored::Phase { rotation: rotation.clone(), phase: phase.clone(), detail: detail.clone() }
        }
        What::Departed { node, serial, not_after } => Stored::Departed(StoredDeparture {
            node: node.clone(),
            serial: serial.to_string(),
            not_after: not_after.unix(),
        }),
        What::Returned { node, serial } => {
            Stored::Returned { node: node.clone(), serial: serial.to_string() }
        }
        What::Halted(cause) => Stored::Halted { cause: cause.clone() },
        What::Released(reason) => Stored::Released { reason: reason.clone() },
    };
    V2 { at: event.at.unix(), by: event.by.clone(), what }
}

fn to_revoked(revoked: &RevokedCertificate) -> StoredRevoked {
    StoredRevoked {
        serial: revoked.serial.to_string(),
        identity: revoked.identity.to_string(),
        issuer: revoked.issuer.to_string(),
        not_after: revoked.not_after.unix(),
    }
}

pub(super) fn from_v2(stored: V2) -> Result<Event, Wrong> {
    let what = match stored.what {
        Stored::Authority { change, name, certificate } => What::Authority {
            change: match change {
                StoredChange::Made => AuthorityChange::Made,
                StoredChange::Imported => AuthorityChange::Imported,
                StoredChange::Installed => AuthorityChange::Installed,
                StoredChange::InUse => AuthorityChange::InUse,
                StoredChange::Retired => AuthorityChange::Retired,
            },
            name,
            certificate: STANDARD.decode(&certificate)?,
        },
        Stored::Revoked { subject, reason, certificates } => What::Revoked {
            subject: subject.parse()?,
            reason: reason.parse()?,
            certificates: certificates.into_iter().map(from_revoked).collect::<Result<_, _>>()?,
        },
        Stored::Allowed { identity } => What::Allowed(identity.parse()?),
        Stored::Phase { rotation, phase, detail } => What::Phase { rotation, phase, detail },
        Stored::Departed(StoredDeparture { node, serial, not_after }) => {
            What::Departed { node, serial: serial.parse()?, not_after: Timestamp::from_unix(not_after) }
        }
        Stored::Returned { node, serial } => What::Returned { node, serial: serial.parse()? },
        Stored::Halted { cause } => What::Halted(cause),
        Stored::Released { reason } => What::Released(reason),
    };
    Ok(Event { at: Timestamp::from_unix(stored.at), by: stored.by, what })
}

fn from_revoked(stored: StoredRevoked) -> Result<RevokedCertificate, Wrong> {
    Ok(RevokedCertificate {
        serial: stored.serial.parse()?,
        identity: stored.identity.parse()?,
        issuer: stored.issuer.parse()?,
        not_after: Timestamp::from_unix(stored.not_after),
    })
}

//! Records of certificates.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use signet_policies::time::{Timestamp, Validity};

use super::Reason;
use crate::{Attestation, JoinToken, Origin, Record, Serial, certificate::sha256};

/// What all versions have. Moments in seconds since the epoch; serials and hashes in hexadecimal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct V1 {
    serial: String,
    spiffe_id: String,
    dns_names: Vec<String>,
    workload: Option<String>,
    issuer: String,
    not_before: i64,
    not_after: i64,
    issued_at: i64,
    certificate_sha256: String,
    key_sha256: String,
    attestation: StoredAttestation,
    predecessor: Option<String>,
}

/// With the certificate, DER in base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct V2 {
    serial: String,
    spiffe_id: String,
    dns_names: Vec<String>,
    workload: Option<String>,
    issuer: String,
    not_before: i64,
    not_after: i64,
    issued_at: i64,
    certificate: String,
    key_sha256: String,
    attestation: StoredAttestation,
    predecessor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<StoredToken>,
}

/// The identifier in hexadecimal, and the name of a key pair.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredToken {
    id: String,
    made_by: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StoredAttestation {
    Join,
    Renew,
    Server,
}

impl From<Attestation> for StoredAttestation {
    fn from(attestation: Attestation) -> Self {
        match attestation {
            Attestation::Join => Self::Join,
            Attestation::Renew => Self::Renew,
            Attestation::Server => Self::Server,
        }
    }
}

impl From<StoredAttestation> for Attestation {
    fn from(stored: StoredAttestation) -> Self {
        match stored {
            StoredAttestation::Join => Self::Join,
            StoredAttestation::Renew => Self::Renew,
            StoredAttestation::Server => Self::Server,
        }
    }
}

pub(super) fn to_v1(record: &Record) -> V1 {
    V1 {
        serial: record.serial.to_string(),
        spiffe_id: record.spiffe_id.to_string(),
        dns_names: record.dns_names.iter().map(ToString::to_string).collect(),
        workload: record.workload.as_ref().map(ToString::to_string),
        issuer: record.issuer.to_string(),
        not_before: record.validity.not_before().unix(),
        not_after: record.validity.not_after().unix(),
        issued_at: record.issued_at.unix(),
        certificate_sha256: hex::encode(record.fingerprint),
        key_sha256: hex::encode(record.key_hash),
        attestation: record.origin.attestation.into(),
        predecessor: record.origin.predecessor.as_ref().map(ToString::to_string),
    }
}

pub(super) fn to_v2(record: &Record, certificate: &[u8]) -> V2 {
    V2 {
        serial: record.serial.to_string(),
        spiffe_id: record.spiffe_id.to_string(),
        dns_names: record.dns_names.iter().map(ToString::to_string).collect(),
        workload: record.workload.as_ref().map(ToString::to_string),
        issuer: record.issuer.to_string(),
        not_before: record.validity.not_before().unix(),
        not_after: record.validity.not_after().unix(),
        issued_at: record.issued_at.unix(),
        certificate: STANDARD.encode(certificate),
        key_sha256: hex::encode(record.key_hash),
        attestation: record.origin.attestation.into(),
        predecessor: record.origin.predecessor.as_ref().map(ToString::to_string),
        token: record.origin.token.as_ref().map(|JoinToken { id, made_by }| StoredToken {
            id: id.to_string(),
            made_by: made_by.as_deref().map(str::to_owned),
        }),
    }
}

pub(super) fn from_v1(stored: V1) -> Result<Record, Reason> {
    let life = [stored.not_before, stored.not_after].map(Timestamp::from_unix);
    Ok(Record {
        serial: stored.serial.parse()?,
        spiffe_id: stored.spiffe_id.parse()?,
        dns_names: stored.dns_names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
        workload: stored.workload.map(|workload| workload.parse()).transpose()?,
        issuer: stored.issuer.parse()?,
        validity: Validity::new(life[0], life[1])?,
        issued_at: Timestamp::from_unix(stored.issued_at),
        certificate: None,
        fingerprint: hash(&stored.certificate_sha256)?,
        key_hash: hash(&stored.key_sha256)?,
        origin: Origin {
            attestation: stored.attestation.into(),
            predecessor: stored.predecessor.map(|serial| serial.parse::<Serial>()).transpose()?,
            token: None,
        },
    })
}

pub(super) fn from_v2(stored: V2) -> Result<Record, Reason> {
    let certificate = STANDARD.decode(&stored.certificate)?;
    let record = from_v1(V1 {
        serial: stored.serial,
        spiffe_id: stored.spiffe_id,
        dns_names: stored.dns_names,
        workload: stored.workload,
        issuer: stored.issuer,
        not_before: stored.not_before,
        not_after: stored.not_after,
        issued_at: stored.issued_at,
        certificate_sha256: hex::encode(sha256(&certificate)),
        key_sha256: stored.key_sha256,
        attestation: stored.attestation,
        predecessor: stored.predecessor,
    })?;
    let token = stored
        .token
        .map(|StoredToken { id, made_by }| JoinToken { id: id.into(), made_by: made_by.map(Into::into) });
    let origin = Origin { token, ..record.origin };
    Ok(Record { certificate: Some(certificate), origin, ..record })
}

fn hash(text: &str) -> Result<[u8; 32], Reason> {
    hex::decode(text)?.try_into().map_err(|_| "a SHA-256 has 32 bytes".into())
}

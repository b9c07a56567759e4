//! How a record is written to disk: JSON with a version. Old versions are read forever.

use serde::{Deserialize, Serialize};
use signet_policies::time::{Timestamp, Validity};

use super::{Attestation, LedgerError, Origin, Record};
use crate::Serial;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "version")]
enum Stored {
    #[serde(rename = "1")]
    V1(V1),
}

/// Moments in seconds since the epoch; serials and hashes in hexadecimal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct V1 {
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

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StoredAttestation {
    Join,
    Renew,
    Server,
}

pub(super) fn write(record: &Record) -> Result<Vec<u8>, LedgerError> {
    let Record {
        serial,
        spiffe_id,
        dns_names,
        workload,
        issuer,
        validity,
        issued_at,
        fingerprint,
        key_hash,
        origin: Origin { attestation, predecessor },
    } = record;
    let stored = Stored::V1(V1 {
        serial: serial.to_string(),
        spiffe_id: spiffe_id.to_string(),
        dns_names: dns_names.iter().map(ToString::to_string).collect(),
        workload: workload.as_ref().map(ToString::to_string),
        issuer: issuer.to_string(),
        not_before: validity.not_before().unix(),
        not_after: validity.not_after().unix(),
        issued_at: issued_at.unix(),
        certificate_sha256: hex::encode(fingerprint),
        key_sha256: hex::encode(key_hash),
        attestation: match attestation {
            Attestation::Join => StoredAttestation::Join,
            Attestation::Renew => StoredAttestation::Renew,
            Attestation::Server => StoredAttestation::Server,
        },
        predecessor: predecessor.as_ref().map(ToString::to_string),
    });
    serde_json::to_vec(&stored).map_err(|error| LedgerError::Unavailable(error.to_string()))
}

/// Reads the record that is kept under `key`.
pub(super) fn read(key: &[u8], text: &[u8]) -> Result<Record, LedgerError> {
    let damaged = |reason: String| LedgerError::Damaged { key: hex::encode(key), reason };
    let Stored::V1(stored) = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
    let record = from_v1(stored).map_err(|error| damaged(error.to_string()))?;
    match record.serial.to_bytes() == key {
        true => Ok(record),
        false => Err(damaged("it is another certificate's".to_owned())),
    }
}

fn from_v1(stored: V1) -> Result<Record, Box<dyn std::error::Error>> {
    let life = [stored.not_before, stored.not_after].map(Timestamp::from_unix);
    let hash = |text: &str| hex::decode(text)?.try_into().map_err(|_| "a SHA-256 has 32 bytes".into());
    let hash = |text: &str| -> Result<[u8; 32], Box<dyn std::error::Error>> { hash(text) };
    Ok(Record {
        serial: stored.serial.parse()?,
        spiffe_id: stored.spiffe_id.parse()?,
        dns_names: stored.dns_names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
        workload: stored.workload.map(|workload| workload.parse()).transpose()?,
        issuer: stored.issuer.parse()?,
        validity: Validity::new(life[0], life[1])?,
        issued_at: Timestamp::from_unix(stored.issued_at),
        fingerprint: hash(&stored.certificate_sha256)?,
        key_hash: hash(&stored.key_sha256)?,
        origin: Origin {
            attestation: match stored.attestation {
                StoredAttestation::Join => Attestation::Join,
                StoredAttestation::Renew => Attestation::Renew,
                StoredAttestation::Server => Attestation::Server,
            },
            predecessor: stored.predecessor.map(|serial| serial.parse::<Serial>()).transpose()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as released versions wrote them. Lines are added, never changed.
    const CORPUS: &str = include_str!("format/corpus.jsonl");

    #[test]
    fn every_record_that_was_ever_written_is_read_as_what_it_was() {
        let records: Vec<Record> = CORPUS
            .lines()
            .map(|line| {
                let serial: Serial = serde_json::from_str::<serde_json::Value>(line).unwrap()["serial"]
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                read(&serial.to_bytes(), line.as_bytes()).unwrap()
            })
            .collect();
        let [leaf, server] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!(leaf.serial.to_string(), "0123456789abcdef0123456789abcdef");
        assert_eq!(leaf.spiffe_id.to_string(), "spiffe://signet.internal/mesh/my-mesh/virtual-node/a");
        assert_eq!(leaf.dns_names, ["a.apps.local".parse().unwrap()]);
        assert_eq!(leaf.workload.as_ref().unwrap().to_string(), "mesh/my-mesh/virtualNode/a");
        assert_eq!(leaf.issuer.to_string(), "mesh/my-mesh");
        assert_eq!(leaf.validity.not_before().unix(), 1_795_391_940);
        assert_eq!(leaf.validity.not_after().unix(), 1_795_478_400);
        assert_eq!(leaf.issued_at.unix(), 1_795_392_000);
        assert_eq!((leaf.fingerprint, leaf.key_hash), ([0x11; 32], [0x22; 32]));
        assert_eq!(leaf.origin.attestation, Attestation::Renew);
        assert_eq!(leaf.origin.predecessor.unwrap().to_string(), "fedcba9876543210fedcba9876543210");
        assert_eq!((server.workload.as_ref(), server.issuer.to_string().as_str()), (None, "server"));
        assert_eq!(server.origin, Origin { attestation: Attestation::Server, predecessor: None });
    }

    #[test]
    fn what_is_written_now_is_what_the_corpus_ends_with() {
        for line in CORPUS.lines() {
            let Stored::V1(stored) = serde_json::from_str(line).unwrap();
            let record = from_v1(stored).unwrap();
            assert_eq!(String::from_utf8(write(&record).unwrap()).unwrap(), line);
        }
    }
}

//! What a restart must not forget: how every port stands.
//!
//! A server that is killed while a port is on its way, or between the answer to an API call and the first push,
//! finds here what proxies may still do. Without it, it would take the wish for the fact.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use signet_durable::{CommitError, Database};
use signet_policies::{
    identity::{InvalidSpiffeId, SpiffeId},
    mtls::InvalidMode,
};
use thiserror::Error;

use super::port::{Face, Port};
use crate::{
    model::{Certificate, ListenerTls, Trust, Validation},
    translate::{Dial, Offer, PortId, Proof, Standing, TlsOffer},
};

const TREE: &str = "ports";

/// Keeps how ports stand. What was saved is found after a restart, also one that nobody asked for.
#[async_trait]
pub trait Memory: Send + Sync + 'static {
    /// Everything that was saved and not forgotten, by the port's text form.
    ///
    /// # Errors
    /// What is kept cannot be read.
    async fn load(&self) -> Result<BTreeMap<String, String>, MemoryError>;

    /// Keeps records, or forgets those that are `None`, all or nothing.
    ///
    /// # Errors
    /// They may be lost at a restart.
    async fn save(&self, records: Vec<(String, Option<String>)>) -> Result<(), MemoryError>;
}

/// Why memory fails.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The store refuses.
    #[error("the standing of ports cannot be kept")]
    Store(#[source] CommitError),
    /// The store cannot be read.
    #[error("the standing of ports cannot be read: {0}")]
    Read(String),
    /// A record that no version of Signet wrote.
    #[error("the record of port {port:?} cannot be understood: {reason}")]
    Record {
        /// Its key.
        port: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Remembers nothing: a restarted server takes it that every port stands as the model asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forgetful;

#[async_trait]
impl Memory for Forgetful {
    async fn load(&self) -> Result<BTreeMap<String, String>, MemoryError> {
        Ok(BTreeMap::new())
    }

    async fn save(&self, _records: Vec<(String, Option<String>)>) -> Result<(), MemoryError> {
        Ok(())
    }
}

#[async_trait]
impl Memory for Database {
    async fn load(&self) -> Result<BTreeMap<String, String>, MemoryError> {
        let text = |bytes: sled::IVec| {
            String::from_utf8(bytes.to_vec()).map_err(|error| MemoryError::Read(error.to_string()))
        };
        let tree = self.tree(TREE).map_err(MemoryError::Store)?;
        tree.iter()
            .map(|record| {
                let (port, standing) = record.map_err(|error| MemoryError::Read(error.to_string()))?;
                Ok((text(port)?, text(standing)?))
            })
            .collect()
    }

    async fn save(&self, records: Vec<(String, Option<String>)>) -> Result<(), MemoryError> {
        let tree = self.tree(TREE).map_err(MemoryError::Store)?;
        let mut batch = sled::Batch::default();
        for (port, record) in records {
            match record {
                Some(record) => batch.insert(port.into_bytes(), record.into_bytes()),
                None => batch.remove(port.into_bytes()),
            }
        }
        self.commit(move || tree.apply_batch(batch)).await.map_err(MemoryError::Store)
    }
}

/// A record as it is kept. Members are added, never changed; another shape is another version.
#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum Record {
    #[serde(rename = "1")]
    V1 { offer: OfferRecord, dial: DialRecord, offered: Vec<FaceRecord>, dialed: Vec<DialRecord> },
}

#[derive(Serialize, Deserialize)]
struct OfferRecord {
    plaintext: bool,
    tls: Option<TlsRecord>,
}

#[derive(Serialize, Deserialize)]
struct TlsRecord {
    /// `None` for a certificate that Signet does not know.
    identity: Option<String>,
    mode: String,
    certificate: CertificateRecord,
    validation: Option<ValidationRecord>,
}

#[derive(Serialize, Deserialize)]
enum CertificateRecord {
    Acm(String),
    Sds(String),
    File { chain: String, key: String },
}

#[derive(Serialize, Deserialize)]
struct ValidationRecord {
    trust: TrustRecord,
    names: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum TrustRecord {
    /// The only one that the first release knew.
    Sds(String),
    File {
        file: String,
    },
    Acm {
        acm: Vec<String>,
    },
}

#[derive(Serialize, Deserialize)]
struct FaceRecord {
    plaintext: bool,
    identity: Option<String>,
    /// TLS with a certificate that Signet does not know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unknown: bool,
}

/// The identities; `None` is plaintext, and an empty list TLS to whoever answers.
type DialRecord = Option<Vec<String>>;

/// Why a record is not understood.
#[derive(Debug, Error)]
enum Misread {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Identity(#[from] InvalidSpiffeId),
    #[error(transparent)]
    Mode(#[from] InvalidMode),
}

/// A port's record.
pub(super) fn write(port: &Port) -> Result<String, MemoryError> {
    let Port { standing: Standing { offer, dial }, offered, dialed } = port;
    let face = |face: &Face| FaceRecord {
        plaintext: face.plaintext,
        identity: face.proof.as_ref().and_then(write_proof),
        unknown: face.proof == Some(Proof::Unknown),
    };
    let record = Record::V1 {
        offer: OfferRecord { plaintext: offer.plaintext, tls: offer.tls.as_ref().map(write_tls) },
        dial: write_dial(dial),
        offered: offered.iter().map(face).collect(),
        dialed: dialed.iter().map(write_dial).collect(),
    };
    serde_json::to_string(&record).map_err(|error| MemoryError::Read(error.to_string()))
}

fn write_proof(proof: &Proof) -> Option<String> {
    match proof {
        Proof::Identity(identity) => Some(identity.to_string()),
        Proof::Unknown => None,
    }
}

fn write_dial(dial: &Dial) -> DialRecord {
    match dial {
        Dial::Plaintext => None,
        Dial::Tls { identities } => Some(identities.iter().map(SpiffeId::to_string).collect()),
        Dial::Unverified => Some(Vec::new()),
    }
}

fn write_tls(offer: &TlsOffer) -> TlsRecord {
    let TlsOffer { proof, settings: ListenerTls { mode, certificate, validation } } = offer;
    let certificate = match certificate {
        Certificate::Acm { arn } => CertificateRecord::Acm(arn.clone()),
        Certificate::Sds { secret_name } => CertificateRecord::Sds(secret_name.clone()),
        Certificate::File { certificate_chain, private_key } => {
            CertificateRecord::File { chain: certificate_chain.clone(), key: private_key.clone() }
        }
    };
    let validation = validation.as_ref().map(|Validation { trust, subject_alternative_names }| {
        let trust = match trust {
            Trust::Sds { secret_name } => TrustRecord::Sds(secret_name.clone()),
            Trust::File { certificate_chain } => TrustRecord::File { file: certificate_chain.clone() },
            Trust::Acm { arns } => TrustRecord::Acm { acm: arns.clone() },
        };
        ValidationRecord { trust, names: subject_alternative_names.clone() }
    });
    TlsRecord { identity: write_proof(proof), mode: mode.to_string(), certificate, validation }
}

/// A port from its record.
pub(super) fn read(port: &PortId, record: &str) -> Result<Port, MemoryError> {
    parse(record).map_err(|error| MemoryError::Record { port: port.to_string(), reason: error.to_string() })
}

fn parse(record: &str) -> Result<Port, Misread> {
    let Record::V1 { offer, dial, offered, dialed } = serde_json::from_str(record)?;
    let face = |face: FaceRecord| -> Result<Face, Misread> {
        let proof = match face.unknown {
            true => Some(Proof::Unknown),
            false => face.identity.map(|id| id.parse().map(Proof::Identity)).transpose()?,
        };
        Ok(Face { plaintext: face.plaintext, proof })
    };
    let offer = Offer { plaintext: offer.plaintext, tls: offer.tls.map(parse_tls).transpose()? };
    Ok(Port {
        standing: Standing { offer, dial: parse_dial(dial)? },
        offered: offered.into_iter().map(face).collect::<Result<_, _>>()?,
        dialed: dialed.into_iter().map(parse_dial).collect::<Result<_, _>>()?,
    })
}

fn parse_dial(record: DialRecord) -> Result<Dial, Misread> {
    let Some(identities) = record else {
        return Ok(Dial::Plaintext);
    };
    let identities = identities.iter().map(|id| id.parse()).collect::<Result<BTreeSet<_>, _>>()?;
    Ok(if identities.is_empty() { Dial::Unverified } else { Dial::Tls { identities } })
}

fn parse_tls(record: TlsRecord) -> Result<TlsOffer, Misread> {
    let TlsRecord { identity, mode, certificate, validation } = record;
    let certificate = match certificate {
        CertificateRecord::Acm(arn) => Certificate::Acm { arn },
        CertificateRecord::Sds(secret_name) => Certificate::Sds { secret_name },
        CertificateRecord::File { chain, key } => {
            Certificate::File { certificate_chain: chain, private_key: key }
        }
    };
    let validation = validation.map(|ValidationRecord { trust, names }| {
        let trust = match trust {
            TrustRecord::Sds(secret_name) => Trust::Sds { secret_name },
            TrustRecord::File { file } => Trust::File { certificate_chain: file },
            TrustRecord::Acm { acm } => Trust::Acm { arns: acm },
        };
        Validation { trust, subject_alternative_names: names }
    });
    let settings = ListenerTls { mode: mode.parse()?, certificate, validation };
    let proof = identity.map(|id| id.parse().map(Proof::Identity)).transpose()?;
    Ok(TlsOffer { proof: proof.unwrap_or(Proof::Unknown), settings })
}

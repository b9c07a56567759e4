//! `/v1/ca/checkpoint` and `/v1/ca/certificates`: what the ledger says, and proofs that it says so.

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::get,
};
use serde::{Deserialize, Serialize};
use signet_ca::{
    Attestation, JoinToken, LedgerError, Record, Serial,
    ledger::{Checkpoint, NotaryError},
    nodes::NodeView,
};
use signet_controlplane::api::ApiError;
use signet_policies::time::Timestamp;
use tracing::error;

use super::V1;
use crate::ca::evidence::{ConsistencyText, EntryText, Evidence};

pub(super) fn router() -> Router<V1> {
    Router::new()
        .route("/v1/ca/checkpoint", get(checkpoint))
        .route("/v1/ca/certificates/{serial}", get(certificate))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointRequest {
    /// The number of entries of an older checkpoint.
    since: Option<u64>,
}

/// Everything that is known of one certificate.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateAnswer {
    serial: String,
    spiffe_id: String,
    dns_names: Vec<String>,
    /// Whom it was granted to; absent for the server's own.
    workload: Option<String>,
    issuer: String,
    not_before: String,
    not_after: String,
    issued_at: String,
    /// How whoever asked proved who they are: `join`, `renew` or `server`.
    attestation: &'static str,
    predecessor: Option<String>,
    /// The join token, where that is what they had.
    token: Option<TokenAnswer>,
    sha256: String,
    key_sha256: String,
    /// PEM; absent in records of the first version.
    certificate: Option<String>,
    /// `valid`, `revoked`, or `ended`.
    status: &'static str,
    revocation: Option<RevokedAnswer>,
    deliveries: Vec<Delivery>,
    proof: Evidence,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenAnswer {
    id: String,
    /// The name of the key pair with which it was made.
    made_by: Option<String>,
}

#[derive(Serialize)]
struct RevokedAnswer {
    at: String,
    reason: &'static str,
    by: String,
}

/// A proxy that has something to do with the certificate, as its agent told last.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Delivery {
    node: String,
    connected: bool,
    reported_at: String,
    /// The agent holds it.
    held: bool,
    /// Streams of Envoys that accepted it.
    accepted_by: Vec<String>,
    /// Envoy says that it runs it.
    loaded: bool,
    /// Listeners that present it in a handshake.
    presented_at: Vec<String>,
}

async fn checkpoint(
    State(v1): State<V1>,
    request: Result<Query<CheckpointRequest>, QueryRejection>,
) -> Result<Json<Evidence>, ApiError> {
    let Query(request) = request.map_err(|refused| ApiError::bad_request(refused.body_text()))?;
    let checkpoint = v1.notary.checkpoint().await.map_err(unstated)?;
    let size = checkpoint.head().size;
    let consistency = match request.since {
        None => None,
        Some(since) if (1..=size).contains(&since) => {
            let proof = v1.issuing.ledger().prove_consistency(since, size).map_err(unreadable)?;
            Some(ConsistencyText::of(&proof))
        }
        Some(since) => {
            let message =
                format!("since: the ledger has {size} entries, and never had a checkpoint of {since}");
            return Err(ApiError::bad_request(message));
        }
    };
    Ok(Json(Evidence { consistency, ..v1.evidence(&checkpoint) }))
}

async fn certificate(
    State(v1): State<V1>,
    Path(serial): Path<String>,
) -> Result<Json<CertificateAnswer>, ApiError> {
    let serial: Serial =
        serial.parse().map_err(|invalid| ApiError::bad_request(format!("serial: {invalid}")))?;
    let ledger = v1.issuing.ledger();
    let record = ledger.get(serial).await.map_err(unreadable)?;
    let unknown = || ApiError::not_found(format!("no certificate {serial} was issued by this server"));
    let record = record.ok_or_else(unknown)?;
    let position = ledger.position(serial).await.map_err(unreadable)?.ok_or_else(unknown)?;
    let checkpoint = v1.notary.checkpoint().await.map_err(unstated)?;
    let proof = ledger.prove_inclusion(position, checkpoint.head().size).map_err(unreadable)?;
    let raw = ledger.read(position, 1).await.map_err(unreadable)?;
    let entry = raw.first().map(|raw| EntryText::of(raw, &proof));
    let proof = Evidence { entry, ..v1.evidence(&checkpoint) };
    Ok(Json(v1.tell(&record, proof)))
}

impl V1 {
    fn evidence(&self, checkpoint: &Checkpoint) -> Evidence {
        Evidence {
            checkpoint: checkpoint.note().to_owned(),
            verifier: self.notary.verifier().to_string(),
            entry: None,
            consistency: None,
        }
    }

    fn tell(&self, record: &Record, proof: Evidence) -> CertificateAnswer {
        let serial = record.serial;
        let standing = self.issuing.guard().now();
        let revoked = standing.revoked(serial);
        let now = Timestamp::from((self.clock)());
        let views = self.nodes.subscribe().borrow().clone();
        CertificateAnswer {
            serial: serial.to_string(),
            spiffe_id: record.spiffe_id.to_string(),
            dns_names: record.dns_names.iter().map(ToString::to_string).collect(),
            workload: record.workload.as_ref().map(ToString::to_string),
            issuer: record.issuer.to_string(),
            not_before: record.validity.not_before().to_string(),
            not_after: record.validity.not_after().to_string(),
            issued_at: record.issued_at.to_string(),
            attestation: match record.origin.attestation {
                Attestation::Join => "join",
                Attestation::Renew => "renew",
                Attestation::Server => "server",
            },
            predecessor: record.origin.predecessor.map(|serial| serial.to_string()),
            token: record.origin.token.clone().map(|JoinToken { id, made_by }| TokenAnswer {
                id: id.to_string(),
                made_by: made_by.as_deref().map(str::to_owned),
            }),
            sha256: hex::encode(record.fingerprint),
            key_sha256: hex::encode(record.key_hash),
            certificate: record.certificate_pem(),
            status: match revoked {
                Some(_) => "revoked",
                None if record.validity.contains(now) => "valid",
                None => "ended",
            },
            revocation: revoked.map(|revoked| RevokedAnswer {
                at: revoked.at.to_string(),
                reason: revoked.reason.name(),
                by: revoked.by.clone(),
            }),
            deliveries: views.iter().filter_map(|view| delivery(view, serial)).collect(),
            proof,
        }
    }
}

/// What a proxy has to do with a certificate; nothing of one that has not.
fn delivery(view: &NodeView, serial: Serial) -> Option<Delivery> {
    let report = &view.report;
    let is_it = |other: Option<Serial>| other == Some(serial);
    let text = serial.to_string();
    let accepted = report.secrets.iter().filter(|secret| secret.accepted == text);
    let presenting = |presented: &&signet_ca::nodes::Presented| {
        presented.leaf.as_ref().is_some_and(|leaf| is_it(leaf.serial))
    };
    let delivery = Delivery {
        node: view.key.to_string(),
        connected: view.connected,
        reported_at: Timestamp::from(view.reported_at).to_string(),
        held: report.held.as_ref().is_some_and(|leaf| is_it(leaf.serial)),
        accepted_by: accepted.map(|secret| format!("{} ({})", secret.stream, secret.name)).collect(),
        loaded: report.loaded.iter().any(|loaded| is_it(loaded.serial)),
        presented_at: report
            .presented
            .iter()
            .filter(presenting)
            .map(|presented| presented.address.to_string())
            .collect(),
    };
    let concerns = delivery.held || delivery.loaded || is_it(view.line.serial);
    (concerns || !delivery.accepted_by.is_empty() || !delivery.presented_at.is_empty()).then_some(delivery)
}

pub(super) fn unreadable(error: LedgerError) -> ApiError {
    error!(%error, "the ledger cannot be read");
    ApiError::unavailable("the ledger cannot be read; the server's log says why")
}

fn unstated(error: NotaryError) -> ApiError {
    error!(error = format!("{:#}", anyhow::Error::from(error)), "no checkpoint can be made");
    ApiError::unavailable("no checkpoint can be made; the server's log says why")
}

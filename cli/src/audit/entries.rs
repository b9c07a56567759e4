//! Entries of the ledger as an audit's records.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use signet_audit::{
    Inventory,
    inventory::{Authority, Der, Place, Record, Revoked, Standing},
};
use signet_ca::{
    Attestation, Origin,
    ledger::{AuthorityChange, Entry, Event, RawEntry, What},
};

use super::standings::{Entered, Known, settle};

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// The leaf hash of each, hexadecimal.
    pub(super) hashes: Vec<String>,
    /// Entries that cannot be read.
    pub(super) faults: Vec<String>,
    records: Vec<Record>,
    revoked: BTreeMap<String, Revoked>,
    authorities: BTreeMap<Vec<u8>, Known>,
    phases: Vec<Entered>,
}

impl Entries {
    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.hashes.len()).unwrap_or(u64::MAX)
    }

    /// Takes the next one.
    pub(super) fn take(&mut self, raw: &RawEntry) {
        // RFC 6962, section 2.1.
        self.hashes.push(hex::encode(Sha256::new_with_prefix([0]).chain_update(&raw.text).finalize()));
        match raw.entry() {
            Ok(Entry::Issued(issued)) => self.records.push(record(issued, raw.position)),
            Ok(Entry::Event(event)) => self.happened(event),
            Err(error) => self.faults.push(error.to_string()),
        }
    }

    fn happened(&mut self, event: Event) {
        let at = event.at.unix();
        match event.what {
            What::Revoked { reason, certificates, .. } => {
                for certificate in certificates {
                    let revoked = Revoked { at, reason: reason.to_string() };
                    self.revoked.entry(certificate.serial.to_string()).or_insert(revoked);
                }
            }
            What::Authority { change, name, certificate } => self.authority(change, name, certificate, at),
            What::Phase { rotation, phase, .. } => self.phases.push(Entered { rotation, phase, at }),
            What::Allowed(_)
            | What::Departed { .. }
            | What::Returned { .. }
            | What::Halted(_)
            | What::Released(_) => {}
        }
    }

    fn authority(&mut self, change: AuthorityChange, name: String, certificate: Vec<u8>, at: i64) {
        let standing = match change {
            AuthorityChange::Made
            | AuthorityChange::Imported
            | AuthorityChange::Installed
            | AuthorityChange::InUse => Standing::Active,
            AuthorityChange::Retired => Standing::Retired,
        };
        let place = match name.as_str() {
            "root" => Place::Root,
            "intermediate" => Place::Intermediate,
            _ => Place::Issuer,
        };
        let der = Der(certificate.clone());
        let authority = Authority { name, place, standing, since: at, der, revoked: None };
        let known = Known { authority, after: self.phases.len(), order: self.authorities.len() };
        let authority = &mut self.authorities.entry(certificate).or_insert(known).authority;
        // Since when it is known is said first; that it ended is said last.
        if standing == Standing::Retired {
            (authority.standing, authority.since) = (standing, at);
        }
    }

    /// Puts records and earlier authorities into an inventory.
    pub(super) fn into_inventory(mut self, inventory: &mut Inventory, delivered: &BTreeMap<String, i64>) {
        for record in &mut self.records {
            record.revoked = self.revoked.remove(&record.serial);
            record.delivered_at = delivered.get(&record.serial).copied();
        }
        inventory.certificates = self.records;
        // One that is not in the ledger yet is the newest.
        let order =
            |one: &Authority| self.authorities.get(&one.der.0).map_or(usize::MAX, |known| known.order);
        inventory.authorities.sort_by_key(order);
        for authority in &mut inventory.authorities {
            if let Some(known) = self.authorities.remove(&authority.der.0) {
                authority.since = known.authority.since;
            }
        }
        let mut others: Vec<Known> = self.authorities.into_values().collect();
        settle(&mut inventory.authorities, &mut others, &self.phases);
        inventory.authorities.extend(others.into_iter().map(|known| known.authority));
    }
}

fn record(issued: signet_ca::Record, position: u64) -> Record {
    let Origin { attestation, predecessor, token } = issued.origin;
    let predecessor = predecessor.map(|serial| serial.to_string());
    let (requester, attested) = match attestation {
        Attestation::Join => (issued.workload.as_ref().map(ToString::to_string), "join token"),
        // Who renews is known by the certificate that they hold.
        Attestation::Renew => (predecessor.clone(), "certificate"),
        Attestation::Server => (Some("server".to_owned()), "the server itself"),
    };
    Record {
        serial: issued.serial.to_string(),
        spiffe_id: issued.spiffe_id.to_string(),
        dns_names: issued.dns_names.iter().map(ToString::to_string).collect(),
        workload: issued.workload.as_ref().map(ToString::to_string),
        issuer: issued.issuer.to_string(),
        not_before: issued.validity.not_before().unix(),
        not_after: issued.validity.not_after().unix(),
        issued_at: issued.issued_at.unix(),
        fingerprint: hex::encode(issued.fingerprint),
        key_hash: hex::encode(issued.key_hash),
        requester,
        attestation: Some(attested.to_owned()),
        join_token: token.map(|token| token.id.to_string()),
        // The record is the grant that was decided on, and its place in the log names it.
        decision: Some(format!("ledger entry {position}")),
        predecessor,
        der: issued.certificate.map(Der),
        revoked: None,
        delivered_at: None,
    }
}

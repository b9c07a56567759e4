//! A small mesh in good order, into which faults are planted.

use std::num::NonZeroUsize;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use sha2::{Digest as _, Sha256};
use signet_audit::{
    Inventory, Report, Selection, Thresholds, audit,
    inventory::{
        Authority, Bundle, Der, Listener, Loaded, Log, Mode, Node, Peer, Place, Port, Presented, Probe,
        Record, Registered, Renewal, Secret, Standing, Terms, Tickets,
    },
};
use time::OffsetDateTime;

/// 2026-11-26T00:00:00Z.
pub(crate) const NOW: i64 = 1_795_651_200;
pub(crate) const DAY: i64 = 86_400;
pub(crate) const DOMAIN: &str = "signet.internal";

/// An authority with its key.
pub(crate) struct Ca {
    pub(crate) name: String,
    pub(crate) key: KeyPair,
    pub(crate) params: CertificateParams,
    pub(crate) der: Vec<u8>,
}

/// What a leaf is to be like.
pub(crate) struct Leaf {
    pub(crate) workload: String,
    pub(crate) uris: Vec<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) issued_at: i64,
    pub(crate) life: i64,
    pub(crate) serial: [u8; 16],
    pub(crate) key: KeyPair,
    pub(crate) predecessor: Option<String>,
    /// The last look at the parameters before they are signed.
    pub(crate) change: fn(&mut CertificateParams),
}

pub(crate) struct Bed {
    pub(crate) root: Ca,
    pub(crate) issuer: Ca,
    pub(crate) inventory: Inventory,
    pub(crate) thresholds: Thresholds,
    count: u8,
}

pub(crate) fn node_name(name: &str) -> String {
    format!("mesh/shop/virtualNode/{name}")
}

pub(crate) fn spiffe_id(name: &str) -> String {
    format!("spiffe://{DOMAIN}/mesh/shop/virtual-node/{name}")
}

/// Parameters of an authority as Signet makes them.
pub(crate) fn authority_params(name: &str, place: Place, start: i64, end: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = moment(start);
    params.not_after = moment(end);
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{DOMAIN}").try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(u8::from(place == Place::Root)));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn moment(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

impl Ca {
    pub(crate) fn root(name: &str, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { name: name.to_owned(), key, params, der }
    }

    pub(crate) fn below(&self, name: &str, params: CertificateParams) -> Self {
        self.below_with(name, params, KeyPair::generate().unwrap())
    }

    pub(crate) fn below_with(&self, name: &str, params: CertificateParams, key: KeyPair) -> Self {
        let der = params.signed_by(&key, &self.issuer()).unwrap().der().to_vec();
        Self { name: name.to_owned(), key, params, der }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    pub(crate) fn authority(&self, place: Place, standing: Standing, since: i64) -> Authority {
        Authority {
            name: self.name.clone(),
            place,
            standing,
            since,
            der: Der(self.der.clone()),
            revoked: None,
        }
    }

    /// A leaf and its record.
    pub(crate) fn sign(&self, leaf: Leaf) -> Record {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(leaf.serial.to_vec().into());
        params.not_before = moment(leaf.issued_at - 60);
        params.not_after = moment(leaf.issued_at + leaf.life);
        let uris = leaf.uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap()));
        let dns = leaf.dns.iter().map(|name| SanType::DnsName(name.as_str().try_into().unwrap()));
        params.subject_alt_names = uris.chain(dns).collect();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        (leaf.change)(&mut params);
        let der = params.signed_by(&leaf.key, &self.issuer()).unwrap().der().to_vec();
        let (start, end) = (params.not_before.unix_timestamp(), params.not_after.unix_timestamp());
        Record {
            serial: hex::encode(leaf.serial),
            spiffe_id: leaf.uris.first().cloned().unwrap_or_default(),
            dns_names: leaf.dns,
            workload: Some(leaf.workload).filter(|workload| !workload.is_empty()),
            issuer: self.name.clone(),
            not_before: start,
            not_after: end,
            issued_at: leaf.issued_at,
            fingerprint: hex::encode(Sha256::digest(&der)),
            key_hash: hex::encode(Sha256::digest(leaf.key.subject_public_key_info())),
            requester: Some("join token".to_owned()),
            attestation: Some("join".to_owned()),
            join_token: None,
            decision: Some("grant by the spec".to_owned()),
            predecessor: leaf.predecessor,
            der: Some(Der(der)),
            revoked: None,
            delivered_at: Some(leaf.issued_at + 1),
        }
    }
}

/// A serial as random ones look.
pub(crate) fn serial(count: u8) -> [u8; 16] {
    let mut serial: [u8; 16] = Sha256::digest([count])[..16].try_into().unwrap();
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

impl Bed {
    /// Nodes `a` and `b`, each with an older certificate and the one that it serves, and the server's own.
    pub(crate) fn new() -> Self {
        let root =
            Ca::root("root", authority_params("Signet root", Place::Root, NOW - 10 * DAY, NOW + 3600 * DAY));
        let params = authority_params("Signet shop", Place::Issuer, NOW - 10 * DAY, NOW + 350 * DAY);
        let issuer = root.below("mesh/shop", params);
        let inventory = Inventory {
            taken_at: NOW,
            trust_domain: DOMAIN.to_owned(),
            terms: Terms { shortest_life: 300, default_life: DAY, longest_life: 90 * DAY, backdate: 60 },
            account_id: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            certificates: Vec::new(),
            log: None,
            authorities: vec![
                root.authority(Place::Root, Standing::Active, NOW - 10 * DAY),
                issuer.authority(Place::Issuer, Standing::Active, NOW - 10 * DAY),
            ],
            bundles: vec![Bundle {
                version: "v1".to_owned(),
                roots: vec![Der(root.der.clone())],
                is_current: true,
                since: NOW - 10 * DAY,
                revoked: Vec::new(),
            }],
            workloads: ["a", "b"].map(registered).to_vec(),
            ports: [("a", Mode::Strict, Peer::Required), ("b", Mode::Permissive, Peer::None)]
                .map(|(name, mode, peer)| Port {
                    workload: node_name(name),
                    port: 8080,
                    declared: mode,
                    in_force: mode,
                    peer,
                })
                .to_vec(),
            nodes: Vec::new(),
            lapsed: Vec::new(),
            watched_since: Some(NOW - 5 * DAY),
            gaps: Vec::new(),
        };
        let mut bed = Self { root, issuer, inventory, thresholds: Thresholds::default(), count: 0 };
        for name in ["a", "b"] {
            let mut older = bed.leaf(name);
            older.issued_at = NOW - DAY - 60;
            let older = bed.issue(older);
            let newer = Leaf { predecessor: Some(older.serial), ..bed.leaf(name) };
            let newer = bed.issue(newer);
            bed.serve(name, "i-1", &newer);
        }
        let server = Leaf {
            workload: String::new(),
            uris: vec![format!("spiffe://{DOMAIN}/signet/server")],
            dns: vec!["localhost".to_owned()],
            ..bed.leaf("a")
        };
        bed.issue(server);
        bed.seal();
        bed
    }

    /// What a leaf of a node is like, a quarter through its life.
    pub(crate) fn leaf(&mut self, name: &str) -> Leaf {
        self.count += 1;
        Leaf {
            workload: node_name(name),
            uris: vec![spiffe_id(name)],
            dns: vec![format!("{name}.shop.local")],
            issued_at: NOW - DAY / 4,
            life: DAY,
            serial: serial(self.count),
            key: KeyPair::generate().unwrap(),
            predecessor: None,
            change: |_| {},
        }
    }

    pub(crate) fn issue(&mut self, leaf: Leaf) -> Record {
        let mut record = self.issuer.sign(leaf);
        if record.workload.is_none() {
            record.attestation = Some("server".to_owned());
        }
        self.inventory.certificates.push(record.clone());
        record
    }

    /// Issues a leaf of a node and lets its instance serve it, in place of what it served.
    pub(crate) fn replace(&mut self, name: &str, change: impl FnOnce(&mut Leaf)) -> Record {
        let mut leaf = self.leaf(name);
        change(&mut leaf);
        let record = self.issue(leaf);
        self.inventory.nodes.retain(|node| node.workload != node_name(name));
        self.serve(name, "i-1", &record);
        record
    }

    /// An instance that serves the certificate of a record.
    pub(crate) fn serve(&mut self, name: &str, instance: &str, record: &Record) {
        let is_strict = name == "a";
        let secret = |name: &str| Secret {
            name: name.to_owned(),
            sent_version: "1".to_owned(),
            accepted_version: "1".to_owned(),
            at: record.issued_at,
            ..Secret::default()
        };
        self.inventory.nodes.push(Node {
            workload: node_name(name),
            instance: instance.to_owned(),
            is_connected: true,
            reported_at: Some(NOW - 3),
            address: Some("10.0.0.1".to_owned()),
            rival: None,
            clock_ahead_ms: Some(12),
            trust_version: Some("v1".to_owned()),
            secrets: ["default", "ROOTCA"].map(secret).to_vec(),
            presented: vec![Presented {
                address: "10.0.0.1:8080".to_owned(),
                leaf: record.der.clone(),
                chain: vec![Der(self.issuer.der.clone())],
                error: String::new(),
                protocol: Some("TLSv1.3".to_owned()),
                at: NOW - 3,
                revoked_probe: None,
            }],
            loaded: vec![Loaded { serial: record.serial.clone() }],
            renewal: Some(Renewal {
                next: record.issued_at + record.life() * 6 / 10,
                last_success: record.issued_at,
                failures: 0,
                last_error: String::new(),
            }),
            listeners: vec![Listener {
                port: 8080,
                takes_plaintext: !is_strict,
                takes_tls: true,
                requires_client_certificate: is_strict,
                lowest_protocol: Some("TLSv1.2".to_owned()),
                cipher_suites: Vec::new(),
                plaintext_probe: is_strict.then_some(Probe::Refused),
                tickets: Some(Tickets::OwnKeys),
            }],
        });
    }

    /// The issuer of the mesh with another certificate for its key, so that what it signed stays as it is.
    pub(crate) fn replace_issuer(&mut self, end: i64, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = authority_params("Signet shop", Place::Issuer, NOW - 10 * DAY, end);
        change(&mut params);
        let again = self.root.below_with("mesh/shop", params, copy(&self.issuer.key));
        self.inventory.authorities[1].der = Der(again.der);
    }

    /// The same for the root, which everybody trusts as they did the other.
    pub(crate) fn replace_root(&mut self, end: i64, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = authority_params("Signet root", Place::Root, NOW - 10 * DAY, end);
        change(&mut params);
        let der = Der(params.self_signed(&self.root.key).unwrap().der().to_vec());
        self.inventory.authorities[0].der = der.clone();
        self.inventory.bundles[0].roots = vec![der];
    }

    /// A checkpoint over what is there now.
    pub(crate) fn seal(&mut self) {
        let hash = |record: &Record| -> [u8; 32] {
            Sha256::new_with_prefix([0]).chain_update(format!("{record:?}")).finalize().into()
        };
        let hashes: Vec<[u8; 32]> = self.inventory.certificates.iter().map(hash).collect();
        self.inventory.log = Some(Log {
            hashes: hashes.iter().map(hex::encode).collect(),
            size: u64::try_from(hashes.len()).unwrap(),
            root: hex::encode(head(&hashes)),
            signed_at: NOW,
            signature_fault: None,
            faults: Vec::new(),
            anchors: Vec::new(),
        });
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut Node {
        let workload = node_name(name);
        self.inventory.nodes.iter_mut().find(|node| node.workload == workload).unwrap()
    }

    pub(crate) fn workload(&mut self, name: &str) -> &mut Registered {
        let workload = node_name(name);
        self.inventory.workloads.iter_mut().find(|known| known.workload == workload).unwrap()
    }

    /// The record of the certificate that a node serves.
    pub(crate) fn newest(&mut self, name: &str) -> &mut Record {
        let workload = Some(node_name(name));
        let of_node = self.inventory.certificates.iter_mut().filter(|record| record.workload == workload);
        of_node.max_by_key(|record| record.issued_at).unwrap()
    }

    pub(crate) fn audit(&self) -> Report {
        self.audit_by(&Selection::default())
    }

    pub(crate) fn audit_by(&self, selection: &Selection) -> Report {
        audit(&self.inventory, selection, &self.thresholds, NOW + 1, NonZeroUsize::new(2).unwrap())
    }
}

pub(crate) fn copy(key: &KeyPair) -> KeyPair {
    KeyPair::try_from(key.serialize_der().as_slice()).unwrap()
}

fn registered(name: &str) -> Registered {
    Registered {
        workload: node_name(name),
        dns_names: vec![format!("{name}.shop.local")],
        spiffe_ids: vec![spiffe_id(name)],
        changed_at: NOW - 9 * DAY,
        instances: Some(1),
    }
}

/// RFC 6962, section 2.1, from its definition.
fn head(hashes: &[[u8; 32]]) -> [u8; 32] {
    if let [hash] = hashes {
        return *hash;
    }
    let mut split = 1;
    while split * 2 < hashes.len() {
        split *= 2;
    }
    let parts = [head(&hashes[..split]), head(&hashes[split..])];
    Sha256::new_with_prefix([1]).chain_update(parts[0]).chain_update(parts[1]).finalize().into()
}

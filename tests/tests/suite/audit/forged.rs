//! Certificates that no server made: signed with the keys of its folder, and written into its ledger as the server
//! would have done. Log and checkpoints are in order after that, so that only the checks of what is in them can tell.

use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use signet_ca::{
    Attestation, Ledger as _, LedgerError, Origin, Random, Record, Serial, SledLedger, ledger::Entry,
};
use signet_durable::Database;
use signet_policies::{
    identity::Workload,
    time::{Timestamp, Validity},
};
use signet_tests::{
    bed::{Bed, listening},
    clock,
};
use time::OffsetDateTime;
use x509_parser::extensions::ParsedExtension;

use super::comes_to;

const HOUR: i64 = 3600;

/// A certificate that is to be signed, and what its record is to say.
struct Forgery {
    params: CertificateParams,
    key: KeyPair,
    serial: Serial,
    issued_at: i64,
    origin: Origin,
    signer: Signer,
    /// The last look at the record.
    record: fn(&mut Record),
}

/// Whose key signs.
#[derive(Clone, Copy)]
enum Signer {
    Issuer,
    Root,
    /// One that has the issuer's name and says that it has its key.
    Stranger,
}

type Spoil = fn(&mut Forgery) -> Result<()>;

/// A check, how bad it is, and what is wrong with a certificate that is otherwise as the server's are. Each is of a node
/// of its own.
const FORGED: [(&str, &str, Spoil); 12] = [
    ("A01", "critical", |forged| {
        forged.record = |record| record.key_hash = [7; 32];
        Ok(())
    }),
    ("A02", "critical", |forged| {
        forged.signer = Signer::Stranger;
        Ok(())
    }),
    ("A04", "critical", |forged| {
        forged.serial = Serial::from_be_bytes(&[7]).context("a serial")?;
        forged.params.serial_number = Some(vec![7].into());
        Ok(())
    }),
    ("A05", "warning", |forged| {
        forged.params.not_before -= time::Duration::HOUR;
        Ok(())
    }),
    ("A06", "critical", |forged| {
        forged.origin = Origin::of(Attestation::Renew);
        Ok(())
    }),
    ("B04", "critical", |forged| {
        forged.params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Ok(())
    }),
    ("B06", "warning", |forged| {
        forged.params.use_authority_key_identifier_extension = false;
        Ok(())
    }),
    ("B07", "warning", |forged| {
        forged.signer = Signer::Root;
        Ok(())
    }),
    ("D01", "critical", |forged| {
        forged.params.subject_alt_names.push(SanType::URI("spiffe://signet.internal/somebody".try_into()?));
        Ok(())
    }),
    ("D04", "critical", |forged| {
        forged.params.extended_key_usages.push(ExtendedKeyUsagePurpose::CodeSigning);
        Ok(())
    }),
    ("D04", "critical", |forged| {
        let extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
        forged.params.custom_extensions.push(extension);
        Ok(())
    }),
    ("D05", "critical", |forged| {
        forged.params.not_after = forged.params.not_before + time::Duration::seconds(200);
        Ok(())
    }),
];

/// Keys and certificates of the authority, as they lie in the server's folder.
struct Stolen {
    issuer: Issuer<'static, KeyPair>,
    root: Issuer<'static, KeyPair>,
    stranger: Issuer<'static, KeyPair>,
}

impl Stolen {
    fn read(folder: &Path) -> Result<Self> {
        let read = |slot: &str| -> Result<_> {
            let folder = folder.join(slot);
            let key = KeyPair::from_pem(&std::fs::read_to_string(folder.join("key.pem"))?)?;
            Ok((CertificateDer::from_pem_file(folder.join("cert.pem"))?, key))
        };
        let (own, key) = read("meshes/shop")?;
        let (root, root_key) = read("root")?;
        Ok(Self {
            stranger: Issuer::from_ca_cert_der(&own, KeyPair::generate()?)?,
            issuer: Issuer::from_ca_cert_der(&own, key)?,
            root: Issuer::from_ca_cert_der(&root, root_key)?,
        })
    }
}

impl Forgery {
    /// As the server would make it for a node that joins now.
    fn new(node: &str, now: i64) -> Result<Self> {
        let serial = Serial::draw(&Random::system());
        let mut params = CertificateParams::new(vec![format!("{node}.shop.local")])?;
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(serial.to_bytes().to_vec().into());
        params.not_before = OffsetDateTime::from_unix_timestamp(now - 60)?;
        params.not_after = OffsetDateTime::from_unix_timestamp(now + HOUR)?;
        let uri = format!("spiffe://signet.internal/mesh/shop/virtual-node/{node}");
        params.subject_alt_names.insert(0, SanType::URI(uri.as_str().try_into()?));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(Self {
            params,
            key: KeyPair::generate()?,
            serial,
            issued_at: now,
            origin: Origin::of(Attestation::Join),
            signer: Signer::Issuer,
            record: |_| {},
        })
    }

    /// Signs it, and writes its record.
    fn record(self, node: &str, stolen: &Stolen) -> Result<Record> {
        let signer = match self.signer {
            Signer::Issuer => &stolen.issuer,
            Signer::Root => &stolen.root,
            Signer::Stranger => &stolen.stranger,
        };
        let certificate = self.params.signed_by(&self.key, signer)?.der().to_vec();
        let [start, end] = [self.params.not_before, self.params.not_after]
            .map(|moment| Timestamp::from_unix(moment.unix_timestamp()));
        let workload = Workload::virtual_node("shop", node)?;
        let mut record = Record {
            serial: self.serial,
            spiffe_id: format!("spiffe://signet.internal/mesh/shop/virtual-node/{node}").parse()?,
            dns_names: vec![format!("{node}.shop.local").parse()?],
            workload: Some(workload),
            issuer: "mesh/shop".parse()?,
            validity: Validity::new(start, end)?,
            issued_at: Timestamp::from_unix(self.issued_at),
            fingerprint: Sha256::digest(&certificate).into(),
            key_hash: Sha256::digest(self.key.subject_public_key_info()).into(),
            certificate: Some(certificate),
            origin: self.origin,
        };
        (self.record)(&mut record);
        Ok(record)
    }
}

/// Exchanges the certificate of an issuer for one that is as sound and signed by the root as well, but for what is changed;
/// gives its serial.
fn certify_again(
    folder: &Path,
    slot: &str,
    stolen: &Stolen,
    change: impl FnOnce(&mut CertificateParams) -> Result<()>,
) -> Result<String> {
    let file = folder.join(slot).join("cert.pem");
    let before = CertificateDer::from_pem_file(&file)?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&before).map_err(|error| error.to_owned())?;
    let name = parsed.subject().iter_common_name().next().context("a common name")?.as_str()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Signet");
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::URI("spiffe://signet.internal".try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    let id = parsed.iter_extensions().find_map(|extension| {
        if let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() {
            Some(id.0.to_vec())
        } else {
            None
        }
    });
    params.key_identifier_method = KeyIdMethod::PreSpecified(id.context("a key identifier")?);
    let life = parsed.validity();
    let [start, end] = [life.not_before, life.not_after].map(|moment| moment.timestamp());
    params.not_before = OffsetDateTime::from_unix_timestamp(start)?;
    params.not_after = OffsetDateTime::from_unix_timestamp(end)?;
    let serial = Serial::draw(&Random::system());
    params.serial_number = Some(serial.to_bytes().to_vec().into());
    change(&mut params)?;
    let key = KeyPair::from_pem(&std::fs::read_to_string(folder.join(slot).join("key.pem"))?)?;
    std::fs::write(&file, params.signed_by(&key, &stolen.root)?.pem())?;
    Ok(serial.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_forged_with_the_servers_own_keys_and_ledger_is_found_by_its_check_and_by_no_other()
-> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("shop").await?;
    let nodes: Vec<String> = (0..=FORGED.len()).map(|number| format!("n{number}")).collect();
    for node in &nodes {
        bed.virtual_node("shop", node, listening(&format!("{node}.shop.local"), 8080, "http")).await?;
    }
    let (honest, forged) = nodes.split_last().context("nodes")?;
    let held = bed.server.join(&bed.client, &Workload::virtual_node("shop", honest)?, clock()).await?;
    let limits = bed.path("thresholds.json");
    let days = json!({"critical": 0, "warning": 0, "info": 0});
    std::fs::write(&limits, json!({"issuerExpiryDays": days}).to_string())?;
    let args = ["--thresholds".to_owned(), limits.display().to_string()];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    comes_to(&bed, &args, 0, &[]).await?;

    bed.server.stop().await;
    let data = bed.server.ready.data_dir.clone();
    let authority = data.join("ca");
    let stolen = Stolen::read(&authority)?;
    let now = Timestamp::from(clock()()).unix();
    let mut expected = vec![("B02".to_owned(), held.leaf().serial().to_owned())];
    {
        let ledger = SledLedger::new(Database::open(&data.join("store"))?)?;
        for (node, (check, _, spoil)) in forged.iter().zip(FORGED) {
            let mut forgery = Forgery::new(node, now)?;
            spoil(&mut forgery)?;
            let record = forgery.record(node, &stolen)?;
            expected.push((check.to_owned(), record.serial.to_string()));
            ledger.append(Entry::Issued(record.clone())).await?;
            // Two certificates of one serial are never in it.
            let again = ledger.append(Entry::Issued(record.clone())).await;
            assert_eq!(again, Err(LedgerError::Duplicate(record.serial)));
        }
    }
    // It ends sooner than what it signed.
    certify_again(&authority, "meshes/shop", &stolen, |params| {
        params.not_after = OffsetDateTime::from_unix_timestamp(now + 2 * HOUR)?;
        Ok(())
    })?;
    let unbounded = certify_again(&authority, "server", &stolen, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(())
    })?;
    expected.push(("B04".to_owned(), unbounded));
    bed.server.restart().await?;

    let mut findings: Vec<String> =
        FORGED.iter().map(|(check, severity, _)| format!("{check} {severity}")).collect();
    findings.extend(["B02 critical", "B04 warning"].map(str::to_owned));
    findings.sort_by_key(|finding| (finding.ends_with("warning"), finding.clone()));
    let findings: Vec<&str> = findings.iter().map(String::as_str).collect();
    let report = comes_to(&bed, &args, 4, &findings).await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = report["findings"].as_array().into_iter().flatten();
    let mut found: Vec<_> =
        found.map(|finding| (text(&finding["id"]), text(&finding["subject"]["serial"]))).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{report:#}");
    bed.end().await;
    Ok(())
}

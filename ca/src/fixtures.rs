//! What the tests of this crate share.

pub(crate) mod operator;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use signet_policies::{
    identity::{DnsName, TrustDomain, Workload},
    issuance::{Caller, DEFAULT_LEAF_LIFE, Grant, Registration, Terms, decide},
    time::{Clock, Timestamp},
};
use tempfile::TempDir;

use crate::{
    Authority, Custody, Issuing, Ledger, LedgerError, Random, Record, Serial, VerifiedCsr,
    ledger::{Digest, Entry, Event, Head, RawEntry},
};

/// 2026-11-23T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_795_392_000);

pub(crate) fn trust_domain() -> TrustDomain {
    "signet.internal".parse().unwrap()
}

pub(crate) fn terms() -> Terms {
    Terms { trust_domain: trust_domain(), default_lifetime: DEFAULT_LEAF_LIFE }
}

pub(crate) fn node(name: &str) -> Workload {
    Workload::virtual_node("my-mesh", name).unwrap()
}

pub(crate) fn registration(workload: &Workload) -> Registration {
    let dns_names = vec![format!("{}.apps.local", workload.name).parse().unwrap()];
    Registration { workload: workload.clone(), dns_names, spiffe_ids: Vec::new() }
}

pub(crate) fn grant_for(workload: &Workload, lifetime: Duration) -> Grant {
    let request = signet_policies::issuance::Request { lifetime: Some(lifetime), ..Default::default() };
    decide(&Caller::Joining(workload.clone()), &request, Some(&registration(workload)), &terms()).unwrap()
}

pub(crate) fn server_grant() -> Grant {
    Grant::for_server(&terms(), vec!["signet.example.net".parse::<DnsName>().unwrap()])
}

/// An authority in a folder that goes when the test ends.
pub(crate) fn authority() -> (TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path()).unwrap();
    (folder, authority)
}

pub(crate) fn open(folder: &Path) -> Result<Authority, crate::Error> {
    Authority::open(folder, Custody::default(), &trust_domain(), Random::dangerously_from_seed(1), NOW)
}

pub(crate) fn serial(seed: u64) -> Serial {
    Serial::draw(&Random::dangerously_from_seed(seed))
}

/// Parameters of a request without any name.
pub(crate) fn csr_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
}

/// Parameters of the request that an agent sends.
pub(crate) fn csr_params_for(workload: &Workload) -> CertificateParams {
    let mut params = csr_params();
    let id = workload.spiffe_id(&trust_domain()).to_string();
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    params
}

pub(crate) fn csr_of(params: &CertificateParams) -> Vec<u8> {
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

pub(crate) fn csr() -> VerifiedCsr {
    VerifiedCsr::from_der(&csr_of(&csr_params())).unwrap()
}

/// Runs a foreign tool, and returns what it said.
pub(crate) fn run(tool: &str, install: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(tool).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {tool} ({error}); {install}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

pub(crate) fn openssl(arguments: &[&str]) -> (bool, String) {
    run("openssl", "install it: apt-get install openssl", arguments)
}

/// Everything that pkilint's linter for RFC 5280 has to say, down to notices, as JSON. It is where
/// `cargo xtask setup` puts it.
pub(crate) fn pkilint(certificate: &Path) -> String {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/venv/bin/lint_pkix_cert");
    let arguments = ["lint", "-s", "NOTICE", "-f", "JSON", certificate.to_str().unwrap()];
    run(tool, "install it: cargo xtask setup", &arguments).1
}

/// A ledger that cannot write; the disk is full.
#[derive(Debug, Default)]
pub(crate) struct FullLedger;

#[async_trait]
impl Ledger for FullLedger {
    async fn append(&self, _: Entry) -> Result<u64, LedgerError> {
        Err(LedgerError::Unavailable("no space left on device".to_owned()))
    }

    async fn get(&self, _: Serial) -> Result<Option<Record>, LedgerError> {
        Ok(None)
    }

    async fn position(&self, _: Serial) -> Result<Option<u64>, LedgerError> {
        Ok(None)
    }

    async fn list(&self, _: Option<Serial>, _: usize) -> Result<Vec<Record>, LedgerError> {
        Ok(Vec::new())
    }

    async fn read(&self, _: u64, _: usize) -> Result<Vec<RawEntry>, LedgerError> {
        Ok(Vec::new())
    }

    async fn events(&self) -> Result<Vec<(u64, Event)>, LedgerError> {
        Ok(Vec::new())
    }

    fn size(&self) -> u64 {
        0
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        Err(LedgerError::Unavailable("no space left on device".to_owned()))
    }

    fn hashes(&self, _: &[u64]) -> Result<Vec<Digest>, LedgerError> {
        Ok(Vec::new())
    }
}

/// A clock that stands still.
pub(crate) fn clock() -> Clock {
    let now = UNIX_EPOCH + Duration::from_secs(u64::try_from(NOW.unix()).unwrap());
    Arc::new(move || now)
}

pub(crate) fn issuing(ledger: Arc<dyn Ledger>) -> (TempDir, Issuing) {
    let (folder, authority) = authority();
    (folder, Issuing::new(Arc::new(authority), ledger, Random::dangerously_from_seed(2), clock()))
}

/// Every file below a folder with what it holds.
pub(crate) fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => drop(found.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

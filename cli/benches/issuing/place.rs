//! A folder with an authority, and what proxies under it bring.

use std::path::PathBuf;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use signet_ca::{Authority, Custody, Random, Serial};
use signet_policies::{
    identity::Workload,
    issuance::{Caller, DEFAULT_LEAF_LIFE, Grant, Registration, Request, Terms, decide},
};
use tempfile::TempDir;

pub(super) const MESH: &str = "bench";
/// Who a proxy is, and what it renews with.
pub(super) struct Identity {
    /// Its certificate and its issuer's, DER.
    pub(super) chain: Vec<Vec<u8>>,
    /// PKCS #8.
    pub(super) key: Vec<u8>,
    /// Requests for its next certificate, DER.
    pub(super) csrs: Vec<Vec<u8>>,
}

pub(super) struct Place {
    pub(super) folder: TempDir,
    pub(super) identities: Vec<Identity>,
    /// The server's own, for servers that are not Signet's.
    pub(super) server: Identity,
    pub(super) root: Vec<u8>,
}

pub(super) fn terms() -> Terms {
    Terms { trust_domain: "signet.internal".parse().unwrap(), default_lifetime: DEFAULT_LEAF_LIFE }
}

pub(super) fn node(number: usize) -> Workload {
    Workload::virtual_node(MESH, &format!("node-{number}")).unwrap()
}

impl Place {
    /// With so many identities, of which each has so many requests that take turns.
    pub(super) fn new(identities: usize, csrs: usize) -> Self {
        // On the disk of the build, and not in a temporary file system that syncs for nothing.
        let folder = tempfile::tempdir_in(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))).unwrap();
        let (random, terms) = (Random::system(), terms());
        let now = signet::clock()().into();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let authority =
            Authority::open(&data.join("ca"), Custody::default(), &terms.trust_domain, random.clone(), now)
                .unwrap();
        let issue = |grant: &Grant| {
            let (key, certificate) = authority.issue_with_new_key(grant, Serial::draw(&random), now).unwrap();
            let id = grant.spiffe_id().to_string();
            let csrs = (0..csrs).map(|_| csr(&id)).collect();
            Identity { chain: certificate.chain_der(), key: key.pkcs8_der().to_vec(), csrs }
        };
        let grant = |number: usize| {
            let workload = node(number);
            let registration =
                Registration { workload: workload.clone(), dns_names: vec![], spiffe_ids: vec![] };
            decide(&Caller::Joining(workload), &Request::default(), Some(&registration), &terms).unwrap()
        };
        let identities = (0..identities).map(|number| issue(&grant(number))).collect();
        let server = issue(&Grant::for_server(&terms, vec!["localhost".parse().unwrap()]));
        let root = authority.bundle().remove(0);
        Self { identities, server, root, folder }
    }
}

fn csr(id: &str) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

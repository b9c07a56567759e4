//! The authority of the server, as it signs what an agent asks for.

use std::{sync::Arc, thread, time::SystemTime};

use signet_ca::{Authority, Custody, Random, Serial, VerifiedCsr};
use signet_policies::{
    identity::{DnsName, TrustDomain, Workload},
    issuance::{Caller, DEFAULT_LEAF_LIFE, Registration, Request, Terms, decide},
    time::Timestamp,
};
use signet_sds::{keypair::KeyPair, secret::Secrets, signer::Signed, verify::verify};

/// Certificates are made by so many at once.
const THREADS: usize = 2;

/// Makes what the socket serves.
pub(super) struct Signing {
    authority: Authority,
    terms: Terms,
    random: Random,
    dns_names: Vec<DnsName>,
    _folder: tempfile::TempDir,
}

#[expect(clippy::disallowed_methods, reason = "a bench has the wall's clock")]
pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}

impl Signing {
    /// Certificates have so many DNS names, of 60 characters each.
    pub(super) fn new(names: usize) -> Self {
        let (folder, random) = (tempfile::tempdir().unwrap(), Random::system());
        let trust_domain: TrustDomain = "signet.internal".parse().unwrap();
        let path = folder.path().join("ca");
        let authority =
            Authority::open(&path, Custody::default(), &trust_domain, random.clone(), now()).unwrap();
        let terms = Terms { trust_domain, default_lifetime: DEFAULT_LEAF_LIFE };
        let dns_names = (0..names).map(|number| format!("{number:0>46}.apps.internal").parse().unwrap());
        Self { authority, terms, random, dns_names: dns_names.collect(), _folder: folder }
    }

    /// A new key, its request, the certificate as the server decides and signs it, and the agent's look at that.
    pub(super) fn make(&self, name: &str) -> Arc<Secrets> {
        let workload = Workload::virtual_node("bench", name).unwrap();
        let registration = Registration {
            workload: workload.clone(),
            dns_names: self.dns_names.clone(),
            spiffe_ids: Vec::new(),
        };
        let caller = Caller::Joining(workload);
        let grant = decide(&caller, &Request::default(), Some(&registration), &self.terms).unwrap();
        let key = KeyPair::generate().unwrap();
        let csr = VerifiedCsr::from_der(&key.request(grant.spiffe_id()).unwrap()).unwrap();
        let issued = self.authority.issue(&csr, &grant, Serial::draw(&self.random), now()).unwrap();
        let der = |all: Vec<Vec<u8>>| all.into_iter().map(Into::into).collect();
        let signed = Signed { chain: der(issued.chain_der()), bundle: der(self.authority.bundle()) };
        Arc::new(verify(signed, key, grant.spiffe_id(), now()).unwrap())
    }

    /// One for each name, in their order.
    pub(super) fn make_all(&self, names: &[String]) -> Vec<Arc<Secrets>> {
        let share = names.len().div_ceil(THREADS);
        thread::scope(|scope| {
            let make = |names: &'_ [String]| names.iter().map(|name| self.make(name)).collect::<Vec<_>>();
            let threads: Vec<_> = names.chunks(share).map(|part| scope.spawn(move || make(part))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        })
    }
}

//! Root, one issuer, and leaves with whatever names a test wants.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, pem::PemObject as _};
use signet_policies::identity::TrustDomain;

use crate::signer::Signed;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A root and an issuer below it, both valid from a year before to a year after they were made.
pub struct MiniCa {
    root: CertificateDer<'static>,
    intermediate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// What a leaf shall say, whatever its request asked for.
pub struct Order<'a> {
    pub uris: &'a [&'a str],
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    pub usages: &'a [ExtendedKeyUsagePurpose],
}

impl MiniCa {
    #[must_use]
    pub fn new(trust_domain: &TrustDomain, now: SystemTime) -> Self {
        let params = |name: &str, path_length: u8| {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params.subject_alt_names = vec![SanType::URI(trust_domain.id().try_into().unwrap())];
            params.not_before = (now - YEAR).into();
            params.not_after = (now + YEAR).into();
            params
        };
        let root_params = params("test root", 1);
        let root_key = KeyPair::generate().unwrap();
        let root = root_params.self_signed(&root_key).unwrap().der().clone();
        let root_issuer = Issuer::new(root_params, root_key);
        let issuer_params = params("test issuer", 0);
        let issuer_key = KeyPair::generate().unwrap();
        let intermediate = issuer_params.signed_by(&issuer_key, &root_issuer).unwrap().der().clone();
        Self { root, intermediate, issuer: Issuer::new(issuer_params, issuer_key) }
    }

    /// An authority that is there already, by its root, its issuer and the issuer's key, all PEM.
    #[must_use]
    pub fn of(root: &str, issuer: &str, key: &str) -> Self {
        let certificate = |text: &str| CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
        let key = KeyPair::from_pem(key).unwrap();
        let issued = Issuer::from_ca_cert_pem(issuer, key).unwrap();
        Self { root: certificate(root), intermediate: certificate(issuer), issuer: issued }
    }

    #[must_use]
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// What the issuer has revoked, which is nothing: a CRL of a day.
    #[must_use]
    pub fn revocation_list(&self, now: SystemTime) -> Vec<u8> {
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + Duration::from_secs(86_400)).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    /// Signs the key of `request` under the order's names.
    #[must_use]
    pub fn issue(&self, request: &[u8], order: &Order<'_>) -> Signed {
        let request = CertificateSigningRequestDer::from(request);
        let request =
            CertificateSigningRequestParams::from_der(&request).expect("a request that proves its key");
        let leaf = leaf_params(order).signed_by(&request.public_key, &self.issuer).unwrap();
        Signed { chain: vec![leaf.der().clone(), self.intermediate.clone()], bundle: vec![self.root.clone()] }
    }
}

fn leaf_params(order: &Order<'_>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = order.usages.to_vec();
    let uri = |uri: &&str| SanType::URI((*uri).try_into().unwrap());
    params.subject_alt_names = order.uris.iter().map(uri).collect();
    params.not_before = order.not_before.into();
    params.not_after = order.not_after.into();
    params
}

//! The look at a chain before it is kept, with the eyes of those who will be shown it: a leaf is signed, verified as
//! agents and servers verify it, and thrown away.

use std::{sync::Arc, time::Duration};

use rustls_pki_types::{CertificateDer, UnixTime};
use signet_policies::{
    identity::TrustDomain,
    time::{Timestamp, Validity},
};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, ExtendedKeyUsageValidator, KeyUsage, anchor_from_trusted_cert,
};

use super::{
    issuers::{Issuer, draft},
    signer::{Chain, Signer},
};
use crate::{
    Error, PrivateKey, Random, Serial, Unfit,
    key::SigningKey,
    profile::{BACKDATE, Leaf},
};

/// How long the leaf would live that is thrown away.
const LIFE: Duration = Duration::from_secs(60);

/// Whether issuers that `signer` signs can sign leaves that others accept.
pub(super) fn signer(
    signer: &Signer,
    trust_domain: &TrustDomain,
    random: &Random,
    now: Timestamp,
) -> Result<(), Error> {
    let key = PrivateKey::generate()?;
    let life = Validity::new(now - BACKDATE, now + LIFE).map_err(|_| Error::Clock(now))?;
    let name = ("rehearsal", Serial::draw(random), life);
    let (_, chain) = draft(name, &key.public(), signer, trust_domain)?;
    issuer(&Issuer::new(SigningKey::new(&key)?, chain, now)?, trust_domain, random, now)
}

/// Whether leaves that `issuer` signs are accepted by others.
pub(super) fn issuer(
    issuer: &Issuer,
    trust_domain: &TrustDomain,
    random: &Random,
    now: Timestamp,
) -> Result<(), Error> {
    let key = PrivateKey::generate()?.public();
    let leaf = Leaf {
        serial: Serial::draw(random),
        life: Validity::new(now - BACKDATE, now + LIFE).map_err(|_| Error::Clock(now))?,
        key: &key,
        spiffe_id: &trust_domain.server_id(),
        dns_names: &[],
    };
    let der = issuer.template.sign(&leaf, &issuer.key)?.ok_or(Error::Clock(now))?;
    verify(&der, &issuer.chain, now)
        .map_err(|reason| Error::Given { position: 1, unfit: Unfit::Refused(reason) })
}

fn verify(leaf: &[u8], chain: &Chain, now: Timestamp) -> Result<(), String> {
    let root = CertificateDer::from(&*chain.root.der);
    let above: Vec<Arc<[u8]>> = chain.ders();
    let above: Vec<CertificateDer<'_>> = above.iter().map(|der| CertificateDer::from(&**der)).collect();
    let leaf = CertificateDer::from(leaf);
    let accepts = |usage: &dyn Fn() -> KeyUsage| -> Result<(), webpki::Error> {
        let anchors = [anchor_from_trusted_cert(&root)?];
        path(&leaf, &anchors, &above, now, usage())
    };
    accepts(&KeyUsage::server_auth)
        .and_then(|()| accepts(&KeyUsage::client_auth))
        .map_err(|error| error.to_string())
}

fn path(
    leaf: &CertificateDer<'_>,
    anchors: &[rustls_pki_types::TrustAnchor<'_>],
    above: &[CertificateDer<'_>],
    now: Timestamp,
    usage: impl ExtendedKeyUsageValidator,
) -> Result<(), webpki::Error> {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.unix()).unwrap_or(0)));
    let leaf = EndEntityCert::try_from(leaf)?;
    leaf.verify_for_usage(ALL_VERIFICATION_ALGS, anchors, above, now, usage, None, None).map(|_| ())
}

//! The last look before a certificate is published, with the eyes of those who will be shown it.

use std::{sync::Arc, time::Duration};

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use signet_policies::{
    identity::SpiffeId,
    time::{Timestamp, Validity},
};
use thiserror::Error;
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, ExtendedKeyUsageValidator, KeyUsage, anchor_from_trusted_cert,
};
use x509_parser::{
    prelude::{FromDer, GeneralName, X509Certificate},
    revocation_list::CertificateRevocationList,
};

use crate::{
    keypair::KeyPair,
    secret::{Bundle, Leaf, Secrets},
    signer::Signed,
};

/// More certificates than any chain of ours has; more are not looked at.
const MAX_CHAIN: usize = 8;
/// More roots than any change of roots needs; more are not looked at.
const MAX_BUNDLE: usize = 64;
/// One for every authority below as many roots, and more.
const MAX_CRLS: usize = 1024;

/// Why a certificate is not published.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// No certificate, or more than a chain can have.
    #[error("the chain has {0} certificates; it has 1 to {MAX_CHAIN}")]
    ChainLength(usize),
    /// No root, or more than a bundle can have.
    #[error("the bundle has {0} roots; it has 1 to {MAX_BUNDLE}")]
    BundleLength(usize),
    /// More CRLs than there can be authorities.
    #[error("there are {0} CRLs; at most {MAX_CRLS} are taken")]
    CrlsLength(usize),
    /// Bytes that are no certificate, or no CRL.
    #[error("number {position} of the {part} cannot be read: {reason}")]
    Malformed {
        /// `"chain"`, `"bundle"` or `"CRLs"`.
        part: &'static str,
        /// Counted from 0.
        position: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is for another key than the one that was made for it.
    #[error("the certificate {serial} is for another key than ours")]
    Key {
        /// The certificate's serial number.
        serial: String,
    },
    /// No URI SAN, several, or somebody else's.
    #[error("the certificate {serial} is for {found:?}, not for {expected}")]
    Identity {
        /// The certificate's serial number.
        serial: String,
        /// Every URI SAN that it has.
        found: Vec<String>,
        /// The one it should have.
        expected: SpiffeId,
    },
    /// Not valid now, or no longer valid before it starts.
    #[error("the certificate {serial} is valid from {not_before} to {not_after}, and now is {now}")]
    Time {
        /// The certificate's serial number.
        serial: String,
        /// The leaf's start.
        not_before: Timestamp,
        /// The earliest end in the chain.
        not_after: Timestamp,
        /// The time of the look.
        now: Timestamp,
    },
    /// No path to a root of the bundle, or not one for this usage.
    #[error("the certificate {serial} is no {usage} certificate under the bundle: {reason}")]
    Chain {
        /// The certificate's serial number.
        serial: String,
        /// `"client"` or `"server"`.
        usage: &'static str,
        /// What the path validation (RFC 5280, section 6) said.
        reason: String,
    },
}

/// Checks what a signer gave for `key`, and joins them.
///
/// The leaf has our key and exactly one URI SAN, `expected`; it is valid at `now`; and a peer that trusts the
/// bundle accepts it as client and as server.
///
/// # Errors
/// The first of these that does not hold.
pub fn verify(signed: Signed, key: KeyPair, expected: &SpiffeId, now: Timestamp) -> Result<Secrets, Refused> {
    let Signed { chain, bundle } = signed;
    if !(1..=MAX_CHAIN).contains(&chain.len()) {
        return Err(Refused::ChainLength(chain.len()));
    }
    if !(1..=MAX_BUNDLE).contains(&bundle.len()) {
        return Err(Refused::BundleLength(bundle.len()));
    }
    let parsed = parse_all("chain", &chain)?;
    parse_all("bundle", &bundle)?;
    let leaf = parsed.first().ok_or(Refused::ChainLength(0))?;
    let serial = serial_of(leaf);
    if leaf.public_key().raw != key.public_key() {
        return Err(Refused::Key { serial });
    }
    check_identity(leaf, &serial, expected)?;
    let validity = check_time(&parsed, &serial, now)?;
    check_path(&chain, &bundle, &serial, now)?;
    drop(parsed);
    let leaf = Leaf { chain, key, identity: expected.clone(), validity, serial, is_first: false };
    Ok(Secrets::new(Arc::new(leaf), Bundle::new(bundle, Vec::new())))
}

/// Puts other roots and CRLs beside the leaf that is held.
///
/// # Errors
/// There are none or too many, one cannot be read, or they do not vouch for the leaf: its own peers would refuse it.
pub fn trust(
    held: &Secrets,
    roots: Vec<CertificateDer<'static>>,
    crls: Vec<CertificateRevocationListDer<'static>>,
    now: Timestamp,
) -> Result<Secrets, Refused> {
    if !(1..=MAX_BUNDLE).contains(&roots.len()) {
        return Err(Refused::BundleLength(roots.len()));
    }
    if crls.len() > MAX_CRLS {
        return Err(Refused::CrlsLength(crls.len()));
    }
    parse_all("bundle", &roots)?;
    for (position, crl) in crls.iter().enumerate() {
        let malformed = |reason: String| Refused::Malformed { part: "CRLs", position, reason };
        let (rest, _) = CertificateRevocationList::from_der(crl.as_ref())
            .map_err(|error| malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed(format!("{} bytes follow it", rest.len())));
        }
    }
    check_path(held.leaf().chain(), &roots, held.leaf().serial(), now)?;
    Ok(Secrets::new(held.shared_leaf(), Bundle::new(roots, crls)))
}

/// The URI SANs of a certificate, in its order.
///
/// # Errors
/// [`Refused::Malformed`], also for a second SAN extension.
pub fn uri_names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Refused> {
    let parsed = parse("chain", 0, certificate)?;
    uris(&parsed).map_err(|reason| Refused::Malformed { part: "chain", position: 0, reason })
}

fn parse_all<'a>(
    part: &'static str,
    certificates: &'a [CertificateDer<'static>],
) -> Result<Vec<X509Certificate<'a>>, Refused> {
    let each = certificates.iter().enumerate();
    each.map(|(position, certificate)| parse(part, position, certificate)).collect()
}

fn parse<'a>(
    part: &'static str,
    position: usize,
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, Refused> {
    let malformed = |reason: String| Refused::Malformed { part, position, reason };
    let (rest, parsed) =
        X509Certificate::from_der(certificate.as_ref()).map_err(|error| malformed(error.to_string()))?;
    match rest.len() {
        0 => Ok(parsed),
        trailing => Err(malformed(format!("{trailing} bytes follow it"))),
    }
}

fn uris(certificate: &X509Certificate<'_>) -> Result<Vec<String>, String> {
    let Some(names) = certificate.subject_alternative_name().map_err(|error| error.to_string())? else {
        return Ok(Vec::new());
    };
    let uri = |name: &GeneralName<'_>| {
        if let GeneralName::URI(uri) = name { Some((*uri).to_owned()) } else { None }
    };
    Ok(names.value.general_names.iter().filter_map(uri).collect())
}

fn serial_of(certificate: &X509Certificate<'_>) -> String {
    let raw = certificate.raw_serial();
    let digits = raw.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<u8>>();
    hex::encode(digits)
}

fn check_identity(leaf: &X509Certificate<'_>, serial: &str, expected: &SpiffeId) -> Result<(), Refused> {
    let found = uris(leaf).map_err(|reason| Refused::Malformed { part: "chain", position: 0, reason })?;
    match found.as_slice() {
        [one] if *one == expected.to_string() => Ok(()),
        _ => Err(Refused::Identity { serial: serial.to_owned(), found, expected: expected.clone() }),
    }
}

fn check_time(chain: &[X509Certificate<'_>], serial: &str, now: Timestamp) -> Result<Validity, Refused> {
    let start = |certificate: &X509Certificate<'_>| certificate.validity().not_before.timestamp();
    let end = |certificate: &X509Certificate<'_>| certificate.validity().not_after.timestamp();
    let not_before = Timestamp::from_unix(chain.first().map_or(0, start));
    let not_after = Timestamp::from_unix(chain.iter().map(end).min().unwrap_or(0));
    match Validity::new(not_before, not_after) {
        Ok(validity) if validity.contains(now) => Ok(validity),
        _ => Err(Refused::Time { serial: serial.to_owned(), not_before, not_after, now }),
    }
}

fn check_path(
    chain: &[CertificateDer<'static>],
    bundle: &[CertificateDer<'static>],
    serial: &str,
    now: Timestamp,
) -> Result<(), Refused> {
    let anchors = anchors(bundle)?;
    let client = path_for(KeyUsage::client_auth(), chain, &anchors, now);
    let server = path_for(KeyUsage::server_auth(), chain, &anchors, now);
    let refused = |usage| move |reason| Refused::Chain { serial: serial.to_owned(), usage, reason };
    client.map_err(refused("client"))?;
    server.map_err(refused("server"))
}

fn anchors<'a>(bundle: &'a [CertificateDer<'static>]) -> Result<Vec<TrustAnchor<'a>>, Refused> {
    let anchor = |(position, root): (usize, &'a CertificateDer<'static>)| {
        let malformed =
            |error: webpki::Error| Refused::Malformed { part: "bundle", position, reason: error.to_string() };
        anchor_from_trusted_cert(root).map_err(malformed)
    };
    bundle.iter().enumerate().map(anchor).collect()
}

fn path_for(
    usage: impl ExtendedKeyUsageValidator,
    chain: &[CertificateDer<'static>],
    anchors: &[TrustAnchor<'_>],
    now: Timestamp,
) -> Result<(), String> {
    let Some((leaf, issuers)) = chain.split_first() else {
        return Err("the chain is empty".to_owned());
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.unix()).unwrap_or(0)));
    let leaf = EndEntityCert::try_from(leaf).map_err(|error| error.to_string())?;
    leaf.verify_for_usage(ALL_VERIFICATION_ALGS, anchors, issuers, now, usage, None, None)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::testing::{Answer, FakeSigner};

    const LIFE: Duration = Duration::from_secs(3600);

    fn moment() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn identity() -> SpiffeId {
        "spiffe://signet.internal/mesh/m/virtual-node/a".parse().unwrap()
    }

    fn signer() -> FakeSigner {
        FakeSigner::new(&identity(), Arc::new(moment), LIFE)
    }

    fn look_at(answer: Answer) -> Result<Secrets, Refused> {
        let key = KeyPair::generate().unwrap();
        let signed = signer().certificate(answer, &key.request(&identity()).unwrap());
        verify(signed, key, &identity(), moment().into())
    }

    #[test]
    fn a_good_certificate_is_joined_with_its_key_and_knows_its_life() {
        let secrets = look_at(Answer::Good).unwrap();
        let leaf = secrets.leaf();
        assert_eq!(*leaf.identity(), identity());
        assert_eq!(leaf.validity(), Validity::new(moment().into(), (moment() + LIFE).into()).unwrap());
        assert_eq!(leaf.chain().len(), 2);
        assert_eq!(secrets.bundle().roots().len(), 1);
        assert!(!leaf.serial().is_empty());
    }

    #[test]
    fn every_wrong_certificate_is_refused_by_the_rule_that_it_breaks() {
        type Rule = fn(&Refused) -> bool;
        let cases: [(Answer, Rule); 7] = [
            (
                Answer::SomebodyElses,
                |refused| matches!(refused, Refused::Identity { found, .. } if found.len() == 1),
            ),
            (
                Answer::TwoNames,
                |refused| matches!(refused, Refused::Identity { found, .. } if found.len() == 2),
            ),
            (Answer::Expired, |refused| matches!(refused, Refused::Time { .. })),
            (Answer::Early, |refused| matches!(refused, Refused::Time { .. })),
            (Answer::OtherKey, |refused| matches!(refused, Refused::Key { .. })),
            (Answer::OtherRoot, |refused| matches!(refused, Refused::Chain { .. })),
            (Answer::ClientOnly, |refused| matches!(refused, Refused::Chain { usage: "server", .. })),
        ];
        for (answer, is_the_rule) in cases {
            let refused = look_at(answer).expect_err("refused");
            assert!(is_the_rule(&refused), "{answer:?} is refused by {refused:?}");
        }
    }

    #[test]
    fn chains_without_their_issuer_and_junk_are_refused() {
        let key = || KeyPair::generate().unwrap();
        let good = |key: &KeyPair| signer().certificate(Answer::Good, &key.request(&identity()).unwrap());
        type Damage = fn(&mut Signed);
        let damages: [(&str, Damage); 7] = [
            ("no issuer", |signed| signed.chain.truncate(1)),
            ("no chain", |signed| signed.chain.clear()),
            ("no bundle", |signed| signed.bundle.clear()),
            ("long chain", |signed| signed.chain = vec![signed.chain[0].clone(); MAX_CHAIN + 1]),
            ("junk in the chain", |signed| signed.chain.push(vec![0; 1 << 20].into())),
            ("junk in the bundle", |signed| signed.bundle.push(b"junk".to_vec().into())),
            ("trailing bytes", |signed| signed.chain[0] = [signed.chain[0].as_ref(), b"x"].concat().into()),
        ];
        for (name, damage) in damages {
            let key = key();
            let mut signed = good(&key);
            damage(&mut signed);
            assert!(verify(signed, key, &identity(), moment().into()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_bundle_is_the_same_in_whatever_order_and_however_often_its_roots_come() {
        let key = KeyPair::generate().unwrap();
        let (one, other) = (signer(), signer());
        let mut signed = one.certificate(Answer::Good, &key.request(&identity()).unwrap());
        let foreign = other.certificate(Answer::Good, &key.request(&identity()).unwrap());
        signed.bundle.extend(foreign.bundle);
        let forward = Bundle::new(signed.bundle.clone(), Vec::new());
        signed.bundle.reverse();
        let first = signed.bundle[0].clone();
        signed.bundle.push(first);
        assert_eq!(verify(signed, key, &identity(), moment().into()).unwrap().bundle(), &forward);
    }
}

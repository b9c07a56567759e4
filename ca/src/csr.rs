//! Certificate signing requests (PKCS #10, RFC 2986), as strangers send them.
//!
//! Of a request only its key survives, and the names it asks for, which are a wish that
//! [`decide`](signet_policies::issuance::decide) grants or not. Whatever else it holds must be understood,
//! or the request is refused: what we do not read, nobody shall believe to have been granted.

mod extensions;
mod proof;

use std::time::Duration;

use signet_policies::{
    identity::{DnsName, InvalidDnsName, InvalidSpiffeId, SpiffeId},
    issuance::Request,
};
use thiserror::Error;

use crate::{
    key::{KeyRefused, PublicKey},
    strict::{self, Element, Malformed, tag},
};

/// The longest request that is looked at, in bytes. One with an RSA key of 4096 bits has about 1.6 KB.
pub const MAX_CSR: usize = 16 * 1024;

/// A request whose sender was shown to hold the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCsr {
    key: PublicKey,
    spiffe_id: Option<SpiffeId>,
    dns_names: Vec<DnsName>,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidCsr {
    /// Longer than [`MAX_CSR`].
    #[error("the CSR is {0} bytes long, at most {MAX_CSR} are allowed")]
    TooLong(usize),
    /// Not DER, not a PKCS #10 request, or with bytes that belong to nothing.
    #[error("the CSR cannot be read: {0}")]
    Malformed(&'static str),
    /// A key that is not certified.
    #[error(transparent)]
    Key(#[from] KeyRefused),
    /// A signature algorithm that is not accepted, or that does not fit the key.
    #[error("the CSR is signed with an algorithm that is not accepted for its key")]
    SignatureAlgorithm,
    /// Whoever sent it does not hold the private key, or it was changed on the way.
    #[error("the CSR's signature is not its key's")]
    Signature,
    /// Names belong into the subject alternative name.
    #[error("the CSR has a subject; its names must stand in the subject alternative name alone")]
    Subject,
    /// basicConstraints with cA or a path length, keyCertSign or cRLSign.
    #[error("the CSR asks for a certificate authority ({0})")]
    Authority(&'static str),
    /// An extended key usage besides serverAuth and clientAuth.
    #[error("the CSR asks for another use than serverAuth and clientAuth")]
    Usage,
    /// A PKCS #10 attribute besides extensionRequest.
    #[error("the CSR holds an attribute other than extensionRequest")]
    Attribute,
    /// An extension that no certificate of ours has.
    #[error("the CSR asks for the extension {0}, which is not issued")]
    Extension(String),
    /// The same extension twice.
    #[error("the CSR asks for the extension {0} twice")]
    RepeatedExtension(String),
    /// More than one URI, equal or not.
    #[error("the CSR names {0} URIs, one is allowed")]
    SeveralUris(usize),
    /// The same DNS name twice.
    #[error("the CSR names the DNS name {0} twice")]
    RepeatedDns(DnsName),
    /// A name that is neither a URI nor a DNS name.
    #[error("the CSR names {0}; only a SPIFFE ID and DNS names are issued")]
    NameKind(&'static str),
    /// A URI that is no SPIFFE ID.
    #[error("the CSR's URI is no SPIFFE ID")]
    SpiffeId(#[source] InvalidSpiffeId),
    /// A DNS name that is none.
    #[error("the CSR's DNS name is none")]
    Dns(#[source] InvalidDnsName),
}

impl From<Malformed> for InvalidCsr {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

impl VerifiedCsr {
    /// Reads a request, and checks that its sender holds the private key. The costly check comes last.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn from_der(der: &[u8]) -> Result<Self, InvalidCsr> {
        if der.len() > MAX_CSR {
            return Err(InvalidCsr::TooLong(der.len()));
        }
        let [info, algorithm, signature] = strict::only(der, tag::SEQUENCE)?.fields()?;
        let [version, subject, spki, attributes] = info.expect(tag::SEQUENCE)?.fields()?;
        if version.raw != [tag::INTEGER, 1, 0] {
            return Err(InvalidCsr::Malformed("its version is not 1"));
        }
        if !subject.expect(tag::SEQUENCE)?.content.is_empty() {
            return Err(InvalidCsr::Subject);
        }
        let key = PublicKey::from_spki(spki.raw)?;
        let names = Self::requested_names(&attributes)?;
        proof::check(&key, info.raw, algorithm.raw, &signature)?;
        Ok(Self { key, spiffe_id: names.spiffe_id, dns_names: names.dns_names })
    }

    fn requested_names(attributes: &Element<'_>) -> Result<extensions::Names, InvalidCsr> {
        attributes.expect(tag::ATTRIBUTES)?;
        let mut attributes = attributes.children();
        let Some(attribute) = attributes.next() else {
            return Ok(extensions::Names::default());
        };
        let [kind, values] = attribute?.expect(tag::SEQUENCE)?.fields()?;
        if kind.raw != extensions::EXTENSION_REQUEST || attributes.next().is_some() {
            return Err(InvalidCsr::Attribute);
        }
        let [extensions] = values.expect(tag::SET)?.fields()?;
        extensions::names(&extensions)
    }

    /// The key to certify.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What it asks for, as the policy wants to hear it. A request of PKCS #10 cannot name a life.
    #[must_use]
    pub fn request(&self, lifetime: Option<Duration>) -> Request {
        Request { spiffe_id: self.spiffe_id.clone(), dns_names: self.dns_names.clone(), lifetime }
    }
}

#[cfg(test)]
mod tests;

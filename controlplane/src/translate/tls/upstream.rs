//! A client's end. A server's certificate is never taken unseen: each context says what it must prove, or says openly
//! that there is nothing to verify it by.

use std::collections::BTreeSet;

use signet_policies::identity::{DnsName, SpiffeId};
use signet_xds::pb::{
    envoy::{
        config::core::v3::TransportSocket,
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, SdsSecretConfig, UpstreamTlsContext,
            certificate_validation_context::TrustChainVerification,
            common_tls_context::ValidationContextType,
        },
    },
    pack,
};

use super::{
    super::naming::{OWN_CERTIFICATE, ROOTS},
    asked, common, exact, identity, material, socket, validated,
};
use crate::model::{ClientTls, Protocol, Validation};

/// TLS to a server that proves to be one of `identities`, which are never empty.
pub(in super::super) fn to_identities(
    identities: &BTreeSet<SpiffeId>,
    server_name: &str,
    protocol: Protocol,
) -> TransportSocket {
    let validation = validated(material::agents(ROOTS), identities.iter().map(identity).collect());
    context(material::agents(OWN_CERTIFICATE), validation, server_name, protocol)
}

/// TLS to a server whose certificate nobody here knows.
pub(in super::super) fn to_whoever_answers(server_name: &str, protocol: Protocol) -> TransportSocket {
    let validation = ValidationContextType::ValidationContext(CertificateValidationContext {
        trust_chain_verification: TrustChainVerification::AcceptUntrusted.into(),
        ..Default::default()
    });
    context(material::agents(OWN_CERTIFICATE), validation, server_name, protocol)
}

/// TLS as a client policy asks for it. Without a list of names the server must prove the one that it is found by, or
/// that it is one of `identities`.
pub(in super::super) fn by_policy(
    policy: &ClientTls,
    identities: &BTreeSet<SpiffeId>,
    server_name: &str,
    protocol: Protocol,
) -> TransportSocket {
    let Validation { trust, subject_alternative_names: listed } = &policy.validation;
    let sans = match listed.is_empty() {
        true => [exact(server_name)].into_iter().chain(identities.iter().map(identity)).collect(),
        false => listed.iter().map(|name| exact(name)).collect(),
    };
    let certificate = material::certificate(policy.certificate.as_ref(), OWN_CERTIFICATE);
    context(certificate, validated(material::trust(trust), sans), server_name, protocol)
}

fn context(
    certificate: SdsSecretConfig,
    validation: ValidationContextType,
    server_name: &str,
    protocol: Protocol,
) -> TransportSocket {
    // An address is no server name (RFC 6066, section 3), and neither is a name in Cloud Map that DNS could not hold:
    // Envoy refuses a cluster with one of more than 255 bytes.
    let is_name = server_name.parse::<DnsName>().is_ok();
    socket(pack(&UpstreamTlsContext {
        common_tls_context: Some(common(certificate, Some(validation), asked(protocol))),
        sni: if is_name { server_name.to_owned() } else { String::new() },
        ..Default::default()
    }))
}

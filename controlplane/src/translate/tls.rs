//! TLS contexts of both ends. Every key and root comes by name: from the agent's socket, or, where a spec names
//! files, as a secret that tells Envoy the files and is fed over the stream itself. None is in here.

mod downstream;
mod material;
mod upstream;

use signet_policies::identity::{SpiffeId, TrustDomain};
use signet_xds::pb::{
    envoy::{
        config::core::v3::{TransportSocket, transport_socket},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, CommonTlsContext, SdsSecretConfig, SubjectAltNameMatcher,
            TlsParameters, common_tls_context, subject_alt_name_matcher::SanType,
            tls_parameters::TlsProtocol,
        },
        r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
    },
    google::protobuf::Any,
};

pub(super) use self::{
    downstream::downstream,
    material::secrets,
    upstream::{by_policy, to_identities, to_whoever_answers},
};
use crate::model::Protocol;

fn socket(context: Any) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(context)),
    }
}

fn common(
    certificate: SdsSecretConfig,
    validation: Option<common_tls_context::ValidationContextType>,
    protocols: &[&str],
) -> CommonTlsContext {
    CommonTlsContext {
        // Envoy's client side would stop at 1.2.
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
            tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
            ..Default::default()
        }),
        tls_certificate_sds_secret_configs: vec![certificate],
        validation_context_type: validation,
        alpn_protocols: protocols.iter().map(|protocol| (*protocol).to_owned()).collect(),
        ..Default::default()
    }
}

/// Chains end in a root of `trust`, and the leaf carries one of `sans`; any where there are none.
fn validated(
    trust: SdsSecretConfig,
    sans: Vec<SubjectAltNameMatcher>,
) -> common_tls_context::ValidationContextType {
    let default = CertificateValidationContext { match_typed_subject_alt_names: sans, ..Default::default() };
    common_tls_context::ValidationContextType::CombinedValidationContext(
        common_tls_context::CombinedCertificateValidationContext {
            default_validation_context: Some(default),
            validation_context_sds_secret_config: Some(trust),
            ..Default::default()
        },
    )
}

/// An exact name: a URI, an address or a host, by its look.
fn exact(name: &str) -> SubjectAltNameMatcher {
    let kind = if name.contains("://") {
        SanType::Uri
    } else if name.parse::<std::net::IpAddr>().is_ok() {
        SanType::IpAddress
    } else {
        SanType::Dns
    };
    san(kind, MatchPattern::Exact(name.to_owned()))
}

fn identity(id: &SpiffeId) -> SubjectAltNameMatcher {
    san(SanType::Uri, MatchPattern::Exact(id.to_string()))
}

fn san(kind: SanType, pattern: MatchPattern) -> SubjectAltNameMatcher {
    let matcher = Some(StringMatcher { match_pattern: Some(pattern), ..Default::default() });
    SubjectAltNameMatcher { san_type: kind.into(), matcher, ..Default::default() }
}

/// Whether a bundle's name is that of another trust domain, which holds no identity of this one.
fn is_foreign(trust_secret: &str, trust_domain: &TrustDomain) -> bool {
    trust_secret.starts_with("spiffe://") && trust_secret != trust_domain.id()
}

/// What a server offers to a client that lets it choose.
fn offered(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Http | Protocol::Http2 | Protocol::Grpc => &["h2", "http/1.1"],
        Protocol::Tcp => &[],
    }
}

/// What a client asks for, which is what the cluster speaks.
fn asked(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        // Not h2: a node that says `http` may be asked to upgrade to WebSocket, which HTTP/1.1 alone carries.
        Protocol::Http => &["http/1.1"],
        Protocol::Http2 | Protocol::Grpc => &["h2"],
        Protocol::Tcp => &[],
    }
}

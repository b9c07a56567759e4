//! TLS contexts of both ends. Every key and root comes by name from the agent's socket, none is in here.

use std::{collections::BTreeSet, time::Duration};

use signet_policies::{
    identity::{SpiffeId, TrustDomain, Workload},
    mtls::{Peer, Stance, Stances, resolve},
};
use signet_xds::pb::{
    envoy::{
        config::core::v3::{
            ApiConfigSource, ApiVersion, ConfigSource, GrpcService, TransportSocket, api_config_source,
            config_source, grpc_service, transport_socket,
        },
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig,
            SubjectAltNameMatcher, TlsParameters, UpstreamTlsContext, common_tls_context,
            subject_alt_name_matcher::SanType, tls_parameters::TlsProtocol,
        },
        r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
    },
    google::protobuf::{Any, BoolValue},
    pack,
};

use super::{
    TlsOffer,
    naming::{OWN_CERTIFICATE, ROOTS, SDS_CLUSTER},
    scalar::duration,
};
use crate::model::{Certificate, Trust, Validation};

/// How long a listener or cluster waits for a secret before it opens without.
const SECRET_TIMEOUT: Duration = Duration::from_secs(15);

/// The server's end of a port of `workload`.
pub(super) fn downstream(
    offer: &TlsOffer,
    workload: &Workload,
    trust_domain: &TrustDomain,
) -> TransportSocket {
    let TlsOffer { identity: _, settings } = offer;
    let asked = if settings.validation.is_some() { Peer::Required } else { Peer::None };
    let spec = Stance { mode: Some(settings.mode), peer: Some(asked) };
    let peer = resolve(&Stances { spec, ..Stances::default() }).peer.value;
    let verified = settings.validation.as_ref().and_then(|validation| match peer {
        Peer::None => None,
        // Envoy turns away a client without a certificate as soon as there is a SAN to match (seen on 1.40), and
        // who may come in plaintext need not prove a name.
        Peer::Optional => Some(validated(trust_secret(&validation.trust), Vec::new())),
        Peer::Required => Some(clients(validation, workload, trust_domain)),
    });
    let certificate = match &settings.certificate {
        // The API takes no files so far.
        Certificate::Acm { .. } | Certificate::File { .. } => OWN_CERTIFICATE,
        Certificate::Sds { secret_name } => secret_name,
    };
    let common = CommonTlsContext {
        alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
        ..common(certificate, verified)
    };
    socket(pack(&DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: Some(BoolValue { value: peer == Peer::Required }),
        ..Default::default()
    }))
}

/// A client's end: TLS to a server that proves to be one of `identities`, which are never empty.
pub(super) fn upstream(identities: &BTreeSet<SpiffeId>, server_name: Option<&str>) -> TransportSocket {
    let servers = identities.iter().map(|id| san(SanType::Uri, MatchPattern::Exact(id.to_string())));
    let common = CommonTlsContext {
        // Not h2: a node that says `http` may be asked to upgrade to WebSocket, which HTTP/1.1 alone carries.
        alpn_protocols: vec!["http/1.1".to_owned()],
        ..common(OWN_CERTIFICATE, Some(validated(ROOTS, servers.collect())))
    };
    socket(pack(&UpstreamTlsContext {
        common_tls_context: Some(common),
        sni: server_name.unwrap_or_default().to_owned(),
        ..Default::default()
    }))
}

fn socket(context: Any) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(context)),
    }
}

fn common(
    certificate: &str,
    validation: Option<common_tls_context::CombinedCertificateValidationContext>,
) -> CommonTlsContext {
    CommonTlsContext {
        // Envoy's client side would stop at 1.2.
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
            tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
            ..Default::default()
        }),
        tls_certificate_sds_secret_configs: vec![secret(certificate)],
        validation_context_type: validation
            .map(common_tls_context::ValidationContextType::CombinedValidationContext),
        ..Default::default()
    }
}

/// Chains end in a root of `trust_secret`, and the leaf carries one of `sans`.
fn validated(
    trust_secret: &str,
    sans: Vec<SubjectAltNameMatcher>,
) -> common_tls_context::CombinedCertificateValidationContext {
    common_tls_context::CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_typed_subject_alt_names: sans,
            ..Default::default()
        }),
        validation_context_sds_secret_config: Some(secret(trust_secret)),
        ..Default::default()
    }
}

/// Whom a listener lets in: those listed, else every workload of the mesh.
fn clients(
    validation: &Validation,
    workload: &Workload,
    trust_domain: &TrustDomain,
) -> common_tls_context::CombinedCertificateValidationContext {
    let Validation { trust, subject_alternative_names } = validation;
    let trust_secret = trust_secret(trust);
    let listed = subject_alternative_names.iter().map(|name| {
        let kind = if name.contains("://") { SanType::Uri } else { SanType::Dns };
        san(kind, MatchPattern::Exact(name.clone()))
    });
    let mut sans: Vec<_> = listed.collect();
    if sans.is_empty() {
        // A bundle of another trust domain holds no identity of this one; there, all of that domain are meant.
        let prefix = if trust_secret.starts_with("spiffe://") && trust_secret != trust_domain.id() {
            format!("{}/", trust_secret.trim_end_matches('/'))
        } else {
            format!("{}/mesh/{}/", trust_domain.id(), workload.mesh)
        };
        sans.push(san(SanType::Uri, MatchPattern::Prefix(prefix)));
    }
    validated(trust_secret, sans)
}

fn trust_secret(trust: &Trust) -> &str {
    match trust {
        Trust::Sds { secret_name } => secret_name,
        // The API takes no files so far.
        Trust::Acm { .. } | Trust::File { .. } => ROOTS,
    }
}

fn san(kind: SanType, pattern: MatchPattern) -> SubjectAltNameMatcher {
    let matcher = Some(StringMatcher { match_pattern: Some(pattern), ..Default::default() });
    SubjectAltNameMatcher { san_type: kind.into(), matcher, ..Default::default() }
}

/// A secret on the agent's socket. Envoy shares a secret among all that ask for it with the same source, the
/// bootstrap included, so the source is the same bytes everywhere.
fn secret(name: &str) -> SdsSecretConfig {
    let envoy_grpc = grpc_service::EnvoyGrpc { cluster_name: SDS_CLUSTER.to_owned(), ..Default::default() };
    let service = GrpcService {
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(envoy_grpc)),
        ..Default::default()
    };
    let api = ApiConfigSource {
        api_type: api_config_source::ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![service],
        set_node_on_first_message_only: true,
        ..Default::default()
    };
    let source = ConfigSource {
        initial_fetch_timeout: duration(SECRET_TIMEOUT),
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::ApiConfigSource(api)),
        ..Default::default()
    };
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(source) }
}

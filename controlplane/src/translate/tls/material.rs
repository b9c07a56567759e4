//! Where keys, certificates and roots come from.
//!
//! Files are named in secrets of their own, which come over the stream: Envoy re-reads files only for those, when
//! something is renamed in their folder (seen on 1.40). What it reads it never sends back.

use std::{collections::BTreeMap, path::Path, time::Duration};

use sha2::{Digest, Sha256};
use signet_xds::{
    Resource, ResourceType,
    pb::envoy::{
        config::core::v3::{
            ApiConfigSource, ApiVersion, ConfigSource, DataSource, GrpcService, WatchedDirectory,
            api_config_source, config_source, data_source::Specifier, grpc_service,
        },
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, SdsSecretConfig, Secret, TlsCertificate, secret,
        },
    },
};

use super::super::{
    naming::{ROOTS, SDS_CLUSTER},
    scalar::{duration, same_stream},
};
use crate::model::{Certificate, ClientTls, ListenerTls, Trust};

/// How long a listener or cluster waits for a secret before it opens without.
const SECRET_TIMEOUT: Duration = Duration::from_secs(15);

/// Where a certificate comes from: `own` where nothing is said.
pub(super) fn certificate(certificate: Option<&Certificate>, own: &str) -> SdsSecretConfig {
    match certificate {
        None | Some(Certificate::Acm { .. }) => agents(own),
        Some(Certificate::Sds { secret_name }) => agents(secret_name),
        Some(Certificate::File { certificate_chain, private_key }) => {
            of_files(file_name(&[certificate_chain, private_key]))
        }
    }
}

/// Where roots come from.
pub(super) fn trust(trust: &Trust) -> SdsSecretConfig {
    match trust {
        Trust::Acm { .. } => agents(ROOTS),
        Trust::Sds { secret_name } => agents(secret_name),
        Trust::File { certificate_chain } => of_files(file_name(&[certificate_chain])),
    }
}

/// A secret on the agent's socket. Envoy shares a secret among all that ask for it with the same source, the
/// bootstrap included, so the source is the same bytes everywhere.
pub(super) fn agents(name: &str) -> SdsSecretConfig {
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

fn of_files(name: String) -> SdsSecretConfig {
    let source = ConfigSource { initial_fetch_timeout: duration(SECRET_TIMEOUT), ..same_stream() };
    SdsSecretConfig { name, sds_config: Some(source) }
}

/// Not the paths themselves: a dot in a secret's name mangles Envoy's metrics.
fn file_name(paths: &[&str]) -> String {
    let mut hash = Sha256::new();
    for path in paths {
        hash.update(path);
        hash.update([0]);
    }
    let hash: String = hex::encode(hash.finalize()).chars().take(16).collect();
    format!("file_{hash}")
}

/// The secrets that name the files of a proxy's listeners and client policies, each once.
pub(in super::super) fn secrets<'a>(
    listeners: impl Iterator<Item = &'a ListenerTls>,
    policies: impl Iterator<Item = &'a ClientTls>,
) -> impl Iterator<Item = Resource> {
    let mut secrets = BTreeMap::new();
    let mut keep = |secret: Option<Secret>| {
        if let Some(secret) = secret {
            secrets.insert(secret.name.clone(), secret);
        }
    };
    for ListenerTls { mode: _, certificate, validation } in listeners {
        keep(files_of(certificate));
        keep(validation.as_ref().and_then(|validation| roots_of(&validation.trust)));
    }
    for policy in policies {
        keep(policy.certificate.as_ref().and_then(files_of));
        keep(roots_of(&policy.validation.trust));
    }
    secrets.into_iter().map(|(name, secret)| Resource::new(ResourceType::Secret, name, &secret))
}

fn files_of(certificate: &Certificate) -> Option<Secret> {
    let Certificate::File { certificate_chain, private_key } = certificate else { return None };
    let pair = TlsCertificate {
        certificate_chain: Some(file(certificate_chain)),
        private_key: Some(file(private_key)),
        watched_directory: Some(folder_of(certificate_chain)),
        ..Default::default()
    };
    let name = file_name(&[certificate_chain, private_key]);
    Some(Secret { name, r#type: Some(secret::Type::TlsCertificate(pair)) })
}

fn roots_of(trust: &Trust) -> Option<Secret> {
    let Trust::File { certificate_chain } = trust else { return None };
    let roots = CertificateValidationContext {
        trusted_ca: Some(file(certificate_chain)),
        watched_directory: Some(folder_of(certificate_chain)),
        ..Default::default()
    };
    let name = file_name(&[certificate_chain]);
    Some(Secret { name, r#type: Some(secret::Type::ValidationContext(roots)) })
}

fn file(path: &str) -> DataSource {
    DataSource { specifier: Some(Specifier::Filename(path.to_owned())), ..Default::default() }
}

/// Envoy looks for renames here. A chain and its key lie in one folder, as the tools that renew them put them.
fn folder_of(path: &str) -> WatchedDirectory {
    let parent = Path::new(path).parent().and_then(Path::to_str).filter(|parent| !parent.is_empty());
    WatchedDirectory { path: parent.unwrap_or(".").to_owned(), ..Default::default() }
}

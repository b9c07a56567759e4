//! The server's end of a port.

use signet_policies::{
    identity::{TrustDomain, Workload},
    mtls::{Peer, Stance, Stances, resolve},
};
use signet_xds::pb::{
    envoy::{
        config::core::v3::TransportSocket,
        extensions::transport_sockets::tls::v3::{
            DownstreamTlsContext, SubjectAltNameMatcher, subject_alt_name_matcher::SanType,
        },
        r#type::matcher::v3::string_matcher::MatchPattern,
    },
    google::protobuf::BoolValue,
    pack,
};

use super::{
    super::{TlsOffer, naming::OWN_CERTIFICATE},
    common, exact, is_foreign, material, offered, san, socket, validated,
};
use crate::model::{Protocol, Trust, Validation};

/// What a port of `workload` presents, and what it asks of its clients.
pub(in super::super) fn downstream(
    offer: &TlsOffer,
    protocol: Protocol,
    workload: &Workload,
    trust_domain: &TrustDomain,
) -> TransportSocket {
    let TlsOffer { proof: _, settings } = offer;
    let asked = if settings.validation.is_some() { Peer::Required } else { Peer::None };
    let spec = Stance { mode: Some(settings.mode), peer: Some(asked) };
    let peer = resolve(&Stances { spec, ..Stances::default() }).peer.value;
    let validation = settings.validation.as_ref().and_then(|validation| {
        let sans = match peer {
            Peer::None => return None,
            // Envoy turns away a client without a certificate as soon as there is a SAN to match (seen on 1.40), and
            // who may come in plaintext need not prove a name.
            Peer::Optional => Vec::new(),
            Peer::Required => clients(validation, workload, trust_domain),
        };
        Some(validated(material::trust(&validation.trust), sans))
    });
    let certificate = material::certificate(Some(&settings.certificate), OWN_CERTIFICATE);
    socket(pack(&DownstreamTlsContext {
        common_tls_context: Some(common(certificate, validation, offered(protocol))),
        require_client_certificate: Some(BoolValue { value: peer == Peer::Required }),
        ..Default::default()
    }))
}

/// Whom a listener lets in: those listed, else every workload of the mesh. A trust that is not this mesh's own says by
/// itself who is meant: all that it vouches for.
fn clients(
    validation: &Validation,
    workload: &Workload,
    trust_domain: &TrustDomain,
) -> Vec<SubjectAltNameMatcher> {
    let Validation { trust, subject_alternative_names } = validation;
    if !subject_alternative_names.is_empty() {
        return subject_alternative_names.iter().map(|name| exact(name)).collect();
    }
    let of_prefix = |prefix: String| vec![san(SanType::Uri, MatchPattern::Prefix(prefix))];
    match trust {
        Trust::Sds { secret_name } if is_foreign(secret_name, trust_domain) => {
            of_prefix(format!("{}/", secret_name.trim_end_matches('/')))
        }
        Trust::Sds { .. } | Trust::Acm { .. } => {
            of_prefix(format!("{}/mesh/{}/", trust_domain.id(), workload.mesh))
        }
        Trust::File { .. } => Vec::new(),
    }
}

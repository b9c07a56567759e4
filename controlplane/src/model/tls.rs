//! TLS of both ends, as specs ask for it. Virtual nodes and virtual gateways have the same shapes.

use std::num::NonZeroU16;

use signet_policies::mtls::Mode;

/// `ListenerTls`.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTls {
    /// What is accepted.
    pub mode: Mode,
    /// What is presented.
    pub certificate: Certificate,
    /// Present means that a client certificate is required in STRICT, and verified where sent in PERMISSIVE.
    pub validation: Option<Validation>,
}

/// `ListenerTlsCertificate` and `ClientTlsCertificate`, of which the latter has no `acm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Issued by Signet's CA; the ARN is kept for those who look for it.
    Acm {
        /// As the caller wrote it.
        arn: String,
    },
    /// Files that the proxy reads.
    File {
        /// Path of the PEM chain, leaf first.
        certificate_chain: String,
        /// Path of the PEM key.
        private_key: String,
    },
    /// A secret name on the agent's socket.
    Sds {
        /// `default`, or the workload's own SPIFFE ID.
        secret_name: String,
    },
}

/// `TlsValidationContextTrust`; listeners have no `acm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The roots of Signet's CA; the ARNs are kept for those who look for them.
    Acm {
        /// 1 to 3, as the caller wrote them.
        arns: Vec<String>,
    },
    /// A file that the proxy reads.
    File {
        /// Path of the PEM roots.
        certificate_chain: String,
    },
    /// A secret name on the agent's socket.
    Sds {
        /// `ROOTCA`, `ALL`, or a trust domain's SPIFFE ID.
        secret_name: String,
    },
}

/// `ListenerTlsValidationContext` and `TlsValidationContext`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validation {
    /// Where the roots come from.
    pub trust: Trust,
    /// Exact SANs of which the peer must have one. Empty means, of a client, any identity of the mesh, and of a
    /// server, its discovery name or its identity.
    pub subject_alternative_names: Vec<String>,
}

/// `ClientPolicy`. One without `tls` leaves TLS to the server's listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientPolicy {
    /// `ClientPolicyTls`.
    pub tls: Option<ClientTls>,
}

/// `ClientPolicyTls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// Whether a server without TLS is not called; App Mesh's default is that it is not.
    pub enforce: bool,
    /// The server's ports that this is about; empty means all.
    pub ports: Vec<NonZeroU16>,
    /// What is presented where the server asks; absent means the node's own.
    pub certificate: Option<Certificate>,
    /// What the server must prove.
    pub validation: Validation,
}

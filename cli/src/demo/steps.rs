//! The modes that the demo goes through, and what each demands.

use serde_json::{Value, json};

use crate::local::probe::Approach;

/// A TLS mode of the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeStep {
    /// Plaintext only.
    Disabled,
    /// Both.
    Permissive,
    /// TLS; the client is not asked who it is.
    Strict,
    /// TLS; the client must be of this mesh.
    StrictVerified,
}

impl ModeStep {
    /// In the order of the demo.
    pub const ALL: [Self; 4] = [Self::Disabled, Self::Permissive, Self::Strict, Self::StrictVerified];

    /// The row's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "DISABLED",
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
            Self::StrictVerified => "STRICT, client verified",
        }
    }

    /// Whether the mode serves a stranger who comes so.
    #[must_use]
    pub fn serves(self, approach: Approach) -> bool {
        match (self, approach) {
            (Self::Permissive, _) => true,
            (Self::Disabled, approach) => approach == Approach::Plaintext,
            (Self::Strict, approach) => approach != Approach::Plaintext,
            (Self::StrictVerified, approach) => approach == Approach::TlsMeshCertificate,
        }
    }

    /// The virtual node's spec in this mode.
    #[must_use]
    pub fn node_spec(self, hostname: &str, port: u16) -> Value {
        let mut listener = json!({"portMapping": {"port": port, "protocol": "http"}});
        let certificate = json!({"sds": {"secretName": "default"}});
        match self {
            Self::Disabled => {}
            Self::Permissive => listener["tls"] = json!({"mode": "PERMISSIVE", "certificate": certificate}),
            Self::Strict => listener["tls"] = json!({"mode": "STRICT", "certificate": certificate}),
            Self::StrictVerified => {
                listener["tls"] = json!({
                    "mode": "STRICT",
                    "certificate": certificate,
                    "validation": {"trust": {"sds": {"secretName": "ROOTCA"}}},
                });
            }
        }
        json!({"listeners": [listener], "serviceDiscovery": {"dns": {"hostname": hostname}}})
    }
}

//! Asks for certificates over the real port as agents do, without an agent.

use anyhow::Result;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use signet::{client::Client, local::mesh::Server};
use signet_policies::time::Timestamp;
use tonic::{Code, Status, transport::Channel};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{
    Outsider, channel,
    node_service::{IssuedCertificate, JoinRequest, RenewRequest, node_service_client::NodeServiceClient},
};

/// A certificate that came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// 32 hexadecimal digits.
    pub serial: String,
    /// Its first valid second.
    pub not_before: Timestamp,
    /// Its last.
    pub not_after: Timestamp,
}

/// Holds a certificate of a virtual node, and asks for others with it.
#[derive(Clone, Debug)]
pub struct Asker {
    node: NodeServiceClient<Channel>,
    identity: String,
}

impl Asker {
    /// Joins as a virtual node.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn join(server: &Server, client: &Client, mesh: &str, node: &str) -> Result<Self> {
        let outsider = Outsider::join(server, client, mesh, node).await?;
        let channel = channel(server.grpc_address(), outsider.roots(), Some(outsider.certificate())).await?;
        let identity = format!("spiffe://signet.internal/mesh/{mesh}/virtual-node/{node}");
        Ok(Self { node: NodeServiceClient::new(channel), identity })
    }

    /// Asks for a certificate with the one that it joined with.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn renew(&self) -> Result<Got, Status> {
        let csr = request(&self.identity).map_err(|error| Status::internal(error.to_string()))?;
        let answer = self.node.clone().renew(RenewRequest { csr, lifetime_secs: 0 }).await?;
        got(answer.into_inner())
    }

    /// Trades a token for a certificate.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn redeem(&self, token: &str) -> Result<Got, Status> {
        let csr = request(&self.identity).map_err(|error| Status::internal(error.to_string()))?;
        let answer = self.node.clone().join(JoinRequest { token: token.to_owned(), csr }).await?;
        got(answer.into_inner())
    }
}

fn request(identity: &str) -> Result<Vec<u8>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.remove(DnType::CommonName);
    params.subject_alt_names.push(SanType::URI(identity.try_into()?));
    Ok(params.serialize_request(&key)?.der().to_vec())
}

fn got(answer: IssuedCertificate) -> Result<Got, Status> {
    let leaf = answer.chain.first().ok_or_else(|| Status::new(Code::DataLoss, "no chain"))?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|error| Status::data_loss(error.to_string()))?;
    let moment = |time: x509_parser::time::ASN1Time| Timestamp::from_unix(time.timestamp());
    let validity = leaf.validity();
    Ok(Got {
        serial: format!("{:0>32}", leaf.tbs_certificate.serial.to_str_radix(16)),
        not_before: moment(validity.not_before),
        not_after: moment(validity.not_after),
    })
}

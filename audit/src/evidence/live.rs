//! What live nodes present.

use crate::{
    certificate::Certificate,
    finding::Subject,
    inventory::{Node, Presented},
};

/// A certificate that a node's listener presented.
pub(crate) struct Served<'a> {
    pub(crate) node: &'a Node,
    pub(crate) presented: &'a Presented,
    /// The error says why it cannot be read.
    pub(crate) certificate: Result<Certificate, String>,
}

pub(super) fn served(node: &Node) -> impl Iterator<Item = Served<'_>> {
    node.presented.iter().filter_map(move |presented| {
        let certificate = Certificate::read(&presented.leaf.as_ref()?.0);
        Some(Served { node, presented, certificate })
    })
}

impl Served<'_> {
    /// Node, instance, port and certificate as a finding's subject.
    pub(crate) fn subject(&self) -> Subject {
        let certificate = self.certificate.as_ref().ok();
        Subject {
            port: port(&self.presented.address),
            serial: certificate.map(Certificate::serial_text),
            identity: certificate.and_then(|read| read.extensions.names.uris.first().cloned()),
            ..subject(self.node)
        }
    }
}

/// A node and its instance as a finding's subject.
pub(crate) fn subject(node: &Node) -> Subject {
    Subject { instance: Some(node.instance.clone()), ..Subject::workload(&node.workload) }
}

/// The port of `IP:PORT`.
fn port(address: &str) -> Option<u16> {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}

//! Calls listeners with a certificate that is revoked.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use signet_audit::{
    Inventory,
    inventory::{Gap, Need, Node, Presented, Probe},
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::certificates::read_certificates;
use crate::{
    WrongUsage,
    local::probe::{ClientCertificate, serial_of, tls_connector},
};

/// How long a connection and its handshake may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// A refusal is an alert that comes at once; who says nothing for so long waits for a request.
const SILENCE: Duration = Duration::from_secs(1);

/// Calls every listener of the inventory that asks for a client's certificate, and notes what came of it.
///
/// # Errors
/// The file holds no certificate with a key, or one that is not revoked, or has ended: refusals would show nothing.
pub(super) async fn run(path: &Path, inventory: &mut Inventory) -> Result<()> {
    let chain: Vec<_> = read_certificates(path)?.into_iter().map(CertificateDer::from).collect();
    let leaf = chain.first().context("no certificate")?;
    check(path, leaf, inventory)?;
    let key = PrivateKeyDer::from_pem_file(path)
        .with_context(|| format!("{} holds no private key, PEM, beside the certificate", path.display()))?;
    let roots: Vec<_> = inventory
        .bundles
        .iter()
        .filter(|bundle| bundle.is_current)
        .flat_map(|bundle| &bundle.roots)
        .map(|root| CertificateDer::from(root.0.clone()))
        .collect();
    let connector = tls_connector(&roots, Some(ClientCertificate { chain, key }), &[])
        .with_context(|| format!("{}: the certificate and its key", path.display()))?;
    for node in &mut inventory.nodes {
        let name = node.name();
        for at in 0..node.presented.len() {
            if !asks(node, &node.presented[at]) {
                continue;
            }
            match call(&connector, &node.presented[at]).await {
                Ok(probe) => node.presented[at].revoked_probe = Some(probe),
                Err(error) => inventory.gaps.push(Gap {
                    need: Need::Probes,
                    node: Some(name.clone()),
                    reason: format!(
                        "{} was not tried with what is revoked: {error:#}",
                        node.presented[at].address
                    ),
                }),
            }
        }
    }
    Ok(())
}

/// Whether a refusal of this certificate can only be for its revocation.
fn check(path: &Path, leaf: &CertificateDer<'_>, inventory: &Inventory) -> Result<()> {
    let serial = serial_of(leaf).with_context(|| format!("{}", path.display()))?;
    let is_it = |other: &str| other.trim_start_matches('0') == serial;
    let record = inventory.certificates.iter().find(|record| is_it(&record.serial));
    let what = match record {
        None => "was not issued here",
        Some(record) if record.revoked.is_none() => "is not revoked",
        Some(record) if !record.is_valid_at(inventory.taken_at) => {
            "has ended, which is refused whatever is revoked"
        }
        Some(_) => return Ok(()),
    };
    Err(WrongUsage(format!(
        "{}: the certificate {serial} {what}; no listener is called with it",
        path.display()
    ))
    .into())
}

/// Whether a listener asks its clients for a certificate, by its live configuration.
fn asks(node: &Node, presented: &Presented) -> bool {
    let port = presented.address.parse::<SocketAddr>().map(|address| address.port());
    let mut listeners = node.listeners.iter().filter(|listener| Ok(listener.port) == port);
    presented.leaf.is_some() && listeners.any(|listener| listener.requires_client_certificate)
}

async fn call(connector: &TlsConnector, presented: &Presented) -> Result<Probe> {
    let address: SocketAddr = presented.address.parse()?;
    let shake = async {
        let tcp = TcpStream::connect(address).await?;
        connector.connect(ServerName::IpAddress(address.ip().into()), tcp).await
    };
    let mut stream = match timeout(PATIENCE, shake).await.context("no answer")? {
        Ok(stream) => stream,
        Err(error) if is_alert(&error) => return Ok(Probe::Refused),
        Err(error) => return Err(error.into()),
    };
    // An address of the node's own host, such as loopback, is somebody else's here.
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    if leaf.map(|der| der.as_ref()) != presented.leaf.as_ref().map(|der| der.0.as_slice()) {
        bail!("from here somebody else answers there");
    }
    match timeout(SILENCE, stream.read(&mut [0; 1])).await {
        // It waits for a request, or speaks first.
        Err(_) => Ok(Probe::Accepted),
        Ok(Ok(1..)) => Ok(Probe::Accepted),
        Ok(Err(error)) if is_alert(&error) => Ok(Probe::Refused),
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(0)) => bail!("it ended the connection without a reason"),
    }
}

/// Whether the other end said in TLS's own words why it refuses; a connection that only breaks says nothing.
fn is_alert(error: &std::io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::AlertReceived(_)))
}

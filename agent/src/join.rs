//! Certificates from the Signet server: the first with a one-time token, the next ones with the one before.

mod call;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use signet_policies::{
    identity::{SpiffeId, Workload, WorkloadKind},
    time::Clock,
};
use signet_sds::{
    keypair::{KeyError, KeyPair},
    secret::Secrets,
    signer::{Signed, Signer, SignerError},
    verify::{Refused, verify},
};
use thiserror::Error;
use tonic::Request;
use tracing::warn;
use zeroize::Zeroizing;

use crate::{server_addr::ServerAddr, trust::Anchors};
pub(crate) use call::{CallError, Channel};
use pb::{JoinRequest, RenewRequest};

/// How long one call may take, connecting included.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The wire that `ca` defines.
pub(crate) mod pb {
    #![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]
    tonic::include_proto!("signet.node.v1");
}

/// A one-time join token, as `signet token create` printed it. Wiped when dropped, not shown by `Debug`.
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes a token; white space around it, as files have it, is left out.
    #[must_use]
    pub fn new(text: &Zeroizing<String>) -> Self {
        Self(Zeroizing::new(text.trim().to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(elided)")
    }
}

/// Where the server is, and by what it is recognised.
#[derive(Clone)]
pub struct Server {
    /// Where its gRPC listener is.
    pub addr: ServerAddr,
    /// The roots that its certificate must chain to; its identity follows from their trust domain.
    pub anchors: Anchors,
    /// Wall-clock time, for the life of its certificate.
    pub clock: Clock,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addr, anchors, clock: _ } = self;
        f.debug_struct("Server").field("addr", addr).field("trust_domain", anchors.trust_domain()).finish()
    }
}

/// Signs by asking the server: by the certificate that is held, or else by the token.
#[derive(Debug)]
pub struct NodeSigner {
    server: Server,
    workload: Workload,
    token: Mutex<Option<Arc<Token>>>,
}

/// Why no certificate was obtained.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ObtainError {
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The server said no, or nothing.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// What the server gave is not what was asked for.
    #[error("the certificate is not what was asked for")]
    Unusable(#[from] Refused),
}

/// Joins once as `workload` and hands out what came of it, without an agent or an Envoy.
///
/// # Errors
/// [`ObtainError`]; the token may be used up then.
pub async fn obtain(server: Server, workload: &Workload, token: Token) -> Result<Secrets, ObtainError> {
    let identity = identity_of(&server, workload);
    let clock = Arc::clone(&server.clock);
    let key = KeyPair::generate()?;
    let request = key.request(&identity)?;
    let signer = NodeSigner::new(server, workload.clone(), Some(token));
    let signed = signer.sign(request, None).await?;
    Ok(verify(signed, key, &identity, clock().into())?)
}

/// The identity that a workload has in the server's trust domain.
#[must_use]
pub fn identity_of(server: &Server, workload: &Workload) -> SpiffeId {
    workload.spiffe_id(server.anchors.trust_domain())
}

/// How an operator gets a token for `workload`.
pub(crate) fn token_hint(workload: &Workload) -> String {
    let flag = match workload.kind {
        WorkloadKind::VirtualNode => "--virtual-node",
        WorkloadKind::VirtualGateway => "--virtual-gateway",
    };
    format!(
        "make a token with `signet token create --mesh {} {flag} {} > FILE`, and start the agent again with --token-file FILE; \
         an Envoy that runs goes on meanwhile",
        workload.mesh, workload.name
    )
}

impl NodeSigner {
    /// A signer for one workload. Without a token it can only renew.
    #[must_use]
    pub fn new(server: Server, workload: Workload, token: Option<Token>) -> Self {
        Self { server, workload, token: Mutex::new(token.map(Arc::new)) }
    }

    fn token(&self) -> Option<Arc<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn join(&self, token: &Token, csr: Vec<u8>) -> Result<Signed, CallError> {
        let channel = Channel::open(&self.server, None).await?;
        let request = JoinRequest { token: token.0.to_string(), csr };
        let issued = channel.client().join(Request::new(request)).await;
        // Used up, whatever becomes of the certificate.
        if issued.is_ok() {
            self.token.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        Ok(signed(channel.settle(issued)?))
    }

    async fn renew(&self, held: &Secrets, csr: Vec<u8>) -> Result<Signed, CallError> {
        let channel = Channel::open(&self.server, Some(held)).await?;
        let request = RenewRequest { csr, lifetime_secs: 0 };
        let issued = channel.client().renew(Request::new(request)).await;
        Ok(signed(channel.settle(issued)?))
    }

    async fn ask(&self, csr: Vec<u8>, held: Option<Arc<Secrets>>) -> Result<Signed, CallError> {
        let token = self.token();
        match (held, token) {
            (Some(held), None) => self.renew(&held, csr).await,
            (None, Some(token)) => self.join(&token, csr).await,
            (Some(held), Some(token)) => match self.renew(&held, csr.clone()).await {
                // The server no longer knows the certificate (a new CA, say), and there is another way in.
                Err(refused) if refused.is_final() => {
                    warn!(reason = %refused, "the renewal was refused; joining again with the token");
                    self.join(&token, csr).await
                }
                other => other,
            },
            (None, None) => Err(CallError::NoCredentials(self.workload.clone())),
        }
    }
}

fn signed(issued: pb::IssuedCertificate) -> Signed {
    let pb::IssuedCertificate { chain, bundle } = issued;
    let certificates = |ders: Vec<Vec<u8>>| ders.into_iter().map(Into::into).collect();
    Signed { chain: certificates(chain), bundle: certificates(bundle) }
}

/// Opens a new connection for each call: they are hours apart, and each shows the certificate of its time.
#[async_trait]
impl Signer for NodeSigner {
    async fn sign(&self, request: Vec<u8>, current: Option<Arc<Secrets>>) -> Result<Signed, SignerError> {
        let answer = tokio::time::timeout(DEADLINE, self.ask(request, current)).await;
        let failure = match answer {
            Ok(Ok(signed)) => return Ok(signed),
            Ok(Err(failure)) => failure,
            Err(_) => CallError::Late(DEADLINE),
        };
        let reason = format!("{} at {}", failure, self.server.addr);
        match (failure.is_final(), failure.stay_away()) {
            (true, _) => Err(SignerError::Refused(reason)),
            (false, Some(after)) => Err(SignerError::Busy { reason, after }),
            (false, None) => Err(SignerError::Unavailable(reason)),
        }
    }
}

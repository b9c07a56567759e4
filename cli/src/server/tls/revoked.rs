//! Turns away who presents a certificate that was revoked, or whose identity is banned: in the handshake, and in
//! connections that are open already.

use std::{
    future::pending,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use signet_ca::standing::Standing;
use signet_controlplane::server::{Dismissed, Welcome};
use tokio::{sync::watch, time::sleep};

use super::{Holder, LAST_WORD, identity_of};

/// What is in force, and every change.
pub(in crate::server) type InForce = watch::Receiver<Arc<Standing>>;

/// Resolves once a connection's peer is refused.
pub(super) struct Refusal(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl Future for Refusal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl std::fmt::Debug for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Refusal")
    }
}

/// Refuses what is revoked, after another verifier has taken it.
#[derive(Debug)]
pub(super) struct Unrevoked {
    verifier: Arc<dyn ClientCertVerifier>,
    standing: InForce,
}

impl Unrevoked {
    pub(super) fn new(verifier: Arc<dyn ClientCertVerifier>, standing: InForce) -> Self {
        Self { verifier, standing }
    }
}

impl ClientCertVerifier for Unrevoked {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(leaf, above, now)?;
        // What is no identity of ours is refused by whoever asks for one, in its own words.
        let refused = identity_of(leaf).is_ok_and(|holder| is_refused(&self.standing.borrow(), &holder));
        match refused {
            true => Err(Error::InvalidCertificate(CertificateError::Revoked)),
            false => Ok(verified),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Waits for the end of a holder's connection, which comes a last word after that of its welcome. At once, where a
/// session was resumed that began before it ended: a resumption verifies nothing.
pub(super) fn refusal(holder: &Holder, standing: InForce) -> Refusal {
    let holder = holder.clone();
    Refusal(Box::pin(async move {
        let was_welcome = !is_refused(&standing.borrow(), &holder);
        dismissal(holder, standing).await;
        if was_welcome {
            sleep(LAST_WORD).await;
        }
    }))
}

/// What each stream of a holder's is told of its welcome.
pub(super) fn welcome(holder: &Holder, standing: &InForce) -> Welcome {
    let (holder, standing) = (holder.clone(), standing.clone());
    Welcome::until(move || Box::pin(dismissal(holder.clone(), standing.clone())))
}

async fn dismissal(holder: Holder, mut standing: InForce) -> Dismissed {
    // A ban revokes the certificates of its identity too, and is what their holder has to hear of.
    let why = |standing: &Standing| {
        let is_banned = standing.check(None, &holder.id).is_err();
        is_refused(standing, &holder).then_some(match is_banned {
            true => Dismissed::Identity,
            false => Dismissed::Certificate,
        })
    };
    let dismissed = match standing.wait_for(|standing| why(standing).is_some()).await {
        Ok(standing) => why(&standing),
        Err(_) => None,
    };
    match dismissed {
        Some(dismissed) => dismissed,
        // Without its sender the server is going down, and ends its connections itself.
        None => pending().await,
    }
}

fn is_refused(standing: &Standing, holder: &Holder) -> bool {
    standing.check(Some(holder.serial), &holder.id).is_err()
}

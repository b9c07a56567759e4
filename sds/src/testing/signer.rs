//! A signer that answers as its script says, and well once the script is at its end.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use rcgen::ExtendedKeyUsagePurpose;
use signet_policies::{identity::SpiffeId, time::Clock};
use tokio::sync::watch;

use super::{MiniCa, Order};
use crate::{
    keypair::KeyPair,
    secret::Secrets,
    signer::{Signed, Signer, SignerError},
};

/// What a call to the signer shall come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A good certificate.
    Good,
    /// A good certificate, after a while.
    Slow(Duration),
    /// No answer, ever.
    Never,
    Refused,
    Unavailable,
    /// Too much to do: come back after this.
    Busy(Duration),
    /// For another workload.
    SomebodyElses,
    /// Over before it was signed.
    Expired,
    /// Not yet begun.
    Early,
    /// For another key.
    OtherKey,
    /// A good certificate of an authority whose clock is behind by this.
    Behind(Duration),
    /// Under a root that is not in the bundle.
    OtherRoot,
    /// Good for a client, not for a server.
    ClientOnly,
    /// Two URI SANs, one of them the right one.
    TwoNames,
    /// Good, without its issuer's certificate.
    Alone,
}

/// Signs with a [`MiniCa`].
pub struct FakeSigner {
    ca: MiniCa,
    stranger: MiniCa,
    identity: SpiffeId,
    clock: Clock,
    life: Duration,
    script: Mutex<VecDeque<Answer>>,
    calls: watch::Sender<Vec<SystemTime>>,
    requests: Mutex<Vec<Vec<u8>>>,
}

const BOTH: &[ExtendedKeyUsagePurpose] =
    &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];

impl FakeSigner {
    /// Signs for `identity`, lives of `life` from the moment of the call.
    #[must_use]
    pub fn new(identity: &SpiffeId, clock: Clock, life: Duration) -> Self {
        Self::of(MiniCa::new(identity.trust_domain(), clock()), identity, clock, life)
    }

    /// The same, by an authority that is there already.
    #[must_use]
    pub fn of(ca: MiniCa, identity: &SpiffeId, clock: Clock, life: Duration) -> Self {
        Self {
            ca,
            stranger: MiniCa::new(identity.trust_domain(), clock()),
            identity: identity.clone(),
            clock: Arc::clone(&clock),
            life,
            script: Mutex::default(),
            calls: watch::Sender::default(),
            requests: Mutex::default(),
        }
    }

    /// The authority that good answers come from.
    #[must_use]
    pub fn authority(&self) -> &MiniCa {
        &self.ca
    }

    /// Adds what the next calls shall come to.
    pub fn script(&self, answers: &[Answer]) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).extend(answers);
    }

    /// When it was called.
    #[must_use]
    pub fn calls(&self) -> Vec<SystemTime> {
        self.calls.borrow().clone()
    }

    /// The requests that it was called with.
    #[must_use]
    pub fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it was called `count` times in all, and says when.
    pub async fn called(&self, count: usize) -> Vec<SystemTime> {
        let mut calls = self.calls.subscribe();
        calls.wait_for(|calls| calls.len() >= count).await.expect("the sender is here").clone()
    }

    fn next(&self) -> Answer {
        self.calls.send_modify(|calls| calls.push((self.clock)()));
        self.script.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(Answer::Good)
    }

    /// What an answer that holds a certificate holds.
    #[must_use]
    pub fn certificate(&self, answer: Answer, request: &[u8]) -> Signed {
        let now = (self.clock)();
        let own = self.identity.to_string();
        let other = format!("{own}-other");
        let uris = match answer {
            Answer::SomebodyElses => vec![other.as_str()],
            Answer::TwoNames => vec![own.as_str(), other.as_str()],
            _ => vec![own.as_str()],
        };
        let (not_before, not_after) = match answer {
            Answer::Expired => (now - 2 * self.life, now - self.life),
            Answer::Early => (now + self.life, now + 2 * self.life),
            Answer::Behind(behind) => (now - behind, now + self.life - behind),
            _ => (now, now + self.life),
        };
        let usages = if answer == Answer::ClientOnly { &BOTH[1..] } else { BOTH };
        let order = Order { uris: &uris, not_before, not_after, usages };
        match answer {
            Answer::OtherKey => {
                let key = KeyPair::generate().expect("randomness");
                self.ca.issue(&key.request(&self.identity).expect("a request"), &order)
            }
            Answer::OtherRoot => {
                Signed { bundle: vec![self.ca.root().clone()], ..self.stranger.issue(request, &order) }
            }
            Answer::Alone => {
                let signed = self.ca.issue(request, &order);
                Signed { chain: signed.chain.into_iter().take(1).collect(), ..signed }
            }
            _ => self.ca.issue(request, &order),
        }
    }
}

#[async_trait]
impl Signer for FakeSigner {
    async fn sign(&self, request: Vec<u8>, _current: Option<Arc<Secrets>>) -> Result<Signed, SignerError> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let answer = self.next();
        match answer {
            Answer::Refused => Err(SignerError::Refused("as the script says".to_owned())),
            Answer::Unavailable => Err(SignerError::Unavailable("as the script says".to_owned())),
            Answer::Busy(after) => Err(SignerError::Busy { reason: "as the script says".to_owned(), after }),
            Answer::Never => std::future::pending().await,
            Answer::Slow(delay) => {
                tokio::time::sleep(delay).await;
                Ok(self.certificate(Answer::Good, &request))
            }
            _ => Ok(self.certificate(answer, &request)),
        }
    }
}

//! Certificates of further identities: those that a spec names as `sds.secretName` and that the proxy asks for.
//!
//! ```text
//!  Envoy asks the socket for spiffe://…/team/a ──▶ deliveries: there is nothing for it
//!                                                      │
//!       own certificate ── proves who asks ──▶ rotator of that identity ──▶ served under its name
//! ```
//!
//! The server decides: it grants an identity that the workload's spec names, and refuses any other. What was refused is
//! asked for again a minute later, as long as the proxy still wants it; what is refused later on is served no longer. Nor is
//! what the server says, on the agent's stream, that the spec names no longer.

use std::{collections::BTreeSet, future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::{SeedableRng as _, rngs::StdRng};
use signet_policies::{identity::SpiffeId, time::Clock};
use signet_sds::{
    deliveries::Deliveries,
    rotator::{Backoff, Handle, Rotation, rotator},
    secret::Secrets,
    signer::{Signed, Signer, SignerError},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{info, warn};

/// Identities that are held, or asked for, at once.
const MOST: usize = 8;
/// How long to leave an identity alone that was refused.
const AGAIN: Duration = Duration::from_secs(60);

/// What the server says that a workload may hold beside its own identity; `None` before it says anything.
pub(crate) type Named = Option<BTreeSet<SpiffeId>>;

/// What gets and keeps the certificates of further identities.
pub(crate) struct Further<S> {
    pub(crate) signer: Arc<S>,
    pub(crate) clock: Clock,
    pub(crate) rng: StdRng,
    pub(crate) deliveries: Deliveries,
    /// The own certificate, which proves to the server who asks.
    pub(crate) own: watch::Receiver<Option<Arc<Secrets>>>,
    /// What the workload may hold beside its own identity, where the server says so.
    pub(crate) named: watch::Receiver<Named>,
    /// What the socket serves beside the own certificate.
    pub(crate) served: watch::Sender<Vec<Arc<Secrets>>>,
}

/// Signs for a further identity, on the strength of the own one.
struct OnBehalf<S> {
    signer: Arc<S>,
    own: watch::Receiver<Option<Arc<Secrets>>>,
    refused: watch::Sender<bool>,
}

#[async_trait]
impl<S: Signer> Signer for OnBehalf<S> {
    async fn sign(&self, request: Vec<u8>, _: Option<Arc<Secrets>>) -> Result<Signed, SignerError> {
        let own = self.own.borrow().clone();
        let none = || SignerError::Unavailable("there is no certificate that proves who asks".to_owned());
        let signed = self.signer.sign(request, Some(own.ok_or_else(none)?)).await;
        if matches!(signed, Err(SignerError::Refused(_))) {
            self.refused.send_replace(true);
        }
        signed
    }
}

impl<S: Signer> Further<S> {
    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        let (mut changes, mut named) = (self.deliveries.changes(), self.named.clone());
        let mut tasks = JoinSet::new();
        let mut running: BTreeSet<SpiffeId> = BTreeSet::new();
        loop {
            for identity in self.wanted() {
                if running.len() >= MOST || running.contains(&identity) {
                    continue;
                }
                info!(spiffe_id = %identity, "the proxy asks for a further identity");
                running.insert(identity.clone());
                tasks.spawn(self.hold(identity));
            }
            tokio::select! {
                () = changes.changed() => {}
                Ok(()) = named.changed() => {}
                Some(ended) = tasks.join_next() => {
                    if let Ok(identity) = ended {
                        running.remove(&identity);
                    }
                }
            }
        }
    }

    /// Names that the proxy asks for, and that are other identities of the own trust domain; all that it may hold where it
    /// asks for everything.
    fn wanted(&self) -> BTreeSet<SpiffeId> {
        let Some(own) = self.own.borrow().clone() else { return BTreeSet::new() };
        let own = own.leaf().identity().clone();
        let names = self.deliveries.asked().into_iter().filter_map(|name| name.parse::<SpiffeId>().ok());
        let mut wanted: BTreeSet<SpiffeId> =
            names.filter(|name| name.trust_domain() == own.trust_domain() && *name != own).collect();
        if self.deliveries.is_all_asked() {
            wanted.extend(self.named.borrow().iter().flatten().filter(|name| **name != own).cloned());
        }
        wanted
    }

    /// Gets the certificate of an identity and keeps it fresh until the server refuses it; gives the identity back.
    fn hold(&mut self, identity: SpiffeId) -> impl Future<Output = SpiffeId> + Send + 'static {
        let (refused, mut is_refused) = watch::channel(false);
        let signer = OnBehalf { signer: Arc::clone(&self.signer), own: self.own.clone(), refused };
        let rotation = Rotation {
            identity: identity.clone(),
            signer: Arc::new(signer),
            clock: Arc::clone(&self.clock),
            rng: StdRng::from_rng(&mut self.rng),
            backoff: Backoff::DEFAULT,
            held: None,
            // A restart asks again.
            keeper: Box::new(|_| {}),
        };
        let (handle, rotating) = rotator(rotation);
        let (served, mut named) = (self.served.clone(), self.named.clone());
        // What was said before may be older than the spec for which the proxy asks.
        named.mark_unchanged();
        async move {
            // The rotator ends when nobody can command it any more.
            let Handle { commands: _commands, mut secrets, renewal: _ } = handle;
            let publishing = async {
                while secrets.changed().await.is_ok() {
                    let held = secrets.borrow_and_update().clone();
                    replace(&served, &identity, held);
                }
            };
            tokio::select! {
                ended = rotating => if let Err(error) = ended {
                    warn!(spiffe_id = %identity, %error, "the further identity was refused");
                },
                () = publishing => {}
                // The rotator would keep what it has to its end; but the workload may not be this any more.
                _ = is_refused.wait_for(|refused| *refused) => {
                    warn!(spiffe_id = %identity, "the workload may not hold this identity; it is not served");
                }
                () = is_lost(&mut named, &identity) => {
                    warn!(spiffe_id = %identity, "the spec no longer names this identity; it is not served");
                }
            }
            replace(&served, &identity, None);
            // A spec that names it, or names it again, is news.
            let is_named = |names: &Named| names.as_ref().is_some_and(|names| names.contains(&identity));
            let was_named = is_named(&named.borrow());
            match was_named {
                true => sleep(AGAIN).await,
                false => drop(timeout(AGAIN, named.wait_for(is_named)).await),
            }
            identity
        }
    }
}

/// Waits for word of the server that the spec does not name an identity; for ever where none comes.
async fn is_lost(named: &mut watch::Receiver<Named>, identity: &SpiffeId) {
    while named.changed().await.is_ok() {
        if named.borrow_and_update().as_ref().is_some_and(|names| !names.contains(identity)) {
            return;
        }
    }
    pending().await
}

/// Serves this certificate of an identity in place of the one before.
fn replace(served: &watch::Sender<Vec<Arc<Secrets>>>, identity: &SpiffeId, held: Option<Arc<Secrets>>) {
    served.send_if_modified(|all| {
        let before = all.len();
        all.retain(|secrets| secrets.leaf().identity() != identity);
        let is_news = held.is_some() || all.len() != before;
        all.extend(held);
        is_news
    });
}

#[cfg(test)]
mod tests;

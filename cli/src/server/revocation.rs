//! Revocation on its way to the wire: lists to every agent, then connections renewed.
//!
//! ```text
//!  Standing ──▶ lists ──▶ TrustFeed ──▶ agents ──▶ Envoys ── ACK ──▶ Nodes ─┐
//!                                                                           ├─▶ Effect
//!                Generations ──▶ reconcile ──▶ Envoys ── ACK ──▶ Proxies ───┘
//! ```
//!
//! Connections are renewed only when the lists are known, or have been waited for: one that is made anew before would be
//! let in again.

mod effect;

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use signet_ca::{
    Issuing, Nodes, TrustFeed,
    crl::{self, LIST_RENEWAL, RevocationList},
    standing::Standing,
};
use signet_controlplane::{proxies::Proxies, translate::Generations};
use signet_policies::{
    identity::Workload,
    time::{Clock, Timestamp},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub(crate) use effect::Effect;

/// How long proxies are waited for before connections are renewed without them.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks at who has accepted.
const PULSE: Duration = Duration::from_millis(50);
/// After lists could not be made.
const AGAIN: Duration = Duration::from_secs(30);

/// What brings revocations to proxies.
pub(super) struct Carrier {
    pub(super) issuing: Issuing,
    pub(super) standing: watch::Receiver<Arc<Standing>>,
    pub(super) trust: TrustFeed,
    pub(super) nodes: Nodes,
    pub(super) proxies: Arc<Proxies>,
    pub(super) clock: Clock,
    /// To the control plane.
    pub(super) generations: watch::Sender<Arc<Generations>>,
    /// For whoever asks.
    pub(super) effect: watch::Sender<Effect>,
    /// For whoever fetches them over HTTP.
    pub(super) lists: watch::Sender<Arc<Vec<RevocationList>>>,
}

impl Carrier {
    /// Carries until `stop`. What is in force at the start was carried before a restart, as far as connections go.
    ///
    /// # Errors
    /// None: what fails is tried again.
    pub(super) async fn carry(mut self, stop: CancellationToken) -> Result<()> {
        let found = self.standing.borrow_and_update().clone();
        self.generations.send_replace(Arc::new(generations(&found)));
        self.effect.send_replace(Effect::at(found.generation(), self.now_ms(), 0));
        let mut trusted = self.trust.subscribe();
        loop {
            let standing = self.standing.borrow_and_update().clone();
            let bundle = trusted.borrow().bundle().to_vec();
            self.note_roots().await;
            let given = self.give_lists(&standing);
            if standing.generation() > self.effect.borrow().generation {
                let carried = self.follow(&standing, given.as_ref().err());
                if stop.run_until_cancelled(carried).await.is_none() {
                    return Ok(());
                }
                // Whoever was revoked meanwhile is next.
                if self.standing.has_changed().unwrap_or(false) {
                    continue;
                }
            }
            let again = Instant::now() + if given.is_ok() { LIST_RENEWAL } else { AGAIN };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = self.standing.changed() => if changed.is_err() { return Ok(()) },
                // Other roots want other lists. Other issuers are news of the standing, and lists are what is made here.
                _ = trusted.wait_for(|trust| trust.bundle() != bundle) => {}
                () = sleep_until(again) => {}
            }
        }
    }

    /// Has the ledger know the roots that are trusted.
    async fn note_roots(&self) {
        for root in self.trust.now().bundle() {
            let now = Timestamp::from((self.clock)());
            if let Err(error) = self.issuing.guard().note_in_use("root", root, now).await {
                warn!(%error, "the ledger does not know a root yet");
            }
        }
    }

    /// Makes the lists, and gives them to every agent while anything is revoked. The error says which are not there,
    /// and why.
    fn give_lists(&self, standing: &Standing) -> Result<(), String> {
        let now = Timestamp::from((self.clock)());
        let made = match crl::lists(&self.issuing.authority(), standing, self.now_ms(), now) {
            Ok(made) => made,
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                error!(error, "cannot make lists of what is revoked");
                return Err(error);
            }
        };
        let missing = made.iter().filter_map(|list| Some((list.issuer.as_str(), list.der.as_ref().err()?)));
        let missing = missing.map(|(issuer, why)| format!("{issuer}: {why}")).collect::<Vec<_>>().join("; ");
        let is_needed = !standing.issuers_at(now).is_empty();
        if is_needed && !missing.is_empty() {
            error!(missing, "there is no list of what is revoked for these, so proxies cannot be told");
        } else {
            let ders = made.iter().filter_map(|list| list.der.clone().ok());
            self.trust.set_crls(if is_needed { ders.collect() } else { Vec::new() });
        }
        self.lists.send_replace(Arc::new(made));
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// Waits until proxies know the lists, renews connections, and waits until proxies have begun to.
    async fn follow(&self, standing: &Standing, missing: Option<&String>) {
        let (start, version) = (Instant::now(), self.trust.now().version().to_owned());
        let began = Effect::at(standing.generation(), self.now_ms(), self.proxies.list().len());
        self.effect.send_replace(began);
        if let Some(missing) = missing {
            let problem = format!(
                "the lists of what is revoked are not complete ({missing}). Proxies refuse nobody by them; what was \
                 revoked gets no other certificate, and ends by itself"
            );
            self.note(&problem);
        }
        let knows = async {
            loop {
                let late = effect::without_lists(&self.nodes.subscribe().borrow(), &version);
                let is_everywhere = late.is_empty();
                self.effect.send_modify(|effect| effect.without_lists = late);
                if is_everywhere {
                    break;
                }
                tokio::time::sleep(PULSE).await;
            }
        };
        let outcome = timeout(PATIENCE, knows).await;
        let ignoring = effect::ignoring_lists(&self.nodes.subscribe().borrow());
        if !ignoring.is_empty() {
            let proxies = ignoring.join(", ");
            warn!(proxies, "these verify by the SPIFFE validator, and let in what was revoked until it ends");
            let problem = format!(
                "these proxies verify by the SPIFFE validator (signet.sds.validator: spiffe), which ignores lists: {proxies}. They \
                 let in what was revoked until its certificate ends"
            );
            self.note(&problem);
            self.effect.send_modify(|effect| effect.ignoring_lists = ignoring);
        }
        match outcome {
            Ok(()) => self.effect.send_modify(|effect| effect.lists_ms = Some(since(start))),
            Err(_) => {
                let proxies = self.effect.borrow().without_lists.join(", ");
                warn!(
                    proxies,
                    "these have not accepted the lists of what is revoked; connections are renewed without them"
                );
                let patience = PATIENCE.as_secs();
                self.note(&format!(
                    "these proxies have not accepted the lists within {patience} s, and let in what was revoked until they do: \
                     {proxies}"
                ));
            }
        }
        self.renew(standing, start).await;
    }

    /// Says why a revocation does not come everywhere, beside what was said of it before.
    fn note(&self, problem: &str) {
        self.effect.send_modify(|effect| {
            let before = effect.problem.take().map(|before| before + "; ").unwrap_or_default();
            effect.problem = Some(before + problem);
        });
    }

    async fn renew(&self, standing: &Standing, start: Instant) {
        let generations = Arc::new(generations(standing));
        self.generations.send_replace(generations);
        let renewed = async {
            loop {
                let late = effect::unsynced(&self.proxies, standing.generation());
                let is_everywhere = late.is_empty();
                self.effect.send_modify(|effect| effect.with_old_connections = late);
                if is_everywhere {
                    break;
                }
                tokio::time::sleep(PULSE).await;
            }
        };
        let is_everywhere = timeout(PATIENCE, renewed).await.is_ok();
        let took = since(start);
        if !is_everywhere {
            let (patience, late) = (PATIENCE.as_secs(), self.effect.borrow().with_old_connections.join(", "));
            self.note(&format!(
                "these proxies have not accepted within {patience} s what renews their connections, and keep those of what was \
                 revoked until they do: {late}"
            ));
        }
        self.effect.send_modify(|effect| {
            effect.renewed_ms = is_everywhere.then_some(took);
            effect.is_over = true;
        });
        info!(
            generation = standing.generation(),
            is_everywhere,
            took_ms = took,
            "what was revoked is carried to proxies"
        );
    }

    fn now_ms(&self) -> u64 {
        let since = (self.clock)().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

fn since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Trust is common to all meshes, so every connection whose client was verified may be one of who was revoked; of
/// servers it is known which they are.
fn generations(standing: &Standing) -> Generations {
    let to_servers = standing
        .generations()
        .iter()
        .filter_map(|(identity, generation)| Some((Workload::from_spiffe_id(identity)?, *generation)));
    Generations { verified_clients: standing.generation(), to_servers: to_servers.collect() }
}

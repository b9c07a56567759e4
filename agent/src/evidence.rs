//! What is really so at this proxy: what it accepted from the socket, what it holds, and what it presents.
//!
//! ```text
//!  sds::deliveries ─┐
//!  Envoy's admin ───┼─▶ Evidence::run ──▶ NodeReport (watch) ──▶ watch: the stream to the server
//!  handshakes ──────┘
//! ```

mod handshake;
mod listeners;
mod pages;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use signet_policies::time::Clock;
use signet_sds::{
    deliveries::{Deliveries, Delivery},
    rotator::Renewal,
    secret::Secrets,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::debug;

use crate::{
    admin::Admin,
    join::pb::{
        ListenerStatus, LoadedCertificate, NodeReport, PresentedCertificate, RenewalStatus, SecretStatus,
    },
};
use listeners::Probes;
use pages::TlsListener;

/// Between two looks at the proxy.
const LOOK: Duration = Duration::from_secs(10);
/// While the proxy does not yet show what it was given.
const LOOK_SOON: Duration = Duration::from_millis(250);
/// For how long after a change it is looked at so often.
const SOON: Duration = Duration::from_secs(15);
/// Listeners that are called, and secrets that are told of.
const MOST_LISTENERS: usize = 32;
const MOST_SECRETS: usize = 256;
/// Longest text in a report, in bytes; the server refuses more.
const MOST_TEXT: usize = 512;

/// The last trust that was not handed to the proxy: its version, and why.
pub(crate) type RefusedTrust = Option<(String, String)>;

/// Where the evidence is.
pub(crate) struct Evidence {
    pub(crate) instance: String,
    pub(crate) admin: Admin,
    pub(crate) clock: Clock,
    pub(crate) secrets: watch::Receiver<Option<Arc<Secrets>>>,
    pub(crate) renewal: watch::Receiver<Renewal>,
    pub(crate) refused: watch::Receiver<RefusedTrust>,
    pub(crate) deliveries: Deliveries,
}

/// What a look at the proxy showed.
#[derive(Default)]
struct Look {
    presented: Vec<PresentedCertificate>,
    loaded: Vec<LoadedCertificate>,
    listeners: Vec<ListenerStatus>,
}

impl Evidence {
    /// Publishes a report whenever something changed, for ever.
    ///
    /// Whatever wakes it, it looks and reports afresh, so the order of events does not matter.
    pub(crate) async fn run(mut self, reports: watch::Sender<Option<NodeReport>>) {
        let mut deliveries = self.deliveries.changes();
        let mut look = Look::default();
        let mut probes = Probes::default();
        let mut until = Instant::now() + SOON;
        let mut next = Instant::now();
        loop {
            if Instant::now() >= next {
                look = self.look(&mut probes).await;
                let soon = !self.is_settled(&look) && Instant::now() < until;
                next = Instant::now() + if soon { LOOK_SOON } else { LOOK };
            }
            reports.send_replace(Some(self.report(&look)));
            let wake = tokio::select! {
                () = sleep_until(next) => Ok(()),
                changed = self.secrets.changed() => {
                    (until, next) = (Instant::now() + SOON, Instant::now());
                    changed
                }
                () = deliveries.changed() => {
                    // What was accepted is in force a moment later.
                    (until, next) = (Instant::now() + SOON, next.min(Instant::now() + LOOK_SOON));
                    Ok(())
                }
                changed = self.renewal.changed() => changed,
                changed = self.refused.changed() => changed,
            };
            if wake.is_err() {
                return;
            }
        }
    }

    /// Whether the proxy shows the certificate that is held, and no other of ours.
    fn is_settled(&self, look: &Look) -> bool {
        let held = self.secrets.borrow().clone();
        let Some(held) = held else { return false };
        let leaf = held.leaf();
        let own = leaf.identity().to_string();
        let others =
            |loaded: &&LoadedCertificate| loaded.uris.contains(&own) && loaded.serial != leaf.serial();
        let presents = |presented: &PresentedCertificate| {
            presented.leaf.is_empty()
                || leaf.chain().first().is_some_and(|der| der.as_ref() == presented.leaf)
        };
        look.loaded.iter().any(|loaded| loaded.serial == leaf.serial())
            && look.loaded.iter().find(others).is_none()
            && look.presented.iter().all(presents)
    }

    async fn look(&self, probes: &mut Probes) -> Look {
        let loaded = match self.admin.certs().await {
            Ok(page) => pages::loaded(&page).unwrap_or_default(),
            Err(error) => {
                debug!(%error, "the proxy does not say which certificates it holds");
                Vec::new()
            }
        };
        let dump = match self.admin.listeners().await {
            Ok(page) => serde_json::from_slice(&page).unwrap_or_default(),
            Err(_) => serde_json::Value::Null,
        };
        let mut presented = Vec::new();
        for listener in pages::tls_listeners(&dump).into_iter().take(MOST_LISTENERS) {
            presented.push(self.present(listener).await);
        }
        let listeners = probes.look(&dump, MOST_LISTENERS).await;
        Look { presented, loaded, listeners }
    }

    async fn present(&self, listener: TlsListener) -> PresentedCertificate {
        let TlsListener { address, is_redirected } = listener;
        let outcome = match is_redirected {
            true => Err("it takes redirected traffic, which a call from this host is not".to_owned()),
            false => handshake::presented(address).await.map_err(|error| error.to_string()),
        };
        let (mut ders, protocol, error) = match outcome {
            Ok(shown) => (shown.chain, shown.protocol, String::new()),
            Err(error) => (Vec::new(), String::new(), short(error)),
        };
        let chain = ders.split_off(1.min(ders.len()));
        let leaf = ders.first().map(|der| der.to_vec()).unwrap_or_default();
        PresentedCertificate {
            address: SocketAddr::to_string(&address),
            leaf,
            chain: chain.iter().take(8).map(|der| der.to_vec()).collect(),
            error,
            at_unix_ms: millis((self.clock)()),
            protocol,
        }
    }

    fn report(&self, look: &Look) -> NodeReport {
        let held = self.secrets.borrow().clone();
        let (refused_trust_version, reason) = self.refused.borrow().clone().unwrap_or_default();
        let leaf = held.as_ref().and_then(|held| held.leaf().chain().first());
        NodeReport {
            instance: self.instance.clone(),
            now_unix_ms: millis((self.clock)()),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            trust_version: held.as_ref().map(|held| held.bundle().version()).unwrap_or_default(),
            secrets: self.deliveries.list().into_iter().take(MOST_SECRETS).map(secret).collect(),
            presented: look.presented.clone(),
            loaded: look.loaded.clone(),
            renewal: Some(renewal(&self.renewal.borrow())),
            held: leaf.map(|der| der.to_vec()).unwrap_or_default(),
            leaving: false,
            refused_trust_version,
            refused_trust_reason: short(reason),
            listeners: look.listeners.clone(),
        }
    }
}

fn secret(delivery: Delivery) -> SecretStatus {
    let Delivery { stream, name, sent, accepted, rejected, at, ignores_lists } = delivery;
    let (rejected_version, reason) = rejected.unwrap_or_default();
    SecretStatus {
        stream,
        name: short(name),
        sent_version: sent.unwrap_or_default(),
        accepted_version: accepted.unwrap_or_default(),
        rejected_version,
        reason: short(reason),
        at_unix_ms: millis(at),
        ignores_crls: ignores_lists,
    }
}

fn renewal(renewal: &Renewal) -> RenewalStatus {
    let Renewal { next, succeeded, failures, error } = renewal;
    let seconds = |moment: SystemTime| millis(moment) / 1000;
    RenewalStatus {
        next_unix: seconds(*next),
        last_success_unix: succeeded.map(seconds).unwrap_or_default(),
        failures: *failures,
        last_error: short(error.clone().unwrap_or_default()),
    }
}

/// Milliseconds since the epoch.
pub(crate) fn millis(moment: SystemTime) -> i64 {
    moment.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Cut where the server would refuse more.
fn short(mut text: String) -> String {
    let mut end = MOST_TEXT.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

//! Agents that are gone for good. It is in the ledger, since after a restart nobody else would know: that nobody waits
//! for a proxy is to be believed of those alone who were told so.

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
    time::SystemTime,
};

use signet_policies::time::Timestamp;
use thiserror::Error;
use tracing::{info, warn};

use super::{NodeKey, NodeView, NodeViews, Nodes, Session};
use crate::{
    Ledger, LedgerError, Serial,
    ledger::{Entry, What},
};

/// Who says that an agent leaves or is back, in the ledger.
const AGENT: &str = "agent";

/// The last certificates of agents that are gone for good.
pub(crate) type Departed = BTreeMap<Serial, Departure>;

/// That an agent is gone for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    /// When it was said. Certificates of the same agent that were issued later are in use again.
    pub(crate) at: Timestamp,
    /// When its certificate ends.
    pub(crate) end: Timestamp,
}

/// Why nobody was forgotten.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotForgotten {
    /// There is no such agent.
    #[error(
        "no agent {0} is known; name it as `signet ca rotate status` or `signet audit` do: mesh/MESH/virtualNode/NAME/INSTANCE, \
         mesh/MESH/virtualNode/NAME for all of that workload which are gone, or a serial number"
    )]
    Unknown(String),
    /// It is there.
    #[error("the agent {0} is connected; stop it first, and its proxy")]
    Connected(NodeKey),
    /// Its agent is gone, and its proxy lives on.
    #[error("the agent {0} is gone, and its proxy runs on and has a stream here; stop it first")]
    Running(NodeKey),
    /// Its certificate has ended, so nobody waits for it.
    #[error("the certificate {0} has ended, so that nobody waits for its holder")]
    Ended(Serial),
    /// The ledger does not remember.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A certificate, and when it ends.
type Last = (Serial, Timestamp);

/// Whom to forget.
struct Gone {
    node: String,
    view: Option<Arc<NodeView>>,
    last: Option<Last>,
}

impl Nodes {
    /// Takes up who left for good before a restart of the server.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn recall(&self, ledger: &dyn Ledger, now: Timestamp) -> Result<(), LedgerError> {
        let mut departed = Departed::new();
        for (_, event) in ledger.events().await? {
            match event.what {
                What::Departed { serial, not_after, .. } if not_after >= now => {
                    departed.insert(serial, Departure { at: event.at, end: not_after });
                }
                What::Returned { serial, .. } => drop(departed.remove(&serial)),
                What::Authority { .. }
                | What::Revoked { .. }
                | What::Allowed(_)
                | What::Phase { .. }
                | What::Departed { .. }
                | What::Halted(_)
                | What::Released(_) => {}
            }
        }
        *self.departed_lock() = departed;
        Ok(())
    }

    /// The last certificates of agents that are gone for good: nobody uses them, though they are valid.
    pub(crate) fn departed(&self) -> Departed {
        self.departed_lock().clone()
    }

    /// Forgets an agent that is gone for good without having said so: it counts for nothing until it is back. `name` is
    /// an instance, a workload (all of its agents that are not connected), or the serial number of a certificate. One whose
    /// certificate has ended is shown no more.
    /// `is_running` knows whose proxies have a stream of their own. Returns who is forgotten, each as it is in the ledger.
    ///
    /// # Errors
    /// [`NotForgotten`]; it is connected, for one.
    pub async fn forget(
        &self,
        name: &str,
        is_running: &(dyn Fn(&NodeKey) -> bool + Sync),
        ledger: &dyn Ledger,
        by: &str,
        now: Timestamp,
    ) -> Result<Vec<String>, NotForgotten> {
        let views = self.subscribe().borrow().clone();
        let gone = match name.parse::<Serial>() {
            Ok(serial) => holder(serial, &views, ledger, now).await.map(|gone| vec![gone]),
            Err(_) => named(name, &views, ledger).await,
        };
        // Nobody waits for these; they are only shown.
        let mut forgotten = self.forget_lapsed(name);
        let gone = match gone {
            Err(NotForgotten::Unknown(_) | NotForgotten::Connected(_) | NotForgotten::Ended(_))
                if !forgotten.is_empty() =>
            {
                Vec::new()
            }
            gone => gone?,
        };
        let mut keys = gone.iter().filter_map(|gone| gone.view.as_ref()).map(|view| &view.key);
        if let Some(running) = keys.find(|key| is_running(key)) {
            return Err(NotForgotten::Running(running.clone()));
        }
        for Gone { node, view, last } in gone {
            if let Some(last) = last {
                self.note_departed(ledger, &node, last, by, now).await?;
            }
            if let Some(view) = view {
                // One that came back meanwhile has another session, and stays.
                self.change(&view.key, view.session, |view| view.connected.then(|| view.clone()));
            }
            warn!(node, by, "an agent that is gone is forgotten");
            forgotten.push(node);
        }
        Ok(forgotten)
    }

    /// Who is back with the certificate with which it had left is waited for again.
    ///
    /// # Errors
    /// The ledger does not remember; it counts as gone then.
    pub(crate) async fn note_returned(
        &self,
        key: &NodeKey,
        presented: Option<Serial>,
        ledger: &dyn Ledger,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let held = self.subscribe().borrow().get(key).and_then(|view| held(view));
        for serial in presented.into_iter().chain(held.map(|(serial, _)| serial)) {
            if !self.departed_lock().contains_key(&serial) {
                continue;
            }
            let what = What::Returned { node: key.to_string(), serial };
            ledger.append(Entry::event(what, AGENT, now)).await?;
            self.departed_lock().remove(&serial);
            info!(node = %key, %serial, "an agent that had left is back");
        }
        Ok(())
    }

    async fn note_departed(
        &self,
        ledger: &dyn Ledger,
        node: &str,
        (serial, not_after): Last,
        by: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let what = What::Departed { node: node.to_owned(), serial, not_after };
        ledger.append(Entry::event(what, by, now)).await?;
        self.departed_lock().insert(serial, Departure { at: now, end: not_after });
        Ok(())
    }

    pub(super) fn departed_lock(&self) -> MutexGuard<'_, Departed> {
        self.0.departed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// The agent has ended its proxy for good: it is forgotten. Where the ledger does not take it, its last certificate
    /// is waited for as if it had been killed.
    pub async fn leave(mut self, ledger: &dyn Ledger, now: SystemTime) {
        let view = self.nodes.subscribe().borrow().get(&self.key).cloned();
        self.left = match view {
            Some(view) => match self.note(&view, ledger, now.into()).await {
                Ok(()) => true,
                Err(error) => {
                    warn!(node = %self.key, %error, "an agent left, which the ledger does not take");
                    false
                }
            },
            None => true,
        };
    }

    async fn note(&self, view: &NodeView, ledger: &dyn Ledger, now: Timestamp) -> Result<(), LedgerError> {
        match last(view, ledger).await? {
            Some(last) => self.nodes.note_departed(ledger, &self.key.to_string(), last, AGENT, now).await,
            None => Ok(()),
        }
    }
}

/// Who holds a certificate of which the ledger knows.
async fn holder(
    serial: Serial,
    views: &NodeViews,
    ledger: &dyn Ledger,
    now: Timestamp,
) -> Result<Gone, NotForgotten> {
    let unknown = || NotForgotten::Unknown(serial.to_string());
    let record = ledger.get(serial).await?.ok_or_else(unknown)?;
    let end = record.validity.not_after();
    if end < now {
        return Err(NotForgotten::Ended(serial));
    }
    let holds = |view: &&Arc<NodeView>| {
        view.line.serial == Some(serial) || held(view).is_some_and(|(held, _)| held == serial)
    };
    let view = views.iter().find(holds).cloned();
    if let Some(view) = view.as_ref().filter(|view| view.connected) {
        return Err(NotForgotten::Connected(view.key.clone()));
    }
    let workload = record.workload.ok_or_else(unknown)?;
    let node = view.as_ref().map_or_else(|| workload.to_string(), |view| view.key.to_string());
    Ok(Gone { node, view, last: Some((serial, end)) })
}

/// The agents of that name, or of the workload of that name, that are gone.
async fn named(name: &str, views: &NodeViews, ledger: &dyn Ledger) -> Result<Vec<Gone>, NotForgotten> {
    let is_it = |view: &&Arc<NodeView>| view.key.to_string() == name || view.key.workload.to_string() == name;
    let (there, gone): (Vec<_>, Vec<_>) =
        views.iter().filter(is_it).cloned().partition(|view| view.connected);
    match (gone.is_empty(), there.first()) {
        (true, Some(there)) => return Err(NotForgotten::Connected(there.key.clone())),
        (true, None) => return Err(NotForgotten::Unknown(name.chars().take(200).collect())),
        (false, _) => {}
    }
    let mut found = Vec::with_capacity(gone.len());
    for view in gone {
        let last = last(&view, ledger).await?;
        found.push(Gone { node: view.key.to_string(), last, view: Some(view) });
    }
    Ok(found)
}

/// The certificate that an agent told last that it holds.
fn held(view: &NodeView) -> Option<Last> {
    view.report.held.as_ref().and_then(|leaf| Some((leaf.serial?, leaf.not_after)))
}

/// The same, or else the one that it came with.
async fn last(view: &NodeView, ledger: &dyn Ledger) -> Result<Option<Last>, LedgerError> {
    if let Some(held) = held(view) {
        return Ok(Some(held));
    }
    let Some(serial) = view.line.serial else { return Ok(None) };
    let record = ledger.get(serial).await?;
    Ok(record.map(|record| (serial, record.validity.not_after())))
}

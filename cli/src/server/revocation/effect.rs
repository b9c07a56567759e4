//! How far a revocation has come, as the server sees it.

use serde::{Deserialize, Serialize};
use signet_ca::nodes::{NodeView, NodeViews};
use signet_controlplane::proxies::{Proxies, ProxyState};

/// Characters of a version of what is to be trusted; a certificate's has half of them.
const TRUST_VERSION: usize = 64;
/// Seconds after which Envoy cuts what is left of a connection that it renews, as agents start it.
const DRAIN: u64 = 10;

/// How far the last revocation has come. Times are in milliseconds since the server began to carry it, which is as soon
/// as it was durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Effect {
    /// Which one: its position in the ledger, counted from 1; 0 where there was none.
    pub(crate) generation: u64,
    /// When it began, in milliseconds since the epoch.
    pub(crate) began_unix_ms: u64,
    /// Proxies that were connected to the control plane.
    pub(crate) proxies: usize,
    /// Until every connected proxy had accepted the lists.
    pub(crate) lists_ms: Option<u64>,
    /// Those that have not.
    pub(crate) without_lists: Vec<String>,
    /// Until every connected proxy had accepted what renews its connections.
    pub(crate) renewed_ms: Option<u64>,
    /// Those that have not.
    pub(crate) with_old_connections: Vec<String>,
    /// Those that let in whom the lists name: the validator that they ask for passes lists over.
    pub(crate) ignoring_lists: Vec<String>,
    /// Nothing more is waited for.
    pub(crate) is_over: bool,
    /// Why it does not come everywhere.
    pub(crate) problem: Option<String>,
}

impl Effect {
    pub(super) fn at(generation: u64, began_unix_ms: u64, proxies: usize) -> Self {
        Self { generation, began_unix_ms, proxies, ..Self::default() }
    }

    /// Whether nothing more is waited for.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// What has come about, in words, in the order in which it does.
    pub(crate) fn steps(&self) -> Vec<String> {
        let seconds = |ms: u64| format!("{}.{:03} s", ms / 1000, ms % 1000);
        let but = match self.ignoring_lists.as_slice() {
            [] => String::new(),
            ignoring => format!(", but for {}, whose validator ignores them", ignoring.join(", ")),
        };
        let lists = self.lists_ms.map(|ms| {
            format!(
                "after {}: every connected proxy has accepted the lists, and refuses new handshakes{but}",
                seconds(ms)
            )
        });
        let renewed = self.renewed_ms.map(|ms| match self.proxies {
            0 => format!(
                "after {}: no proxy is connected to the control plane; each renews its connections when it is back",
                seconds(ms)
            ),
            proxies => format!(
                "after {}: all {proxies} connected proxies have accepted what renews their connections; Envoy cuts what is \
                 left of the old ones {DRAIN} s later, so at the latest at {} (a bound, by its drain time as agents start it; \
                 nobody watched them end)",
                seconds(ms),
                seconds(ms + DRAIN * 1000)
            ),
        });
        lists.into_iter().chain(renewed).collect()
    }

    /// Who is waited for.
    pub(crate) fn waiting(&self) -> String {
        let late = self.without_lists.iter().chain(&self.with_old_connections);
        late.map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// Connected agents whose proxy has not accepted this trust on every stream that was sent any.
pub(super) fn without_lists(views: &NodeViews, version: &str) -> Vec<String> {
    let has = |view: &NodeView| {
        let report = &view.report;
        let trust = report.secrets.iter().filter(|secret| secret.sent.len() == TRUST_VERSION);
        report.trust_version == version && trust.into_iter().all(|secret| secret.accepted == version)
    };
    let late = views.iter().filter(|view| view.connected && !has(view));
    late.map(|view| view.key.to_string()).collect()
}

/// Connected agents whose proxy asks on any stream for a validator that passes lists over.
pub(super) fn ignoring_lists(views: &NodeViews) -> Vec<String> {
    let ignores = |view: &NodeView| view.report.secrets.iter().any(|secret| secret.ignores_lists);
    let ignoring = views.iter().filter(|view| view.connected && ignores(view));
    ignoring.map(|view| view.key.to_string()).collect()
}

/// Proxies that have not accepted all that they are to hold, once that says how old connections may be.
pub(super) fn unsynced(proxies: &Proxies, generation: u64) -> Vec<String> {
    if proxies.generation() < generation {
        return vec!["the control plane".to_owned()];
    }
    let late = proxies.list().into_iter().filter(|view| view.status != ProxyState::Synced);
    late.map(|view| view.workload).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_proxy_is_connected_none_is_said_to_have_accepted_anything() {
        let steps = |proxies| {
            let effect = Effect { lists_ms: Some(54), renewed_ms: Some(1105), ..Effect::at(1, 0, proxies) };
            effect.steps()
        };
        let [lists, none] = &steps(0)[..] else { panic!("two steps") };
        assert!(lists.starts_with("after 0.054 s: every connected proxy"), "{lists}");
        assert!(none.starts_with("after 1.105 s: no proxy is connected"), "{none}");
        let two = &steps(2)[1];
        assert!(
            two.contains("all 2 connected proxies") && two.contains("at the latest at 11.105 s"),
            "{two}"
        );
    }
}

//! Waiting until everybody at one end of a port does what is published.

use std::collections::BTreeSet;

use signet_policies::identity::{Workload, WorkloadKind};
use signet_xds::ResourceType;
use tokio::time::Instant;
use tracing::warn;

use super::{Pace, audience::Audience, port::End};
use crate::{
    model::{Model, PortMapping},
    proxies::{Entry, Holds, Proxies},
    translate::{self, PortId, naming},
};

/// Who may be there, and has not said so.
const BEFORE_RESTART: &str = "whoever was connected before the restart";

/// One end's answer, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Wait {
    /// Since when there is something to wait for.
    since: Option<Instant>,
    /// Who has not accepted.
    pub(super) laggards: BTreeSet<String>,
    /// Since when nobody lags.
    complete: Option<Instant>,
    reported: bool,
}

/// Who had to answer, and who has not.
pub(super) struct Answers {
    anybody: bool,
    laggards: BTreeSet<String>,
}

/// Asks the registry who follows: whoever calls the port, was told to, or may still do so. While `incomplete`, some may
/// not be in it yet.
pub(super) fn answers(
    proxies: &Proxies,
    audience: &Audience,
    port: &PortId,
    mapping: PortMapping,
    end: End,
    incomplete: bool,
) -> Answers {
    let mut answers = Answers { anybody: incomplete, laggards: BTreeSet::new() };
    let concerned = match end {
        End::Servers => BTreeSet::from([port.workload.clone()]),
        End::Clients => audience.of_nodes([&port.workload]),
    };
    proxies.look_at(&concerned, |entries| {
        for entry in entries {
            match holds(entry, port, mapping, end) {
                Holds::Nothing => {}
                Holds::Wanted => answers.anybody = true,
                Holds::Other => {
                    answers.anybody = true;
                    let away = if entry.gone().is_some() { ", which is away" } else { "" };
                    let laggard =
                        format!("{} on {}{away}", entry.proxy.workload, entry.proxy.ingress_address);
                    answers.laggards.insert(laggard);
                }
            }
        }
    });
    if incomplete {
        answers.laggards.insert(BEFORE_RESTART.to_owned());
    }
    answers
}

/// The proxies of `callers` whose client policies enforce TLS towards a port. While `incomplete`, some may not be in the
/// registry.
pub(super) fn enforcers(
    proxies: &Proxies,
    callers: &BTreeSet<Workload>,
    model: &Model,
    port: &PortId,
    incomplete: bool,
) -> BTreeSet<String> {
    let mut all = proxies.look_at(callers, |entries| {
        let callers = entries.map(|entry| &entry.proxy.workload);
        let enforcing = callers.filter(|caller| translate::enforces_tls(model, caller, port));
        enforcing.map(|caller| format!("{caller}, whose client policy enforces TLS")).collect::<BTreeSet<_>>()
    });
    if incomplete {
        all.insert(BEFORE_RESTART.to_owned());
    }
    all
}

fn holds(entry: &Entry, port: &PortId, mapping: PortMapping, end: End) -> Holds {
    let workload = &entry.proxy.workload;
    match end {
        End::Servers if *workload == port.workload => {
            let listener = entry.proxy.ingress_listener(port.port);
            entry.holds(ResourceType::Listener, &listener)
        }
        // A gateway's clients are no proxies of the mesh.
        End::Clients
            if workload.mesh == port.workload.mesh && port.workload.kind == WorkloadKind::VirtualNode =>
        {
            let cluster = naming::target_cluster(&workload.mesh, &port.workload.name, mapping);
            entry.holds_all(ResourceType::Cluster, |name| naming::is_of(name, &cluster))
        }
        End::Servers | End::Clients => Holds::Nothing,
    }
}

impl Wait {
    /// Takes an answer. Says whether the end follows: nobody lags, and those who accepted had the time to act.
    pub(super) fn hear(&mut self, answers: Answers, now: Instant, pace: &Pace, port: &PortId) -> bool {
        let Answers { anybody, laggards } = answers;
        self.laggards = laggards;
        let since = *self.since.get_or_insert(now);
        if self.laggards.is_empty() {
            let complete = *self.complete.get_or_insert(now);
            return !anybody || now.saturating_duration_since(complete) >= pace.settle;
        }
        self.complete = None;
        if !self.reported && now.saturating_duration_since(since) >= pace.report_after {
            self.reported = true;
            warn!(%port, waiting_for = ?self.laggards, "a port cannot change over until these proxies accept");
        }
        false
    }

    /// When a look could find more than now, without anybody saying anything.
    pub(super) fn next_look(&self, pace: &Pace) -> Option<Instant> {
        let since = self.since?;
        match self.complete {
            Some(complete) => Some(complete + pace.settle),
            None => (!self.reported).then(|| since + pace.report_after),
        }
    }
}

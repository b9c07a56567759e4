//! How long certificates take from the signature to the wire.
//!
//! ```text
//!  Issuing ── signed ──▶ Deliveries ◀── what agents report ── Nodes
//!                            │  pushed to an Envoy, accepted by it, presented in a handshake: when each was seen first
//!                            └──▶ histograms; and whether a certificate arrived at all, for the audit
//! ```
//!
//! Agents tell moments by their own clocks; what these are off is taken out by the time in each report.
//!
//! That a certificate arrived is on disk (`kept`), so that an audit right after a restart knows it of agents that have
//! left since. How long it took is only observed for what this process signed.

mod kept;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use prometheus_client::{
    metrics::histogram::{Histogram, exponential_buckets},
    registry::{Registry, Unit},
};
use signet_ca::{
    IssuerName, Nodes, OnIssued, Serial,
    nodes::{NodeKey, NodeView, NodeViews, SecretState},
};
use signet_durable::Database;
use tokio_util::sync::CancellationToken;

/// Certificates that are followed at once; the oldest are let go first.
const MOST: usize = 200_000;
/// Between two looks at what agents report: 10,000 of them report a thousand times a second.
const PACE: Duration = Duration::from_millis(200);
/// Upper ends of the histograms' buckets: from 10 ms, doubling, to 82 s.
const BUCKETS: (f64, f64, u16) = (0.01, 2.0, 14);

/// Follows certificates. Clones share everything.
#[derive(Clone)]
pub(super) struct Deliveries {
    since: SystemTime,
    followed: Arc<Mutex<Followed>>,
    histograms: Histograms,
    database: Database,
}

#[derive(Default)]
struct Followed {
    by_serial: BTreeMap<Serial, Steps>,
    /// In the order in which they were signed.
    order: VecDeque<Serial>,
    /// What is not on disk yet: since when it is held, or that nobody follows it any more.
    unsaved: BTreeMap<Serial, Option<SystemTime>>,
}

/// When each step was seen first.
#[derive(Default)]
struct Steps {
    /// By this process.
    signed: Option<SystemTime>,
    pushed: Option<SystemTime>,
    accepted: Option<SystemTime>,
    presented: Option<SystemTime>,
    converged: Option<SystemTime>,
    /// Seen at a proxy in whatever way.
    held: Option<SystemTime>,
}

#[derive(Clone)]
struct Histograms {
    pushed: Histogram,
    accepted: Histogram,
    presented: Histogram,
    converged: Histogram,
}

/// What is seen of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Pushed,
    Accepted,
    Presented,
    /// By every stream of the agent's socket that asked for one.
    Converged,
    Loaded,
}

impl Deliveries {
    /// Follows what is signed from `now` on, knows what arrived before, and registers its histograms.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(super) fn open(registry: &mut Registry, database: Database, now: SystemTime) -> Result<Self> {
        let mut histogram = |step: &str, help: &str| {
            let (start, factor, count) = BUCKETS;
            let histogram = Histogram::new(exponential_buckets(start, factor, count));
            let name = format!("signet_certificate_{step}");
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
            histogram
        };
        let histograms = Histograms {
            pushed: histogram(
                "pushed",
                "From the signature until an agent was seen to have sent it to an Envoy",
            ),
            accepted: histogram("accepted", "From the signature until an Envoy accepted it"),
            presented: histogram(
                "presented",
                "From the signature until a listener presented it in a handshake",
            ),
            converged: histogram(
                "converged",
                "From the signature until every stream of an agent's socket had accepted it",
            ),
        };
        let (since, followed) = kept::recall(&database, now).context("which certificates arrived")?;
        Ok(Self {
            since: since.unwrap_or(now),
            followed: Arc::new(Mutex::new(followed)),
            histograms,
            database,
        })
    }

    /// Whom [`signet_ca::Issuing`] tells of what it issues.
    pub(super) fn listener(&self) -> OnIssued {
        let followed = Arc::clone(&self.followed);
        Arc::new(move |certificate, at| {
            // The server's own goes to no proxy.
            if *certificate.issuer_name() != IssuerName::Server {
                lock(&followed).follow(certificate.serial(), at);
            }
        })
    }

    /// Since when certificates are followed, in seconds since the epoch.
    pub(super) fn since(&self) -> i64 {
        seconds(self.since)
    }

    /// Which certificates were seen at a proxy, and since when, in seconds since the epoch.
    pub(super) fn held(&self) -> BTreeMap<String, i64> {
        let followed = lock(&self.followed);
        let held = followed.by_serial.iter();
        held.filter_map(|(serial, steps)| Some((serial.to_string(), seconds(steps.held?)))).collect()
    }

    /// Looks at what agents report, until `stop`.
    ///
    /// # Errors
    /// The database is closed to new trees.
    pub(super) async fn watch(self, nodes: Nodes, stop: CancellationToken) -> Result<()> {
        let mut views = nodes.subscribe();
        let mut seen = HashMap::new();
        loop {
            let now = views.borrow_and_update().clone();
            self.look(&now, &mut seen);
            self.keep().await?;
            let next = async {
                tokio::time::sleep(PACE).await;
                views.changed().await
            };
            match stop.run_until_cancelled(next).await {
                Some(Ok(())) => {}
                Some(Err(_)) | None => return Ok(()),
            }
        }
    }

    /// Looks at the reports that are new.
    fn look(&self, views: &NodeViews, seen: &mut HashMap<NodeKey, SystemTime>) {
        seen.retain(|key, _| views.get(key).is_some());
        for view in views.iter() {
            if seen.insert(view.key.clone(), view.reported_at) != Some(view.reported_at) {
                // What an earlier process signed is followed where the agent proved that it has it.
                if let Some(own) = view.line.serial {
                    lock(&self.followed).recognise(own);
                }
                for (serial, step, at) in told(view) {
                    lock(&self.followed).take(serial, step, at, &self.histograms);
                }
            }
        }
    }
}

impl Followed {
    fn follow(&mut self, serial: Serial, signed: SystemTime) {
        self.add(serial, Steps { signed: Some(signed), ..Steps::default() });
    }

    fn add(&mut self, serial: Serial, steps: Steps) {
        if self.by_serial.insert(serial, steps).is_none() {
            self.order.push_back(serial);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_serial.remove(&oldest);
            self.unsaved.insert(oldest, None);
        }
    }

    fn recognise(&mut self, serial: Serial) {
        if !self.by_serial.contains_key(&serial) {
            self.add(serial, Steps::default());
        }
    }

    fn take(&mut self, serial: Serial, step: Step, at: SystemTime, histograms: &Histograms) {
        let Some(steps) = self.by_serial.get_mut(&serial) else {
            return;
        };
        let was_held = steps.held.is_some();
        let (first, histogram) = match step {
            Step::Pushed => (&mut steps.pushed, Some(&histograms.pushed)),
            Step::Accepted => (&mut steps.accepted, Some(&histograms.accepted)),
            Step::Presented => (&mut steps.presented, Some(&histograms.presented)),
            Step::Converged => (&mut steps.converged, Some(&histograms.converged)),
            Step::Loaded => (&mut steps.held, None),
        };
        if first.is_none() {
            *first = Some(at);
            if let (Some(histogram), Some(signed)) = (histogram, steps.signed) {
                histogram.observe(at.duration_since(signed).unwrap_or_default().as_secs_f64());
            }
        }
        if step != Step::Pushed && !was_held {
            steps.held = Some(at);
            self.unsaved.insert(serial, Some(at));
        }
    }
}

/// Everything that a report says of certificates, by the server's clock.
fn told(view: &NodeView) -> Vec<(Serial, Step, SystemTime)> {
    let report = &view.report;
    let moment = |at_unix_ms: i64| {
        let age = report.now_unix_ms.saturating_sub(at_unix_ms).max(0);
        let age = Duration::from_millis(u64::try_from(age).unwrap_or_default());
        view.reported_at.checked_sub(age).unwrap_or(view.reported_at)
    };
    let mut told = Vec::new();
    for secret in &report.secrets {
        let at = moment(secret.at_unix_ms);
        for (version, step) in [(&secret.sent, Step::Pushed), (&secret.accepted, Step::Accepted)] {
            // The version of a bundle is no serial, being longer.
            told.extend(version.parse().ok().map(|serial| (serial, step, at)));
        }
    }
    told.extend(converged(&report.secrets, moment));
    for presented in &report.presented {
        let serial = presented.leaf.as_ref().and_then(|leaf| leaf.serial);
        told.extend(serial.map(|serial| (serial, Step::Presented, moment(presented.at_unix_ms))));
    }
    let loaded = report.loaded.iter().filter_map(|loaded| loaded.serial);
    told.extend(loaded.map(|serial| (serial, Step::Loaded, view.reported_at)));
    told
}

/// The certificate that every stream which was sent one took, and when the last did.
fn converged(
    secrets: &[SecretState],
    moment: impl Fn(i64) -> SystemTime,
) -> Option<(Serial, Step, SystemTime)> {
    let mut sent = secrets.iter().filter_map(|secret| Some((secret.sent.parse::<Serial>().ok()?, secret)));
    let (serial, _) = sent.clone().next()?;
    let is_everywhere = sent.all(|(other, secret)| other == serial && secret.accepted == secret.sent);
    let last = secrets
        .iter()
        .filter(|secret| secret.sent.parse() == Ok(serial))
        .map(|secret| secret.at_unix_ms)
        .max()?;
    is_everywhere.then(|| (serial, Step::Converged, moment(last)))
}

fn lock(followed: &Mutex<Followed>) -> MutexGuard<'_, Followed> {
    followed.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds(moment: SystemTime) -> i64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use signet_ca::nodes::{Line, Report};
    use signet_policies::identity::Workload;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_651_200 + seconds)
    }

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn the_first_sight_of_each_step_counts_by_the_servers_clock() {
        let mut registry = Registry::default();
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let deliveries = Deliveries::open(&mut registry, database, at(0)).unwrap();
        let serial: Serial = "0123456789abcdef0123456789abcdef".parse().unwrap();
        lock(&deliveries.followed).follow(serial, at(10));
        let nodes = Nodes::default();
        let key = NodeKey { workload: Workload::virtual_node("m", "a").unwrap(), instance: "1".to_owned() };
        // The agent's clock is an hour fast; by it the Envoy accepted 2 s before the report, 3 s after the signature.
        let fast = |moment: u64| i64::try_from(1_795_651_200 + moment + 3600).unwrap() * 1000;
        let report = |accepted: &str, now: u64, news: u64| Report {
            now_unix_ms: fast(now),
            secrets: vec![SecretState {
                stream: "1".to_owned(),
                name: "default".to_owned(),
                sent: serial.to_string(),
                accepted: accepted.to_owned(),
                rejected: String::new(),
                reason: String::new(),
                at_unix_ms: fast(news),
                ignores_lists: false,
            }],
            ..Report::default()
        };
        let mut seen = HashMap::new();
        let session = nodes.connect(key, Line::default(), report("", 11, 11), at(11)).unwrap();
        let mut look = || deliveries.look(&nodes.subscribe().borrow().clone(), &mut seen);
        look();
        assert!(deliveries.held().is_empty(), "it was sent, and nobody has it yet");
        session.report(report(&serial.to_string(), 15, 13), at(15));
        look();
        session.report(report(&serial.to_string(), 25, 13), at(25));
        look();
        assert_eq!(deliveries.held().into_values().collect::<Vec<_>>(), [seconds(at(13))]);
        let text = text(&registry);
        for line in [
            "signet_certificate_pushed_seconds_sum 1.0",
            "signet_certificate_accepted_seconds_sum 3.0",
            "signet_certificate_accepted_seconds_count 1",
            "signet_certificate_presented_seconds_count 0",
            "signet_certificate_converged_seconds_sum 3.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}

//! Steady load: requests at a fixed rate, whether or not the last one was answered.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::app::NAME_HEADER;

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Failures kept word by word; the rest is only counted.
const KEPT_FAILURES: usize = 20;

/// What to send where.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The egress listener of the calling Envoy.
    pub address: SocketAddr,
    /// The virtual service.
    pub host: String,
    /// Requests per second, each on a connection of its own.
    pub new_connections: u32,
    /// Requests per second over all kept-alive connections.
    pub kept_alive: u32,
    /// How many connections are kept alive.
    pub connections: u32,
}

/// What came back since the last look.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answered with 200, by the name of the application that answered.
    pub answered: BTreeMap<String, u64>,
    /// Everything else.
    pub failed: u64,
    /// Kept-alive connections that had to be opened again, whatever the reason.
    pub reopened: u64,
    /// The first failures in words.
    pub failures: Vec<String>,
    /// Of the answered ones, in microseconds, unsorted.
    pub latencies: Vec<u64>,
}

impl Tally {
    /// Adds what came back later.
    pub fn add(&mut self, later: Self) {
        let Self { answered, failed, reopened, failures, latencies } = later;
        for (name, count) in answered {
            *self.answered.entry(name).or_default() += count;
        }
        self.failed += failed;
        self.reopened += reopened;
        self.failures.extend(failures);
        self.failures.truncate(KEPT_FAILURES);
        self.latencies.extend(latencies);
    }

    /// All requests that came to an end.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.answered.values().sum::<u64>() + self.failed
    }

    /// The share of the answered requests that `name` answered, 0 to 1; 0 where none was.
    #[must_use]
    pub fn share(&self, name: &str) -> f64 {
        let answered: u64 = self.answered.values().sum();
        let of_name = self.answered.get(name).copied().unwrap_or(0);
        if answered == 0 { 0.0 } else { approximate(of_name) / approximate(answered) }
    }

    /// The latency below which `percent` of the answers came.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        Duration::from_micros(sorted.get(index).copied().unwrap_or(0))
    }
}

/// Counts here stay far below 2^32, where every integer is exact.
fn approximate(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Running load; it ends with [`Load::stop`] or when dropped.
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Load {
    /// Starts sending.
    #[must_use]
    pub fn start(plan: &Plan) -> Self {
        let mut load = Self { tally: Arc::default(), stop: CancellationToken::new(), tasks: JoinSet::new() };
        let (tally, stop) = (load.tally.clone(), load.stop.clone());
        load.tasks.spawn(open_loop(plan.clone(), tally, stop));
        for _ in 0..plan.connections {
            let rate = plan.kept_alive / plan.connections.max(1);
            let (tally, stop) = (load.tally.clone(), load.stop.clone());
            load.tasks.spawn(kept_alive(plan.clone(), rate, tally, stop));
        }
        load
    }

    /// What came back since the last call.
    #[must_use]
    pub fn take(&self) -> Tally {
        std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops sending, waits for what is under way, and returns the rest of the tally.
    pub async fn stop(mut self) -> Tally {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.take()
    }
}

fn every(rate: u32) -> tokio::time::Interval {
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

/// A new connection for each request, started on time even where earlier ones are still under way.
async fn open_loop(plan: Plan, tally: Arc<Mutex<Tally>>, stop: CancellationToken) {
    let mut ticks = every(plan.new_connections);
    let mut under_way = JoinSet::new();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let (plan, tally) = (plan.clone(), tally.clone());
        under_way.spawn(async move {
            let started = Instant::now();
            let outcome = async {
                let mut sender = connect(plan.address).await?;
                exchange(&mut sender, &plan.host).await
            };
            record(&tally, started, timeout(PATIENCE, outcome).await);
        });
        while under_way.try_join_next().is_some() {}
    }
    while under_way.join_next().await.is_some() {}
}

/// One connection, opened anew only when the other side said that it closes, or after a failure; both are counted.
async fn kept_alive(plan: Plan, rate: u32, tally: Arc<Mutex<Tally>>, stop: CancellationToken) {
    let mut ticks = every(rate);
    let mut sender: Option<http1::SendRequest<Empty<Bytes>>> = None;
    let mut was_open = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let started = Instant::now();
        let outcome = async {
            let ready = match sender.take().filter(|sender| !sender.is_closed()) {
                Some(open) => sender.insert(open),
                None => {
                    let again = u64::from(std::mem::replace(&mut was_open, true));
                    tally.lock().unwrap_or_else(PoisonError::into_inner).reopened += again;
                    sender.insert(connect(plan.address).await?)
                }
            };
            exchange(ready, &plan.host).await
        };
        let outcome = timeout(PATIENCE, outcome).await;
        if !matches!(outcome, Ok(Ok(_))) {
            sender = None;
        }
        record(&tally, started, outcome);
    }
}

async fn connect(address: SocketAddr) -> Result<http1::SendRequest<Empty<Bytes>>> {
    let tcp = TcpStream::connect(address).await.context("connect")?;
    tcp.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the task is the connection: it ends when the sender, which its user owns, is dropped"
    )]
    tokio::spawn(connection);
    Ok(sender)
}

/// Sends one request and returns the name of the application that answered it.
async fn exchange(sender: &mut http1::SendRequest<Empty<Bytes>>, host: &str) -> Result<String> {
    sender.ready().await.context("connection")?;
    let request = Request::get("/").header("host", host).body(Empty::new())?;
    let answer = sender.send_request(request).await.context("request")?;
    let status = answer.status();
    let name = answer.headers().get(NAME_HEADER).and_then(|name| name.to_str().ok()).map(str::to_owned);
    let body = answer.into_body().collect().await.context("answer")?.to_bytes();
    anyhow::ensure!(status == StatusCode::OK, "status {status}: {}", String::from_utf8_lossy(&body));
    name.context("the answer is not an application's")
}

fn record(
    tally: &Mutex<Tally>,
    started: Instant,
    outcome: Result<Result<String>, tokio::time::error::Elapsed>,
) {
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    let failure = match outcome {
        Ok(Ok(name)) => {
            *tally.answered.entry(name).or_default() += 1;
            tally.latencies.push(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
            return;
        }
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    tally.failed += 1;
    if tally.failures.len() < KEPT_FAILURES {
        tally.failures.push(failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_percentiles_are_of_the_answered_requests() {
        let tally = Tally {
            answered: [("a".to_owned(), 90), ("b".to_owned(), 10)].into(),
            failed: 5,
            reopened: 0,
            failures: vec![],
            latencies: (1..=100).rev().collect(),
        };
        assert_eq!(tally.requests(), 105);
        assert!((tally.share("a") - 0.9).abs() < 1e-9);
        assert_eq!(tally.share("absent"), 0.0);
        assert_eq!(tally.percentile(50), Duration::from_micros(51));
        assert_eq!(tally.percentile(99), Duration::from_micros(100));
        assert_eq!(Tally::default().percentile(50), Duration::ZERO);
    }
}

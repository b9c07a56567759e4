//! Streams of a server in this process, whose clients are another.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use signet_xds::{
    Snapshot, Status,
    server::{Observer, Source, ads},
};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, interval},
};
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::process::Process;

/// Counts what streams and their clients say, and passes it on.
pub(super) struct Count {
    pub(super) heard: Arc<AtomicUsize>,
    pub(super) inner: Option<Box<dyn Observer>>,
}

impl Observer for Count {
    fn changed(&mut self, status: &Status) {
        if let Some(inner) = &mut self.inner {
            inner.changed(status);
        }
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    fn sent(&mut self, status: &Status) {
        if let Some(inner) = &mut self.inner {
            inner.sent(status);
        }
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    fn may_send(&self, snapshot: &Snapshot) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.may_send(snapshot))
    }
}

/// Streams that clients have, and what they are known to have said.
pub(super) struct Fleet {
    clients: Process,
    streams: usize,
    heard: Arc<AtomicUsize>,
    due: usize,
    _tasks: JoinSet<()>,
}

impl Fleet {
    /// Opens the streams; each has had its first message, and taken it.
    pub(super) async fn start<S: Source>(source: Arc<S>, streams: usize, heard: Arc<AtomicUsize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let incoming = TcpListenerStream::new(listener)
            .map(|tcp| tcp.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp)));
        let router = Server::builder().add_service(ads(source, CancellationToken::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });
        let mut clients = Process::clients();
        clients.say(&format!("open {port} {streams} delta plain"));
        clients.seconds();
        clients.expect_one();
        clients.seconds();
        let mut fleet = Self { clients, streams, heard, due: 2 * streams, _tasks: tasks };
        fleet.acknowledge().await;
        fleet
    }

    /// Until everybody has what comes next, in seconds from now; `begin` makes it come.
    pub(super) async fn receive(&mut self, begin: impl Future<Output = ()>) -> f64 {
        self.clients.expect_one();
        begin.await;
        let seconds = self.clients.seconds();
        self.due += self.streams;
        self.acknowledge().await;
        seconds
    }

    async fn acknowledge(&mut self) {
        self.clients.say("ack");
        assert_eq!(self.clients.hear(), self.streams.to_string(), "a client has ended");
        self.due += self.streams;
        let (mut pulse, deadline) =
            (interval(Duration::from_millis(1)), Instant::now() + Duration::from_secs(30));
        while self.heard.load(Ordering::Relaxed) < self.due {
            assert!(Instant::now() < deadline, "{:?} of {} calls of observers", self.heard, self.due);
            pulse.tick().await;
        }
    }
}

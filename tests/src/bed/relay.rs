//! A relay between two parties that holds up, trickles or cuts what they say, on TCP or on a Unix socket.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// Between two bytes that trickle.
const DROP: Duration = Duration::from_secs(1);
/// Bytes that are read at once.
const SIP: usize = 16 * 1024;

/// How it passes on what it hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// At once.
    Pass,
    /// One byte a second, in each direction.
    Trickle,
    /// Not at all, until it behaves otherwise.
    Hold,
}

/// Where what it hears goes.
#[derive(Clone, Debug)]
enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A running relay; its connections end with it.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    target: watch::Sender<Target>,
    manner: watch::Sender<Manner>,
    /// Connections that began before it was raised are cut.
    cuts: watch::Sender<u64>,
    accepted: AtomicU64,
}

impl Relay {
    /// Relays from a free port of loopback.
    ///
    /// # Errors
    /// There is none.
    pub async fn tcp(target: SocketAddr) -> Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port for a relay")?;
        let address = listener.local_addr()?;
        let (shared, mut tasks) = (Shared::new(Target::Tcp(target)), JoinSet::new());
        let own = shared.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                drop(client.set_nodelay(true));
                connections.spawn(own.clone().relay(client));
            }
        });
        Ok((Self { shared, _tasks: tasks }, address))
    }

    /// Relays from a socket at `path`, which must not be there yet, to another.
    ///
    /// # Errors
    /// It cannot be bound.
    pub fn unix(path: &Path, target: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path).context("no socket for a relay")?;
        let (shared, mut tasks) = (Shared::new(Target::Unix(target.to_owned())), JoinSet::new());
        let own = shared.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(own.clone().relay(client));
            }
        });
        Ok(Self { shared, _tasks: tasks })
    }

    /// Behaves so from now on, also towards connections that are open.
    pub fn behave(&self, manner: Manner) {
        self.shared.manner.send_replace(manner);
    }

    /// Passes connections that begin from now on to another address.
    pub fn redirect(&self, target: SocketAddr) {
        self.shared.target.send_replace(Target::Tcp(target));
    }

    /// Cuts every connection that is open.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Connections so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn new(target: Target) -> Arc<Self> {
        let (manner, cuts) = (watch::Sender::new(Manner::Pass), watch::Sender::new(0));
        Arc::new(Self { target: watch::Sender::new(target), manner, cuts, accepted: AtomicU64::new(0) })
    }

    async fn relay<S>(self: Arc<Self>, client: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut cuts = self.cuts.subscribe();
        cuts.mark_unchanged();
        self.accepted.fetch_add(1, Ordering::SeqCst);
        let passing = async {
            let target = self.target.borrow().clone();
            match target {
                Target::Tcp(address) => {
                    let server = TcpStream::connect(address).await?;
                    drop(server.set_nodelay(true));
                    self.pass(client, server).await
                }
                Target::Unix(path) => self.pass(client, UnixStream::connect(path).await?).await,
            }
        };
        tokio::select! {
            // Whichever side ended it, the other is told by the end of both.
            _ = passing => {}
            _ = cuts.changed() => {}
        }
    }

    async fn pass<A, B>(&self, client: A, server: B) -> std::io::Result<()>
    where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        let (client_reads, client_writes) = tokio::io::split(client);
        let (server_reads, server_writes) = tokio::io::split(server);
        tokio::select! {
            done = self.pour(client_reads, server_writes) => done,
            done = self.pour(server_reads, client_writes) => done,
        }
    }

    async fn pour<R, W>(&self, mut from: R, mut to: W) -> std::io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut manner = self.manner.subscribe();
        let mut buffer = vec![0; SIP];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            let mut rest = buffer.get(..length).unwrap_or_default();
            while !rest.is_empty() {
                let now = *manner.borrow_and_update();
                let count = match now {
                    Manner::Pass => rest.len(),
                    Manner::Trickle => {
                        sleep(DROP).await;
                        1
                    }
                    Manner::Hold => {
                        // The relay itself has gone where this fails.
                        if manner.changed().await.is_err() {
                            return Ok(());
                        }
                        continue;
                    }
                };
                let (now, later) = rest.split_at(count);
                to.write_all(now).await?;
                rest = later;
            }
        }
    }
}

//! Network namespaces for a test: a hub in which all of the test runs, and hosts that hang on it.
//!
//! ```text
//!  hub: the test, the server, a resolver on 127.0.0.1:53 and on 10.99.0.1:53
//!   └── bridge 10.99.0.0/24, fd99::/64 ──┬── host a
//!                                        └── host b
//! ```
//!
//! Needs root, and `ip` (iproute2). Nothing of the machine's own network is touched but files under `/etc/netns`.

use std::{
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use signet::local::mesh::{SidecarPlan, Traffic};
use signet_policies::identity::Workload;
use tokio::net::{TcpListener, TcpStream};

use super::{Bed, Node};
use crate::{envoy_binary, program};

/// Who runs agents and Envoys where traffic is redirected, and nobody else does.
const ENVOY_USER: u32 = 1337;
/// Tests of one process get namespaces of their own.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A network namespace; it goes with its handle.
#[derive(Debug)]
pub struct Namespace {
    /// As `ip netns` knows it.
    pub name: String,
}

/// The namespace that the test is in.
#[derive(Debug)]
pub struct Hub {
    /// Its own.
    pub namespace: Namespace,
    hosts: u8,
}

/// A host on the hub's bridge.
#[derive(Debug)]
pub struct Host {
    /// Its own.
    pub namespace: Namespace,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its other address.
    pub ipv6: Ipv6Addr,
}

fn ip(args: &str) -> Result<()> {
    let output = Command::new("ip").args(args.split(' ')).output();
    let output = output.context("cannot run `ip`; install iproute2")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "ip {args}: {said}; tests with network namespaces need root");
    Ok(())
}

impl Namespace {
    fn new() -> Result<Self> {
        let name = format!("signet-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // Of a process that was killed, and had the number that this one has now.
        if Path::new("/run/netns").join(&name).exists() {
            ip(&format!("netns del {name}"))?;
        }
        ip(&format!("netns add {name}"))?;
        let made = Self { name };
        ip(&format!("-n {} link set lo up", made.name))?;
        Ok(made)
    }

    /// What `ip netns exec` puts in the place of `/etc/resolv.conf`.
    fn resolve_by(&self, server: Ipv4Addr) -> Result<()> {
        let folder = self.etc();
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join("resolv.conf"), format!("nameserver {server}\n"))?)
    }

    fn etc(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }

    /// Does something in the namespace, on a thread of its own.
    fn within<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
        let name = self.name.clone();
        let thread = thread::spawn(move || {
            enter(&name)?;
            Ok::<_, anyhow::Error>(work()?)
        });
        thread.join().map_err(|_| anyhow!("the thread in the namespace panicked"))?
    }

    /// A listener in the namespace.
    ///
    /// # Errors
    /// The address is taken.
    pub fn listen(&self, address: &str) -> Result<TcpListener> {
        let address: SocketAddr = address.parse()?;
        let listener = self.within(move || StdListener::bind(address)).context("listen")?;
        listener.set_nonblocking(true)?;
        Ok(TcpListener::from_std(listener)?)
    }

    /// A connection from the namespace.
    ///
    /// # Errors
    /// It is refused.
    pub fn connect(&self, address: SocketAddr) -> Result<TcpStream> {
        let stream = self.within(move || StdStream::connect(address)).context("connect")?;
        stream.set_nonblocking(true)?;
        Ok(TcpStream::from_std(stream)?)
    }

    /// Runs a program in it to its end.
    ///
    /// # Errors
    /// It does not end with 0.
    pub fn run(&self, program: &Path, args: &[&str]) -> Result<String> {
        let mut command = Command::new("ip");
        let output = command.args(["netns", "exec", &self.name]).arg(program).args(args).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{} {args:?}: {said}", program.display());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(ip(&format!("netns del {}", self.name)));
        drop(fs::remove_dir_all(self.etc()));
    }
}

fn enter(name: &str) -> io::Result<()> {
    let namespace = File::open(Path::new("/run/netns").join(name))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

impl Hub {
    /// A host more.
    ///
    /// # Errors
    /// As [`within_hub`].
    pub fn host(&mut self) -> Result<Host> {
        self.hosts += 1;
        let (hub, n) = (&self.namespace.name, self.hosts + 1);
        let namespace = Namespace::new()?;
        let name = &namespace.name;
        ip(&format!("-n {hub} link add host{n} type veth peer name eth0 netns {name}"))?;
        ip(&format!("-n {hub} link set host{n} master bridge up"))?;
        let (address, ipv6) =
            (Ipv4Addr::new(10, 99, 0, n), Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, n.into()));
        ip(&format!("-n {name} addr add {address}/24 dev eth0"))?;
        ip(&format!("-n {name} addr add {ipv6}/64 dev eth0 nodad"))?;
        ip(&format!("-n {name} link set eth0 up"))?;
        namespace.resolve_by(Ipv4Addr::new(10, 99, 0, 1))?;
        Ok(Host { namespace, address, ipv6 })
    }
}

/// Runs a test in a new hub: every thread of its runtime, and every process that it starts, is in there.
///
/// # Errors
/// The test's, or the namespace cannot be made.
pub fn within_hub<F>(test: impl FnOnce(Hub) -> F + Send + 'static) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let namespace = Namespace::new()?;
    let name = Arc::new(namespace.name.clone());
    ip(&format!("-n {name} link add bridge type bridge"))?;
    ip(&format!("-n {name} addr add 10.99.0.1/24 dev bridge"))?;
    ip(&format!("-n {name} addr add fd99::1/64 dev bridge nodad"))?;
    ip(&format!("-n {name} link set bridge up"))?;
    namespace.resolve_by(Ipv4Addr::LOCALHOST)?;
    let thread = thread::spawn(move || {
        enter(&name)?;
        let each = name.clone();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        // A thread outside would only fail the test.
        runtime.enable_all().worker_threads(2).on_thread_start(move || drop(enter(&each)));
        runtime.build()?.block_on(test(Hub { namespace, hosts: 0 }))
    });
    thread.join().map_err(|_| anyhow!("the test panicked"))?
}

impl Host {
    /// Starts agent and Envoy of a virtual node on this host, where iptables redirects the traffic of `ports` to it.
    ///
    /// # Errors
    /// The rules are refused, or something does not become ready.
    pub async fn redirected(&self, bed: &mut Bed, mesh: &str, name: &str, ports: &str) -> Result<Node> {
        self.redirected_by(bed, mesh, name, ports, envoy_binary()?).await
    }

    /// As [`Host::redirected`], with another program in the place of Envoy.
    ///
    /// # Errors
    /// As [`Host::redirected`].
    pub async fn redirected_by(
        &self,
        bed: &mut Bed,
        mesh: &str,
        name: &str,
        ports: &str,
        envoy: PathBuf,
    ) -> Result<Node> {
        let user = ENVOY_USER.to_string();
        let rules = ["interception", "apply", "--ipv6", "--ignore-uid", &user, "--app-ports", ports];
        self.namespace.run(&program()?, &rules)?;
        let plan = SidecarPlan {
            workload: Workload::virtual_node(mesh, name)?,
            traffic: Traffic::Redirected,
            envoy,
            namespace: Some(self.namespace.name.clone()),
            user: Some(ENVOY_USER),
        };
        bed.start_sidecar(&plan, IpAddr::V4(self.address)).await
    }
}

//! Whole lives of an agent, before a real server and with a program in Envoy's place.

use std::{fs, net::Ipv4Addr, os::unix::fs::PermissionsExt};

use rand::SeedableRng;
use signet_sds::{rotator::RotateError, signer::SignerError, testing::Answer, translate::certificates};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
};
use tonic::Status;
use zeroize::Zeroizing;

use super::*;
use crate::{
    environment::LogLevel,
    envoy::Identity,
    testing::{NODE, Setup, TOKEN, TestServer, start},
};

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Stays until it is told to go, as Envoy does.
const STAYS: &str =
    "#!/bin/sh\ntrap 'touch $0.asked; kill $child; exit 0' TERM\nsleep 600 & child=$!\nwait $child\n";

/// A node: its folder, its server, and the admin interface of its Envoy.
struct Node {
    folder: tempfile::TempDir,
    server: TestServer,
    admin_port: u16,
    /// What Envoy's admin interface was asked.
    admin_asked: watch::Receiver<Vec<String>>,
    _admin: JoinSet<()>,
}

/// One life of the agent.
struct Life {
    commands: mpsc::Sender<AgentCommand>,
    shutdown: CancellationToken,
    ready: oneshot::Receiver<Ready>,
    task: JoinSet<Result<Outcome, AgentError>>,
}

impl Node {
    async fn new(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start(setup).await;
        fs::write(folder.path().join("ca.pem"), certificates(std::slice::from_ref(&server.root))).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let admin_port = listener.local_addr().unwrap().port();
        let (sender, admin_asked) = watch::channel(Vec::new());
        let mut admin = JoinSet::new();
        admin.spawn(answer_as_envoy(listener, sender));
        let node = Self { folder, server, admin_port, admin_asked, _admin: admin };
        node.install(STAYS);
        node
    }

    /// Puts a program in Envoy's place.
    fn install(&self, script: &str) {
        // Written beside and renamed: a program that runs cannot be written to.
        let (path, fresh) = (self.path("envoy"), self.path("envoy.new"));
        fs::write(&fresh, script).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(fresh, path).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, token: Option<&str>) -> AgentConfig {
        AgentConfig {
            workload: "mesh/m/virtualNode/a".parse().unwrap(),
            cluster: None,
            server: self.server.addr.to_string().parse().unwrap(),
            ca_pem: self.path("ca.pem"),
            token: token.map(|token| Token::new(&Zeroizing::new(token.to_owned()))),
            state_dir: self.path("state"),
            sds_socket: self.path("agent.sock"),
            allowed_uids: [rustix::process::geteuid().as_raw()].into(),
            envoy: EnvoyCommand {
                path: self.path("envoy"),
                args: vec!["--drain-time-s".to_owned(), "5".to_owned()],
                log_level: LogLevel::Info,
                concurrency: Some(1),
                log_file: Some(self.path("envoy.log")),
            },
            admin_port: self.admin_port,
            egress_port: 0,
            ingress_address: Ipv4Addr::LOCALHOST.into(),
            interception: Interception::None,
            initial_fetch_timeout: Duration::ZERO,
        }
    }

    fn live(&self, config: AgentConfig) -> Life {
        let (commands, receiver) = mpsc::channel(1);
        let (sender, ready) = oneshot::channel();
        let shutdown = CancellationToken::new();
        let controls = Controls { commands: receiver, shutdown: shutdown.clone(), ready: sender };
        let mut task = JoinSet::new();
        task.spawn(run(config, Arc::clone(&self.server.clock), StdRng::seed_from_u64(1), controls));
        Life { commands, shutdown, ready, task }
    }

    fn kept_serial(&self) -> String {
        let state = StateDir::open(&self.path("state")).unwrap();
        let now = (self.server.clock)().into();
        let held = state.read_identity(&NODE.parse().unwrap(), now).unwrap().unwrap().unwrap();
        held.leaf().serial().to_owned()
    }
}

impl Life {
    async fn ready(&mut self) -> Ready {
        timeout(PATIENCE, &mut self.ready).await.expect("in time").expect("the agent lives")
    }

    async fn end(&mut self) -> Result<Outcome, AgentError> {
        timeout(PATIENCE, self.task.join_next()).await.expect("in time").unwrap().unwrap()
    }

    async fn stop(&mut self) {
        self.shutdown.cancel();
        assert_eq!(self.end().await.unwrap(), Outcome::Shutdown);
    }

    /// As SIGKILL does: nothing is cleaned up.
    async fn kill(mut self) {
        self.task.shutdown().await;
    }
}

/// Answers every request with 200, and notes its first line.
async fn answer_as_envoy(listener: TcpListener, asked: watch::Sender<Vec<String>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 1024];
        let length = stream.read(&mut request).await.unwrap_or(0);
        let text = String::from_utf8_lossy(&request[..length]).into_owned();
        asked.send_modify(|asked| asked.extend(text.lines().next().map(str::to_owned)));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    }
}

fn is_running(pid: i32) -> bool {
    Identity::of(pid).is_some()
}

/// The arguments that a process was started with.
fn arguments(pid: i32) -> String {
    String::from_utf8(fs::read(format!("/proc/{pid}/cmdline")).unwrap()).unwrap().replace('\0', " ")
}

#[tokio::test]
async fn an_agent_joins_starts_envoy_with_its_bootstrap_and_ends_it_gently() {
    let mut node = Node::new(Setup::default()).await;
    let mut life = node.live(node.config(Some(TOKEN)));
    let ready = life.ready().await;
    assert_eq!((ready.spiffe_id.to_string().as_str(), ready.adopted), (NODE, false));
    let bootstrap = node.path("state/bootstrap.json");
    let written: serde_json::Value = serde_json::from_slice(&fs::read(&bootstrap).unwrap()).unwrap();
    assert_eq!(written["node"]["metadata"]["signet"]["egressPort"], ready.egress_port.to_string());
    assert_ne!(ready.egress_port, 0);
    let arguments = arguments(ready.envoy_pid);
    let expected = format!(
        "-c {} --disable-hot-restart --log-level info --drain-strategy immediate --concurrency 1 --drain-time-s 5",
        bootstrap.display()
    );
    assert!(arguments.contains(&expected), "{arguments}");

    life.stop().await;
    assert!(!is_running(ready.envoy_pid));
    assert!(node.path("envoy.asked").exists(), "it was asked to end, not killed");
    let drained =
        |asked: &Vec<String>| asked.iter().any(|line| line.starts_with("POST /drain_listeners?graceful"));
    assert!(drained(&node.admin_asked.borrow_and_update()));
    assert!(!node.path("agent.sock").exists() && !node.path("state/envoy.json").exists());
    assert_eq!(node.kept_serial(), ready.serial);
}

#[tokio::test]
async fn an_agent_that_was_killed_leaves_envoy_running_and_the_next_one_adopts_it_without_a_token() {
    let node = Node::new(Setup::default()).await;
    let mut first = node.live(node.config(Some(TOKEN)));
    let before = first.ready().await;
    first.kill().await;
    assert!(is_running(before.envoy_pid));

    let mut second = node.live(node.config(None));
    let after = second.ready().await;
    assert_eq!(after, Ready { adopted: true, ..before.clone() }, "the same Envoy, ports and certificate");
    assert_eq!(*node.server.asked.borrow(), [format!("join {TOKEN}")], "nothing was asked again");
    second.stop().await;
    assert!(!is_running(before.envoy_pid), "whoever adopted it ends it");
}

#[tokio::test]
async fn an_envoy_with_another_bootstrap_is_replaced() {
    let node = Node::new(Setup::default()).await;
    let mut first = node.live(node.config(Some(TOKEN)));
    let before = first.ready().await;
    first.kill().await;

    let config = AgentConfig { ingress_address: Ipv4Addr::new(127, 0, 0, 9).into(), ..node.config(None) };
    let mut second = node.live(config);
    let after = second.ready().await;
    assert!(!after.adopted && !is_running(before.envoy_pid) && is_running(after.envoy_pid));
    second.stop().await;
}

#[tokio::test]
async fn the_end_of_an_adopted_envoy_is_noticed_too() {
    let node = Node::new(Setup::default()).await;
    let mut first = node.live(node.config(Some(TOKEN)));
    first.ready().await;
    first.kill().await;
    let mut second = node.live(node.config(None));
    let pid = rustix::process::Pid::from_raw(second.ready().await.envoy_pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(second.end().await.unwrap(), Outcome::Envoy(EnvoyEnd::Unknown));
    assert!(!node.path("state/envoy.json").exists());
}

#[tokio::test]
async fn envoys_own_end_ends_the_agent_with_its_code() {
    let node = Node::new(Setup::default()).await;
    for (script, end, code) in [
        ("#!/bin/sh\nexit 7\n", EnvoyEnd::Code(7), 7),
        ("#!/bin/sh\nkill -SEGV $$\n", EnvoyEnd::Signal(11), 139),
    ] {
        node.install(script);
        let token = (!node.path("state/identity.json").exists()).then_some(TOKEN);
        let outcome = node.live(node.config(token)).end().await.unwrap();
        assert_eq!((outcome, outcome.exit_code()), (Outcome::Envoy(end), code));
    }
}

#[tokio::test]
async fn an_agent_without_token_and_certificate_says_how_to_get_one_and_starts_nothing() {
    let node = Node::new(Setup::default()).await;
    let error = node.live(node.config(None)).end().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, AgentError::NeedsToken { .. }));
    assert!(
        text.contains("signet token create --mesh m --virtual-node a") && text.contains("--token-file"),
        "{text}"
    );
    assert!(node.server.asked.borrow().is_empty() && !node.path("agent.sock").exists());
}

#[tokio::test]
async fn a_first_certificate_that_is_refused_or_wrong_ends_the_agent_before_envoy_is_started() {
    let refusal = Status::permission_denied("mesh/m/virtualNode/a does not exist in the mesh");
    for answer in [Err(refusal), Ok(Answer::SomebodyElses), Ok(Answer::OtherRoot)] {
        let node = Node::new(Setup { answer: answer.clone(), ..Setup::default() }).await;
        let error = node.live(node.config(Some(TOKEN))).end().await.unwrap_err();
        assert!(matches!(error, AgentError::FirstCertificate(_)), "{answer:?}: {error}");
        if let AgentError::FirstCertificate(RotateError::Signer(SignerError::Refused(text))) = &error {
            assert!(text.contains("does not exist in the mesh"), "{text}");
        }
        assert!(!node.path("state/envoy.json").exists() && !node.path("state/identity.json").exists());
    }
}

#[tokio::test]
async fn a_command_rotates_the_certificate_and_the_new_one_is_kept() {
    let node = Node::new(Setup::default()).await;
    let mut life = node.live(node.config(Some(TOKEN)));
    let ready = life.ready().await;
    let mut asked = node.server.asked.subscribe();
    // The second is asked for when the first has been kept and published.
    for renewals in [1, 2] {
        life.commands.send(AgentCommand::RotateNow).await.unwrap();
        let renewed = |asked: &Vec<String>| asked.iter().filter(|it| **it == format!("renew {NODE}")).count();
        let enough = asked.wait_for(|asked| renewed(asked) >= renewals);
        timeout(PATIENCE, enough).await.expect("in time").unwrap();
    }
    life.stop().await;
    assert_ne!(node.kept_serial(), ready.serial);
}

#[tokio::test]
async fn a_second_agent_on_the_same_folder_is_turned_away_and_harms_nothing() {
    let node = Node::new(Setup::default()).await;
    let mut first = node.live(node.config(Some(TOKEN)));
    let ready = first.ready().await;
    let error = node.live(node.config(None)).end().await.unwrap_err();
    assert!(matches!(error, AgentError::State(crate::state::StateError::InUse(_))), "{error}");
    assert!(is_running(ready.envoy_pid));
    first.stop().await;
}

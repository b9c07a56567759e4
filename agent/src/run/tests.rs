//! Whole lives of an agent, before a real server and with a program in Envoy's place.

mod handover;

use std::{fs, io, net::Ipv4Addr, os::unix::fs::PermissionsExt, sync::Mutex};

use rand::SeedableRng;
use signet_policies::identity::WorkloadKind;
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
    envoy::{EnvoyError, Identity},
    state::StateError,
    testing::{NODE, Setup, TOKEN, TestServer, start},
};

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Stays until it is told to go, as Envoy does.
const STAYS: &str =
    "#!/bin/sh\ntrap 'touch \"$0.asked\"; kill $child; exit 0' TERM\nsleep 600 & child=$!\nwait $child\n";

/// A node: its folder, its server, and the admin interface of its Envoy.
struct Node {
    folder: tempfile::TempDir,
    server: TestServer,
    admin_port: u16,
    /// What Envoy's admin interface was asked.
    admin_asked: watch::Receiver<Vec<String>>,
    /// How it answers; `200 OK` when Envoy is live.
    admin_answers: watch::Sender<&'static str>,
    /// With which bootstrap the Envoy was started that answers.
    admin_of: watch::Sender<PathBuf>,
    /// Which that is of those that take over from one another.
    admin_epoch: watch::Sender<u32>,
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
        let (admin_answers, answers) = watch::channel("200 OK");
        let bootstrap = fs::canonicalize(folder.path()).unwrap().join("state/bootstrap.json");
        let (admin_of, of) = watch::channel(bootstrap);
        let (admin_epoch, epoch) = watch::channel(0);
        let mut admin = JoinSet::new();
        admin.spawn(answer_as_envoy(listener, answers, (of, epoch), sender));
        let node = Self {
            folder,
            server,
            admin_port,
            admin_asked,
            admin_answers,
            admin_of,
            admin_epoch,
            _admin: admin,
        };
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
            trust_domain: None,
            token: token.map(|token| Token::new(&Zeroizing::new(token.to_owned()))),
            state_dir: self.path("state"),
            cache_key: None,
            sds_socket: self.path("agent.sock"),
            empty_list: EmptyList::Nothing,
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
            ingress_address: Ipv4Addr::new(127, 0, 0, 8).into(),
            interception: Interception::None,
            initial_fetch_timeout: Duration::ZERO,
            tracer: None,
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

    /// The Envoy of an agent that was killed.
    async fn left_behind(&self, config: AgentConfig) -> Ready {
        let mut life = self.live(config);
        let ready = life.ready().await;
        life.kill().await;
        ready
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
        match timeout(PATIENCE, &mut self.ready).await.expect("in time") {
            Ok(ready) => ready,
            Err(_) => panic!("it has ended: {:?}", self.end().await),
        }
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

/// Answers every request with the status of the moment, and notes its first line.
async fn answer_as_envoy(
    listener: TcpListener,
    answers: watch::Receiver<&'static str>,
    (of, epoch): (watch::Receiver<PathBuf>, watch::Receiver<u32>),
    asked: watch::Sender<Vec<String>>,
) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 1024];
        let length = stream.read(&mut request).await.unwrap_or(0);
        let text = String::from_utf8_lossy(&request[..length]).into_owned();
        asked.send_modify(|asked| asked.extend(text.lines().next().map(str::to_owned)));
        let body = match text.starts_with("GET /server_info ") {
            true => format!(
                "{{\"command_line_options\":{{\"config_path\":{:?},\"restart_epoch\":{}}}}}",
                *of.borrow(),
                *epoch.borrow()
            ),
            false => String::new(),
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {}\r\ncontent-length: {length}\r\n\r\n{body}", *answers.borrow());
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

fn is_running(pid: i32) -> bool {
    Identity::of(pid).is_some()
}

/// What this thread logs while it lives.
struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn new() -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&text);
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || Sink(Arc::clone(&sink))).finish();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines with `words` since the last call.
    fn take(&self, words: &str) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.text.lock().unwrap())).unwrap();
        text.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
    }
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
    let expected = [
        format!("-c {} --base-id ", bootstrap.display()),
        format!(" --socket-path {} --restart-epoch 0 --log-level info ", node.path("state/hot").display()),
        " --log-level info --drain-strategy immediate --concurrency 1 --drain-time-s 5 ".to_owned(),
    ];
    assert!(expected.iter().all(|part| arguments.contains(part)), "{arguments}");

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
    let before = node.left_behind(node.config(Some(TOKEN))).await;
    assert!(is_running(before.envoy_pid));

    let mut second = node.live(node.config(None));
    let after = second.ready().await;
    assert_eq!(after, Ready { adopted: true, ..before.clone() }, "the same Envoy, ports and certificate");
    assert_eq!(*node.server.asked.borrow(), [format!("join {TOKEN}")], "nothing was asked again");
    second.stop().await;
    assert!(!is_running(before.envoy_pid), "whoever adopted it ends it");
}

#[tokio::test]
async fn an_envoy_whose_record_is_missing_stale_or_damaged_is_found_and_adopted() {
    let node = Node::new(Setup::default()).await;
    let record = node.path("state/envoy.json");
    let mut life = node.live(node.config(Some(TOKEN)));
    let first = life.ready().await;
    let stale = r#"{"version":"1","pid":2147483647,"startTime":1,"adminPort":1,"egressPort":1}"#;
    for text in [None, Some(stale), Some("junk")] {
        life.kill().await;
        match text {
            None => fs::remove_file(&record).unwrap(),
            Some(text) => fs::write(&record, text).unwrap(),
        }
        life = node.live(node.config(None));
        let next = life.ready().await;
        assert_eq!(next, Ready { adopted: true, ..first.clone() }, "{text:?}: the same Envoy and ports");
        assert!(fs::read_to_string(&record).unwrap().contains(&first.envoy_pid.to_string()), "{text:?}");
    }
    life.stop().await;
    assert!(!is_running(first.envoy_pid));
}

#[tokio::test]
async fn an_envoy_that_cannot_be_recorded_is_ended_again() {
    let node = Node::new(Setup::default()).await;
    // No file takes the place of a folder.
    fs::create_dir_all(node.path("state/envoy.json")).unwrap();
    let error = node.live(node.config(Some(TOKEN))).end().await.unwrap_err();
    assert!(matches!(error, AgentError::State(StateError::Io { .. })), "{error}");
    let bootstrap = fs::canonicalize(node.path("state/bootstrap.json")).unwrap();
    assert_eq!(Identity::search(&bootstrap), None);
}

#[tokio::test]
async fn what_another_envoy_says_at_the_admin_port_is_not_taken_for_ones_own_word() {
    let mut node = Node::new(Setup::default()).await;
    let own = node.admin_of.send_replace("/another/bootstrap.json".into());
    let log = Log::new();
    let mut life = node.live(node.config(Some(TOKEN)));
    let is_asked = |asked: &Vec<String>| asked.iter().any(|line| line.contains("/server_info"));
    timeout(PATIENCE, node.admin_asked.wait_for(is_asked)).await.unwrap().unwrap();
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let lines = log.take("not live");
    assert!(lines.iter().any(|line| line.contains("which another Envoy has")), "{lines:?}");
    assert!(life.ready.try_recv().is_err(), "it is ready by another's word");
    tokio::time::resume();
    node.admin_of.send_replace(own);
    life.ready().await;
    life.stop().await;
}

#[tokio::test]
async fn an_egress_port_that_somebody_has_is_refused_before_the_token_is_spent() {
    let node = Node::new(Setup::default()).await;
    let other = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let egress_port = other.local_addr().unwrap().port();
    let config = || AgentConfig { egress_port, ..node.config(Some(TOKEN)) };
    let error = node.live(config()).end().await.unwrap_err();
    assert!(error.to_string().contains("--egress-port"), "{error}");
    assert!(node.server.asked.borrow().is_empty());
    drop(other);
    let mut life = node.live(config());
    assert_eq!(life.ready().await.egress_port, egress_port);
    life.stop().await;
}

#[tokio::test]
async fn while_envoy_is_not_live_the_log_says_so_soon_and_then_warns() {
    let mut node = Node::new(Setup::default()).await;
    node.admin_answers.send_replace("503 Service Unavailable");
    let log = Log::new();
    let mut life = node.live(node.config(Some(TOKEN)));
    let is_asked = |asked: &Vec<String>| asked.iter().any(|line| line.contains("/ready"));
    timeout(PATIENCE, node.admin_asked.wait_for(is_asked)).await.unwrap().unwrap();
    tokio::time::pause();
    for (seconds, level) in [(10, "INFO"), (30, "WARN"), (32, "WARN")] {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let lines = log.take("not live");
        let [line] = &lines[..] else { panic!("not one line within {seconds} s: {lines:?}") };
        assert!(line.contains(level) && line.contains(&node.server.addr.to_string()), "{line}");
    }
    tokio::time::resume();
    node.admin_answers.send_replace("200 OK");
    life.ready().await;
    life.stop().await;
}

#[tokio::test]
async fn an_ingress_address_that_is_the_applications_too_is_refused_before_anything_is_done() {
    let node = Node::new(Setup::default()).await;
    for text in ["0.0.0.0", "::", "127.0.0.1", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0"] {
        let address = text.parse().unwrap();
        let config = AgentConfig { ingress_address: address, ..node.config(Some(TOKEN)) };
        let error = node.live(config).end().await.unwrap_err();
        assert!(matches!(error, AgentError::IngressAddress(refused) if refused == address), "{error}");
        assert!(!node.path("state").exists() && !node.path("agent.sock").exists());
    }
    for text in ["127.0.0.2", "10.0.0.1", "fd00::1"] {
        ingress::check(WorkloadKind::VirtualNode, text.parse().unwrap()).unwrap();
    }
    for text in ["0.0.0.0", "127.0.0.1", "::1"] {
        ingress::check(WorkloadKind::VirtualGateway, text.parse().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn an_envoy_that_is_not_there_or_no_program_is_told_of_by_its_path() {
    let node = Node::new(Setup::default()).await;
    for (path, kind) in [
        (node.path("nowhere/envoy"), io::ErrorKind::NotFound),
        (node.path("ca.pem"), io::ErrorKind::PermissionDenied),
        ("no-program-has-this-name".into(), io::ErrorKind::NotFound),
    ] {
        let token = Some(TOKEN).filter(|_| !node.path("state/identity.json").exists());
        let mut config = node.config(token);
        config.envoy.path = path.clone();
        let error = node.live(config).end().await.unwrap_err();
        let AgentError::Envoy(EnvoyError::Start { path: told, source }) = error else { panic!("{error}") };
        assert_eq!((told, source.kind()), (path, kind));
    }
}

#[tokio::test]
async fn an_envoy_that_ends_at_once_with_a_shells_code_for_a_missing_program_is_not_taken_for_one() {
    let node = Node::new(Setup::default()).await;
    for code in [126, 127] {
        node.install(&format!("#!/bin/sh\nexit {code}\n"));
        let token = Some(TOKEN).filter(|_| code == 126);
        let outcome = node.live(node.config(token)).end().await.unwrap();
        assert_eq!(outcome, Outcome::Envoy(EnvoyEnd::Code(code)));
    }
    // It finds no command in its first argument, which is the bootstrap.
    let mut config = node.config(None);
    config.envoy.path = "sh".into();
    assert_eq!(node.live(config).end().await.unwrap(), Outcome::Envoy(EnvoyEnd::Code(126)));

    let log = Log::new();
    node.install("#!/nowhere/sh\n");
    let outcome = node.live(node.config(None)).end().await.unwrap();
    assert_eq!(outcome, Outcome::Envoy(EnvoyEnd::Code(127)));
    let lines = log.take("what it is run by is missing");
    assert!(matches!(&lines[..], [line] if line.contains("127")), "{lines:?}");
    assert!(fs::read_to_string(node.path("envoy.log")).unwrap().contains("not found"));
}

#[tokio::test]
async fn an_agent_that_is_told_to_end_before_its_first_certificate_ends_the_envoy_before_too() {
    let node = Node::new(Setup::default()).await;
    let before = node.left_behind(node.config(Some(TOKEN))).await;
    fs::remove_file(node.path("state/identity.json")).unwrap();
    let absent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = absent.local_addr().unwrap().to_string().parse().unwrap();
    let mut second = node.live(AgentConfig { server, ..node.config(Some(TOKEN)) });
    let (seen, _) = timeout(PATIENCE, absent.accept()).await.unwrap().unwrap();
    assert!(is_running(before.envoy_pid));
    second.stop().await;
    drop(seen);
    assert!(!is_running(before.envoy_pid) && !node.path("state/envoy.json").exists());
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
    assert!(matches!(error, AgentError::State(StateError::InUse(_))), "{error}");
    assert!(is_running(ready.envoy_pid));
    first.stop().await;
}

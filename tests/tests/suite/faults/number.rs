//! F20: a process gets the number of one that connected, while its connection waits.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Signal, kill_process};
use signet_tests::bed::{pair::Pair, trial::Trial};

use super::{RATE, flawless, until_logged};

/// The user that the number comes to.
const STRANGER: u32 = 54_321;

/// Connects, and says the opening of HTTP/2 as a process of the user that it is told. With `self` that is the process
/// that connected; with `other` one that got its number after it had ended. Prints how many bytes came back.
const SCRIPT: &str = r#"
import os, socket, sys

path, who, uid = sys.argv[1], sys.argv[2], int(sys.argv[3])

def speak(sds):
    os.setuid(uid)
    print(os.getpid(), flush=True)
    got = 0
    try:
        sds.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        got = len(sds.recv(100))
    except OSError:
        pass
    print(got, flush=True)
    os._exit(0)

def connected():
    sds = socket.socket(socket.AF_UNIX)
    number = os.fork()
    if number == 0:
        sds.connect(path)
        os._exit(0)
    assert os.waitpid(number, 0)[1] == 0
    return sds, number

if who == "self":
    sds = socket.socket(socket.AF_UNIX)
    sds.connect(path)
    speak(sds)
gone, _ = connected()
for attempt in range(100):
    sds, number = connected()
    with open("/proc/sys/kernel/ns_last_pid", "w") as last:
        last.write(str(number - 1))
    child = os.fork()
    if child == 0:
        if os.getpid() == number:
            speak(sds)
        os._exit(0)
    os.waitpid(child, 0)
    if child == number:
        sys.exit(0)
sys.exit("somebody else takes every number")
"#;

/// One who connects. What it is called by is what it printed first.
struct Talker(Child, BufReader<std::process::ChildStdout>);

impl Talker {
    fn start(socket: &Path, who: &str, uid: u32) -> Result<Self> {
        let mut child = Command::new("python3")
            .args(["-c", SCRIPT])
            .arg(socket)
            .args([who, &uid.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .context("python3 is not there")?;
        let mut said = BufReader::new(child.stdout.take().context("no pipe")?);
        let mut number = String::new();
        said.read_line(&mut number)?;
        ensure!(number.trim().parse::<u32>().is_ok(), "it says {number:?}");
        Ok(Self(child, said))
    }

    /// Bytes that came back.
    fn heard(mut self) -> Result<u32> {
        let mut said = String::new();
        self.1.read_to_string(&mut said)?;
        ensure!(self.0.wait()?.success(), "it failed");
        said.trim().parse().with_context(|| format!("it says {said:?}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f20_a_process_that_got_the_number_of_one_that_connected_is_turned_away_and_envoys_are_served_on()
-> Result<()> {
    let pair = Pair::start(RATE).await?;
    let mut trial = Trial::begin(&pair).await?;
    let node = &pair.server;
    let socket = &node.sidecar.ready.socket;
    let own = rustix::process::geteuid().as_raw();
    ensure!(Talker::start(socket, "self", own)?.heard()? > 0, "an allowed process is not answered");

    // The agent stands still, so that connections wait.
    let agent = node.sidecar.agent_pid().context("the agent runs")?;
    kill_process(agent, Signal::STOP)?;
    let talker = Talker::start(socket, "other", STRANGER);
    kill_process(agent, Signal::CONT)?;
    let heard = talker?.heard()?;
    ensure!(heard == 0, "{heard} bytes for a process that never connected");
    until_logged(node, &format!("runs as uid {STRANGER} now"), 1).await?;
    until_logged(node, "that connected has ended", 1).await?;
    trial.renewed(&pair).await?;
    println!("{}", flawless(trial, pair).await?);
    Ok(())
}

//! A process beside this one, which is this program too: it is given commands, one a line, and answers with lines.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use tokio::task::block_in_place;

use super::tls;

/// The process; it ends when this is dropped.
pub(super) struct Process {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    pub(super) fn start(args: &[&str]) -> Self {
        let own = std::env::current_exe().unwrap();
        let spawned = Command::new(own).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, commands, answers }
    }

    /// Clients of a server in this process.
    pub(super) fn clients() -> Self {
        let mut clients = Self::start(&["--client"]);
        clients.say(&tls::to_line());
        clients
    }

    pub(super) fn say(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    /// The answer to the command that it was given last.
    pub(super) fn hear(&mut self) -> String {
        let mut line = String::new();
        block_in_place(|| self.answers.read_line(&mut line)).unwrap();
        line.trim().to_owned()
    }

    /// Clients wait for one more message from now on.
    pub(super) fn expect_one(&mut self) {
        self.say("await");
        assert_eq!(self.hear(), "ready");
    }

    /// How long the command took that it was given last.
    pub(super) fn seconds(&mut self) -> f64 {
        self.hear().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

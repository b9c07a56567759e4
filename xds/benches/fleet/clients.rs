//! The process of the clients, as the server sees it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use tokio::task::block_in_place;

use super::tls;

/// The client process.
pub(super) struct Clients {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Clients {
    pub(super) fn start() -> Self {
        let own = std::env::current_exe().unwrap();
        let spawned = Command::new(own).arg("--client").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut clients = Self { child, commands, answers };
        clients.say(&tls::to_line());
        clients
    }

    pub(super) fn say(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    /// The answer to the command that they were given last.
    pub(super) fn hear(&mut self) -> String {
        let mut line = String::new();
        block_in_place(|| self.answers.read_line(&mut line)).unwrap();
        line.trim().to_owned()
    }

    /// The clients wait for one more message from now on.
    pub(super) fn expect_one(&mut self) {
        self.say("await");
        assert_eq!(self.hear(), "ready");
    }

    /// How long the command took that they were given last.
    pub(super) fn seconds(&mut self) -> f64 {
        self.hear().parse().unwrap()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

//! What goes wrong in a soak, and how it is made to.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tokio::{io::AsyncWriteExt as _, net::UnixStream, time::sleep};

use super::{
    Fault, Step, Who,
    stage::{NOBODY, Stage},
};
use crate::{Outsider, bed::ledger::verified};

/// What a client of HTTP/2 says first (RFC 9113, section 3.4), and settings without any.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// Between two cuts, and as long as somebody does not read.
const WHILE: Duration = Duration::from_millis(700);

impl Stage {
    /// Has something go wrong, to its end.
    pub(super) async fn wrong(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::KillServer { ms } => {
                let server = &mut self.pair.bed.server;
                server.kill().await?;
                sleep(Step::pause(ms)).await;
                verified(server)?;
                server.restart().await?;
                self.note_processes();
                Ok(())
            }
            Fault::StopServer { ms } => {
                self.pair.bed.server.signal(Signal::STOP)?;
                sleep(Step::pause(ms)).await;
                self.pair.bed.server.signal(Signal::CONT)
            }
            Fault::KillAgent { who, ms } => {
                let agent = self.agent(who);
                agent.sidecar.kill_agent().await?;
                sleep(Step::pause(ms)).await;
                agent.sidecar.restart_agent().await?;
                self.note_processes();
                Ok(())
            }
            Fault::StopAgent { who, ms } => {
                let agent = self.agent(who);
                agent.sidecar.signal(Signal::STOP)?;
                sleep(Step::pause(ms)).await;
                agent.sidecar.signal(Signal::CONT)
            }
            Fault::FullDisk { ms } => self.full(ms).await,
            Fault::CutStreams { times } => {
                for _ in 0..times {
                    self.cut()?;
                    sleep(WHILE).await;
                }
                Ok(())
            }
            Fault::SilentReader { who } => {
                let mut socket = UnixStream::connect(&self.agent(who).sidecar.ready.socket).await?;
                socket.write_all(PREFACE).await?;
                // It is there while everybody renews, and reads nothing.
                self.renewed().await
            }
            Fault::Revoke => {
                let bed = &self.pair.bed;
                Outsider::join(&bed.server, &bed.client, "m", NOBODY).await?;
                let identity = format!("spiffe://signet.internal/mesh/m/virtual-node/{NOBODY}");
                self.told(&["revoke", &identity, "--reason", "keyCompromise", "--wait", "30"])?;
                self.told(&["allow", &identity]).map(drop)
            }
            Fault::Herd => self.herd().await,
        }
    }

    async fn herd(&mut self) -> Result<()> {
        for _ in 0..3 {
            for who in [Who::Server, Who::Caller] {
                self.agent(who).sidecar.rotate()?;
            }
            sleep(WHILE / 10).await;
        }
        Ok(())
    }

    async fn full(&mut self, ms: u64) -> Result<()> {
        let disk = self.disk.as_ref().context("the server is on no disk of its own")?;
        disk.fill()?;
        for node in [&self.pair.server, &self.pair.caller] {
            node.sidecar.rotate()?;
        }
        sleep(Step::pause(ms)).await;
        disk.free()
    }

    /// Has the kernel cut every connection to the server's gRPC port.
    fn cut(&self) -> Result<()> {
        let address = self.pair.bed.server.grpc_address();
        let port = address.rsplit(':').next().context("no port")?;
        let cut = Command::new("ss")
            .args(["-K", "-t", "state", "established", "dport", "=", &format!(":{port}")])
            .output()?;
        ensure!(cut.status.success(), "ss -K: {}", String::from_utf8_lossy(&cut.stderr));
        Ok(())
    }
}

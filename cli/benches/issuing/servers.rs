//! Servers, each a process of its own.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use super::{
    limit,
    place::{self, MESH, Place},
};

/// A server that is stopped when this is dropped.
pub(super) struct Server {
    child: Child,
    /// Of gRPC.
    pub(super) port: u16,
    /// Where its API answers; empty where it has none.
    pub(super) api: String,
}

impl Server {
    /// `signet server` with a mesh in which everybody is a virtual node.
    pub(super) fn signet(place: &Place) -> Self {
        let (folder, binary) = (place.folder.path(), env!("CARGO_BIN_EXE_signet"));
        let data = folder.join("data");
        let mut command = Command::new(binary);
        command.arg("server").arg("--data-dir").arg(&data);
        for address in ["--api-addr", "--grpc-addr", "--ops-addr"] {
            command.args([address, "127.0.0.1:0"]);
        }
        command.stderr(File::create(folder.join("log")).unwrap());
        let (child, ready) = start(command);
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
        let address = |name: &str| ready[name].as_str().unwrap().to_owned();
        let mut declared = format!("meshName: {MESH}\n");
        for number in 0..place.identities.len() {
            let name = place::node(number).name.to_string();
            writeln!(declared, "---\nmeshName: {MESH}\nvirtualNodeName: {name}\nspec: {{}}").unwrap();
        }
        let file = folder.join("mesh.yaml");
        fs::write(&file, declared).unwrap();
        let applied = Command::new(binary)
            .args(["apply", "--yes", "--endpoint", &address("api"), "--file"])
            .arg(&file)
            .arg("--credentials")
            .arg(data.join("credentials"))
            .output()
            .unwrap();
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        let grpc = address("grpc");
        let port = grpc.rsplit(':').next().unwrap().parse().unwrap();
        Self { child, port, api: address("api") }
    }

    /// The node service alone, with or without a record of what it issues.
    pub(super) fn bare(place: &Place, records: &str) -> Self {
        let folder = place.folder.path().join(records);
        fs::create_dir(&folder).unwrap();
        let pem = |label: &str, ders: &[Vec<u8>]| {
            let blocks = ders.iter().map(|der| pem(label, der));
            blocks.collect::<String>()
        };
        fs::write(folder.join("chain.pem"), pem("CERTIFICATE", &place.server.chain)).unwrap();
        fs::write(folder.join("key.pem"), pem("PRIVATE KEY", std::slice::from_ref(&place.server.key)))
            .unwrap();
        fs::write(folder.join("root.pem"), pem("CERTIFICATE", std::slice::from_ref(&place.root))).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--bare").arg(&folder).arg(records).stdin(Stdio::piped());
        let (child, port) = start(command);
        Self { child, port: port.trim().parse().unwrap(), api: String::new() }
    }

    /// CPU that it had so far, in microseconds.
    pub(super) fn cpu_us(&self) -> f64 {
        limit::cpu_us(self.child.id())
    }
}

/// Starts a process, and waits for its first line.
fn start(mut command: Command) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| format!("{}\n", std::str::from_utf8(line).unwrap()));
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", lines.collect::<String>())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

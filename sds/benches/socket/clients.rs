//! The clients: as many connections as are asked for, with as little HTTP/2 as a server insists on.
//!
//! Lines on standard input: `expect BYTES` waits until every client has had one more message (of so many bytes, where
//! they are raw), says `ready` first and then the milliseconds; `ack` acknowledges what came last.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use prost::Message as _;
use signet_xds::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::{mpsc, watch},
    task::block_in_place,
    time::{Instant, interval},
};

/// The process of the clients, as the server's process sees it.
pub(super) struct Clients {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Clients {
    /// Connects; returns when every client has had a first message, or is connected where they are raw.
    pub(super) fn start(socket: &Path, count: usize, is_raw: bool) -> Self {
        let (own, kind) = (std::env::current_exe().unwrap(), if is_raw { "raw" } else { "grpc" });
        let mut command = Command::new(own);
        command.arg("--clients").arg(socket).args([&count.to_string(), kind]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, commands, answers: BufReader::new(answers) }
    }

    pub(super) fn hear(&mut self) -> String {
        let mut line = String::new();
        block_in_place(|| self.answers.read_line(&mut line)).unwrap();
        assert!(!line.is_empty(), "the clients have ended");
        line.trim().to_owned()
    }

    fn say(&mut self, line: &str) {
        writeln!(self.commands, "{line}").unwrap();
    }

    /// From now on one more message is waited for.
    pub(super) fn expect(&mut self, bytes: usize) {
        self.say(&format!("expect {bytes}"));
        assert_eq!(self.hear(), "ready");
    }

    /// How long the last client waited for it.
    pub(super) fn millis(&mut self) -> f64 {
        self.hear().parse().unwrap()
    }

    pub(super) fn acknowledge(&mut self) {
        self.say("ack");
        assert_eq!(self.hear(), "done");
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

fn request(answered: &DiscoveryResponse) -> Vec<u8> {
    let request = DiscoveryRequest {
        resource_names: vec!["default".to_owned()],
        version_info: answered.version_info.clone(),
        response_nonce: answered.nonce.clone(),
        ..Default::default()
    };
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    frame(0, 0, 1, &[&[0], &length[..], &message].concat())
}

/// Preface, settings, the widest windows, and a stream that asks for `default`.
fn opening() -> Vec<u8> {
    let settings = frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let window = frame(8, 0, 0, &[0x7f, 0xff, 0, 0]);
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let headers: Vec<u8> =
        headers.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect();
    let first = request(&DiscoveryResponse::default());
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), settings, window, frame(1, 4, 1, &headers), first].concat()
}

/// What a client says: so many messages, or bytes, so far.
type Progress = (usize, usize);

async fn grpc(
    number: usize,
    mut stream: UnixStream,
    mut acks: watch::Receiver<u64>,
    progress: mpsc::UnboundedSender<Progress>,
) {
    stream.write_all(&opening()).await.unwrap();
    let (mut frames, mut data, mut count) = (Vec::new(), Vec::new(), 0);
    let mut last = DiscoveryResponse::default();
    let mut bytes = vec![0; 16 << 10];
    loop {
        tokio::select! {
            read = stream.read(&mut bytes) => {
                let Ok(read @ 1..) = read else { return };
                frames.extend_from_slice(&bytes[..read]);
            }
            Ok(()) = acks.changed() => {
                stream.write_all(&request(&last)).await.unwrap();
                continue;
            }
        }
        while let Some((payload, kind, flags, rest)) = next_frame(&frames) {
            match (kind, flags & 1) {
                (0, _) => data.extend_from_slice(payload),
                (4, 0) => stream.write_all(&frame(4, 1, 0, &[])).await.unwrap(),
                (6, 0) => stream.write_all(&frame(6, 1, 0, payload)).await.unwrap(),
                _ => {}
            }
            frames.drain(..rest);
        }
        while let Some(length) = data.get(1..5).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap())) {
            let end = 5 + usize::try_from(length).unwrap();
            let Some(message) = data.get(5..end) else { break };
            // The limit's messages are no protobuf.
            last = DiscoveryResponse::decode(message).unwrap_or_default();
            data.drain(..end);
            count += 1;
            progress.send((number, count)).unwrap();
        }
    }
}

/// Payload, kind and flags of the first whole frame, and where the next one begins.
fn next_frame(bytes: &[u8]) -> Option<(&[u8], u8, u8, usize)> {
    let header: &[u8; 9] = bytes.get(..9)?.try_into().ok()?;
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
    let end = 9 + usize::try_from(length).unwrap();
    Some((bytes.get(9..end)?, header[3], header[4], end))
}

async fn raw(number: usize, mut stream: UnixStream, progress: mpsc::UnboundedSender<Progress>) {
    let (mut bytes, mut count) = (vec![0; 16 << 10], 0);
    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
        count += read;
        progress.send((number, count)).unwrap();
    }
}

/// A full backlog is not waited for by the kernel (unix(7)).
async fn connect(socket: &str) -> UnixStream {
    let mut pulse = interval(Duration::from_millis(1));
    loop {
        pulse.tick().await;
        match UnixStream::connect(socket).await {
            Ok(stream) => return stream,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The process itself.
#[tokio::main(flavor = "current_thread")]
pub(super) async fn run(socket: &str, count: usize, is_raw: bool) {
    let (sender, mut lines) = mpsc::unbounded_channel();
    // Standard input has no other reader, and the process ends with it.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            sender.send(line).ok();
        }
        std::process::exit(0);
    });
    let (acknowledge, acks) = watch::channel(0);
    let (said, mut progress) = mpsc::unbounded_channel();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        let stream = connect(socket).await;
        match is_raw {
            true => tasks.spawn(raw(number, stream, said.clone())),
            false => tasks.spawn(grpc(number, stream, acks.clone(), said.clone())),
        };
    }
    let mut totals = vec![0; count];
    while !is_raw && totals.contains(&0) {
        let (number, total) = progress.recv().await.unwrap();
        totals[number] = total;
    }
    println!("connected");
    while let Some(line) = lines.recv().await {
        if line == "ack" {
            acknowledge.send_modify(|number| *number += 1);
            println!("done");
            continue;
        }
        let bytes: usize = line.strip_prefix("expect ").unwrap().parse().unwrap();
        let step = if is_raw { bytes } else { 1 };
        let wanted: Vec<usize> = totals.iter().map(|total| total + step).collect();
        println!("ready");
        let (start, mut missing) = (Instant::now(), count);
        while missing > 0 {
            let (number, total) = progress.recv().await.unwrap();
            missing -= usize::from(totals[number] < wanted[number] && total >= wanted[number]);
            totals[number] = total;
        }
        println!("{}", start.elapsed().as_secs_f64() * 1e3);
    }
}

//! The clients: as many connections as are asked for, with as little HTTP/2 as a server insists on. Whoever serves them,
//! they do the same with what comes.
//!
//! Lines on standard input: `expect` waits until every client has had one more message, says `ready` first and then the
//! milliseconds; `ack` acknowledges what came last.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prost::Message as _;
use signet_xds::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use tokio::{
    io::AsyncWriteExt as _,
    net::UnixStream,
    sync::{mpsc, watch},
    task::block_in_place,
    time::{Instant, interval},
};

/// How clients of a server open their streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// They say nothing.
    Raw,
    /// They ask for `default`.
    Own,
    /// Each asks for a secret of its own, as [`name`] has it.
    Each,
}

impl Kind {
    const ALL: [(&str, Self); 3] = [("raw", Self::Raw), ("own", Self::Own), ("each", Self::Each)];
}

/// The workload whose identity a client asks for.
pub(super) fn name(number: usize) -> String {
    format!("service-{number:05}")
}

/// The process of the clients, as the server's process sees it.
pub(super) struct Clients {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Clients {
    /// Connects; returns when every client has had a first message, or is connected where they are raw.
    pub(super) fn start(socket: &Path, count: usize, kind: Kind) -> Self {
        let (kind, _) = Kind::ALL.into_iter().find(|(_, known)| *known == kind).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
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
    pub(super) fn expect(&mut self) {
        self.say("expect");
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

/// A frame of HTTP/2.
pub(super) fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A request for a secret, or the answer to a response.
fn request(secret: &str, answered: &DiscoveryResponse) -> Vec<u8> {
    let request = DiscoveryRequest {
        resource_names: vec![secret.to_owned()],
        version_info: answered.version_info.clone(),
        response_nonce: answered.nonce.clone(),
        ..Default::default()
    };
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    frame(0, 0, 1, &[&[0], &length[..], &message].concat())
}

/// Preface, settings, the widest windows, and a stream that asks for a secret.
fn opening(secret: &str) -> Vec<u8> {
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
    let first = request(secret, &DiscoveryResponse::default());
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), settings, window, frame(1, 4, 1, &headers), first].concat()
}

/// What a client says: so many messages so far.
type Progress = (usize, usize);

/// Where all clients read to, one after the other: the less they touch, the less they are in the server's way.
static BUFFER: Mutex<[u8; 64 << 10]> = Mutex::new([0; 64 << 10]);

/// What has arrived at one client.
#[derive(Default)]
struct Arrived {
    frames: Vec<u8>,
    data: Vec<u8>,
    /// The newest whole message.
    last: Vec<u8>,
    count: usize,
}

impl Arrived {
    /// Takes in what can be read now; gives what is to be said to it, or nothing when the server has gone.
    fn read(&mut self, stream: &UnixStream) -> Option<Vec<u8>> {
        let mut buffer = BUFFER.lock().unwrap_or_else(PoisonError::into_inner);
        match stream.try_read(&mut *buffer) {
            Ok(read @ 1..) => self.frames.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(Vec::new()),
            Ok(0) | Err(_) => return None,
        }
        let (mut at, mut answer) = (0, Vec::new());
        while let Some((payload, kind, flags, length)) = next_frame(&self.frames[at..]) {
            match (kind, flags & 1) {
                (0, _) => self.data.extend_from_slice(payload),
                (4, 0) => answer.extend(frame(4, 1, 0, &[])),
                (6, 0) => answer.extend(frame(6, 1, 0, payload)),
                _ => {}
            }
            at += length;
        }
        self.frames.drain(..at);
        while let Some(length) = self.data.get(1..5) {
            let end = 5 + usize::try_from(u32::from_be_bytes(length.try_into().unwrap())).unwrap();
            let Some(message) = self.data.get(5..end) else { break };
            self.last.clear();
            self.last.extend_from_slice(message);
            self.data.drain(..end);
            self.count += 1;
        }
        Some(answer)
    }
}

async fn client(
    number: usize,
    mut stream: UnixStream,
    kind: Kind,
    mut acks: watch::Receiver<u64>,
    progress: mpsc::UnboundedSender<Progress>,
) {
    let secret = match kind {
        Kind::Raw | Kind::Own => "default".to_owned(),
        Kind::Each => format!("spiffe://signet.internal/mesh/bench/virtual-node/{}", name(number)),
    };
    if kind != Kind::Raw {
        stream.write_all(&opening(&secret)).await.unwrap();
    }
    let mut arrived = Arrived::default();
    loop {
        tokio::select! {
            ready = stream.readable() => {
                ready.unwrap();
                let before = arrived.count;
                let Some(answer) = arrived.read(&stream) else { return };
                if !answer.is_empty() {
                    stream.write_all(&answer).await.unwrap();
                }
                if arrived.count > before {
                    progress.send((number, arrived.count)).unwrap();
                }
            }
            Ok(()) = acks.changed() => {
                let last = DiscoveryResponse::decode(&*arrived.last).unwrap();
                stream.write_all(&request(&secret, &last)).await.unwrap();
            }
        }
    }
}

/// Payload, kind and flags of the first whole frame, and its length.
fn next_frame(bytes: &[u8]) -> Option<(&[u8], u8, u8, usize)> {
    let header: &[u8; 9] = bytes.get(..9)?.try_into().ok()?;
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
    let end = 9 + usize::try_from(length).unwrap();
    Some((bytes.get(9..end)?, header[3], header[4], end))
}

/// A full backlog is not waited for by the kernel (unix(7)).
async fn connect(socket: &str) -> UnixStream {
    let mut pulse = interval(Duration::from_millis(1));
    loop {
        pulse.tick().await;
        match UnixStream::connect(socket).await {
            Ok(stream) => return stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The process itself.
#[tokio::main(flavor = "current_thread")]
pub(super) async fn run(socket: &str, count: usize, kind: &str) {
    let (_, kind) = Kind::ALL.into_iter().find(|(known, _)| *known == kind).unwrap();
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
        tasks.spawn(client(number, stream, kind, acks.clone(), said.clone()));
    }
    let mut totals = vec![0; count];
    while kind != Kind::Raw && totals.contains(&0) {
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
        assert_eq!(line, "expect");
        let wanted: Vec<usize> = totals.iter().map(|total| total + 1).collect();
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

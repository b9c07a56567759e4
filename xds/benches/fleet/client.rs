//! The clients, in a process of their own: as little HTTP/2 as an Envoy can be imitated with.
//!
//! Commands on standard input, one a line: `open PORT COUNT sotw|delta|raw tls|plain` connects and asks for all
//! clusters, `await` waits until every client has had one more whole message (`ready` says that it does), `ack`
//! acknowledges what came last. Each is answered by a line.

use std::{io::BufRead as _, sync::Arc, time::Duration};

use prost::Message as _;
use signet_xds::{
    ResourceType,
    pb::envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::tls;

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What a client says: its number, and so many messages in all, at this moment.
type Progress = (usize, usize, Instant);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// Of a response, what has its nonce.
const HEAD: usize = 256;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HPACK without tables: a literal that is not indexed.
fn header(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    assert!(name.len() < 127 && value.len() < 127);
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

fn data(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    frame(DATA, 0, 1, &[&[0], &length[..], message].concat())
}

fn hello(is_sotw: bool) -> Vec<u8> {
    // A window as large as there is, so that no client ever has to open it.
    let window = 0x7fff_ffff_u32;
    let settings = [&[0, 4], &window.to_be_bytes()[..]].concat();
    let more = window - 65_535;
    let method = if is_sotw { "StreamAggregatedResources" } else { "DeltaAggregatedResources" };
    let path = format!("/envoy.service.discovery.v3.AggregatedDiscoveryService/{method}");
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &path),
        (":authority", "bench"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let headers: Vec<u8> = headers.iter().flat_map(|(name, value)| header(name, value)).collect();
    let (node, type_url) =
        (Some(Node { id: "n".into(), ..Default::default() }), ResourceType::Cluster.type_url().into());
    let request = match is_sotw {
        true => DiscoveryRequest { node, type_url, ..Default::default() }.encode_to_vec(),
        false => DeltaDiscoveryRequest { node, type_url, ..Default::default() }.encode_to_vec(),
    };
    [
        PREFACE.to_vec(),
        frame(SETTINGS, 0, 0, &settings),
        frame(8, 0, 0, &more.to_be_bytes()),
        frame(1, 4, 1, &headers),
        data(&request),
    ]
    .concat()
}

fn ack(nonce: &str, is_sotw: bool) -> Vec<u8> {
    let (type_url, response_nonce) = (ResourceType::Cluster.type_url().to_owned(), nonce.to_owned());
    data(&match is_sotw {
        true => DiscoveryRequest { type_url, response_nonce, ..Default::default() }.encode_to_vec(),
        false => DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() }.encode_to_vec(),
    })
}

/// The nonce in the head of a response: field 5, which our server writes after the type.
fn nonce(head: &[u8]) -> Option<String> {
    let url = ResourceType::Cluster.type_url().as_bytes();
    let at = head.windows(url.len()).position(|window| window == url)? + url.len();
    let length = usize::from(*head.get(at + 1)?);
    (*head.get(at)? == 0x2a).then(|| String::from_utf8_lossy(&head[at + 2..at + 2 + length]).into_owned())
}

/// The gRPC messages of one client, counted.
#[derive(Default)]
struct Messages {
    frame: Vec<u8>,
    /// What the message that is arriving still lacks.
    left: usize,
    /// As much of the newest message as has its nonce.
    head: Vec<u8>,
    whole: usize,
}

impl Messages {
    fn take(&mut self, mut payload: &[u8]) {
        while !payload.is_empty() {
            if self.left == 0 {
                let (frame, rest) = payload.split_at(payload.len().min(5 - self.frame.len()));
                self.frame.extend_from_slice(frame);
                payload = rest;
                if let [_, length @ ..] = &*self.frame
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    self.left = usize::try_from(u32::from_be_bytes(length)).unwrap();
                    self.frame.clear();
                    self.head.clear();
                }
            } else {
                let (part, rest) = payload.split_at(payload.len().min(self.left));
                self.head.extend_from_slice(&part[..part.len().min(HEAD - self.head.len())]);
                self.left -= part.len();
                self.whole += usize::from(self.left == 0);
                payload = rest;
            }
        }
    }
}

/// One client until its connection ends.
async fn client(
    number: usize,
    mut io: Box<dyn Io>,
    variant: String,
    mut acks: watch::Receiver<u64>,
    progress: mpsc::UnboundedSender<Progress>,
) -> Option<()> {
    let is_sotw = variant == "sotw";
    if variant != "raw" {
        io.write_all(&hello(is_sotw)).await.ok()?;
        io.flush().await.ok()?;
    }
    let (mut buffer, mut messages) = (Vec::<u8>::new(), Messages::default());
    let mut chunk = vec![0; 64 << 10];
    acks.mark_unchanged();
    loop {
        tokio::select! {
            read = io.read(&mut chunk) => {
                let count = read.ok().filter(|count| *count > 0)?;
                buffer.extend_from_slice(&chunk[..count]);
                let (mut at, before) = (0, messages.whole);
                while let Some(head) = buffer.get(at..at + 9) {
                    let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
                    let (kind, flags) = (head[3], head[4]);
                    let Some(payload) = buffer.get(at + 9..at + 9 + length) else { break };
                    match kind {
                        DATA => messages.take(payload),
                        SETTINGS if flags == 0 => io.write_all(&frame(SETTINGS, 1, 0, &[])).await.ok()?,
                        PING if flags == 0 => io.write_all(&frame(PING, 1, 0, payload)).await.ok()?,
                        _ => {}
                    }
                    at += 9 + length;
                }
                buffer.drain(..at);
                if messages.whole > before {
                    progress.send((number, messages.whole, Instant::now())).ok()?;
                }
            }
            changed = acks.changed() => {
                changed.ok()?;
                let nonce = nonce(&messages.head).unwrap();
                io.write_all(&ack(&nonce, is_sotw)).await.ok()?;
                io.flush().await.ok()?;
            }
        }
    }
}

struct Clients {
    tasks: JoinSet<Option<()>>,
    acks: watch::Sender<u64>,
    progress: mpsc::UnboundedReceiver<Progress>,
    totals: Vec<usize>,
    /// How many messages every client has to have had.
    wanted: usize,
}

impl Clients {
    async fn open(port: u16, count: usize, variant: &str, is_tls: bool) -> (Self, Duration) {
        let start = Instant::now();
        let (sender, progress) = mpsc::unbounded_channel();
        let acks = watch::Sender::new(0);
        let gate = Arc::new(Semaphore::new(128));
        let connector = is_tls.then(tls::connector);
        let mut connecting = JoinSet::new();
        for number in 0..count {
            let (gate, connector) = (gate.clone(), connector.clone());
            connecting.spawn(async move {
                let _place = gate.acquire_owned().await.unwrap();
                let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tcp.set_nodelay(true).unwrap();
                let io: Box<dyn Io> = match connector {
                    None => Box::new(tcp),
                    Some(connector) => Box::new(connector.connect(tls::name(), tcp).await.unwrap()),
                };
                (number, io)
            });
        }
        let mut tasks = JoinSet::new();
        while let Some(connected) = connecting.join_next().await {
            let (number, io) = connected.unwrap();
            tasks.spawn(client(number, io, variant.to_owned(), acks.subscribe(), sender.clone()));
        }
        (Self { tasks, acks, progress, totals: vec![0; count], wanted: 0 }, start.elapsed())
    }

    /// How long after `start` the last of them had it.
    async fn all_have_one_more(&mut self, start: Instant) -> Duration {
        self.wanted += 1;
        let mut last = start;
        let mut missing = self.totals.iter().filter(|total| **total < self.wanted).count();
        while missing > 0 {
            let (number, total, at) = self.progress.recv().await.unwrap();
            if self.totals[number] < self.wanted && total >= self.wanted {
                missing -= 1;
                last = at;
            }
            self.totals[number] = total;
        }
        last - start
    }
}

#[tokio::main(flavor = "current_thread")]
pub(super) async fn run() {
    let (sender, mut lines) = mpsc::unbounded_channel();
    // Standard input has no other reader, and the process ends with it.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            sender.send(line).ok();
        }
    });
    tls::from_line(&lines.recv().await.unwrap());
    let mut clients = None;
    while let Some(line) = lines.recv().await {
        match *line.split_whitespace().collect::<Vec<_>>() {
            ["open", port, count, variant, security] => {
                let (opened, took) =
                    Clients::open(port.parse().unwrap(), count.parse().unwrap(), variant, security == "tls")
                        .await;
                println!("{}", took.as_secs_f64());
                clients = Some(opened);
            }
            ["await"] => {
                // Before anybody knows that it may begin: what a process that is not run misses is counted too.
                let start = Instant::now();
                println!("ready");
                let clients: &mut Clients = clients.as_mut().unwrap();
                println!("{}", clients.all_have_one_more(start).await.as_secs_f64());
            }
            ["ack"] => {
                let clients: &mut Clients = clients.as_mut().unwrap();
                clients.acks.send_modify(|count| *count += 1);
                println!("{}", clients.tasks.len());
            }
            _ => panic!("{line:?} is no command"),
        }
    }
}

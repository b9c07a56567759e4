//! A resolver that knows what a test tells it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use tokio::{net::UdpSocket, task::JoinSet};

/// Of every answer, in seconds: what changes is asked for again soon.
const TTL: u32 = 1;
const A: u16 = 1;
const AAAA: u16 = 28;

type Names = Arc<Mutex<BTreeMap<String, Vec<IpAddr>>>>;

/// A running resolver. It ends when dropped.
#[derive(Debug)]
pub struct Resolver {
    names: Names,
    _tasks: JoinSet<()>,
}

impl Resolver {
    /// Starts one on each address.
    ///
    /// # Errors
    /// One is taken.
    pub async fn start(addresses: &[&str]) -> Result<Self> {
        let names = Names::default();
        let mut tasks = JoinSet::new();
        for address in addresses {
            let address: SocketAddr = address.parse()?;
            let socket = UdpSocket::bind(address).await.with_context(|| format!("cannot bind {address}"))?;
            tasks.spawn(serve(socket, names.clone()));
        }
        Ok(Self { names, _tasks: tasks })
    }

    /// From now on a name has these addresses.
    pub fn set(&self, name: &str, addresses: &[IpAddr]) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned(), addresses.to_vec());
    }
}

async fn serve(socket: UdpSocket, names: Names) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let query = buffer.get(..length).unwrap_or_default();
        if let Some(answer) = answer(query, &names) {
            drop(socket.send_to(&answer, from).await);
        }
    }
}

/// Of one question; `None` for what is none.
fn answer(query: &[u8], names: &Names) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let question = query.get(12..at + 4)?;
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let found = names.lock().unwrap_or_else(PoisonError::into_inner).get(&labels.join(".")).cloned();
    // NXDOMAIN for a name that nobody knows.
    let code = if found.is_some() { 0x80 } else { 0x83 };
    let data: Vec<(u16, Vec<u8>)> = found
        .into_iter()
        .flatten()
        .map(|address| match address {
            IpAddr::V4(address) => (A, address.octets().to_vec()),
            IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
        })
        .filter(|(of, _)| *of == kind)
        .collect();
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x85, code, 0, 1]);
    answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    answer.extend(question);
    for (of, bytes) in data {
        answer.extend([0xc0, 12]);
        answer.extend(of.to_be_bytes());
        answer.extend([0, 1]);
        answer.extend(TTL.to_be_bytes());
        answer.extend(u16::try_from(bytes.len()).ok()?.to_be_bytes());
        answer.extend(bytes);
    }
    Some(answer)
}

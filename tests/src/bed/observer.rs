//! An independent client that writes down what listeners present, handshake by handshake.
//!
//! Each handshake stops once the server has proven that it holds its certificate's key, so that Envoy counts neither a
//! handshake nor an error. What is seen is judged by this process's clock and by nothing of Signet's.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use signet::local::probe::serial_of;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// Between two handshakes with one listener.
const PACE: Duration = Duration::from_millis(20);
/// How long one handshake may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// A flight of a server is shorter than this, in bytes.
const BUFFER: usize = 16 * 1024;
/// Words that are kept of what went wrong; the rest is only counted.
const KEPT: usize = 20;

/// What one listener presented.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Handshakes that came to a proven certificate.
    pub handshakes: u64,
    /// Handshakes that did not.
    pub missed: u64,
    /// The first of those, in words.
    pub misses: Vec<String>,
    /// Handshakes that presented what had ended, or what had not begun.
    pub untimely: u64,
    /// The first of those, in words.
    pub untimely_ones: Vec<String>,
    /// When each serial was seen first, in lower-case hexadecimal without leading zeros.
    pub first_seen: BTreeMap<String, Instant>,
    /// The serial that was seen last.
    pub last: Option<String>,
}

impl Observed {
    /// Every serial that was seen.
    #[must_use]
    pub fn serials(&self) -> BTreeSet<String> {
        self.first_seen.keys().cloned().collect()
    }

    fn take(&mut self, seen: Result<Seen>, now: SystemTime) {
        let Seen { serial, not_before, not_after } = match seen {
            Ok(seen) => seen,
            Err(missed) => {
                self.missed += 1;
                self.misses.extend((self.misses.len() < KEPT).then(|| format!("{missed:#}")));
                return;
            }
        };
        self.handshakes += 1;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        if !(not_before..=not_after).contains(&now) {
            self.untimely += 1;
            let words = || format!("{serial} from {not_before} to {not_after} was presented at {now}");
            self.untimely_ones.extend((self.untimely_ones.len() < KEPT).then(words));
        }
        self.first_seen.entry(serial.clone()).or_insert_with(Instant::now);
        self.last = Some(serial);
    }
}

/// Watches listeners until it is stopped or dropped.
pub struct Observer {
    observed: BTreeMap<SocketAddr, Arc<Mutex<Observed>>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Observer {
    /// Starts to shake hands with each listener, fifty times a second; `now` tells the time of what is judged.
    #[must_use]
    pub fn start(listeners: &[SocketAddr], now: &signet_policies::time::Clock) -> Self {
        let mut observer =
            Self { observed: BTreeMap::new(), stop: CancellationToken::new(), tasks: JoinSet::new() };
        for address in listeners {
            let observed = Arc::<Mutex<Observed>>::default();
            observer.observed.insert(*address, observed.clone());
            let (address, now, stop) = (*address, Arc::clone(now), observer.stop.clone());
            observer.tasks.spawn(async move {
                let mut pulse = interval(PACE);
                pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while stop.run_until_cancelled(pulse.tick()).await.is_some() {
                    let seen = look(address).await;
                    observed.lock().unwrap_or_else(PoisonError::into_inner).take(seen, now());
                }
            });
        }
        observer
    }

    /// What a listener presented so far; nothing where it is not watched.
    #[must_use]
    pub fn observed(&self, listener: SocketAddr) -> Observed {
        let observed = self.observed.get(&listener);
        observed.map(|all| all.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    /// Ends, and tells what each listener presented.
    pub async fn stop(mut self) -> BTreeMap<SocketAddr, Observed> {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.observed.keys().map(|address| (*address, self.observed(*address))).collect()
    }
}

/// The serial number that a listener presents now, as [`Observed::first_seen`] has it.
///
/// # Errors
/// There is no handshake.
pub async fn presented(listener: SocketAddr) -> Result<String> {
    Ok(look(listener).await?.serial)
}

/// A certificate whose key was proven.
struct Seen {
    serial: String,
    /// In seconds since the epoch.
    not_before: i64,
    not_after: i64,
}

async fn look(address: SocketAddr) -> Result<Seen> {
    let shaken = timeout(DEADLINE, shake(address)).await;
    let leaf = shaken.map_err(|_| anyhow!("no answer within {} s", DEADLINE.as_secs()))??;
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf)?;
    let life = parsed.validity();
    let (not_before, not_after) = (life.not_before.timestamp(), life.not_after.timestamp());
    Ok(Seen { serial: serial_of(&leaf)?, not_before, not_after })
}

async fn shake(address: SocketAddr) -> Result<CertificateDer<'static>> {
    let witness = Arc::new(Witness::default());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(witness.clone())
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), ServerName::from(address.ip()))?;
    let mut tcp = TcpStream::connect(address).await.context("connect")?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut out = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut out)?;
        }
        tcp.write_all(&out).await.context("handshake")?;
        let length = tcp.read(&mut buffer).await.context("handshake")?;
        if length == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).context("handshake");
        }
        let mut unread = buffer.get(..length).unwrap_or_default();
        while !unread.is_empty() {
            tls.read_tls(&mut unread)?;
            let processed = tls.process_new_packets();
            if let Some(leaf) = witness.proven() {
                return Ok(leaf);
            }
            processed?;
        }
    }
}

/// Takes any certificate, and ends the handshake when its key is proven.
#[derive(Debug, Default)]
struct Witness {
    seen: Mutex<Option<CertificateDer<'static>>>,
    proven: Mutex<Option<CertificateDer<'static>>>,
}

impl Witness {
    fn proven(&self) -> Option<CertificateDer<'static>> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn conclude(
        &self,
        proof: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        proof?;
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Err(Error::General("what was to be seen has been seen".to_owned()))
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _above: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(leaf.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        self.conclude(verify_tls12_signature(message, leaf, signed, &algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        self.conclude(verify_tls13_signature(message, leaf, signed, &algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_presented_after_its_end_is_told_and_a_miss_is_no_handshake() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let seen = || Ok(Seen { serial: "7".to_owned(), not_before: 100, not_after: 200 });
        let mut observed = Observed::default();
        for (moment, untimely) in [(100, 0), (200, 0), (201, 1), (99, 2)] {
            observed.take(seen(), at(moment));
            assert_eq!(observed.untimely, untimely, "at {moment}");
        }
        observed.take(Err(anyhow!("connection refused")), at(150));
        assert_eq!((observed.handshakes, observed.missed), (4, 1));
        assert_eq!(observed.serials(), ["7".to_owned()].into());
    }
}

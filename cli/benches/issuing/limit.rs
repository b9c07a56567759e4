//! What nobody can do without: the proof of possession is verified, and the certificate signed.

use std::{
    fs,
    hint::black_box,
    time::{Duration, UNIX_EPOCH},
};

use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
    },
};
use rustix::time::{ClockId, clock_gettime};

const CALLS: u32 = 500;
/// Before these are measured, so that code and tables are in the caches.
const WARM_UP: u32 = 50;
/// About as long as what is signed of a request, and of a leaf.
const MESSAGE: [u8; 400] = [7; 400];

pub(super) struct Limit {
    random: SystemRandom,
    key: EcdsaKeyPair,
    signature: Vec<u8>,
}

impl Limit {
    pub(super) fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let signature = key.sign(&random, &MESSAGE).unwrap().as_ref().to_vec();
        Self { random, key, signature }
    }

    /// CPU of one verification and one signature, in microseconds.
    pub(super) fn cpu_us(&self) -> f64 {
        self.run(WARM_UP);
        let before = own_cpu();
        self.run(CALLS);
        (own_cpu() - before).as_secs_f64() * 1e6 / f64::from(CALLS)
    }

    fn run(&self, calls: u32) {
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.key.public_key());
        for _ in 0..calls {
            public.verify(&MESSAGE, &self.signature).unwrap();
            black_box(self.key.sign(&self.random, &MESSAGE).unwrap());
        }
    }
}

/// CPU that this thread had so far. Its schedstat does not say: of a thread that runs, that is as old as the last tick.
fn own_cpu() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// CPU that the threads of another process had so far, in microseconds; it should be idle now.
pub(super) fn cpu_us(process: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_thread = |path: std::path::PathBuf| schedstat(path.join("schedstat").to_str()?);
    threads.filter_map(|thread| of_thread(thread.ok()?.path())).sum()
}

/// CPU time in microseconds (proc_pid_schedstat).
fn schedstat(path: &str) -> Option<f64> {
    let nanoseconds: f64 = fs::read_to_string(path).ok()?.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1e3)
}

/// Seconds since the epoch.
pub(super) fn now() -> f64 {
    signet::clock()().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

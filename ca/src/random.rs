//! Where serials and tokens come from.

use std::sync::{Arc, Mutex, PoisonError};

use rand::{CryptoRng, RngCore, SeedableRng, rngs::StdRng};

/// A source of random bytes, made once and passed in. Clones draw from the same source.
///
/// Keys and signatures do not draw from it: ring takes those from the system itself.
#[derive(Clone)]
pub struct Random(Arc<Mutex<dyn CryptoRng + Send>>);

impl Random {
    /// A generator that cannot be foreseen, seeded by the system.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_rng(&mut rand::rng()))))
    }

    /// A generator whose draws anybody can repeat who knows the seed. For tests only.
    #[must_use]
    pub fn dangerously_from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Fills an array.
    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }
}

/// A generator's state foretells its draws.
impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random(elided)")
    }
}

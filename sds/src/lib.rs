//! The secrets a proxy holds: made, rotated, verified and served over SDS.
//!
//! ```text
//!              request (PKCS #10)                             ┌▶ keeper (survives a restart)
//!  rotator ──────────────────────▶ Signer (port)              │
//!  (one task, a fresh key        ◀────────────── verify ──▶ Secrets ──watch──▶ translate ──▶ server ══ Envoy
//!   per certificate)                chain, bundle                                            │ ▲
//!                                            deliveries: who holds what ◀──────────────────────┘ attest: who is there
//! ```
//!
//! Invariants:
//! - Only [`verify::verify`] makes [`secret::Secrets`]: what is published has the key that was made for it, the
//!   one identity that was asked for, and a path to its own bundle for both ends of a connection.
//! - A valid certificate is never given up before a better one is at hand; an expired one is never sent.
//! - A private key leaves this process only on the socket, to a peer whose user the kernel vouches for, and by
//!   the keeper that its owner passed in. It is in no log and no `Debug`.
//! - Nothing here knows the CA, the mesh or the environment.

pub mod attest;
pub mod deliveries;
pub mod keypair;
pub mod rotator;
pub mod secret;
pub mod server;
pub mod signer;
pub mod socket;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod translate;
pub mod verify;

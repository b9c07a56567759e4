//! What each kind of certificate looks like (RFC 5280, SPIFFE X509-SVID).
//!
//! | | root | issuer | leaf |
//! |---|---|---|---|
//! | life | 10 years | 1 year | 24 hours, or what was granted |
//! | subject | `O=Signet, CN=root <key id>` | `O=Signet, CN=<mesh> <key id>` | none |
//! | URI SAN | the trust domain | the trust domain | the one SPIFFE ID |
//! | DNS SAN | – | – | what was granted |
//! | basic constraints | CA, path length 1 | CA, path length 0 | – |
//! | key usage | keyCertSign, cRLSign | keyCertSign, cRLSign | digitalSignature |
//! | extended key usage | – | – | serverAuth, clientAuth |

mod ca;
mod der;
mod leaf;
mod named;

use std::time::Duration;

pub(crate) use ca::{issuer, request, root};
#[cfg(test)]
pub(crate) use leaf::faults;
pub(crate) use leaf::{Leaf, Template};
pub(crate) use named::{Above, revocation_list};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Life of a root.
pub const ROOT_LIFE: Duration = DAY.saturating_mul(3650);
/// Life of an issuer, where the root lives as long.
pub const ISSUER_LIFE: Duration = DAY.saturating_mul(365);
/// How far a leaf's start lies before its issue, for peers whose clocks are slow.
pub const BACKDATE: Duration = Duration::from_secs(60);
/// The same of an authority's certificate, as far as the one above it reaches. A leaf never begins outside of its chain, so
/// this is how far the server's clock may be set back while a young authority goes on issuing.
pub const AUTHORITY_BACKDATE: Duration = DAY;

/// How far a leaf's start lies before its issue: [`BACKDATE`], which is a fifth of the shortest life that may be asked
/// for, and no more than a fifth of a shorter one: it would be due for renewal when it is issued.
pub(crate) fn backdate(life: Duration) -> Duration {
    BACKDATE.min(life / 5)
}

//! Names: trust domains, SPIFFE IDs, DNS names, and the workloads of a mesh.
//!
//! Every type here has one door, `FromStr` or a fallible constructor, and `Display` gives back what it parsed.

mod dns;
mod spiffe;
mod workload;

pub use dns::{DnsName, InvalidDnsName};
pub use spiffe::{InvalidSpiffeId, InvalidTrustDomain, SpiffeId, TrustDomain};
pub use workload::{InvalidWorkload, ResourceName, Workload, WorkloadKind};

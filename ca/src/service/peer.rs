//! Who calls.

use std::{net::IpAddr, sync::Arc};

use signet_policies::{issuance::Caller, time::Timestamp};
use tonic::Extensions;

use crate::Serial;

/// Who calls, as the transport knows it. It puts this into the extensions of each request, in an [`Arc`], as it is the same
/// for all of a connection; without it, nobody known calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePeer {
    /// What it proved to be.
    pub caller: Caller,
    /// The serial of the certificate with which it presented itself, where it is known: the predecessor of what is issued.
    pub serial: Option<Serial>,
    /// When that certificate ends: the less is left, the sooner the caller is served when many ask; nothing is renewed after it.
    pub end: Option<Timestamp>,
    /// Where it calls from; it is told of the agents that watch.
    pub address: Option<IpAddr>,
}

impl NodePeer {
    /// A caller of whom nothing else is known.
    #[must_use]
    pub const fn of(caller: Caller) -> Self {
        Self { caller, serial: None, end: None, address: None }
    }

    pub(super) fn who_sent(extensions: &Extensions) -> Arc<Self> {
        extensions.get::<Arc<Self>>().cloned().unwrap_or_else(|| Arc::new(Self::of(Caller::Anonymous)))
    }

    /// As logs name it.
    pub(super) fn name(&self) -> String {
        match &self.caller {
            Caller::Anonymous => "nobody known".to_owned(),
            Caller::Joining(workload) => workload.to_string(),
            Caller::Holder(id) => id.to_string(),
        }
    }
}

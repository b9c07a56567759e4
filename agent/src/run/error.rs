//! Why an agent ends badly.

use std::{error::Error as StdError, fmt, io, path::PathBuf};

use signet_policies::identity::Workload;
use signet_sds::{rotator::RotateError, socket::BindError};
use thiserror::Error;
use tokio::task::JoinError;

use crate::{
    envoy::EnvoyError,
    join::token_hint,
    state::{IdentityFileError, StateError},
    trust::InvalidAnchors,
};

/// Why an agent cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The roots.
    #[error(transparent)]
    Anchors(#[from] InvalidAnchors),
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The certificate on disk.
    #[error(transparent)]
    IdentityFile(#[from] IdentityFileError),
    /// Nothing proves to the server who this is.
    #[error("no certificate in {} can be used ({reason}) and no token was given; {}", state_dir.display(), token_hint(workload))]
    NeedsToken {
        /// The state folder.
        state_dir: PathBuf,
        /// What is wrong with the certificate.
        reason: String,
        /// Who this is.
        workload: Workload,
    },
    /// The first certificate was refused, or was not what was asked for.
    #[error("there is no first certificate")]
    FirstCertificate(#[from] RotateError),
    /// The SDS socket.
    #[error(transparent)]
    Socket(#[from] BindError),
    /// No free port.
    #[error("no free port can be found on {address}")]
    Port {
        /// Where it was looked for.
        address: std::net::IpAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody listens on the egress port, perhaps another agent's Envoy, which would share it.
    #[error(
        "port {0} of 127.0.0.1 is taken, and requests of the application would go out by whoever has it; give each agent of \
             a host its own with --egress-port, or 0 for a free one"
    )]
    EgressTaken(u16),
    /// The application has this address, or this stands for every address, the application's too.
    #[error(
        "Envoy cannot serve the node's ports on {0}: it would meet the application there, which listens on 127.0.0.1; \
         name another address of this host, such as its own or 127.0.0.2"
    )]
    IngressAddress(std::net::IpAddr),
    /// The socket's path, for Envoy's bootstrap.
    #[error("the path {0} cannot be made absolute")]
    Path(PathBuf, #[source] io::Error),
    /// Envoy.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    /// A part of the agent ended by itself.
    #[error("a part of the agent ended before it was told to")]
    TaskEnded,
    /// A part of the agent panicked.
    #[error("a part of the agent failed")]
    TaskFailed(#[source] JoinError),
}

/// An error with its causes, on one line.
pub(super) struct Chain<'a>(pub(super) &'a (dyn StdError + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

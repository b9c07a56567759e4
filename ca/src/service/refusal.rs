//! How a request ends that gets no certificate: one line in the log, one status on the wire.

use std::{error::Error, time::Duration};

use signet_policies::{issuance::Denied, time::Timestamp};
use thiserror::Error as ThisError;
use tonic::{Code, Status};
use tracing::{error, warn};

use super::AUDIT;
use crate::{InvalidCsr, NotIssued, TokenError, admission::TurnedAway};

/// What a caller reads when the fault is ours; the log has the details.
const OUR_FAULT: &str = "the certificate authority cannot issue now; try again later";

/// What a caller reads whose token is unknown, used or expired; the log tells which.
const BAD_TOKEN: &str =
    "the join token is not valid: unknown, used or expired; make another with `signet token create`";

/// Why a request gets no certificate.
#[derive(Debug, ThisError)]
pub(super) enum Refusal {
    #[error(transparent)]
    Csr(#[from] InvalidCsr),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("the connection has no client certificate")]
    Unauthenticated,
    #[error("the certificate of the connection ended at {0}; who holds it needs a join token")]
    Ended(Timestamp),
    #[error(transparent)]
    NotIssued(#[from] NotIssued),
    #[error(transparent)]
    TurnedAway(#[from] TurnedAway),
}

impl Refusal {
    /// Logs why `caller` was refused, and returns what the caller is told.
    pub(super) fn log_and_tell(&self, rpc: &'static str, caller: &str) -> Status {
        let reason = reason(self);
        let code = self.code();
        if code == Code::Unavailable {
            error!(target: AUDIT, rpc, caller, reason, "no certificate was issued");
            return Status::unavailable(OUR_FAULT);
        }
        warn!(target: AUDIT, rpc, caller, reason, "refused a certificate");
        match self {
            Self::TurnedAway(away) => come_back(Status::new(code, reason), away.after()),
            // A stranger learns nothing of a token but that it does not help.
            Self::Token(_) => Status::new(code, BAD_TOKEN),
            Self::Csr(_) | Self::Denied(_) | Self::Unauthenticated | Self::Ended(_) | Self::NotIssued(_) => {
                Status::new(code, reason)
            }
        }
    }

    /// As node.proto says.
    fn code(&self) -> Code {
        match self {
            Self::Csr(_) | Self::Denied(Denied::Lifetime(_)) => Code::InvalidArgument,
            Self::TurnedAway(_) => Code::ResourceExhausted,
            Self::NotIssued(NotIssued::Refused(_) | NotIssued::Authority(crate::Error::ForbiddenName(_))) => {
                Code::PermissionDenied
            }
            Self::Token(TokenError::Unavailable(_)) | Self::NotIssued(_) => Code::Unavailable,
            Self::Token(_) | Self::Unauthenticated | Self::Ended(_) | Self::Denied(Denied::Anonymous) => {
                Code::Unauthenticated
            }
            Self::Denied(_) => Code::PermissionDenied,
        }
    }
}

/// When to ask again, in milliseconds, as gRPC's own retries understand it (gRFC A6).
pub(super) const COME_BACK: &str = "grpc-retry-pushback-ms";

fn come_back(mut status: Status, after: Duration) -> Status {
    if let Ok(value) = after.as_millis().to_string().parse() {
        status.metadata_mut().insert(COME_BACK, value);
    }
    status
}

/// An error with all that caused it, in one line.
fn reason(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_chain_forbids_is_a_refusal_and_not_an_outage() {
        let forbidden = crate::Error::ForbiddenName("a.apps.local".parse().unwrap());
        let told = Refusal::NotIssued(forbidden.into()).log_and_tell("renew", "mesh/m/virtualNode/a");
        assert_eq!(told.code(), Code::PermissionDenied);
        assert!(told.message().contains("a.apps.local"), "{}", told.message());
    }
}

//! What survives the agent: its certificate with the key.

use std::sync::Arc;

use signet_policies::time::Clock;
use signet_sds::{rotator, secret::Secrets};
use tracing::{error, info};

use super::{AgentConfig, AgentError, error::Chain};
use crate::{
    join::{Server, identity_of},
    state::StateDir,
};

/// What an earlier life of the agent left behind, if it is still good.
pub(super) fn held_before(
    config: &AgentConfig,
    server: &Server,
    state: &StateDir,
) -> Result<Option<Secrets>, AgentError> {
    let identity = identity_of(server, &config.workload);
    let now = (server.clock)().into();
    let reason = match state.read_identity(&identity, now)? {
        Some(Ok(held)) => {
            let leaf = held.leaf();
            info!(spiffe_id = %leaf.identity(), serial = leaf.serial(), "going on with the certificate on disk");
            return Ok(Some(held));
        }
        Some(Err(unusable)) => unusable.to_string(),
        None => "there is none".to_owned(),
    };
    if config.token.is_none() {
        let (state_dir, workload) = (config.state_dir.clone(), config.workload.clone());
        return Err(AgentError::NeedsToken { state_dir, reason, workload });
    }
    info!(%reason, "no certificate on disk can be used; joining with the token");
    Ok(None)
}

/// A certificate that cannot be kept is used all the same; the next restart then needs a token.
pub(super) fn keep_in(state: Arc<StateDir>, clock: Clock) -> rotator::Keeper {
    Box::new(move |secrets: &Secrets| {
        if let Err(error) = state.write_identity(secrets, clock().into()) {
            error!(error = %Chain(&error), "the certificate cannot be kept: a restart will need a token");
        }
    })
}

//! The agent's socket, and what it is asked for.

use signet_sds::server::{self, Serving};
use tokio::{net::UnixListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::AgentError;
use crate::{further::Further, join::NodeSigner};

/// Serves what is held, and gets what is asked for beside it, until `serving` is cancelled.
pub(super) fn begin(
    tasks: &mut JoinSet<Result<(), AgentError>>,
    listener: UnixListener,
    what: Serving,
    further: Further<NodeSigner>,
    serving: &CancellationToken,
) {
    let serve = server::run(listener, what, serving.clone());
    tasks.spawn(async move {
        serve.await;
        Ok(())
    });
    let stop = serving.clone();
    tasks.spawn(async move {
        stop.run_until_cancelled(further.run()).await;
        Ok(())
    });
}

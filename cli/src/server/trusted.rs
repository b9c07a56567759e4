//! What the server itself trusts, and hands to others, follows what every agent must trust.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use rustls::ServerConfig;
use signet_ca::{Authority, Trust};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::assembly::publish;

/// After a file could not be written.
const AGAIN: Duration = Duration::from_secs(30);

/// Writes the roots to `file`, and has the gRPC port accept certificates of them alone, whenever they change.
///
/// # Errors
/// None: what fails is tried again.
pub(super) async fn follow(
    mut trust: watch::Receiver<Arc<Trust>>,
    file: PathBuf,
    config: impl Fn(&[Vec<u8>]) -> Result<Arc<ServerConfig>>,
    publisher: watch::Sender<Arc<ServerConfig>>,
    stop: CancellationToken,
) -> Result<()> {
    // At the start both were brought to what is trusted then.
    let mut roots = trust.borrow_and_update().bundle().to_vec();
    let mut failed = false;
    loop {
        let changed = async {
            match failed {
                true => tokio::time::sleep(AGAIN).await,
                // The feed lives as long as the server.
                false => drop(trust.changed().await),
            }
        };
        if stop.run_until_cancelled(changed).await.is_none() {
            return Ok(());
        }
        let now = trust.borrow_and_update().bundle().to_vec();
        if now == roots && !failed {
            continue;
        }
        let done = config(&now).and_then(|next| {
            publisher.send_replace(next);
            publish(&file, &Authority::roots_pem(&now))
        });
        failed = done.is_err();
        match done {
            Ok(()) => info!(roots = now.len(), file = %file.display(), "the server trusts other roots"),
            Err(error) => {
                error!(error = format!("{error:#}"), "the server cannot follow what is trusted; trying again")
            }
        }
        roots = now;
    }
}

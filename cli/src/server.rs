//! `signet server`: API, xDS and CA in one process.

mod admission;
mod asked;
mod assembly;
mod behind;
mod bundles;
mod credentials;
mod deliveries;
mod grpc;
mod http;
mod identity;
mod ledger;
mod ops;
mod private_file;
mod quotas;
mod refusals;
mod registry;
mod revocation;
mod tls;
mod trusted;
mod v1;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use signet_ca::rotation::{DEFAULT_GRACE, MAX_GRACE};
use signet_policies::{
    identity::TrustDomain,
    issuance::{DEFAULT_LEAF_LIFE, MAX_LEAF_LIFE, MIN_LEAF_LIFE},
    time::Clock,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::{assembly::Running, ledger::LedgerArgs, quotas::QuotaArgs};
pub(crate) use self::{
    revocation::Effect,
    v1::{
        InstanceView,
        audit::{EntriesAnswer, StateAnswer},
    },
};
use crate::{WrongUsage, ca::CustodyArgs};

/// The store's folder in a data folder.
pub(crate) const STORE: &str = "store";
/// How long draining may take; supervisors kill after ten seconds.
const DRAIN: Duration = Duration::from_secs(7);
/// Shortest life of a leaf in a soak, in seconds.
const SOAK_LEAF_LIFE: u64 = 10;

/// Examples for `--help`.
pub const HELP: &str = "Examples:\n  \
    signet server\n  \
    signet server --data-dir /var/lib/signet --grpc-addr 10.0.0.5:7443 --leaf-lifetime 3600\n  \
    signet server --ca-passphrase-file /etc/signet/passphrase\n  \
    signet server --anchor /mnt/elsewhere/signet.anchor\n  \
    signet server --ca-key 'pkcs11:token=signet?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/signet/pin'\n\n\
    When it is ready it prints one line of JSON with its addresses. The first start makes an administrator's key \
    pair in <data-dir>/credentials (AWS format) and the root certificate in <data-dir>/ca.pem. SIGTERM drains.";

/// Flags of `signet server`.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Where everything is kept: keys, store, credentials
    #[arg(long, env = "SIGNET_DATA_DIR", value_name = "FOLDER", default_value = "./signet-data")]
    data_dir: PathBuf,
    /// App Mesh API and Signet's own; port 0 takes a free one
    #[arg(long, env = "SIGNET_API_ADDR", value_name = "IP:PORT", default_value = "127.0.0.1:7080")]
    api_addr: SocketAddr,
    /// xDS, CA and node services, over TLS
    #[arg(long, env = "SIGNET_GRPC_ADDR", value_name = "IP:PORT", default_value = "127.0.0.1:7443")]
    grpc_addr: SocketAddr,
    /// /healthz, /readyz and /metrics
    #[arg(long, env = "SIGNET_OPS_ADDR", value_name = "IP:PORT", default_value = "127.0.0.1:7081")]
    ops_addr: SocketAddr,
    /// Twelve digits that stand in every ARN
    #[arg(long, env = "SIGNET_ACCOUNT_ID", value_name = "DIGITS", default_value = "000000000000", value_parser = account_id)]
    account_id: String,
    /// The region in every ARN, which requests must be signed for
    #[arg(long, env = "SIGNET_REGION", value_name = "REGION", default_value = "us-east-1")]
    region: String,
    /// The trust domain of every identity; fixed once the root is made
    #[arg(long, env = "SIGNET_TRUST_DOMAIN", value_name = "NAME", default_value = "signet.internal")]
    trust_domain: TrustDomain,
    /// Life of a workload's certificate in seconds, 300 to 7776000
    #[arg(long, env = "SIGNET_LEAF_LIFETIME", value_name = "SECONDS", default_value_t = DEFAULT_LEAF_LIFE.as_secs(),
          value_parser = clap::value_parser!(u64).range(SOAK_LEAF_LIFE..=MAX_LEAF_LIFE.as_secs()))]
    leaf_lifetime: u64,
    /// How long making a connection may take for anybody in a mesh, in seconds, 0 to 3600: a change of root or issuer waits
    /// for so long after each proof, for handshakes that began before it
    #[arg(long, env = "SIGNET_HANDSHAKE_GRACE", value_name = "SECONDS", default_value_t = DEFAULT_GRACE.as_secs(),
          value_parser = clap::value_parser!(u64).range(..=MAX_GRACE.as_secs()))]
    handshake_grace: u64,
    /// Take lives from 10 s on for --leaf-lifetime, for soaks: whoever misses the server for that long is lost
    #[arg(long, hide = true)]
    dangerously_short_leaves: bool,
    #[command(flatten)]
    ca_keys: CustodyArgs,
    #[command(flatten)]
    ledger: LedgerArgs,
    #[command(flatten)]
    quotas: QuotaArgs,
    /// Serve the API without TLS on an address that others can reach: bodies can be read on the way
    #[arg(long, env = "SIGNET_DANGEROUSLY_PLAINTEXT_API")]
    dangerously_plaintext_api: bool,
}

fn account_id(text: &str) -> Result<String, String> {
    match text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err("an account id has twelve digits".to_owned()),
    }
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// A part does not start, or ends by itself.
pub async fn run(args: ServerArgs, clock: Clock) -> Result<()> {
    if !args.api_addr.ip().is_loopback() && !args.dangerously_plaintext_api {
        bail!(WrongUsage(format!(
            "--api-addr {} can be reached from elsewhere, and the API has no TLS; put a proxy with TLS before a \
             loopback address, or say --dangerously-plaintext-api",
            args.api_addr
        )));
    }
    let shortest = MIN_LEAF_LIFE.as_secs();
    if args.leaf_lifetime < shortest && !args.dangerously_short_leaves {
        bail!(WrongUsage(format!(
            "--leaf-lifetime {} is too short; it must be {shortest} to {}",
            args.leaf_lifetime,
            MAX_LEAF_LIFE.as_secs()
        )));
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let drain = CancellationToken::new();
    let mut running = Running::start(&args, clock, drain.clone()).await?;
    let ready = json!({
        "event": "ready",
        "api": format!("http://{}", running.api),
        "grpc": format!("https://{}", running.grpc),
        "ops": format!("http://{}", running.ops),
        "dataDir": std::fs::canonicalize(&args.data_dir)?,
    });
    println!("{ready}");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = running.tasks.join_next() => match ended {
            Some(ended) => ended.context("a task of the server panicked")?.context("a part of the server failed")?,
            None => bail!("the server has no tasks"),
        },
    }
    info!("draining");
    drain.cancel();
    let drained = tokio::time::timeout(DRAIN, async {
        while let Some(ended) = running.tasks.join_next().await {
            ended.context("a task of the server panicked")??;
        }
        anyhow::Ok(())
    });
    match drained.await {
        Ok(ended) => ended,
        Err(_) => {
            info!("not everybody let go within {} s", DRAIN.as_secs());
            Ok(())
        }
    }
}

//! Which Envoy to run: a new one, or the one that an earlier agent left running.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path,
};

use signet_policies::identity::SpiffeId;
use signet_sds::secret::Secrets;
use tracing::{info, warn};

use super::{AgentConfig, AgentError, Ready};
use crate::{
    admin::Admin,
    bootstrap::{ADMIN_ADDRESS, Bootstrap},
    envoy::{EnvoyCommand, Identity, Running},
    ports,
    state::{EnvoyRecord, StateDir},
};

/// The Envoy that is to run.
pub(super) struct Plan {
    bootstrap: Vec<u8>,
    pub(super) admin_port: u16,
    egress_port: u16,
    /// There is one already, with this very bootstrap.
    pub(super) running: Option<Running>,
}

impl Plan {
    /// Looks for an Envoy that runs, and keeps it if it was started with the bootstrap that is wanted now. One
    /// with another bootstrap is stopped: it could not be told the difference.
    pub(super) async fn make(
        config: &AgentConfig,
        server_id: &SpiffeId,
        state: &StateDir,
    ) -> Result<Self, AgentError> {
        let found = left_running(state)?;
        let (old_admin, old_egress) =
            found.as_ref().map_or((None, None), |(_, EnvoyRecord::V1 { admin_port, egress_port, .. })| {
                (Some(*admin_port), Some(*egress_port))
            });
        let admin_port = choose(config.admin_port, old_admin, ADMIN_ADDRESS)?;
        let egress_port = choose(config.egress_port, old_egress, IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let sds_socket = path::absolute(&config.sds_socket)
            .map_err(|source| AgentError::Path(config.sds_socket.clone(), source))?;
        let bootstrap = Bootstrap {
            workload: &config.workload,
            cluster: config.cluster.as_deref(),
            server: &config.server,
            server_id,
            sds_socket: &sds_socket,
            admin_port,
            egress_port,
            ingress_address: config.ingress_address,
            interception: config.interception,
            initial_fetch_timeout: config.initial_fetch_timeout,
        };
        let bootstrap = format!("{:#}\n", bootstrap.render()).into_bytes();
        let mut plan = Self { bootstrap, admin_port, egress_port, running: None };
        plan.running = plan.keep_or_stop(found, state).await;
        Ok(plan)
    }

    async fn keep_or_stop(&self, found: Option<(Running, EnvoyRecord)>, state: &StateDir) -> Option<Running> {
        let (mut running, EnvoyRecord::V1 { admin_port, .. }) = found?;
        let pid = running.identity().pid;
        if state.read_bootstrap().as_ref() == Some(&self.bootstrap) {
            info!(pid, "adopting the envoy that is running");
            return Some(running);
        }
        warn!(pid, "the envoy that is running has another bootstrap and is replaced");
        running.stop(admin_at(admin_port)).await;
        state.forget_envoy();
        None
    }

    /// Starts Envoy, and notes who it is.
    pub(super) fn start(&self, command: &EnvoyCommand, state: &StateDir) -> Result<Running, AgentError> {
        state.write_bootstrap(&self.bootstrap)?;
        let running = command.start(&state.bootstrap_path())?;
        let Identity { pid, start_time } = running.identity();
        let (admin_port, egress_port) = (self.admin_port, self.egress_port);
        info!(pid, admin_port, egress_port, "envoy was started");
        let recorded = state.write_envoy(&EnvoyRecord::V1 { pid, start_time, admin_port, egress_port });
        recorded.inspect_err(|_| running.kill())?;
        Ok(running)
    }

    pub(super) fn admin(&self) -> Admin {
        admin_at(self.admin_port)
    }

    pub(super) fn ready(&self, envoy: &Running, held: &Secrets) -> Ready {
        Ready {
            envoy_pid: envoy.identity().pid,
            adopted: envoy.is_adopted(),
            admin_port: self.admin_port,
            egress_port: self.egress_port,
            spiffe_id: held.leaf().identity().clone(),
            serial: held.leaf().serial().to_owned(),
        }
    }
}

fn admin_at(port: u16) -> Admin {
    Admin::new(SocketAddr::new(ADMIN_ADDRESS, port))
}

fn left_running(state: &StateDir) -> Result<Option<(Running, EnvoyRecord)>, AgentError> {
    let Some(record) = state.read_envoy() else {
        return Ok(None);
    };
    let EnvoyRecord::V1 { pid, start_time, .. } = record;
    let identity = Identity { pid, start_time };
    if !identity.is_envoy_of(&state.bootstrap_path()) {
        return Ok(None);
    }
    Ok(Running::adopt(identity)?.map(|running| (running, record)))
}

/// The port that is wanted; 0 means the one of the Envoy that runs, or else a free one.
fn choose(wanted: u16, running: Option<u16>, address: IpAddr) -> Result<u16, AgentError> {
    match (wanted, running) {
        (0, Some(running)) => Ok(running),
        (0, None) => ports::free(address).map_err(|source| AgentError::Port { address, source }),
        (wanted, _) => Ok(wanted),
    }
}

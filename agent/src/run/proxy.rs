//! Which Envoy to run: a new one, or the one that an earlier agent left running.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path,
};

use signet_policies::identity::SpiffeId;
use signet_sds::secret::Secrets;
use tracing::{info, warn};

use super::{AgentConfig, AgentError, Ready, error::Chain};
use crate::{
    admin::Admin,
    bootstrap::{ADMIN_ADDRESS, Bootstrap, ports_in},
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

/// An Envoy that an earlier agent left running.
struct Found {
    running: Running,
    /// `None` where neither the record nor the bootstrap tells them.
    ports: Option<Ports>,
}

#[derive(Clone, Copy)]
struct Ports {
    admin: u16,
    egress: u16,
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
        let old = found.as_ref().and_then(|found| found.ports);
        let admin_port = choose(config.admin_port, old.map(|ports| ports.admin), ADMIN_ADDRESS)?;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let egress_port = choose(config.egress_port, old.map(|ports| ports.egress), loopback)?;
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
            instance: &state.instance(),
            interception: config.interception,
            initial_fetch_timeout: config.initial_fetch_timeout,
            tracer: config.tracer.as_ref(),
        };
        let bootstrap = format!("{:#}\n", bootstrap.render()).into_bytes();
        let mut plan = Self { bootstrap, admin_port, egress_port, running: None };
        plan.running = plan.keep_or_stop(found, state).await;
        if plan.running.is_none() && ports::is_taken((loopback, egress_port).into()) {
            return Err(AgentError::EgressTaken(egress_port));
        }
        Ok(plan)
    }

    async fn keep_or_stop(&self, found: Option<Found>, state: &StateDir) -> Option<Running> {
        let Found { mut running, ports } = found?;
        let pid = running.identity().pid;
        if state.read_bootstrap().as_ref() == Some(&self.bootstrap) {
            info!(pid, "adopting the envoy that is running");
            let record = self.record(running.identity());
            // No reason to give up: without its record it is found again all the same.
            if state.read_envoy().as_ref() != Some(&record)
                && let Err(error) = state.write_envoy(&record)
            {
                warn!(error = %Chain(&error), pid, "the envoy that is running cannot be recorded");
            }
            return Some(running);
        }
        warn!(pid, "the envoy that is running has another bootstrap and is replaced");
        running.stop(admin_at(ports.map_or(self.admin_port, |ports| ports.admin))).await;
        state.forget_envoy();
        None
    }

    /// Starts Envoy, and notes who it is.
    pub(super) async fn start(
        &self,
        command: &EnvoyCommand,
        state: &StateDir,
    ) -> Result<Running, AgentError> {
        state.write_bootstrap(&self.bootstrap)?;
        let record = |identity| state.write_envoy(&self.record(identity)).map_err(AgentError::from);
        let running = command.start(&state.bootstrap_path(), record).await?;
        let (admin_port, egress_port) = (self.admin_port, self.egress_port);
        info!(pid = running.identity().pid, admin_port, egress_port, "envoy was started");
        Ok(running)
    }

    fn record(&self, Identity { pid, start_time }: Identity) -> EnvoyRecord {
        EnvoyRecord::V1 { pid, start_time, admin_port: self.admin_port, egress_port: self.egress_port }
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

/// The Envoy of the record or, where there is none or its process is gone, one that runs with our bootstrap all the
/// same: an agent may have been killed after it started Envoy and before it noted whom.
fn left_running(state: &StateDir) -> Result<Option<Found>, AgentError> {
    let bootstrap = state.bootstrap_path();
    let recorded = state.read_envoy().map(|EnvoyRecord::V1 { pid, start_time, admin_port, egress_port }| {
        (Identity { pid, start_time }, Some(Ports { admin: admin_port, egress: egress_port }))
    });
    let found = recorded.filter(|(identity, _)| identity.is_envoy_of(&bootstrap)).or_else(|| {
        let ports = || ports_in(&state.read_bootstrap()?).map(|(admin, egress)| Ports { admin, egress });
        Identity::search(&bootstrap).map(|identity| (identity, ports()))
    });
    let Some((identity, ports)) = found else {
        return Ok(None);
    };
    Ok(Running::adopt(identity)?.map(|running| Found { running, ports }))
}

/// The port that is wanted; 0 means the one of the Envoy that runs, or else a free one.
fn choose(wanted: u16, running: Option<u16>, address: IpAddr) -> Result<u16, AgentError> {
    match (wanted, running) {
        (0, Some(running)) => Ok(running),
        (0, None) => ports::free(address).map_err(|source| AgentError::Port { address, source }),
        (wanted, _) => Ok(wanted),
    }
}

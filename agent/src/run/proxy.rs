//! Which Envoy to run: a new one, or the one that an earlier agent left running.

use std::{
    future::pending,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path,
};

use signet_policies::identity::SpiffeId;
use signet_sds::secret::Secrets;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{AgentConfig, AgentError, Ready, error::Chain};
use crate::{
    admin::{Admin, Which},
    bootstrap::{ADMIN_ADDRESS, Bootstrap, ports_in},
    envoy::{EnvoyCommand, Handover, Identity, Running, Turn},
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
    /// Where Envoys meet to hand over.
    place: Option<Handover>,
    /// The one that runs with another bootstrap, from which the new one takes over; later, while it drains.
    old: Option<Old>,
    /// The turn of the Envoy; `None` where it is alone.
    turn: watch::Sender<Option<Turn>>,
}

/// An Envoy that another one takes over from.
struct Old {
    running: Running,
    turn: Turn,
    admin: Admin,
    egress_port: Option<u16>,
}

/// An Envoy that an earlier agent left running.
struct Found {
    running: Running,
    /// Whether a later one was noted, which has ended: this one has an earlier bootstrap then.
    is_earlier: bool,
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
    /// with another bootstrap could not be told the difference: a new one takes over from it, or, where it was started
    /// to stay alone, it is stopped.
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
        let place = Handover::of(state.path(), &config.envoy.args);
        let turn = watch::Sender::default();
        let mut plan = Self { bootstrap, admin_port, egress_port, running: None, place, old: None, turn };
        if let Some(found) = found {
            plan.running = plan.keep_or_part(found, state).await;
        }
        let is_olds = plan.old.as_ref().is_some_and(|old| old.egress_port == Some(egress_port));
        if plan.running.is_none() && !is_olds && ports::is_taken((loopback, egress_port).into()) {
            return Err(AgentError::EgressTaken(egress_port));
        }
        Ok(plan)
    }

    async fn keep_or_part(&mut self, found: Found, state: &StateDir) -> Option<Running> {
        let Found { mut running, ports, is_earlier } = found;
        let pid = running.identity().pid;
        let turn = self.place.as_ref().and_then(|place| place.turn_of(running.identity()));
        if !is_earlier && state.read_bootstrap().as_ref() == Some(&self.bootstrap) {
            self.turn.send_replace(turn);
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
        let admin = admin_at(ports.map_or(self.admin_port, |ports| ports.admin));
        if let Some(turn) = turn {
            info!(pid, "the envoy that is running has another bootstrap; a new one takes over from it");
            let egress_port = ports.map(|ports| ports.egress);
            self.old = Some(Old { running, turn, admin, egress_port });
            return None;
        }
        warn!(pid, "the envoy that is running has another bootstrap and is replaced");
        running.stop(admin).await;
        state.forget_envoy();
        None
    }

    /// Starts Envoy without one before it, where that one could not be taken over from.
    pub(super) async fn start_alone(
        &mut self,
        command: &EnvoyCommand,
        state: &StateDir,
    ) -> Result<Running, AgentError> {
        self.stop_old().await;
        self.start(command, state).await
    }

    /// Ends the one that was taken over from, if it is still there.
    pub(super) async fn stop_old(&mut self) {
        if let Some(Old { mut running, admin, .. }) = self.old.take() {
            let end = running.stop(admin).await;
            info!(?end, pid = running.identity().pid, "the envoy before was stopped");
        }
    }

    /// Leaves nothing of Envoys that have all ended.
    pub(super) fn clear(&self) {
        if let Some(turn) = *self.turn.borrow()
            && let Err(error) = turn.clear()
        {
            info!(%error, "the memory that envoys met in cannot be removed");
        }
    }

    /// Waits for the end of the one that was taken over from. Safe to be dropped and called again.
    pub(super) async fn old_ended(&mut self) {
        match &mut self.old {
            Some(old) => {
                let end = old.running.ended().await;
                info!(?end, pid = old.running.identity().pid, "the envoy before has ended");
                self.old = None;
            }
            None => pending().await,
        }
    }

    /// Whether there is one that is being taken over from.
    pub(super) fn has_old(&self) -> bool {
        self.old.is_some()
    }

    /// Starts Envoy, and notes who it is.
    pub(super) async fn start(
        &mut self,
        command: &EnvoyCommand,
        state: &StateDir,
    ) -> Result<Running, AgentError> {
        // One that has ended meanwhile hands nothing over, and would be waited for.
        self.old = self
            .old
            .take()
            .filter(|old| Identity::of(old.running.identity().pid) == Some(old.running.identity()));
        let turn = match (&self.old, &self.place) {
            (Some(old), _) => Some(old.turn.next()),
            (None, Some(place)) => place.first(),
            (None, None) => None,
        };
        if self.place.is_some() && turn.is_none() {
            warn!(
                "all memory that envoys could meet in is other users'; no later envoy can take over from this one"
            );
        }
        self.turn.send_replace(turn);
        if let Some(old) = &self.old {
            state.write_envoy(&self.record(old.running.identity().nobody_after()))?;
        }
        state.write_bootstrap(&self.bootstrap)?;
        let record = |identity| state.write_envoy(&self.record(identity)).map_err(AgentError::from);
        let meets = self.place.as_ref().zip(turn);
        let running = command.start(&state.bootstrap_path(), meets, record).await?;
        let (admin_port, egress_port) = (self.admin_port, self.egress_port);
        let epoch = turn.map_or(0, |turn| turn.epoch);
        info!(pid = running.identity().pid, admin_port, egress_port, epoch, "envoy was started");
        Ok(running)
    }

    fn record(&self, Identity { pid, start_time }: Identity) -> EnvoyRecord {
        EnvoyRecord::V1 { pid, start_time, admin_port: self.admin_port, egress_port: self.egress_port }
    }

    /// Which Envoy is to answer on the admin port.
    pub(super) fn which(&self, state: &StateDir) -> Which {
        Which { bootstrap: state.bootstrap_path(), turn: self.turn.subscribe() }
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
    let alive = recorded.filter(|(identity, _)| identity.is_envoy_of(&bootstrap));
    let found = alive.or_else(|| {
        let ports = || ports_in(&state.read_bootstrap()?).map(|(admin, egress)| Ports { admin, egress });
        Identity::search(&bootstrap).map(|identity| (identity, ports()))
    });
    let Some((identity, ports)) = found else {
        return Ok(None);
    };
    let is_earlier = recorded.is_some_and(|(noted, _)| identity.start_time < noted.start_time);
    Ok(Running::adopt(identity)?.map(|running| Found { running, is_earlier, ports }))
}

/// The port that is wanted; 0 means the one of the Envoy that runs, or else a free one.
fn choose(wanted: u16, running: Option<u16>, address: IpAddr) -> Result<u16, AgentError> {
    match (wanted, running) {
        (0, Some(running)) => Ok(running),
        (0, None) => ports::free(address).map_err(|source| AgentError::Port { address, source }),
        (wanted, _) => Ok(wanted),
    }
}

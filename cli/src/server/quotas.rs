//! The flags that bound how much there may be.

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use signet_controlplane::quotas::Quotas;

use crate::WrongUsage;

/// `--quotas` and `--quota`.
#[derive(Args, Clone, Debug)]
pub(super) struct QuotaArgs {
    /// Start from these quotas; without it nothing is bounded
    #[arg(long, env = "SIGNET_QUOTAS", value_name = "WHOSE")]
    quotas: Option<Preset>,
    /// Bound one thing, as in `virtual-nodes-per-mesh=500`; may be given several times, and wins over --quotas
    #[arg(long, env = "SIGNET_QUOTA", value_name = "NAME=N", value_delimiter = ',')]
    quota: Vec<String>,
}

/// Quotas that come together.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Preset {
    /// As AWS App Mesh had them: 15 meshes, 200 nodes, services and routers per mesh, and so on
    Appmesh,
}

impl QuotaArgs {
    /// What the flags say together.
    ///
    /// # Errors
    /// A name or number that is none.
    pub(super) fn quotas(&self) -> Result<Quotas> {
        let mut quotas = match self.quotas {
            Some(Preset::Appmesh) => Quotas::appmesh(),
            None => Quotas::default(),
        };
        for text in &self.quota {
            quotas.set(text).map_err(|error| anyhow!(WrongUsage(format!("--quota {text}: {error}"))))?;
        }
        Ok(quotas)
    }
}

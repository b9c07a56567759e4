//! Where the instances of virtual nodes are that are found by Cloud Map's names, and how they are.
//!
//! ```text
//!  /v1/instances ──▶ registry ──▶ disk
//!                        └── watch of Arc<Instances> ──▶ reconcile ──▶ endpoints of the clusters concerned
//! ```
//!
//! Invariants:
//! - What is published is durable, so a restarted server starts with every instance that it ever told a proxy of;
//!   nothing expires by itself, and a record that cannot be read keeps the server from starting. An instance goes
//!   away because somebody said so, never because this process forgot it.
//! - An instance's address is read when it is registered: whatever is in here can be dialed.

mod instances;
mod key;
mod record;
mod registry;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use signet_durable::CommitError;
use thiserror::Error;
use tokio::sync::watch;

pub use self::{
    instances::{Attributes, Health, Instance, Instances, InvalidAttributes, Service},
    key::{InstanceKey, InvalidName},
    record::InvalidRecord,
    registry::{MAX_INSTANCES, MAX_PER_SERVICE, Registry},
};

/// Knows the instances. Every change is durable before it is answered or published, and may be repeated.
#[async_trait]
pub trait Discovery: Send + Sync + 'static {
    /// Adds an instance, or gives one other attributes and leaves its health as it is. Says whether it is new.
    ///
    /// `at` is in milliseconds since the epoch.
    ///
    /// # Errors
    /// The attributes are refused, there is no room, or the change is not durable.
    async fn register(
        &self,
        key: InstanceKey,
        attributes: BTreeMap<String, String>,
        at: u64,
    ) -> Result<(Arc<Instance>, bool), DiscoveryError>;

    /// Takes an instance out, and returns it; `None` if it was not there.
    ///
    /// # Errors
    /// The change is not durable.
    async fn deregister(&self, key: InstanceKey) -> Result<Option<Arc<Instance>>, DiscoveryError>;

    /// Says how an instance is, and whether that is news.
    ///
    /// # Errors
    /// It is not there, or the change is not durable.
    async fn set_health(
        &self,
        key: InstanceKey,
        health: Health,
    ) -> Result<(Arc<Instance>, bool), DiscoveryError>;

    /// All instances: now, and whenever some have changed.
    fn subscribe(&self) -> watch::Receiver<Arc<Instances>>;
}

/// Why the registry did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// What was said of an instance.
    #[error("attributes: {0}")]
    Attributes(#[from] InvalidAttributes),
    /// It is not registered.
    #[error("instance {0} is not registered")]
    Missing(InstanceKey),
    /// No more fit.
    #[error("{what} holds {max} instances already; deregister those that are gone")]
    Full {
        /// A service, or the registry.
        what: String,
        /// How many it may hold.
        max: usize,
    },
    /// The disk is full or failing, or the registry is being closed.
    #[error("the registry is not available")]
    Unavailable(#[source] CommitError),
}

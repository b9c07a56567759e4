//! How well an xDS server keeps to the protocol: a scripted client, thirty-four statements, and a verdict on each.
//!
//! ```text
//!  Target (address, node) ─┐                    ┌─ stream · nonce · nack · subscribe · resume · order · safety
//!  Driver (changes things) ┴─▶ Lane ─▶ judge ───┤      each a few statements, each on streams of its own
//!                              (variant, service)└─▶ Finding ─▶ report
//! ```
//!
//! Against somebody else's server there is no driver: what needs a change on the server is then not applicable, and
//! says so. The statements are those of xDS's specification, and of what servers were seen to get wrong.

mod client;
pub mod driver;
pub mod in_process;
mod nack;
mod nonce;
mod order;
pub mod report;
mod resume;
mod safety;
pub mod signet;
mod statement;
mod stream;
mod subscribe;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use signet_xds::{ResourceType, pb::envoy::config::core::v3::Node, session::Variant};
use tonic::{Code, Status, transport::Channel};

pub use self::{
    driver::{Driver, World},
    report::{Finding, Verdict},
    statement::{STATEMENTS, Statement},
};
use client::Wire;

/// What is judged: where it is, and as whom it is asked.
#[derive(Clone)]
pub struct Target {
    /// The connection.
    pub channel: Channel,
    /// Of the first request of each stream.
    pub node: Node,
    /// Whether the connection proves who the client is.
    pub proves_identity: bool,
}

/// One way to speak to the server: a variant of the protocol and a service.
#[derive(Clone)]
pub struct Lane {
    /// Where.
    pub target: Target,
    /// State of the world, or incremental.
    pub variant: Variant,
    /// One kind, or all of them.
    pub service: Option<ResourceType>,
    /// Names of resources of that kind, where they cannot be found out by asking for all.
    pub names: Vec<String>,
    /// Changes what the server serves; none for a server that is not ours to change.
    pub driver: Option<Arc<dyn Driver>>,
    /// How long nothing must come before nothing is taken to come.
    pub quiet: Duration,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl Lane {
    /// As a reader knows it: `delta ads`, `sotw listener`.
    #[must_use]
    pub fn name(&self) -> String {
        let variant = match self.variant {
            Variant::Sotw => "sotw",
            Variant::Delta => "delta",
        };
        format!("{variant} {}", self.service.map_or("ads".to_owned(), |kind| kind.to_string()))
    }

    /// Whether the server has the service at all; what is not served can keep to no statement and break none.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn is_served(&self) -> Result<bool> {
        match self.open().await {
            Ok(_) => Ok(true),
            Err(error) => match error.downcast_ref::<Status>().map(Status::code) {
                Some(Code::Unimplemented) => Ok(false),
                // Whoever refuses a stream serves it to others.
                Some(_) => Ok(true),
                None => Err(error),
            },
        }
    }

    /// Judges the server by every statement.
    pub async fn judge(&self) -> Vec<Finding> {
        self.judge_by(|_| true).await
    }

    /// Judges the server by the statements of these numbers.
    pub async fn judge_by(&self, wanted: impl Fn(u8) -> bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        for statement in STATEMENTS.iter().filter(|statement| wanted(statement.id)) {
            if let Some(driver) = &self.driver
                && let Err(error) = driver.publish(World::Base).await
            {
                findings.push(Finding::new(self, statement, Verdict::Fail(format!("the driver: {error:#}"))));
                continue;
            }
            let verdict = self.by(statement.id).await;
            let verdict = verdict.unwrap_or_else(|error| Verdict::Fail(format!("{error:#}")));
            findings.push(Finding::new(self, statement, verdict));
        }
        findings
    }

    async fn by(&self, id: u8) -> Result<Verdict> {
        match id {
            1 => stream::node_on_the_first_message(self).await,
            2 => stream::one_node_per_stream(self).await,
            3 => stream::type_url(self).await,
            4 => stream::many_types(self).await,
            5 => stream::nothing_before_readiness(self).await,
            6 => nonce::unique(self).await,
            7 => nonce::silent_ack(self).await,
            8 | 9 => nonce::stale(self, id).await,
            10 => resume::content_versions(self).await,
            11 => nack::detection(self).await,
            12 => nack::no_resend(self).await,
            13 => nack::fix(self).await,
            14 => nack::sent_is_not_accepted(self).await,
            15 => nack::subscriptions(self).await,
            16 => nack::partial(self).await,
            17 | 18 => subscribe::wildcard(self, id).await,
            19 => subscribe::leaving_under_a_wildcard(self).await,
            20 => subscribe::unsubscribe(self).await,
            21 | 22 => subscribe::again(self, id).await,
            23 => subscribe::missing(self).await,
            24 => subscribe::completeness(self).await,
            25 => safety::no_duplicates(self).await,
            26 => resume::reconnect(self).await,
            27 => order::make_before_break(self).await,
            28 => order::warming(self).await,
            29 => safety::no_ttl(self).await,
            30 => safety::slow_reader(self).await,
            31 => safety::own_identity(self).await,
            32 => safety::open_streams(self).await,
            33 => safety::no_key_material(self).await,
            34 => safety::secrets_agree(self).await,
            _ => bail!("there is no statement {id}"),
        }
    }

    /// The kind that statements about any kind are tried on.
    fn kind(&self) -> ResourceType {
        self.service.unwrap_or(ResourceType::Cluster)
    }

    fn is_wildcard(&self) -> bool {
        matches!(self.kind(), ResourceType::Cluster | ResourceType::Listener)
    }

    async fn open(&self) -> Result<Wire> {
        Wire::open(self).await
    }

    /// Names of the lane's kind that exist, in order.
    async fn existing(&self) -> Result<Vec<String>> {
        if !self.is_wildcard() {
            return Ok(self.names.clone());
        }
        let mut wire = self.open().await?;
        wire.ask(self.kind(), &[]);
        Ok(wire.next().await.context("asking for everything")?.names())
    }

    /// The first name that exists, or why there is none.
    async fn a_name(&self) -> Result<Result<String, Verdict>> {
        let none = || Verdict::skip("no resource of this kind is known; give one with --resource");
        Ok(self.existing().await?.into_iter().next().ok_or_else(none))
    }
}

/// Leaves a check early where the statement does not apply.
macro_rules! applicable {
    ($value:expr) => {
        match $value {
            Ok(value) => value,
            Err(verdict) => return Ok(verdict),
        }
    };
}
use applicable;

impl Lane {
    /// The driver, or that there is none.
    fn driven(&self) -> Result<&dyn Driver, Verdict> {
        let none = || Verdict::skip("needs a change on the server, which only its driver can make");
        self.driver.as_deref().ok_or_else(none)
    }

    fn only(&self, variant: Variant) -> Result<(), Verdict> {
        let other = match self.variant {
            Variant::Sotw => "state-of-the-world requests have nothing of the kind",
            Variant::Delta => "delta requests have nothing of the kind",
        };
        if self.variant == variant { Ok(()) } else { Err(Verdict::skip(other)) }
    }

    fn only_ads(&self) -> Result<(), Verdict> {
        if self.service.is_none() { Ok(()) } else { Err(Verdict::skip("is about streams of several kinds")) }
    }

    fn only_wildcard(&self) -> Result<(), Verdict> {
        let other = || Verdict::skip("this kind is asked for by name only");
        if self.is_wildcard() { Ok(()) } else { Err(other()) }
    }
}

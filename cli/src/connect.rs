//! The flags by which a command finds the server's API.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use signet_policies::time::Clock;

use crate::client::{Client, KeyPair};

/// Where the server is, and who asks.
#[derive(Args, Clone, Debug)]
pub struct ConnectArgs {
    /// The server's API
    #[arg(long, env = "SIGNET_ENDPOINT", value_name = "URL", default_value = "http://127.0.0.1:7080")]
    endpoint: String,
    /// A file in the AWS shared-credentials format; the server's first start writes <data-dir>/credentials
    #[arg(
        long,
        env = "AWS_SHARED_CREDENTIALS_FILE",
        value_name = "FILE",
        default_value = "signet-data/credentials"
    )]
    credentials: PathBuf,
    /// The profile in it
    #[arg(long, env = "AWS_PROFILE", value_name = "NAME", default_value = "default")]
    profile: String,
    /// The region that the server was started with [env: AWS_DEFAULT_REGION] [default: us-east-1]
    #[arg(long, env = "AWS_REGION", value_name = "REGION")]
    region: Option<String>,
}

impl ConnectArgs {
    /// A client of that server.
    ///
    /// # Errors
    /// The credentials cannot be read, or the endpoint is no URL.
    pub fn client(&self, clock: Clock) -> Result<Client> {
        let keys = KeyPair::from_file(&self.credentials, &self.profile)?;
        Client::new(&self.endpoint, &self.region(), keys, clock)
    }

    /// The server's region.
    #[must_use]
    pub fn region(&self) -> String {
        self.region.clone().or_else(default_region).unwrap_or_else(|| "us-east-1".to_owned())
    }
}

/// clap reads one variable for a flag; the AWS CLI reads this one too.
#[expect(clippy::disallowed_methods, reason = "this crate reads the environment")]
fn default_region() -> Option<String> {
    std::env::var("AWS_DEFAULT_REGION").ok().filter(|region| !region.is_empty())
}

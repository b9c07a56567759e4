//! Judges an xDS server by thirty-four statements on the protocol and its safety.

use std::{
    net::ToSocketAddrs as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use signet::{
    client::{Client, KeyPair},
    local::probe::ClientCertificate,
};
use signet_agent::trust::Anchors;
use signet_policies::identity::Workload;
use signet_tests::{
    channel, clock,
    conformance::{
        Driver, Finding, Lane, Target,
        report::table,
        signet::{NODE, Signet},
    },
};
use signet_xds::{ResourceType, pb::envoy::config::core::v3::Node, session::Variant};
use tonic::transport::{Channel, Endpoint};

const HELP: &str = "Examples:\n  \
    xds-conformance --target 127.0.0.1:18000 --node my-envoy\n  \
    xds-conformance --target xds:443 --ca-file ca.pem --cert node.pem --key node.key --node my-envoy --format json\n  \
    xds-conformance --target 127.0.0.1:7443 --ca-file signet-data/ca.pem \\\n    \
        --drive http://127.0.0.1:7080 --credentials signet-data/credentials\n\n\
    Without --drive only what needs no change on the server is tried. With it, a mesh of that name is made on a\n\
    Signet server and changed through its API, and the client joins as a node of it.\n\n\
    Exit codes: 0 every statement that applies holds; 1 one does not; 2 the flags are wrong, or the server is\n\
    not there or serves no such service.";

/// Judges an xDS server by thirty-four statements on the protocol and its safety
#[derive(Parser)]
#[command(after_help = HELP)]
struct Args {
    /// The server
    #[arg(long, value_name = "HOST:PORT")]
    target: String,
    /// Roots of the server's certificate, PEM; without it the connection is plaintext
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The client's certificate chain, PEM
    #[arg(long, value_name = "FILE", requires_all = ["key", "ca_file"])]
    cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The node's id
    #[arg(long, value_name = "ID", default_value = "xds-conformance")]
    node: String,
    /// What to speak
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Protocol::Sotw, Protocol::Delta])]
    variants: Vec<Protocol>,
    /// Which services to ask
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Asked::Ads])]
    services: Vec<Asked>,
    /// Names of existing endpoints, routes or secrets, for the services of these kinds
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    resource: Vec<String>,
    /// How long nothing must come before nothing is taken to come, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..60_000))]
    quiet: u64,
    /// The API of a Signet server, to change what it serves
    #[arg(long, value_name = "URL", requires_all = ["credentials", "ca_file"], conflicts_with = "cert")]
    drive: Option<String>,
    /// Its administrator's credentials
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// The mesh to make there
    #[arg(long, value_name = "NAME", default_value = "xds-conformance")]
    mesh: String,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    Sotw,
    Delta,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Asked {
    Ads,
    Cds,
    Eds,
    Lds,
    Rds,
    Sds,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Asked {
    fn kind(self) -> Option<ResourceType> {
        match self {
            Self::Ads => None,
            Self::Cds => Some(ResourceType::Cluster),
            Self::Eds => Some(ResourceType::Endpoint),
            Self::Lds => Some(ResourceType::Listener),
            Self::Rds => Some(ResourceType::Route),
            Self::Sds => Some(ResourceType::Secret),
        }
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match judge(&args).await {
        Ok(findings) => {
            match args.format {
                Format::Table => print!("{}", table(&findings)),
                Format::Json => println!("{}", serde_json::to_string_pretty(&findings).unwrap_or_default()),
            }
            ExitCode::from(u8::from(findings.iter().any(Finding::is_fail)))
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn judge(args: &Args) -> Result<Vec<Finding>> {
    let (target, driver) = match &args.drive {
        Some(api) => driven(args, api).await?,
        None => (target(args).await?, None),
    };
    let mut lanes = Vec::new();
    for service in &args.services {
        for variant in &args.variants {
            lanes.push(Lane {
                target: target.clone(),
                variant: match variant {
                    Protocol::Sotw => Variant::Sotw,
                    Protocol::Delta => Variant::Delta,
                },
                service: service.kind(),
                names: args.resource.clone(),
                driver: driver.clone(),
                quiet: Duration::from_millis(args.quiet),
            });
        }
    }
    let mut unserved = Vec::new();
    for lane in &lanes {
        if !lane.is_served().await? {
            unserved.push(lane.name());
        }
    }
    if !unserved.is_empty() {
        let names = unserved.join(", ");
        bail!(
            "the server does not serve {names}; leave it out of --services (a Signet server serves ADS alone)"
        );
    }
    let mut findings = Vec::new();
    for lane in &lanes {
        findings.extend(lane.judge().await);
    }
    Ok(findings)
}

/// Somebody's server.
async fn target(args: &Args) -> Result<Target> {
    let node = Node { id: args.node.clone(), cluster: args.node.clone(), ..Node::default() };
    let proves_identity = args.cert.is_some();
    let address = resolve(&args.target)?;
    let channel = match &args.ca_file {
        None => plain(&address).await?,
        Some(ca_file) => {
            let read =
                |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
            let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>> {
                let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
                parsed.with_context(|| format!("{} holds no certificates", path.display()))
            };
            let own = match args.cert.as_deref().zip(args.key.as_deref()) {
                None => None,
                Some((cert, key)) => {
                    let parsed = PrivateKeyDer::from_pem_slice(&read(key)?);
                    let key = parsed.with_context(|| format!("{} holds no key", key.display()))?;
                    Some(ClientCertificate { chain: certificates(cert)?, key })
                }
            };
            channel(&address, &certificates(ca_file)?, own).await?
        }
    };
    Ok(Target { channel, node, proves_identity })
}

/// A Signet server, with a mesh of its own.
async fn driven(args: &Args, api: &str) -> Result<(Target, Option<Arc<dyn Driver>>)> {
    let (Some(credentials), Some(ca_file)) = (&args.credentials, &args.ca_file) else {
        bail!("--drive needs --credentials and --ca-file");
    };
    let client = || Client::new(api, "us-east-1", KeyPair::from_file(credentials, "default")?, clock());
    let signet = Signet::start(client()?, &args.mesh, None).await?;
    let workload = Workload::virtual_node(&args.mesh, NODE)?;
    let token = signet::local::mesh::create_token(&client()?, &workload).await?;
    let address = resolve(&args.target)?;
    let server = signet_agent::join::Server {
        addr: address.parse()?,
        anchors: Anchors::read(ca_file, None)?,
        clock: clock(),
    };
    let token = signet_agent::join::Token::new(&token.into());
    let secrets = signet_agent::join::obtain(server, &workload, token).await?;
    let own = ClientCertificate::of(&secrets);
    let channel = channel(&address, secrets.bundle().roots(), Some(own)).await?;
    let target = Target { channel, node: signet.node(), proves_identity: true };
    Ok((target, Some(Arc::new(signet))))
}

fn resolve(target: &str) -> Result<String> {
    let mut found =
        target.to_socket_addrs().with_context(|| format!("--target {target} is no host and port"))?;
    Ok(found.next().with_context(|| format!("{target} has no address"))?.to_string())
}

async fn plain(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    endpoint.connect().await.with_context(|| format!("cannot connect to {address}"))
}

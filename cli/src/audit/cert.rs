//! `signet audit cert`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, anyhow};
use clap::Args;
use signet_audit::{inventory::Terms, judge};
use signet_ca::BACKDATE;
use signet_policies::{
    identity::TrustDomain,
    issuance::{DEFAULT_LEAF_LIFE, MAX_LEAF_LIFE, MIN_LEAF_LIFE},
    time::Timestamp,
};

use super::{OutputArgs, certificates::read_certificates};
use crate::WrongUsage;

/// Examples for `--help`.
pub(super) const HELP: &str = "Examples:\n  signet audit cert chain.pem\n  signet audit cert leaf.der --ca issuer.pem --ca signet-data/ca.pem\n  \
    signet audit cert signet-data/ca.pem\n  \
    openssl s_client -connect 10.0.0.7:8080 -showcerts </dev/null | signet audit cert -\n\n\
    The first certificate is judged; those behind it and --ca are what stands above it.\n\
    One with CA:TRUE is judged as a root, an intermediate or an issuer, any other as a leaf; each format says which.\n\
    What cannot be seen from them is named, and does not count.\n\
    Exit codes as for `signet audit`; 1 where the file holds no certificate.";

/// Flags of `signet audit cert`.
#[derive(Args, Clone, Debug)]
pub struct CertArgs {
    /// PEM, with a chain or without, or one certificate of DER; - is the standard input
    file: PathBuf,
    /// Certificates that stand above it, the lowest first
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// The trust domain that its identity must be of
    #[arg(long, env = "SIGNET_TRUST_DOMAIN", value_name = "NAME", default_value = "signet.internal")]
    trust_domain: TrustDomain,
    #[command(flatten)]
    output: OutputArgs,
}

/// Judges it.
pub(super) fn run(args: &CertArgs, now: Timestamp) -> Result<ExitCode> {
    if args.output.format == super::AuditFormat::Csv {
        return Err(WrongUsage("csv lists what a server issued; choose another format".to_owned()).into());
    }
    let thresholds = args.output.thresholds()?;
    let mut certificates = read_certificates(&args.file)?;
    let first = certificates.remove(0);
    for file in &args.ca {
        certificates.extend(read_certificates(file)?);
    }
    let seconds = |span: std::time::Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    let terms = Terms {
        shortest_life: seconds(MIN_LEAF_LIFE),
        default_life: seconds(DEFAULT_LEAF_LIFE),
        longest_life: seconds(MAX_LEAF_LIFE),
        backdate: seconds(BACKDATE),
    };
    let domain = args.trust_domain.as_str();
    let judged = judge(&first, &certificates, domain, &thresholds, terms, now.unix())
        .map_err(|error| anyhow!("{}: {error}", args.file.display()))?;
    // Without its chain a certificate can be judged in part, which was asked for then.
    let mut seen = judged.report.clone();
    seen.checks.retain(|ran| judged.not_run.iter().all(|(check, _)| check.id != ran.id));
    let code = seen.exit_code(args.output.fail_on());
    print!("{}", args.output.render(&judged.report, &judged.inventory, code)?);
    Ok(ExitCode::from(code))
}

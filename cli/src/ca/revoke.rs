//! `signet ca revoke`, `revocations`, `allow` and `release`.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use signet_ca::ledger::{Reason, Subject};
use signet_policies::{identity::SpiffeId, time::Clock};

use super::ledger::serial;
use crate::{client::Client, connect::ConnectArgs, format::Format, server::Effect};

/// Examples for `--help`.
pub(super) const REVOKE_HELP: &str = "Examples:\n  \
    signet ca revoke 4b51c0de4b51c0de4b51c0de4b51c0de --reason keyCompromise\n  \
    signet ca revoke spiffe://signet.internal/mesh/shop/virtual-node/cart --reason keyCompromise\n  \
    signet ca allow spiffe://signet.internal/mesh/shop/virtual-node/cart\n\n\
    A serial number revokes one certificate. An identity is banned: all its certificates are revoked, and it gets no \
    other until `signet ca allow`. At once: nothing is issued, streams to the server end, and its handshakes with the \
    server are refused. Then every proxy is given lists of what is revoked, and refuses new handshakes; then connections \
    that are open are renewed, which those who are not revoked survive without a loss.\n\n\
    It waits and prints three times, counted from the server's acknowledgement: until every connected proxy had accepted \
    the lists (Envoy's own ACK on its agent's socket, as the agents report), until every connected proxy had accepted the \
    clusters and listeners that renew connections (Envoy's ACK to the control plane), and the drain time after which \
    Envoy cuts what is left. A proxy that is not connected is told when it comes back. Where a connected one has not \
    accepted its part within 15 s, or one passes lists over, it is named, and the command ends with 1.\n\n\
    REASON is one of RFC 5280's: unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, \
    cessationOfOperation, privilegeWithdrawn.";

/// How long proxies are waited for if nobody says.
const PATIENCE: u64 = 60;
/// Between two looks.
const PULSE: Duration = Duration::from_millis(200);

/// Flags of `signet ca revoke`.
#[derive(Args, Clone, Debug)]
pub struct RevokeArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// A serial number, or a SPIFFE ID
    #[arg(value_name = "SERIAL|IDENTITY", value_parser = subject)]
    subject: Subject,
    /// Why
    #[arg(long, value_name = "REASON", default_value = "unspecified")]
    reason: Reason,
    /// How long to wait for the proxies; 0 does not wait
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE)]
    wait: u64,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Flags of `signet ca revocations`.
#[derive(Args, Clone, Debug)]
pub struct RevocationsArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Flags of `signet ca allow`.
#[derive(Args, Clone, Debug)]
pub struct AllowArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// The banned identity
    identity: SpiffeId,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Flags of `signet ca release`.
#[derive(Args, Clone, Debug)]
pub struct ReleaseArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// What was found, for the ledger
    #[arg(long, value_name = "WORDS")]
    reason: String,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

fn subject(text: &str) -> Result<Subject, String> {
    match text.contains("://") {
        true => text.parse().map(Subject::Identity).map_err(|invalid| format!("{invalid}")),
        false => serial(text).map(Subject::Certificate),
    }
}

#[derive(Deserialize)]
struct Revoked {
    generation: u64,
    serials: Vec<String>,
}

/// Revokes, and waits until the proxies know.
pub(super) async fn revoke(args: RevokeArgs, clock: Clock) -> Result<()> {
    let client = args.connect.client(clock)?;
    let body = json!({"subject": args.subject.to_string(), "reason": args.reason.name()});
    let answer = client.call(Method::POST, "/v1/ca/revocations", Some(&body)).await?;
    let revoked = Revoked::deserialize(&answer).context("the server's answer tells of no revocation")?;
    if args.format == Format::Table {
        println!("{}", outcome(&args.subject, revoked.serials.len()));
    }
    let (effect, late) =
        follow(&client, revoked.generation, Duration::from_secs(args.wait), args.format).await?;
    if args.format == Format::Json {
        let told = json!({
            "subject": args.subject.to_string(),
            "generation": revoked.generation,
            "serials": revoked.serials,
            "effect": effect,
        });
        println!("{}", serde_json::to_string_pretty(&told)?);
    }
    match effect.problem.or(late) {
        Some(problem) => bail!("{problem}"),
        None => Ok(()),
    }
}

/// What was revoked, in words.
fn outcome(subject: &Subject, certificates: usize) -> String {
    match (subject, certificates) {
        (Subject::Identity(identity), 0) => format!(
            "revoked {identity}: it had no certificate that is good, and gets none until `signet ca allow`; is it spelled right?"
        ),
        (_, 1) => format!("revoked {subject}: 1 certificate"),
        _ => format!("revoked {subject}: {certificates} certificates"),
    }
}

/// Looks until a revocation has come everywhere, or patience ends; says who is late then.
async fn follow(
    client: &Client,
    generation: u64,
    patience: Duration,
    format: Format,
) -> Result<(Effect, Option<String>)> {
    let start = tokio::time::Instant::now();
    let mut told = 0;
    loop {
        let answer = client.call(Method::GET, "/v1/ca/revocations", None).await?;
        let effect = Effect::deserialize(&answer["effect"]).context("the server tells of no effect")?;
        let steps = if effect.generation >= generation { effect.steps() } else { Vec::new() };
        if format == Format::Table {
            steps.iter().skip(told).for_each(|step| println!("{step}"));
        }
        told = told.max(steps.len());
        let is_over = effect.generation >= generation && effect.is_over();
        if is_over || start.elapsed() >= patience {
            let late = (!is_over && !patience.is_zero()).then(|| {
                format!("not everywhere after {} s; waiting for: {}", patience.as_secs(), effect.waiting())
            });
            return Ok((effect, late));
        }
        tokio::time::sleep(PULSE).await;
    }
}

/// Prints who is revoked and banned.
pub(super) async fn list(args: RevocationsArgs, clock: Clock) -> Result<()> {
    let answer = args.connect.client(clock)?.call(Method::GET, "/v1/ca/revocations", None).await?;
    if args.format == Format::Json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["REVOKED", "SINCE", "UNTIL", "REASON", "BY"]);
    let text = |value: &Value, member: &str| value[member].as_str().unwrap_or("-").to_owned();
    for ban in answer["banned"].as_array().into_iter().flatten() {
        let until = "it is allowed".to_owned();
        table.add_row([text(ban, "identity"), text(ban, "at"), until, text(ban, "reason"), text(ban, "by")]);
    }
    for one in answer["certificates"].as_array().into_iter().flatten() {
        let row = ["serial", "at", "notAfter", "reason", "by"].map(|member| text(one, member));
        table.add_row(row);
    }
    println!("{table}");
    if answer["halted"].is_object() {
        println!(
            "issuing is halted since {}: {}",
            text(&answer["halted"], "at"),
            text(&answer["halted"], "cause")
        );
    }
    Ok(())
}

/// Lifts a ban.
pub(super) async fn allow(args: AllowArgs, clock: Clock) -> Result<()> {
    let body = json!({"identity": args.identity.to_string()});
    let answer = args.connect.client(clock)?.call(Method::POST, "/v1/ca/allow", Some(&body)).await?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        Format::Table => {
            println!("{} may have certificates again; those that were revoked stay revoked", args.identity)
        }
    }
    Ok(())
}

/// Lets the authority sign again.
pub(super) async fn release(args: ReleaseArgs, clock: Clock) -> Result<()> {
    let body = json!({"reason": args.reason});
    let answer = args.connect.client(clock)?.call(Method::POST, "/v1/ca/release", Some(&body)).await?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        Format::Table => println!("the authority signs again"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_that_met_no_certificate_asks_whether_it_was_meant() {
        let identity = subject("spiffe://signet.internal/mesh/shop/virtual-node/crat").unwrap();
        assert!(outcome(&identity, 0).contains("spelled right"));
        assert!(outcome(&identity, 1).ends_with("crat: 1 certificate"));
        assert!(outcome(&identity, 2).ends_with("crat: 2 certificates"));
        let one = subject("4b51c0de4b51c0de4b51c0de4b51c0de").unwrap();
        assert_eq!(outcome(&one, 1), "revoked 4b51c0de4b51c0de4b51c0de4b51c0de: 1 certificate");
    }
}

//! `signet ca why`, `checkpoint` and `verify`: what the ledger says, and whether it was altered.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use http::Method;
use serde::Deserialize as _;
use serde_json::{Value, json};
use signet_ca::{
    Serial, SledLedger,
    ledger::{LogVerifier, compare},
};
use signet_durable::Database;
use signet_policies::time::Clock;

use super::evidence::Evidence;
use crate::{WrongUsage, client::Refusal, connect::ConnectArgs, format::Format};

/// Where the server publishes the key by which its ledger's checkpoints are checked, in its data folder.
pub(crate) const VERIFIER_FILE: &str = "ledger.pub";

/// Examples for `--help`.
pub(super) const WHY_HELP: &str = "Examples:\n  \
    signet ca why 4b51c0de4b51c0de4b51c0de4b51c0de\n  \
    signet ca why 4b51c0de4b51c0de4b51c0de4b51c0de --format json > evidence.json\n  \
    signet ca verify evidence.json --key-file ledger.pub\n\n\
    DELIVERED TO is what the agents told last: who holds it, whose Envoy runs it, and which listeners present it.\n\
    The JSON holds a proof that the entry is in the ledger, which `signet ca verify` checks without the server.";

/// Examples for `--help`.
pub(super) const CHECKPOINT_HELP: &str = "Examples:\n  \
    signet ca checkpoint > monday.checkpoint\n  \
    signet ca checkpoint --since monday.checkpoint > evidence.json\n  \
    signet ca verify evidence.json --key-file ledger.pub --since monday.checkpoint\n  \
    signet ca checkpoint --key > ledger.pub\n\n\
    A checkpoint says how many entries the ledger has and what hash stands over them (RFC 6962), signed with Ed25519 \
    (C2SP tlog-checkpoint). Kept elsewhere, it shows later whether anything was altered or taken away.";

/// Examples for `--help`.
pub(super) const VERIFY_HELP: &str = "Examples:\n  \
    signet ca verify evidence.json --key-file ledger.pub\n  \
    signet ca verify evidence.json --key-file ledger.pub --since monday.checkpoint\n  \
    signet ca verify --data-dir signet-data --since /mnt/elsewhere/signet.anchor      (the server is stopped)\n\n\
    Without --data-dir it needs no server: a file of `signet ca why --format json` or `signet ca checkpoint --since`, and \
    the ledger's public key, had from elsewhere. With --data-dir every entry is read and the tree made anew.\n\n\
    Exit codes: 0 it is as it was, 1 something was altered or is not proven, 2 wrong usage.";

/// Flags of `signet ca why`.
#[derive(Args, Clone, Debug)]
pub struct WhyArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// The certificate's serial number, 32 hexadecimal digits; colons are allowed
    #[arg(value_parser = serial)]
    serial: Serial,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Flags of `signet ca checkpoint`.
#[derive(Args, Clone, Debug)]
pub struct CheckpointArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Print the public key by which checkpoints are checked instead
    #[arg(long, conflicts_with = "since")]
    key: bool,
    /// An older checkpoint: prints JSON with a proof that it is the beginning of this one
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// `table` prints the signed note alone
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Flags of `signet ca verify`.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// JSON of `signet ca why` or `signet ca checkpoint --since`
    #[arg(value_name = "FILE", required_unless_present = "data_dir", conflicts_with = "data_dir")]
    evidence: Option<PathBuf>,
    /// The ledger's public key: a file as `signet ca checkpoint --key` prints it [default with --data-dir:
    /// FOLDER/ledger.pub]
    #[arg(long, value_name = "FILE", required_unless_present = "data_dir")]
    key_file: Option<PathBuf>,
    /// An older checkpoint, or an anchor, that must be the beginning of the ledger
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// Look at the whole ledger of a server that is stopped
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

/// As people copy serial numbers: with colons, or in capitals.
pub(super) fn serial(text: &str) -> Result<Serial, String> {
    let digits: String = text.chars().filter(|character| *character != ':').collect();
    // Tools leave leading zeros out.
    let padded = if digits.len() < 32 && !digits.is_empty() { format!("{digits:0>32}") } else { digits };
    padded.to_ascii_lowercase().parse().map_err(|invalid: signet_ca::InvalidSerial| invalid.to_string())
}

/// Prints all that is known of a certificate.
pub(super) async fn why(args: WhyArgs, clock: Clock) -> Result<()> {
    let client = args.connect.client(clock)?;
    let path = format!("/v1/ca/certificates/{}", args.serial);
    let answer = client.call(Method::GET, &path, None).await.map_err(|error| {
        let is_unknown = error.downcast_ref::<Refusal>().is_some_and(|it| it.code == "NotFoundException");
        match is_unknown {
            true => anyhow!("{error}; give all of its digits, as `signet audit --format csv` lists them"),
            false => error,
        }
    })?;
    match args.format {
        // What `verify` reads is at the top.
        Format::Json => println!("{}", serde_json::to_string_pretty(&flat(answer))?),
        Format::Table => print!("{}", story(&answer)),
    }
    Ok(())
}

fn flat(mut answer: Value) -> Value {
    let proof = answer.as_object_mut().and_then(|answer| answer.remove("proof"));
    if let (Some(answer), Some(Value::Object(proof))) = (answer.as_object_mut(), proof) {
        answer.extend(proof);
    }
    answer
}

fn story(answer: &Value) -> String {
    let text = |member: &str| answer[member].as_str().unwrap_or("-").to_owned();
    let names: Vec<&str> =
        answer["dnsNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let how = match answer["attestation"].as_str() {
        Some("join") => match answer["token"]["id"].as_str() {
            Some(id) => {
                let by = answer["token"]["madeBy"].as_str().map(|key| format!(", made by {key}"));
                format!("with the one-time join token {id}{}", by.unwrap_or_default())
            }
            None => "with a one-time join token".to_owned(),
        },
        Some("renew") => format!("with the certificate {}", text("predecessor")),
        _ => "it is the server's own".to_owned(),
    };
    let revocation = &answer["revocation"];
    let status = match revocation.is_object() {
        false => text("status"),
        true => format!(
            "revoked at {} by {}: {}",
            revocation["at"].as_str().unwrap_or("-"),
            revocation["by"].as_str().unwrap_or("-"),
            revocation["reason"].as_str().unwrap_or("-"),
        ),
    };
    let entry = &answer["proof"]["entry"];
    let size = answer["proof"]["checkpoint"].as_str().and_then(|note| note.lines().nth(1)).unwrap_or("-");
    let mut rows = vec![
        ("SERIAL", text("serial")),
        ("STATUS", status),
        ("IDENTITY", text("spiffeId")),
        ("DNS NAMES", if names.is_empty() { "-".to_owned() } else { names.join(", ") }),
        ("GRANTED TO", text("workload")),
        ("ISSUER", text("issuer")),
        ("VALID", format!("{} to {}", text("notBefore"), text("notAfter"))),
        ("ISSUED", text("issuedAt")),
        ("PROVEN BY", how),
        ("SHA-256", text("sha256")),
        (
            "LEDGER",
            format!(
                "entry {} of {size}, proof with {} hashes",
                entry["position"],
                entry["inclusion"].as_array().map_or(0, Vec::len)
            ),
        ),
    ];
    let deliveries = answer["deliveries"].as_array().into_iter().flatten().map(delivery);
    rows.extend(deliveries.map(|delivery| ("DELIVERED TO", delivery)));
    rows.into_iter().map(|(name, value)| format!("{name:<13} {value}\n")).collect()
}

fn delivery(delivery: &Value) -> String {
    let list = |member: &str| {
        let all = delivery[member].as_array().into_iter().flatten().filter_map(Value::as_str);
        all.collect::<Vec<_>>().join(", ")
    };
    let mut parts = vec![delivery["node"].as_str().unwrap_or("-").to_owned()];
    if delivery["held"] == true {
        parts.push("held by its agent".to_owned());
    }
    if delivery["loaded"] == true {
        parts.push("loaded by Envoy".to_owned());
    }
    match list("presentedAt") {
        presented if presented.is_empty() => {}
        presented => parts.push(format!("presented on {presented}")),
    }
    if delivery["connected"] == false {
        parts.push(format!("not connected; told at {}", delivery["reportedAt"].as_str().unwrap_or("-")));
    }
    parts.join("; ")
}

/// Prints a checkpoint, or a proof since an older one.
pub(super) async fn checkpoint(args: CheckpointArgs, clock: Clock) -> Result<()> {
    let client = args.connect.client(clock)?;
    let mut path = "/v1/ca/checkpoint".to_owned();
    if let Some(file) = &args.since {
        let note = read(file)?;
        let size: Option<u64> = note.lines().nth(1).and_then(|size| size.parse().ok());
        let size = size.with_context(|| format!("{} holds no checkpoint", file.display()))?;
        path = format!("{path}?since={size}");
    }
    let answer = client.call(Method::GET, &path, None).await?;
    let evidence = Evidence::deserialize(&answer).context("the server's answer is no checkpoint")?;
    match (args.format, args.key, &args.since) {
        (Format::Table, true, _) => println!("{}", evidence.verifier),
        (Format::Json, true, _) => println!("{}", json!({"verifier": evidence.verifier})),
        (Format::Table, false, None) => print!("{}", evidence.checkpoint),
        (Format::Json, false, _) | (Format::Table, false, Some(_)) => {
            println!("{}", serde_json::to_string_pretty(&answer)?);
        }
    }
    Ok(())
}

/// Checks evidence, or a whole ledger.
pub(super) fn verify(args: &VerifyArgs) -> Result<()> {
    let key_file = match (&args.key_file, &args.data_dir) {
        (Some(file), _) => file.clone(),
        (None, Some(folder)) => folder.join(VERIFIER_FILE),
        (None, None) => bail!(WrongUsage("give the ledger's public key with --key-file".to_owned())),
    };
    let verifier: LogVerifier =
        read(&key_file)?.parse().with_context(|| format!("the key in {}", key_file.display()))?;
    let since = args.since.as_deref().map(read).transpose()?;
    let found = match (&args.evidence, &args.data_dir) {
        (Some(file), _) => {
            let text = read(file)?;
            let evidence: Evidence = serde_json::from_str(&text)
                .with_context(|| format!("{} holds no evidence of a ledger", file.display()))?;
            evidence.check(&verifier, since.as_deref())?
        }
        (None, Some(folder)) => look(folder, &verifier, since.as_deref())?,
        (None, None) => bail!(WrongUsage("give a file to check, or --data-dir".to_owned())),
    };
    match args.format {
        Format::Json => println!("{}", json!({ "verified": found })),
        Format::Table => found.iter().for_each(|line| println!("{line}")),
    }
    Ok(())
}

/// Reads everything in a data folder whose server is stopped.
fn look(folder: &Path, verifier: &LogVerifier, since: Option<&str>) -> Result<Vec<String>> {
    let store = folder.join("store");
    if !store.is_dir() {
        bail!("{} holds no store; is it the right data folder?", folder.display());
    }
    let ledger = SledLedger::new(Database::open(&store)?)?;
    let checked = ledger.check()?;
    let mut found = vec![format!(
        "{} entries, {} of them certificates, are as they were written",
        checked.head.size, checked.certificates
    )];
    if let Some(note) = ledger.kept_checkpoint()? {
        let checkpoint = compare(&ledger, &note, verifier, "the checkpoint in the data folder")?;
        found.push(format!("its last checkpoint, of {} entries, holds", checkpoint.head().size));
    }
    if let Some(since) = since {
        let older = compare(&ledger, since, verifier, "the older checkpoint")?;
        found.push(format!("its first {} entries are those of the older checkpoint", older.head().size));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

//! `signet ca show` and `signet ca bundle`.

use anyhow::{Context as _, Result};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use http::Method;
use serde_json::Value;
use signet_policies::time::Clock;

use crate::{connect::ConnectArgs, format::Format};

/// Flags of `signet ca show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// How to write it
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Flags of `signet ca bundle`.
#[derive(Args, Clone, Debug)]
pub struct BundleArgs {
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Shows root, intermediate and issuers.
///
/// # Errors
/// The server refuses, or cannot be reached.
pub(super) async fn show(args: ShowArgs, clock: Clock) -> Result<()> {
    let answer = args.connect.client(clock)?.call(Method::GET, "/v1/ca", None).await?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        Format::Table => println!("{}", table(&answer)),
    }
    Ok(())
}

/// Prints the roots that agents trust, PEM.
///
/// # Errors
/// As [`show`].
pub(super) async fn bundle(args: BundleArgs, clock: Clock) -> Result<()> {
    let answer = args.connect.client(clock)?.call(Method::GET, "/v1/ca/bundle", None).await?;
    print!("{}", answer["bundle"].as_str().context("the answer holds no bundle")?);
    Ok(())
}

fn table(answer: &Value) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["NAME", "SUBJECT", "SERIAL", "UNTIL", "KEY", "REMARK"]);
    for one in answer["authorities"].as_array().into_iter().flatten() {
        let text = |member: &str| one[member].as_str().unwrap_or_default().to_owned();
        let remark = match one["isSuccessorRequested"] == true {
            true => "a request waits for its certificate",
            false => "",
        };
        table.add_row([
            text("name"),
            text("subject"),
            text("serial"),
            text("notAfter"),
            text("key"),
            remark.into(),
        ]);
    }
    let waiting = answer["waiting"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in waiting {
        table.add_row([name, "", "", "", "", "a request waits for its certificate"]);
    }
    table
}

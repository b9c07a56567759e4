//! `signet ca forget`: agents that are gone for good without having said so.

use anyhow::Result;
use clap::Args;
use http::Method;
use serde_json::{Value, json};
use signet_policies::time::Clock;

use crate::{connect::ConnectArgs, format::Format};

/// Examples for `--help`.
pub(super) const HELP: &str = "Examples:\n  \
    signet ca forget mesh/shop/virtualNode/reports/i-7aa          (one agent, as `signet audit` names it)\n  \
    signet ca forget mesh/shop/virtualNode/reports                (all of that node which are not connected)\n  \
    signet ca forget 4b51c0de4b51c0de4b51c0de4b51c0de             (whoever holds that certificate)\n\n\
    An agent that is stopped (SIGTERM) says that it leaves. One that was killed, or whose machine is gone, did not, and may \
    be alive behind a broken network: until its certificate ends, `signet audit` is incomplete (exit status 5), and a \
    change of root or issuer waits for it. This says that it is gone. It is kept in the ledger, with your name, and holds \
    until the agent is back. One whose certificate has ended is shown for a day, and after this no more. An agent that is connected is not forgotten, and nothing is revoked: if somebody may have the \
    key, `signet ca revoke` its certificate.";

/// Flags of `signet ca forget`.
#[derive(Args, Clone, Debug)]
pub struct ForgetArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// mesh/MESH/virtualNode/NAME/INSTANCE, the same without its instance, or a serial number
    #[arg(value_name = "NODE")]
    node: String,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Has the server wait no longer for agents that are gone.
///
/// # Errors
/// The server refuses: it knows no such agent, or it is connected.
pub(super) async fn run(args: ForgetArgs, clock: Clock) -> Result<()> {
    let body = json!({"node": args.node});
    let answer = args.connect.client(clock)?.call(Method::POST, "/v1/nodes/forget", Some(&body)).await?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        Format::Table => {
            let forgotten = answer["forgotten"].as_array().into_iter().flatten().filter_map(Value::as_str);
            forgotten.for_each(|node| println!("{node} is forgotten until it is back"));
        }
    }
    Ok(())
}

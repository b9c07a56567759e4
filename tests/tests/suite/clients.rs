//! AWS's own clients over all 38 operations, with botocore's model as the judge of every answer.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};
use signet::local::mesh::Server;
use signet_tests::{program, python_tool};

/// Runs a script of `tests/clients` against a server of its own, and returns what it printed last.
async fn run(script: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(script);
    let output = Command::new(python_tool("python")?)
        .arg("-B")
        .arg(path)
        .arg(&server.ready.api)
        .env("AWS_SHARED_CREDENTIALS_FILE", server.credentials())
        .env("AWS_CONFIG_FILE", folder.path().join("no-config"))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()?;
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{script}: {printed}{errors}");
    let log = server.log();
    ensure!(!log.contains("panicked") && !log.contains("request failed"), "{script} made a 5xx:\n{log}");
    server.stop().await;
    Ok(printed.lines().last().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_is_answered_by_every_operation_as_botocores_model_says() -> Result<()> {
    let last = run("boto.py").await?;
    assert!(last.starts_with("38 operations"), "{last}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_aws_cli_runs_each_of_its_38_commands() -> Result<()> {
    assert_eq!(run("cli.py").await?, "38 commands");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn terraform_applies_changes_and_destroys_in_its_own_order() -> Result<()> {
    let last = run("terraform.py").await?;
    assert!(last.starts_with("8 resources"), "{last}");
    Ok(())
}

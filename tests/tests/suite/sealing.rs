//! Keys that are sealed with a passphrase, as an operator has it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result};
use signet_tests::program;

fn signet(data: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(program()?);
    command.args(arguments).arg("--data-dir").arg(data);
    for variable in ["SIGNET_CA_PASSPHRASE", "SIGNET_CA_PASSPHRASE_FILE"] {
        command.env_remove(variable);
    }
    if arguments[0] == "server" {
        command.args([
            "--api-addr",
            "127.0.0.1:0",
            "--grpc-addr",
            "127.0.0.1:0",
            "--ops-addr",
            "127.0.0.1:0",
        ]);
    }
    Ok(command)
}

/// Starts a server, waits until it is ready, tries `meanwhile`, and stops it.
fn serve<T>(mut command: Command, meanwhile: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().context("no output")?).read_line(&mut line)?;
    let done = meanwhile();
    server.kill()?;
    server.wait()?;
    assert!(line.contains("\"ready\""), "the server is not ready: {line}");
    done
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn refused(mut command: Command) -> Result<String> {
    let output = command.output()?;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(output.stdout.is_empty(), "{}", said(&output));
    Ok(said(&output))
}

#[test]
fn a_sealed_authority_starts_with_its_passphrase_alone_and_openssl_opens_its_keys() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let passphrase = folder.path().join("passphrase");
    fs::write(&passphrase, "correct horse\n")?;
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600))?;
    let passphrase = passphrase.display().to_string();
    let sealing = ["ca", "seal", "--new-passphrase-file", &passphrase];

    let running = serve(signet(&data, &["server"])?, || refused(signet(&data, &sealing)?))?;
    assert!(running.contains("in use by another signet process"), "{running}");
    let root = fs::read(data.join("ca.pem"))?;
    let sealed = signet(&data, &sealing)?.output()?;
    assert_eq!((sealed.status.code(), said(&sealed).as_str()), (Some(0), "3 keys sealed\n"));

    let without = refused(signet(&data, &["server"])?)?;
    assert!(without.contains("--ca-passphrase-file") && without.contains("root/key.pem"), "{without}");
    let mut with_another = signet(&data, &["server"])?;
    with_another.env("SIGNET_CA_PASSPHRASE", "incorrect horse");
    let with_another = refused(with_another)?;
    assert!(
        with_another.contains("does not open it") && !with_another.contains("incorrect"),
        "{with_another}"
    );
    serve(signet(&data, &["server", "--ca-passphrase-file", &passphrase])?, || Ok(()))?;
    assert_eq!(fs::read(data.join("ca.pem"))?, root, "the root is another one");

    let key = data.join("ca/root/key.pem").display().to_string();
    let arguments = ["pkey", "-in", &key, "-passin", "pass:correct horse", "-noout"];
    let opened = Command::new("openssl").args(arguments).output()?;
    assert!(opened.status.success(), "{}", said(&opened));
    Ok(())
}

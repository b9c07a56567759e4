//! A server that is backed up while it serves goes on elsewhere as the same server.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result};
use http::Method;
use serde_json::{Value, json};
use signet::{client::Client, local::mesh::Server};
use signet_policies::identity::Workload;
use signet_tests::{clock, machine, program};
use tokio::task::JoinSet;

const MESHES: &str = "/v20190125/meshes";
const NODE: &str = "/v20190125/meshes/m/virtualNodes/a";
const TAGS: &str =
    "/v20190125/tags?resourceArn=arn%3Aaws%3Aappmesh%3Aus-east-1%3A000000000000%3Amesh%2Fm%2FvirtualNode%2Fa";

fn signet(args: &[&str]) -> Result<Output> {
    Ok(Command::new(program()?).args(args).output()?)
}

fn backup(server: &Server, file: &Path, more: &[&str]) -> Result<Output> {
    let (credentials, file) = (server.credentials().display().to_string(), file.display().to_string());
    let args = ["backup", &file, "--endpoint", &server.ready.api, "--credentials", &credentials];
    signet(&[&args, more].concat())
}

fn restore(file: &Path, data_dir: &Path, more: &[&str]) -> Result<Output> {
    let (file, data_dir) = (file.display().to_string(), data_dir.display().to_string());
    signet(&[&["restore", &file, "--data-dir", &data_dir], more].concat())
}

/// A server with a folder of its own below `folder`.
async fn start(folder: &Path, name: &str) -> Result<Server> {
    let folder = folder.join(name);
    fs::create_dir_all(&folder)?;
    Server::start(&program()?, &folder).await
}

/// The exit code, and what it said.
fn end(output: &Output) -> (Option<i32>, String) {
    (
        output.status.code(),
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned(),
    )
}

fn creation() -> Value {
    json!({
        "virtualNodeName": "a",
        "clientToken": "first",
        "tags": [{"key": "team", "value": "x"}],
        "spec": {
            "listeners": [{"portMapping": {"port": 80, "protocol": "http"}}],
            "serviceDiscovery": {"dns": {"hostname": "a.local"}},
        },
    })
}

/// Two meshes at a time, the second after the first, until the server is gone.
async fn write_on(client: Client) -> u32 {
    for number in 0.. {
        for half in ["x", "y"] {
            let body = json!({"meshName": format!("{half}{number}")});
            if client.call(Method::PUT, MESHES, Some(&body)).await.is_err() {
                return number;
            }
        }
    }
    0
}

async fn names(client: &Client) -> Result<Vec<String>> {
    let (mut names, mut page) = (Vec::new(), String::new());
    loop {
        let listed = client.call(Method::GET, &format!("{MESHES}{page}"), None).await?;
        let found = listed["meshes"].as_array().context("no meshes")?;
        names.extend(found.iter().filter_map(|mesh| mesh["meshName"].as_str().map(str::to_owned)));
        let Some(next) = listed["nextToken"].as_str() else { return Ok(names) };
        page = format!("?nextToken={next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_server_is_the_one_that_was_backed_up_while_it_served() -> Result<()> {
    let _machine = machine().await?;
    let folder = tempfile::tempdir()?;
    let mut server = start(folder.path(), "one").await?;
    let client = server.client(clock())?;
    client.call(Method::PUT, MESHES, Some(&json!({"meshName": "m"}))).await?;
    let created = client.call(Method::PUT, &format!("{MESHES}/m/virtualNodes"), Some(&creation())).await?;
    server.join(&client, &Workload::virtual_node("m", "a")?, clock()).await?;
    let mut writers = JoinSet::new();
    writers.spawn(write_on(client.clone()));
    let file = folder.path().join("backup");
    let (code, said) = end(&backup(&server, &file, &[])?);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let (code, said) = end(&backup(&server, &file, &[])?);
    assert!(code == Some(2) && said.contains("--force"), "{said}");
    let (code, said) = end(&backup(&server, &file, &["--force"])?);
    assert_eq!(code, Some(0), "{said}");
    let root = fs::read(server.ca_file())?;
    server.kill().await?;
    assert!(writers.join_all().await.iter().sum::<u32>() > 0, "it served nobody meanwhile");

    let other = folder.path().join("two");
    let (code, said) = end(&restore(&file, &other.join("data"), &[])?);
    assert_eq!(code, Some(0), "{said}");
    let mut restored = start(folder.path(), "two").await?;
    assert_eq!(fs::read(restored.ca_file())?, root, "the root is another one");
    let client = restored.client(clock())?;
    assert_eq!(client.call(Method::GET, NODE, None).await?, created);
    let tags = client.call(Method::GET, TAGS, None).await?;
    assert_eq!(tags["tags"], json!([{"key": "team", "value": "x"}]));
    let again = client.call(Method::PUT, &format!("{MESHES}/m/virtualNodes"), Some(&creation())).await?;
    assert_eq!(again, created, "the client token is remembered");
    let names = names(&client).await?;
    let [xs, ys] = ["x", "y"].map(|half| names.iter().filter(|name| name.starts_with(half)).count());
    assert!(xs == ys || xs == ys + 1, "{xs} and {ys}: not one moment");
    restored.join(&client, &Workload::virtual_node("m", "a")?, clock()).await.context("its CA issues on")?;

    let (code, said) = end(&restore(&file, &other.join("data"), &["--force"])?);
    assert!(code == Some(1) && said.contains("must be stopped first"), "{said}");
    restored.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_through_a_pipe_and_leaves_no_file() -> Result<()> {
    let _machine = machine().await?;
    let folder = tempfile::tempdir()?;
    let mut server = start(folder.path(), "one").await?;
    server.client(clock())?.call(Method::PUT, MESHES, Some(&json!({"meshName": "m"}))).await?;
    let credentials = server.credentials().display().to_string();
    let mut from = Command::new(program()?)
        .args(["backup", "-", "--endpoint", &server.ready.api, "--credentials", &credentials])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let to = Command::new(program()?)
        .args(["restore", "-", "--data-dir", "two/data"])
        .current_dir(folder.path())
        .stdin(from.stdout.take().context("no pipe")?)
        .output()?;
    let (code, said) = end(&from.wait_with_output()?);
    assert!(code == Some(0) && said.contains("records of"), "{said}");
    assert_eq!(end(&to).0, Some(0), "{}", end(&to).1);
    assert!(!folder.path().join("-").exists());
    let root = fs::read(server.ca_file())?;
    server.stop().await;
    let mut restored = start(folder.path(), "two").await?;
    assert_eq!(fs::read(restored.ca_file())?, root, "the root is another one");
    assert_eq!(names(&restored.client(clock())?).await?, ["m"]);
    restored.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_and_a_folder_that_holds_something_are_left_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = start(folder.path(), "one").await?;
    let client = server.client(clock())?;
    client.call(Method::PUT, MESHES, Some(&json!({"meshName": "m"}))).await?;
    let file = folder.path().join("backup");
    let (code, said) = end(&backup(&server, &file, &[])?);
    assert_eq!(code, Some(0), "{said}");
    server.stop().await;

    let whole = fs::read(&file)?;
    let target = folder.path().join("target");
    let mut changed = whole.clone();
    let place = changed.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).context("few lines")?.0;
    changed[place + 40] ^= 1;
    fs::write(&file, &changed)?;
    let (code, said) = end(&restore(&file, &target, &[])?);
    assert!(code == Some(1) && said.contains("damaged") && said.contains("line 4"), "{said}");
    fs::write(&file, &whole[..whole.len() / 2])?;
    let (code, said) = end(&restore(&file, &target, &[])?);
    assert!(code == Some(1) && said.contains("cut off"), "{said}");
    assert!(!target.exists());

    fs::write(&file, &whole)?;
    fs::create_dir(&target)?;
    fs::write(target.join("precious"), "x")?;
    let (code, said) = end(&restore(&file, &target, &[])?);
    assert!(code == Some(2) && said.contains("--force"), "{said}");
    let (code, said) = end(&restore(&file, &target, &["--force"])?);
    assert_eq!(code, Some(0), "{said}");
    let aside = folder.path().join("target.before-restore-1");
    assert_eq!(fs::read(aside.join("precious"))?, b"x", "what was there is kept");
    assert!(target.join("ca.pem").exists() && !target.join("precious").exists());
    Ok(())
}

//! The commands that change a root or an issuer, as an operator meets them.

use std::process::{Command, Output};

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};
use signet::local::mesh::Server;
use signet_policies::identity::Workload;
use signet_tests::{clock, machine, program};

/// Runs `signet ca rotate …` against a server. One that waits for ever is ended, with the code 124.
fn rotate(server: &Server, args: &[&str]) -> Result<Output> {
    let credentials = server.credentials().display().to_string();
    let connect = ["--endpoint", &server.ready.api, "--credentials", &credentials];
    let mut command = Command::new("timeout");
    command.arg("60").arg(program()?).args(["ca", "rotate"]).args(args).args(connect);
    Ok(command.output()?)
}

/// The exit code, and what it said.
fn end(output: &Output) -> (Option<i32>, String) {
    (
        output.status.code(),
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_change_ends_in_time_and_the_change_goes_on() -> Result<()> {
    let _machine = machine().await?;
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let client = server.client(clock())?;
    client.call(Method::PUT, "/v20190125/meshes", Some(&json!({"meshName": "m"}))).await?;
    let node = json!({"virtualNodeName": "a", "spec": {}});
    client.call(Method::PUT, "/v20190125/meshes/m/virtualNodes", Some(&node)).await?;
    // Nobody watches for it, so it holds each phase up.
    server.join(&client, &Workload::virtual_node("m", "a")?, clock()).await?;

    let (code, said) = end(&rotate(&server, &["--plan", "--root"])?);
    assert!(code == Some(0) && said.ends_with("it can begin: signet ca rotate start --root\n"), "{said}");
    let (code, said) = end(&rotate(&server, &["start", "--root", "--timeout", "1"])?);
    assert!(code == Some(2) && said.contains("--wait"), "{said}");
    let (code, said) = end(&rotate(&server, &["start", "--root", "--wait", "--timeout", "1"])?);
    assert!(code == Some(1) && said.contains("not over yet, in phase distribute"), "{said}");

    for format in ["table", "json"] {
        let (code, said) = end(&rotate(&server, &["plan", "--root", "--format", format])?);
        assert!(code == Some(1) && said.ends_with("signet: the change cannot begin\n"), "{code:?} {said}");
        assert!(said.contains("is under way"), "{said}");
    }

    let told = rotate(&server, &["status", "--wait", "--timeout", "1", "--format", "json"])?;
    let status: Value = serde_json::from_slice(&told.stdout)?;
    assert_eq!((told.status.code(), &status["isOver"]), (Some(1), &json!(false)));
    let (code, said) = end(&rotate(&server, &["resume", "--override", "mesh/m/virtualNode/b", "--wait"])?);
    assert!(
        code == Some(1) && said.contains(r#"called "mesh/m/virtualNode/b"; these are waited for: "#),
        "{said}"
    );
    assert!(said.contains("(of mesh/m/virtualNode/a)"), "{said}");
    let (code, said) = end(&rotate(&server, &["status"])?);
    assert!(code == Some(0) && !said.contains("nobody waits for it"), "{said}");
    let (code, said) = end(&rotate(&server, &["resume", "--override", "mesh/m/virtualNode/a", "--wait"])?);
    assert!(code == Some(0) && said.contains("completed"), "{said}");
    let at = |text: &str| said.find(text);
    let waits = at("distribute: 1 of 1 (100 %); waiting for handshakes that began before");
    assert!(waits.is_some() && waits < at("\nretire"), "{said}");
    server.stop().await;
    Ok(())
}

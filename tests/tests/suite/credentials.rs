//! Key pairs: made by the command, used by real clients, bounded by their policies.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use signet::{
    client::{Client, KeyPair, Refusal},
    local::mesh::{REGION, Server, put},
};
use signet_tests::{clock, program, python_tool};

/// Runs `signet credentials` as the administrator.
fn credentials(server: &Server, args: &[&str]) -> Result<Output> {
    let connect = ["--endpoint", &server.ready.api, "--region", REGION, "--credentials"];
    let file = server.credentials().display().to_string();
    Ok(Command::new(program()?).arg("credentials").args(args).args(connect).arg(file).output()?)
}

fn succeeded(server: &Server, args: &[&str]) -> Result<String> {
    let output = credentials(server, args)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "signet credentials {args:?}: {errors}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Makes a key pair, and a client that signs with what was printed.
fn create(server: &Server, args: &[&str]) -> Result<(Client, KeyPair)> {
    let printed = succeeded(server, &[&["create"], args].concat())?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), printed)?;
    let name = args.first().context("a key pair has a name")?;
    let keys = KeyPair::from_file(file.path(), name)?;
    Ok((Client::new(&server.ready.api, REGION, keys.clone(), clock())?, keys))
}

/// The code and message of a refusal.
fn refusal(answer: Result<Value>) -> Result<(String, String)> {
    let error = answer.err().context("it was served")?;
    let refusal = error.downcast_ref::<Refusal>().with_context(|| format!("{error:#}"))?;
    Ok((refusal.code.clone(), refusal.message.clone()))
}

async fn get(client: &Client, path: &str) -> Result<Value> {
    client.call(Method::GET, path, None).await
}

#[tokio::test]
async fn a_read_only_key_pair_reads_with_the_aws_cli_and_writes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    put(&server.client(clock())?, "meshes", json!({"meshName": "m"})).await?;
    let file = folder.path().join("aws-credentials");
    std::fs::write(
        &file,
        succeeded(&server, &["create", "dashboards", "--read-only", "--as-profile", "looker"])?,
    )?;
    let aws = |command: &[&str]| -> Result<Output> {
        Ok(Command::new(python_tool("aws")?)
            .env("AWS_SHARED_CREDENTIALS_FILE", &file)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .args(["--profile", "looker", "--region", REGION, "--endpoint-url", &server.ready.api, "appmesh"])
            .args(command)
            .output()?)
    };
    assert!(aws(&["describe-mesh", "--mesh-name", "m"])?.status.success());
    let refused = aws(&["create-mesh", "--mesh-name", "n"])?;
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    let words = "An error occurred (ForbiddenException) when calling the CreateMesh operation: User: \
                 arn:aws:iam::000000000000:user/dashboards is not authorized to perform: appmesh:CreateMesh on resource: \
                 arn:aws:appmesh:us-east-1:000000000000:mesh/n";
    assert!(!refused.status.success() && errors.contains(words), "{errors}");
    assert_eq!(
        server.log().lines().filter(|line| line.contains("appmesh:CreateMesh on resource")).count(),
        1
    );
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_key_pair_for_one_mesh_works_there_and_nowhere_else_in_any_api_of_the_server() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let admin = server.client(clock())?;
    for mesh in ["shop", "bank"] {
        put(&admin, "meshes", json!({"meshName": mesh})).await?;
        let node = json!({"virtualNodeName": "n", "spec": {}});
        put(&admin, &format!("meshes/{mesh}/virtualNodes"), node).await?;
    }
    let (shop, _) = create(&server, &["ci", "--mesh", "shop"])?;
    put(&shop, "meshes/shop/virtualNodes", json!({"virtualNodeName": "o", "spec": {}})).await?;
    assert_eq!(
        refusal(put(&shop, "meshes/bank/virtualNodes", json!({"virtualNodeName": "o", "spec": {}})).await)?.0,
        "ForbiddenException"
    );
    let token = |mesh: &str| json!({"mesh": mesh, "virtualNode": "n"});
    shop.call(Method::POST, "/v1/tokens", Some(&token("shop"))).await?;
    let (code, message) = refusal(shop.call(Method::POST, "/v1/tokens", Some(&token("bank"))).await)?;
    assert_eq!(code, "ForbiddenException");
    assert!(
        message.contains(
            "signet:CreateToken on resource: arn:aws:appmesh:us-east-1:000000000000:mesh/bank/virtualNode/n"
        ),
        "{message}"
    );
    assert_eq!(get(&shop, "/v1/proxies").await?["proxies"], json!([]));
    for path in ["/v1/credentials", "/v20190125/meshes"] {
        assert_eq!(refusal(get(&shop, path).await)?.0, "ForbiddenException", "{path}");
    }
    let (nothing, _) = {
        let policy = folder.path().join("policy.json");
        std::fs::write(&policy, r#"{"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}"#)?;
        create(&server, &["nobody", "--policy-file", &policy.display().to_string()])?
    };
    for path in ["/v1/proxies", "/v1/credentials", "/v20190125/meshes/shop"] {
        assert_eq!(refusal(get(&nothing, path).await)?.0, "ForbiddenException", "{path}");
    }
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn key_pairs_are_listed_disabled_enabled_and_deleted_and_stay_so_over_kill_9() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let (client, keys) = create(&server, &["alice", "--admin"])?;
    let id = &*keys.access_key_id;
    let listed = succeeded(&server, &["list"])?;
    assert!(listed.contains(id) && listed.contains("alice") && listed.contains("administrator"), "{listed}");
    let all = succeeded(&server, &["list", "--format", "json"])?;
    assert!(!all.contains(&keys.secret_access_key) && !all.contains("sealed"), "{all}");

    succeeded(&server, &["disable", id])?;
    assert_eq!(refusal(get(&client, "/v20190125/meshes").await)?.0, "UnrecognizedClientException");
    server.kill().await?;
    server.restart().await?;
    assert_eq!(refusal(get(&client, "/v20190125/meshes").await)?.0, "UnrecognizedClientException");
    succeeded(&server, &["enable", id])?;
    get(&client, "/v20190125/meshes").await?;

    let first = KeyPair::from_file(&server.credentials(), "default")?.access_key_id;
    succeeded(&server, &["disable", &first])?;
    let (code, message) = refusal(client.call(Method::DELETE, &format!("/v1/credentials/{id}"), None).await)?;
    assert_eq!(code, "ResourceInUseException");
    assert!(message.contains("the last enabled key pair that may create others"), "{message}");
    client.call(Method::POST, &format!("/v1/credentials/{first}/enable"), None).await?;
    succeeded(&server, &["delete", id])?;
    assert_eq!(refusal(get(&client, "/v20190125/meshes").await)?.0, "UnrecognizedClientException");
    let gone = credentials(&server, &["enable", id])?;
    let errors = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(gone.status.code() == Some(1) && errors.contains("NotFoundException"), "{errors}");
    assert!(!server.log().contains(&keys.secret_access_key));
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_policy_that_is_none_is_refused_by_the_command_and_by_the_server() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let policy = folder.path().join("policy.json");
    let condition =
        r#"{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {}}]}"#;
    std::fs::write(&policy, condition)?;
    let refused = credentials(&server, &["create", "ci", "--policy-file", &policy.display().to_string()])?;
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        errors.contains("policy.json: policy.Statement[0].Condition: conditions are not supported"),
        "{errors}"
    );
    let admin = server.client(clock())?;
    let rows = [
        (
            json!({"name": "ci", "policy": serde_json::from_str::<Value>(condition)?}),
            "policy.Statement[0].Condition",
        ),
        (
            json!({"name": "a b", "policy": {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}}),
            "name: ",
        ),
        (json!({"name": "ci"}), "policy"),
        (json!([]), "invalid"),
    ];
    for (body, part) in rows {
        let (code, message) = refusal(admin.call(Method::POST, "/v1/credentials", Some(&body)).await)?;
        assert_eq!(code, "BadRequestException");
        assert!(message.contains(part), "{body}: {message}");
    }
    assert_eq!(get(&admin, "/v1/credentials").await?["credentials"].as_array().map(Vec::len), Some(1));
    server.stop().await;
    Ok(())
}

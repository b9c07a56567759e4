//! The App Mesh API before its real clients, and before strangers.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use signet::{
    client::{Client, KeyPair, Refusal},
    local::mesh::{REGION, Server, put},
};
use signet_tests::{clock, program, python_tool};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The route of the walkthrough, word for word.
const CANARY: &str = r#"{"httpRoute":{"match":{"prefix":"/"},"action":{"weightedTargets":[{"virtualNode":"service-a-v1-node","weight":90},{"virtualNode":"service-a-v2-node","weight":10}]},"retryPolicy":{"maxRetries":3,"perRetryTimeout":{"unit":"ms","value":2000},"httpRetryEvents":["server-error","gateway-error"],"tcpRetryEvents":["connection-error"]}}}"#;

async fn server() -> Result<(tempfile::TempDir, Server)> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&program()?, folder.path()).await?;
    Ok((folder, server))
}

/// Runs `aws appmesh` with a command line and a spec, as its users would.
fn aws(server: &Server, command: &str, spec: Option<&str>) -> Result<Output> {
    Ok(Command::new(python_tool("aws")?)
        .env("AWS_SHARED_CREDENTIALS_FILE", server.credentials())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .args(["--region", REGION, "--endpoint-url", &server.ready.api, "--output", "json", "appmesh"])
        .args(command.split_whitespace())
        .args(spec.iter().flat_map(|spec| ["--spec", spec]))
        .output()?)
}

fn answered(server: &Server, command: &str, spec: Option<&str>) -> Result<Value> {
    let output = aws(server, command, spec)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "aws appmesh {command}: {errors}");
    serde_json::from_slice(&output.stdout).with_context(|| format!("aws appmesh {command} printed no JSON"))
}

fn refused(server: &Server, command: &str, code: &str) -> Result<()> {
    let output = aws(server, command, None)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && errors.contains(code), "aws appmesh {command}: {errors}");
    Ok(())
}

const NODE: &str = r#"{"listeners":[{"portMapping":{"port":8080,"protocol":"http"}}],"serviceDiscovery":{"dns":{"hostname":"a.example.internal"}}}"#;
const ROUTER: &str = r#"{"listeners":[{"portMapping":{"port":8080,"protocol":"http"}}]}"#;
const PROVIDER: &str = r#"{"provider":{"virtualRouter":{"virtualRouterName":"service-a-router"}}}"#;
const ROUTE: &str = "--mesh-name my-mesh --virtual-router-name service-a-router --route-name canary-route";
const NODES: [&str; 2] = ["service-a-v1-node", "service-a-v2-node"];

/// Creates one resource of every kind, nodes twice.
fn create_all(server: &Server) -> Result<()> {
    let create =
        |command: &str, spec| answered(server, &format!("create-{command} --mesh-name my-mesh"), spec);
    create("mesh", None)?;
    for node in NODES {
        let created = create(&format!("virtual-node --virtual-node-name {node}"), Some(NODE))?;
        assert_eq!(created["virtualNode"]["spec"]["listeners"][0]["portMapping"]["port"], 8080);
    }
    create("virtual-router --virtual-router-name service-a-router", Some(ROUTER))?;
    let created = answered(server, &format!("create-route {ROUTE}"), Some(CANARY))?;
    assert_eq!(
        created["route"]["spec"],
        serde_json::from_str::<Value>(CANARY)?,
        "it comes back as it was sent"
    );
    create("virtual-service --virtual-service-name a.example.internal", Some(PROVIDER))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_aws_cli_creates_describes_updates_lists_and_deletes_every_kind() -> Result<()> {
    let (_folder, mut server) = server().await?;
    create_all(&server)?;
    let described = answered(&server, &format!("describe-route {ROUTE}"), None)?;
    assert_eq!(described["route"]["spec"], serde_json::from_str::<Value>(CANARY)?);
    assert_eq!(described["route"]["metadata"]["version"], 1);
    let arn = "arn:aws:appmesh:us-east-1:000000000000:mesh/my-mesh/virtualRouter/service-a-router/route/canary-route";
    assert_eq!(described["route"]["metadata"]["arn"], arn);
    let update = "update-virtual-node --mesh-name my-mesh --virtual-node-name service-a-v1-node";
    assert_eq!(answered(&server, update, Some(NODE))?["virtualNode"]["metadata"]["version"], 2);
    let listed = answered(&server, "list-virtual-nodes --mesh-name my-mesh --page-size 1", None)?;
    assert_eq!(listed["virtualNodes"].as_array().map(Vec::len), Some(2), "{listed}");

    refused(&server, "delete-mesh --mesh-name my-mesh", "ResourceInUseException")?;
    let delete = "delete-virtual-node --mesh-name my-mesh --virtual-node-name service-a-v1-node";
    refused(&server, delete, "ResourceInUseException")?;

    let delete = |command: &str| answered(&server, &format!("delete-{command} --mesh-name my-mesh"), None);
    delete("virtual-service --virtual-service-name a.example.internal")?;
    let deleted = answered(&server, &format!("delete-route {ROUTE}"), None)?;
    assert_eq!(deleted["route"]["status"]["status"], "DELETED");
    delete("virtual-router --virtual-router-name service-a-router")?;
    for node in NODES {
        delete(&format!("virtual-node --virtual-node-name {node}"))?;
    }
    delete("mesh")?;
    refused(&server, "describe-mesh --mesh-name my-mesh", "NotFoundException")?;
    server.stop().await;
    Ok(())
}

/// Sends bytes as they are, and returns the status line's code.
async fn raw(server: &Server, request: &[u8]) -> Result<u16> {
    let mut stream = TcpStream::connect(server.ready.api.trim_start_matches("http://")).await?;
    // A server that has answered may close before all was written.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    text.split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .with_context(|| format!("the answer was {text:?}"))
}

#[tokio::test]
async fn unsigned_wrongly_signed_and_malformed_requests_are_refused_logged_and_change_nothing() -> Result<()>
{
    let (_folder, mut server) = server().await?;
    let client = server.client(clock())?;
    put(&client, "meshes", json!({"meshName": "m"})).await?;
    let before = client.call(Method::GET, "/v20190125/meshes", None).await?;

    let body = r#"{"meshName":"stranger"}"#;
    let head = "PUT /v20190125/meshes HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let unsigned = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    assert_eq!(raw(&server, unsigned.as_bytes()).await?, 403);
    let forged = format!(
        "{head}authorization: AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/appmesh/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature={}\r\nx-amz-date: 20260101T000000Z\r\ncontent-length: {}\r\n\r\n{body}",
        "0".repeat(64),
        body.len()
    );
    assert_eq!(raw(&server, forged.as_bytes()).await?, 403);

    let real = KeyPair::from_file(&server.credentials(), "default")?;
    let wrong_secret = KeyPair { secret_access_key: "x".repeat(40), ..real.clone() };
    let wrong_key = KeyPair { access_key_id: "AKIAAAAAAAAAAAAAAAAA".into(), ..real.clone() };
    for keys in [wrong_secret, wrong_key] {
        let stranger = Client::new(&server.ready.api, REGION, keys, clock())?;
        let refused = put(&stranger, "meshes", json!({"meshName": "stranger"})).await;
        let refusal = refused.err().context("a stranger was served")?;
        assert_eq!(
            refusal.downcast_ref::<Refusal>().map(|refusal| refusal.status.as_u16()),
            Some(403),
            "{refusal}"
        );
    }

    let refused_bodies = [
        ("meshes", json!({"meshName": "a/b"})),
        ("meshes", json!({"meshName": 7})),
        ("meshes", json!([])),
        (
            "meshes/m/virtualNodes",
            json!({"virtualNodeName": "n", "spec": {"listeners": [{"portMapping": {"port": 0, "protocol": "http"}}]}}),
        ),
        (
            "meshes/m/virtualNodes",
            json!({"virtualNodeName": "n", "spec": {"listeners": [{"portMapping": {"port": 80, "protocol": "smtp"}}]}}),
        ),
        ("meshes/m/virtualNodes", json!({"virtualNodeName": "n"})),
        // Of a trust domain that is not the server's.
        (
            "meshes/m/virtualNodes",
            json!({"virtualNodeName": "n", "spec": {"backendDefaults": {"clientPolicy": {"tls": {
                "validation": {"trust": {"sds": {"secretName": "spiffe://elsewhere"}}},
            }}}}}),
        ),
        (
            "meshes/m/virtualRouter/absent/routes",
            json!({"routeName": "r", "spec": serde_json::from_str::<Value>(CANARY)?}),
        ),
        ("nonsense", json!({})),
    ];
    for (path, body) in &refused_bodies {
        let refused =
            put(&client, path, body.clone()).await.err().with_context(|| format!("{path} took {body}"))?;
        let refusal =
            refused.downcast_ref::<Refusal>().with_context(|| format!("{path} {body}: {refused:#}"))?;
        assert!((400..500).contains(&refusal.status.as_u16()), "{path} {body}: {refusal}");
    }
    let after = client.call(Method::GET, "/v20190125/meshes", None).await?;
    assert_eq!(before, after);
    let log = server.log();
    let refusals = log.lines().filter(|line| line.contains("request refused")).count();
    assert_eq!(refusals, 4 + refused_bodies.len(), "each refusal is logged once, with its reason:\n{log}");
    assert!(!log.contains(&real.secret_access_key));
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn writes_that_were_answered_survive_kill_9() -> Result<()> {
    let (_folder, mut server) = server().await?;
    for round in 0..5 {
        let client = server.client(clock())?;
        let name = format!("mesh-{round}");
        put(&client, "meshes", json!({"meshName": name})).await?;
        server.kill().await?;
        server.restart().await?;
        let client = server.client(clock())?;
        for earlier in 0..=round {
            client.call(Method::GET, &format!("/v20190125/meshes/mesh-{earlier}"), None).await?;
        }
    }
    server.stop().await;
    Ok(())
}

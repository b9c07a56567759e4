//! `signet apply`, `diff` and `export` against a running server, with the AWS CLI as the judge.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use signet::local::mesh::{REGION, Server};
use signet_tests::{program, python_tool};

const EVERY_FIELD: &str = include_str!("../../../manifests/tests/files/every-field.yaml");
const SHOP: &str = include_str!("../../../manifests/tests/files/shop.yaml");
const COLOUR: &str = include_str!("../../../manifests/tests/files/colour.yaml");

/// A server and a folder for files.
struct Bench {
    folder: tempfile::TempDir,
    server: Server,
}

impl Bench {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::start(&program()?, folder.path()).await?;
        Ok(Self { folder, server })
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(program()?);
        command
            .env("SIGNET_ENDPOINT", &self.server.ready.api)
            .env("AWS_SHARED_CREDENTIALS_FILE", self.server.credentials())
            .env("AWS_REGION", REGION)
            .stdin(Stdio::null());
        Ok(command)
    }

    fn run(&self, args: &[&str]) -> Result<Output> {
        Ok(self.command()?.args(args).output()?)
    }

    /// Runs a command that must end with a code, and returns what it printed.
    fn ends(&self, args: &[&str], code: i32) -> Result<(String, String)> {
        let output = self.run(args)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        ensure!(output.status.code() == Some(code), "{args:?}: {}\n{out}\n{err}", output.status);
        Ok((out, err))
    }

    fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.path(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `aws appmesh` prints.
    fn aws(&self, command: &str) -> Result<Value> {
        let output = Command::new(python_tool("aws")?)
            .env("AWS_SHARED_CREDENTIALS_FILE", self.server.credentials())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .args([
                "--region",
                REGION,
                "--endpoint-url",
                &self.server.ready.api,
                "--output",
                "json",
                "appmesh",
            ])
            .args(command.split_whitespace())
            .output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "aws appmesh {command}: {errors}");
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("aws appmesh {command} printed no JSON"))
    }

    async fn stop(mut self) {
        self.server.stop().await;
    }
}

/// Every field of the model as a template, made by the exporter of the first server.
#[tokio::test(flavor = "multi_thread")]
async fn every_field_goes_to_a_server_and_through_each_form_to_another_unchanged() -> Result<()> {
    let (first, second) = (Bench::start().await?, Bench::start().await?);
    let file = first.file("every-field.yaml", EVERY_FIELD)?;
    let (out, _) = first.ends(&["apply", "-f", &file], 0)?;
    let resources = EVERY_FIELD.matches("\n- meshName").count();
    assert!(out.ends_with(&format!("{resources} change(s) made, 0 resource(s) unchanged\n")), "{out}");
    let (out, _) = first.ends(&["apply", "-f", &file, "--prune"], 0)?;
    assert_eq!(out, format!("no change: all {resources} resources are as the files declare them\n"));

    for (form, format) in [("cloudformation", "yaml"), ("kubernetes", "yaml"), ("cli-input", "json")] {
        let (exported, _) = first.ends(&["export", "--to", form, "--format", format], 0)?;
        let template = second.file("exported", &exported)?;
        second.ends(&["apply", "-f", &template, "--prune", "--yes"], 0)?;
        let (again, _) = second.ends(&["export", "--to", form, "--format", format], 0)?;
        assert_eq!(again, exported, "{form}");
        second.ends(&["diff", "-f", &file, "--prune"], 0)?;
        // The next form starts from nothing.
        let empty = second.file("empty.yaml", "meshName: all\nspec: {}\n")?;
        second.ends(&["apply", "-f", &empty, "--prune", "--yes"], 0)?;
        second.aws("delete-mesh --mesh-name all")?;
    }
    first.stop().await;
    second.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_applied_once_and_the_aws_cli_shows_it() -> Result<()> {
    let bench = Bench::start().await?;
    let file = bench.file("shop.yaml", SHOP)?;
    let (out, err) = bench.ends(&["apply", "-f", &file, "--dry-run", "-v"], 0)?;
    assert!(
        out.ends_with("9 change(s) to do, 0 resource(s) unchanged; nothing was changed (--dry-run)\n"),
        "{out}"
    );
    assert!(err.contains("Cluster is AWS::ECS::Service, which is left out"), "{err}");
    assert_eq!(bench.aws("list-meshes")?["meshes"], serde_json::json!([]));
    bench.ends(&["diff", "-f", &file], 1)?;
    bench.ends(&["apply", "-f", &file], 0)?;
    bench.ends(&["diff", "-f", &file], 0)?;
    let route =
        bench.aws("describe-route --mesh-name shop-test --virtual-router-name cart --route-name split")?;
    assert_eq!(route["route"]["spec"]["httpRoute"]["action"]["weightedTargets"][1]["weight"], 10);
    for command in [
        "describe-mesh",
        "describe-virtual-node --virtual-node-name cart-v1",
        "describe-virtual-router --virtual-router-name cart",
        "describe-virtual-service --virtual-service-name cart.test.shop.internal",
        "describe-virtual-gateway --virtual-gateway-name door",
        "describe-gateway-route --virtual-gateway-name door --gateway-route-name all",
    ] {
        bench.aws(&format!("{command} --mesh-name shop-test"))?;
    }
    let arn = "arn:aws:appmesh:us-east-1:000000000000:mesh/shop-test";
    let tags = bench.aws(&format!("list-tags-for-resource --resource-arn {arn}"))?;
    assert_eq!(tags["tags"].as_array().map(Vec::len), Some(2), "{tags}");

    let (out, _) = bench.ends(&["apply", "-f", &file, "-p", "CanaryWeight=5", "--format", "json"], 0)?;
    let printed: Value = serde_json::from_str(&out)?;
    assert_eq!((&printed["made"], &printed["unchanged"]), (&1.into(), &8.into()), "{out}");
    let difference = &printed["changes"][0]["differences"][0];
    assert_eq!(difference["path"], "spec.httpRoute.action.weightedTargets[1].weight");
    assert_eq!((&difference["before"], &difference["after"]), (&10.into(), &5.into()));
    let route =
        bench.aws("describe-route --mesh-name shop-test --virtual-router-name cart --route-name split")?;
    assert_eq!(route["route"]["metadata"]["version"], 2);

    // What a person made beside the template goes when asked, and not without a word.
    bench.aws("create-virtual-node --mesh-name shop-test --virtual-node-name stray --spec {}")?;
    bench.ends(&["diff", "-f", &file, "-p", "CanaryWeight=5"], 0)?;
    let prune = ["apply", "-f", file.as_str(), "-p", "CanaryWeight=5", "--prune"];
    let (_, err) = bench.ends(&prune, 2)?;
    assert!(err.contains("1 resource(s) would be deleted; say --yes"), "{err}");
    let (out, _) = bench.ends(&[&prune[..], &["--yes"]].concat(), 0)?;
    assert!(out.starts_with("deleted  mesh/shop-test/virtualNode/stray\n"), "{out}");
    bench.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_come_in_over_standard_input_and_folders_are_read_whole() -> Result<()> {
    let bench = Bench::start().await?;
    let mut child =
        bench.command()?.args(["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("a pipe")?.write_all(COLOUR.as_bytes())?;
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let node = bench.aws("describe-virtual-node --mesh-name colours --virtual-node-name red_paint")?;
    assert_eq!(node["virtualNode"]["spec"]["backends"].as_array().map(Vec::len), Some(3), "{node}");

    let folder = bench.path("parts");
    fs::create_dir_all(folder.join("below"))?;
    for (index, part) in COLOUR.split("\n---\n").enumerate() {
        let name = if index % 2 == 0 { format!("{index}.yaml") } else { format!("below/{index}.yml") };
        fs::write(folder.join(name), part)?;
    }
    fs::write(folder.join("README.md"), "not one of them")?;
    fs::write(folder.join(".hidden.yaml"), "nor: this")?;
    let folder = folder.display().to_string();
    bench.ends(&["diff", "-f", &folder, "--prune"], 0)?;

    let exported = bench.path("exported").display().to_string();
    let (out, _) = bench.ends(&["export", "--to", "kubernetes", "--output-dir", &exported], 0)?;
    assert_eq!(out.lines().count(), 2, "{out}");
    bench.ends(&["diff", "-f", &exported, "--prune"], 0)?;
    bench.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_document_is_named_and_nothing_is_applied() -> Result<()> {
    let bench = Bench::start().await?;
    let good = bench.file("good.yaml", "meshName: m\n")?;
    let bad = bench.file("bad.yaml", "meshName: m\nvirtualNodeName: n\nspec:\n  listeners:\n    - portMapping: {port: 0, protocol: http}\n  serviceDiscovery: {dns: {hostname: h}}\n")?;
    let (_, err) = bench.ends(&["apply", "-f", &good, "-f", &bad], 1)?;
    let expected = format!(
        "{bad}:5: mesh/m/virtualNode/n: spec.listeners[0].portMapping.port: must be 1 to 65535; it is 0"
    );
    assert!(err.contains("nothing was applied") && err.contains(&expected), "{err}");
    bench.ends(&["diff", "-f", &good, "-f", &bad], 2)?;

    let dangling = bench.file("dangling.yaml", "- meshName: m\n- meshName: m\n  virtualServiceName: s\n  spec: {provider: {virtualNode: {virtualNodeName: gone}}}\n")?;
    let (_, err) = bench.ends(&["apply", "-f", &dangling], 1)?;
    assert!(
        err.contains(&format!(
            "{dangling}:2: cannot create mesh/m/virtualService/s: mesh/m/virtualNode/gone"
        )),
        "{err}"
    );
    assert_eq!(bench.aws("list-meshes")?["meshes"], serde_json::json!([]));

    let absent = Path::new(&good).with_file_name("absent.yaml").display().to_string();
    let (_, err) = bench.ends(&["apply", "-f", &absent], 1)?;
    assert!(err.contains(&format!("cannot read {absent}")), "{err}");
    bench.ends(&["apply"], 2)?;
    bench.ends(&["apply", "-f", &good, "-p", "novalue"], 2)?;
    bench.ends(&["export", "--mesh", "absent"], 1)?;
    bench.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_stops_no_apply_and_is_no_fault_of_any_command() -> Result<()> {
    let bench = Bench::start().await?;
    let file = bench.file("shop.yaml", SHOP)?;
    let unread = |args: &[&str]| -> Result<(Option<i32>, String)> {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = bench.command()?.args(args).stdout(writer).output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    for args in [
        &["diff", "-f", &file][..],
        &["apply", "-f", &file],
        &["apply", "-f", &file, "--format", "json"],
        &["export"],
        &["credentials", "list"],
    ] {
        // As a shell has it of whatever ends by SIGPIPE.
        assert_eq!(unread(args)?, (Some(141), String::new()), "{args:?}");
    }
    let (out, _) = bench.ends(&["diff", "-f", &file], 0)?;
    assert_eq!(out, "no change: all 9 resources are as the files declare them\n");
    bench.stop().await;
    Ok(())
}

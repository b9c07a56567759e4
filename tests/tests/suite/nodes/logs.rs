//! Access logs, as they are written.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use signet_tests::{
    bed::{Bed, Node, PATIENCE, app::App},
    eventually,
};

/// Calls until a line with the path is in the log: what is under way over older connections is logged as before.
/// Envoy flushes when it is asked to reopen its logs.
async fn line(bed: &Bed, caller: &Node, node: &Node, file: &str, path: &str) -> Result<String> {
    let log = bed.path(file);
    let pid = rustix::process::Pid::from_raw(node.sidecar.ready.envoy_pid).context("a pid")?;
    eventually(&format!("{path} is in {file}"), PATIENCE, || async {
        let answer = caller.call("app.test").path(path).send().await?;
        ensure!(answer.code() == 200, "{answer:?}");
        rustix::process::kill_process(pid, rustix::process::Signal::USR1)?;
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().find(|line| line.contains(path)).map(str::to_owned).with_context(|| format!("{text:?}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_logged_where_and_how_the_spec_says() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let app = App::http("app").await?;
    let served = bed.served("m", "app", &app, "http", |_| {}).await?;
    bed.service_of_node("m", "app.test", "app").await?;
    let caller = bed.caller("m", "caller", &["app.test"]).await?;
    bed.synced().await?;

    let spec = |file: &str, format: Option<Value>| {
        let mut wanted = signet_tests::bed::listening(&served.ingress.to_string(), app.port, "http");
        let mut log = json!({"path": bed.path(file)});
        if let Some(format) = format {
            log["format"] = format;
        }
        wanted["logging"] = json!({"accessLog": {"file": log}});
        wanted
    };
    let members = ["z", "a", "m"]
        .map(|key| json!({"key": key, "value": if key == "z" { "%REQ(:PATH)%" } else { "%RESPONSE_CODE%" }}));
    let cases = [
        ("default", None),
        ("text", Some(json!({"text": "path=%REQ(:PATH)% code=%RESPONSE_CODE%\n"}))),
        ("json", Some(json!({"json": members}))),
    ];
    for (name, format) in cases {
        let file = format!("{name}.log");
        bed.respec("m", "app", spec(&file, format)).await?;
        bed.synced().await?;
        let path = format!("/{name}");
        let line = line(&bed, &caller, &served, &file, &path).await?;
        match name {
            "default" => {
                assert!(line.starts_with('[') && line.contains("\"GET /default HTTP/1.1\" 200"), "{line}")
            }
            "text" => assert_eq!(line, "path=/text code=200"),
            _ => {
                let object: Value = serde_json::from_str(&line)?;
                assert_eq!(object, json!({"z": "/json", "a": 200, "m": 200}), "{line}");
            }
        }
    }
    bed.end().await;
    Ok(())
}

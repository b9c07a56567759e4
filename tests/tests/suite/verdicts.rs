//! Envoy's own verdicts on regular expressions and log formats, which the API gives in its stead.
//!
//! The tables are also those of the checks' unit tests: what stands there as accepted or refused is what the API
//! accepts or refuses, and here Envoy is asked again.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use signet_controlplane::model::Document;
use signet_tests::{dice::Dice, envoy_binary, machine};
use tokio::{sync::Semaphore, task::JoinSet};

/// Envoys at once.
const AT_ONCE: usize = 3;

fn table(name: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../controlplane/tests/envoy_verdicts").join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}

/// A bootstrap with these routes and access logs, and the program size that agents allow.
fn bootstrap(routes: &[Value], access_logs: &[Value]) -> Value {
    let types = "type.googleapis.com/envoy.extensions.filters";
    let router =
        json!({"name": "router", "typed_config": {"@type": format!("{types}.http.router.v3.Router")}});
    let manager = json!({
        "@type": format!("{types}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "s", "http_filters": [router], "access_log": access_logs,
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
    });
    let chain = json!({"filters": [{"name": "manager", "typed_config": manager}]});
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    json!({
        "static_resources": {"listeners": [{"name": "l", "address": address, "filter_chains": [chain]}]},
        "layered_runtime": {"layers": [{"name": "s", "static_layer": {"re2.max_program_size.error_level": 1000}}]},
    })
}

fn with_expression(pattern: &str) -> Value {
    json!({"match": {"safe_regex": {"regex": pattern}}, "direct_response": {"status": 200}})
}

fn with_format(format: &str) -> Value {
    json!({"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": "/dev/null", "log_format": {"text_format_source": {"inline_string": format}},
    }})
}

/// What Envoy says to it; nothing where it takes it.
pub(super) fn verdict(envoy: &Path, bootstrap: &Value) -> Result<Option<String>> {
    let mut file = tempfile::Builder::new().suffix(".json").tempfile()?;
    file.write_all(bootstrap.to_string().as_bytes())?;
    let validate = ["--mode", "validate", "--disable-hot-restart", "-l", "critical", "-c"];
    let output = Command::new(envoy).args(validate).arg(file.path()).output()?;
    Ok((!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned()))
}

async fn refuses_each(envoy: PathBuf, refused: Vec<(String, Value)>) -> Result<()> {
    ensure!(refused.len() > 50, "the table is broken");
    let (places, mut verdicts) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    for (text, bootstrap) in refused {
        let (envoy, place) = (envoy.clone(), Arc::clone(&places).acquire_owned().await?);
        verdicts.spawn_blocking(move || {
            let said = verdict(&envoy, &bootstrap);
            drop(place);
            said.map(|said| (text, said))
        });
    }
    for one in verdicts.join_all().await {
        let (text, said) = one?;
        assert!(said.is_some(), "Envoy takes {text:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_takes_and_refuses_the_regular_expressions_that_the_api_does() -> Result<()> {
    let (_machine, envoy, table) = (machine().await?, envoy_binary()?, table("regex.json")?);
    let taken = table["accepted"].iter().chain(&table["refused_by_signet_alone"]);
    let routes: Vec<Value> = taken.map(|pattern| with_expression(pattern)).collect();
    assert_eq!(verdict(&envoy, &bootstrap(&routes, &[]))?, None);
    let refused = table["refused"].iter();
    let refused = refused.map(|pattern| (pattern.clone(), bootstrap(&[with_expression(pattern)], &[])));
    refuses_each(envoy, refused.collect()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_takes_and_refuses_the_log_formats_that_the_api_does() -> Result<()> {
    let (_machine, envoy, table) = (machine().await?, envoy_binary()?, table("log_format.json")?);
    let taken = table["accepted"].iter().chain(&table["refused_by_signet_alone"]);
    let logs: Vec<Value> = taken.map(|format| with_format(format)).collect();
    assert_eq!(verdict(&envoy, &bootstrap(&[], &logs))?, None);
    let refused = table["refused"].iter();
    let refused = refused.map(|format| (format.clone(), bootstrap(&[], &[with_format(format)])));
    refuses_each(envoy, refused.collect()).await
}

/// What random expressions are made of.
const PARTS: &str = r"
    a k / . * + ? ( ) (?: (?i) (?P<n> (?<m> [ ] [^ - | || (| { } {2} {3,} {1,5} {0} {,3} {10} {100} {500} {1000}
    {0,1000} \ \d \w \s \S \pL \PN \p{Greek} \p{^Lu} \b \B \A \z \Q \E \C ^ $ é ſ [:alpha:] [[:word:]] [\w-] [\pL]
    (?s: (?im-s: (?-i) \x41 \x{42} \101 \377 && , \n =";
/// What random operators are given.
const PARAMETERS: &str = r#"
    ;X;x-a;:path;a?b;?b;a?;a?b?c;DYNAMIC:a:b;LISTENER:a:b:c;UPSTREAM_HOST:;DS_RX_BEG:DS_TX_END;a:b:ms;a:b:ns:c;
    %Y-%m-%dT%H:%M:%E3S;%s.%3f;%1000f;%q;WQ;NQ:ORIG;x)y;(;);a b;é;";\;ORIG;SNI_FIRST:HOST;NUMBER;a:PLAIN;a:FIELD:b;
    :;%;%%;a,b"#;
/// Of each sort, so many that the API takes.
const TAKEN: usize = 1000;
/// Of those that it takes one in hundreds of those that are tried, at worst.
const TRIES: usize = 200_000;

/// Random texts that the API takes in a spec, of which there is one for each text. The same in every run.
fn taken(
    key: &str,
    mut text: impl FnMut(&mut Dice) -> String,
    spec: impl Fn(&str) -> Value,
) -> Result<Vec<String>> {
    let (mut dice, mut taken) = (Dice::new(1), Vec::new());
    for _ in 0..TRIES {
        let text = text(&mut dice);
        if Document::parse(key.parse()?, spec(&text)).is_ok() {
            taken.push(text);
        }
        if taken.len() == TAKEN {
            return Ok(taken);
        }
    }
    bail!("only {} of {TRIES} are taken", taken.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_takes_whatever_expression_the_api_takes() -> Result<()> {
    let parts: Vec<&str> = PARTS.split_whitespace().collect();
    let (_machine, envoy) = (machine().await?, envoy_binary()?);
    let text = |dice: &mut Dice| (0..=dice.roll(16)).map(|_| *dice.pick(&parts)).collect::<String>();
    let spec = |text: &str| {
        let targets = json!([{"virtualNode": "n", "weight": 1}]);
        json!({"httpRoute": {"match": {"path": {"regex": text}}, "action": {"weightedTargets": targets}}})
    };
    let taken = taken("mesh/m/virtualRouter/r/route/x", text, spec)?;
    let routes: Vec<Value> = taken.iter().map(|pattern| with_expression(pattern)).collect();
    assert_eq!(verdict(&envoy, &bootstrap(&routes, &[]))?, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_takes_whatever_log_format_the_api_takes() -> Result<()> {
    let parameters: Vec<&str> = PARAMETERS.split(';').map(str::trim).collect();
    let lengths: Vec<&str> =
        ";;:5;:0;:;:-1;:18446744073709551615;:18446744073709551616;:05".split(';').collect();
    let (_machine, envoy, table) = (machine().await?, envoy_binary()?, table("log_format.json")?);
    let is_name = |char: char| char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_';
    let operators = table["accepted"].iter().flat_map(|format| format.split('%'));
    let names: BTreeSet<&str> = operators
        .filter_map(|text| text.split(|char| !is_name(char)).next())
        .filter(|name| name.len() > 1)
        .collect();
    let names: Vec<&str> = names.into_iter().collect();
    let text = |dice: &mut Dice| {
        let operator = |_| {
            let (name, length) = (*dice.pick(&names), *dice.pick(&lengths));
            let (one, other) = (*dice.pick(&parameters), *dice.pick(&parameters));
            let parameter = match dice.roll(4) {
                0 => format!("({one}{other})"),
                1 => String::new(),
                _ => format!("({one})"),
            };
            format!("{}%{name}{parameter}{length}%", *dice.pick(&["", "a", "%%", "\n"]))
        };
        (0..2).map(operator).collect::<String>()
    };
    let spec = |text: &str| {
        let file = json!({"path": "/dev/null", "format": {"text": text}});
        json!({"logging": {"accessLog": {"file": file}}})
    };
    let taken = taken("mesh/m/virtualNode/a", text, spec)?;
    let logs: Vec<Value> = taken.iter().map(|format| with_format(format)).collect();
    assert_eq!(verdict(&envoy, &bootstrap(&[], &logs))?, None);
    Ok(())
}

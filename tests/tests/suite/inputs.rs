//! What every operation takes beside a spec: names, limits, tokens, owners, tags. botocore's model says which members
//! there are and within which bounds; each is tried at its bound and beyond it, on a server.

mod model;

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use signet::{
    client::{Client, Refusal},
    local::mesh::Server,
};
use signet_tests::{clock, program};

use self::model::{Api, Member, Operation, Shape};

const ARN: &str = "arn:aws:appmesh:us-east-1:000000000000:mesh/m";
/// Where a path cannot say that a name is empty.
const EMPTY: &str = "";

/// What becomes of a member's value.
enum Expected {
    Taken,
    /// With a message that has this in it.
    Refused(String),
}

/// A value for a member, or none; which bound it tries; and what is to come of it.
struct Case {
    bound: &'static str,
    value: Option<Value>,
    expected: Expected,
}

#[derive(Default)]
struct Tried {
    cases: usize,
    bounds: BTreeSet<(String, String, &'static str)>,
    failures: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_of_every_operation_holds_its_bounds_and_is_named_beyond_them() -> Result<()> {
    let api = Api::installed()?;
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&program()?, folder.path()).await?;
    let client = server.client(clock())?;
    for name in [
        "CreateMesh",
        "CreateVirtualNode",
        "CreateVirtualRouter",
        "CreateVirtualService",
        "CreateVirtualGateway",
    ] {
        let operation = api.operations.iter().find(|operation| operation.name == name).context(name)?;
        call(&client, operation, None).await.with_context(|| format!("the fixture's {name}"))?;
    }
    let mut tried = Tried::default();
    for operation in &api.operations {
        for member in &operation.members {
            for case in cases(&api, member)? {
                tried.cases += 1;
                tried.bounds.insert((operation.name.clone(), member.name.clone(), case.bound));
                let answer = call(&client, operation, Some((&member.name, case.value.as_ref()))).await;
                if let Err(wrong) = judge(member, &case, answer) {
                    let shown = format!("{:?}", case.value).chars().take(80).collect::<String>();
                    tried.failures.push(format!(
                        "{} {}, {}, {shown}: {wrong:#}",
                        operation.name, member.name, case.bound
                    ));
                }
            }
        }
    }
    server.stop().await;
    let Tried { cases, bounds, failures } = tried;
    assert!(
        failures.is_empty(),
        "{} of {cases} cases: {:#?}",
        failures.len(),
        &failures[..failures.len().min(30)]
    );
    let forgotten: Vec<_> = api.declared().difference(&bounds).cloned().collect();
    assert!(forgotten.is_empty(), "bounds that no case tried: {forgotten:?}");
    assert_eq!(api.operations.len(), 38, "an operation that is new, or gone");
    assert!(cases > 700, "only {cases} cases");
    Ok(())
}

fn judge(member: &Member, case: &Case, answer: Result<Value>) -> Result<()> {
    let refusal = match &answer {
        Ok(_) => None,
        Err(error) => Some(error.downcast_ref::<Refusal>().context("no answer of the API")?),
    };
    match (&case.expected, refusal) {
        (Expected::Taken, None) => Ok(()),
        // What the value names need not be there, and may be there already.
        (Expected::Taken, Some(refusal))
            if matches!(refusal.status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) =>
        {
            Ok(())
        }
        (Expected::Refused(rule), Some(refusal))
            if refusal.status == StatusCode::BAD_REQUEST && refusal.message.contains(&**rule) =>
        {
            let is_named =
                refusal.message.starts_with(&member.name) || refusal.code == "TooManyTagsException";
            if is_named { Ok(()) } else { bail!("the message does not name it: {}", refusal.message) }
        }
        // A path without the name is another path.
        (Expected::Refused(_), Some(refusal))
            if member.is_in("uri")
                && case.value == Some(json!(EMPTY))
                && refusal.status.is_client_error() =>
        {
            Ok(())
        }
        (_, Some(refusal)) => bail!("{} {}: {}", refusal.status, refusal.code, refusal.message),
        (_, None) => bail!("it was taken"),
    }
}

/// Calls an operation on what the fixture has, with one member another one.
async fn call(
    client: &Client,
    operation: &Operation,
    other: Option<(&str, Option<&Value>)>,
) -> Result<Value> {
    let (mut path, mut query, mut body) = (operation.uri.clone(), Vec::new(), serde_json::Map::new());
    for member in &operation.members {
        let value = match other {
            Some((name, value)) if name == member.name => value.cloned(),
            _ if member.required => Some(sample(&operation.name, &member.name)?),
            _ => None,
        };
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match (member.location.as_deref(), value) {
            (Some("uri"), Some(value)) => {
                path = path.replace(&format!("{{{}}}", member.name), &encoded(&text(&value)));
            }
            (Some("querystring"), Some(value)) => {
                query.push(format!("{}={}", member.name, encoded(&text(&value))))
            }
            (None, Some(value)) => drop(body.insert(member.name.clone(), value)),
            (_, None) => {}
            (Some(location), Some(_)) => bail!("a member in {location}: say here how it is sent"),
        }
    }
    let method: Method = operation.method.parse()?;
    let body = (method == Method::PUT).then_some(Value::Object(body));
    client.call(method, &format!("{path}?{}", query.join("&")), body.as_ref()).await
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

/// What a member is where something else is tried.
fn sample(operation: &str, member: &str) -> Result<Value> {
    let target = json!({"virtualService": {"virtualServiceName": "s"}});
    let listener = json!({"portMapping": {"port": 8080, "protocol": "http"}});
    Ok(match member {
        "meshName" => json!("m"),
        "virtualNodeName" => json!("n"),
        "virtualServiceName" => json!("s"),
        "virtualRouterName" => json!("r"),
        "virtualGatewayName" => json!("g"),
        "routeName" | "gatewayRouteName" => json!("x"),
        "resourceArn" => json!(ARN),
        "tags" | "tagKeys" => json!([]),
        "spec" => match operation.trim_start_matches("Create").trim_start_matches("Update") {
            "Mesh" | "VirtualService" => json!({}),
            "VirtualNode" => {
                json!({"listeners": [listener], "serviceDiscovery": {"dns": {"hostname": "n.local"}}})
            }
            "VirtualRouter" | "VirtualGateway" => json!({"listeners": [listener]}),
            "Route" => json!({"httpRoute": {"match": {"prefix": "/"},
                "action": {"weightedTargets": [{"virtualNode": "n", "weight": 1}]}}}),
            "GatewayRoute" => json!({"httpRoute": {"match": {"prefix": "/"}, "action": {"target": target}}}),
            other => bail!("no sample of the spec of {other}"),
        },
        other => bail!("no sample of {other}"),
    })
}

fn taken(bound: &'static str, value: Value) -> Case {
    Case { bound, value: Some(value), expected: Expected::Taken }
}

fn refused(bound: &'static str, value: Option<Value>, rule: &str) -> Case {
    Case { bound, value, expected: Expected::Refused(rule.to_owned()) }
}

/// Everything that is tried of a member.
fn cases(api: &Api, member: &Member) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    if member.required && !member.is_in("uri") {
        let absent = if member.location.is_none() { vec![None, Some(Value::Null)] } else { vec![None] };
        cases.extend(absent.into_iter().map(|value| refused("required", value, "is required")));
    }
    match (api.shape(&member.shape)?, member.name.as_str()) {
        (Shape::Text { min: None, max: None }, name) => cases.extend(unbounded(name)?),
        (Shape::Text { min, max }, name) => {
            let letter = if name == "meshOwner" { "1" } else { "a" };
            for (bound, at, beyond) in
                [("min", min, min.map(|min| min - 1)), ("max", max, max.map(|max| max + 1))]
            {
                let (Some(at), Some(beyond)) = (at, beyond) else { continue };
                cases.push(taken(bound, json!(letter.repeat(at))));
                cases.push(refused(bound, Some(json!(letter.repeat(beyond))), ""));
            }
        }
        (Shape::Number { min, max }, _) => {
            for (bound, at, beyond) in [("min", min, min - 1), ("max", max, max + 1)] {
                cases.push(taken(bound, json!(at)));
                cases.push(refused(bound, Some(json!(beyond)), &format!("must be {min} to {max}")));
            }
            cases.extend(["x", "1.5", ""].map(|text| refused("type", Some(json!(text)), "must be")));
        }
        (Shape::List { item, max }, _) => cases.extend(list(api, &item, max)?),
        (Shape::Structure(_), "spec") => {
            cases.push(refused("type", Some(json!([])), "must be an object, not a list"))
        }
        (Shape::Structure(_), name) => bail!("{name} is a structure: say here how it is tried"),
    }
    if member.location.is_none() {
        cases.push(refused("type", Some(json!(7)), "not a number"));
    }
    Ok(cases)
}

/// Members of which the model says nothing but that they are text.
fn unbounded(name: &str) -> Result<Vec<Case>> {
    let bad = |text: &str| refused("text", Some(json!(text)), "");
    Ok(match name {
        // Its documentation: up to 36 letters, digits, hyphens and underscores.
        "clientToken" => {
            vec![taken("text", json!("a-_9".repeat(9))), bad(&"a".repeat(37)), bad("a b"), bad("")]
        }
        "nextToken" => vec![bad("a"), bad("")],
        "resourceArn" => {
            vec![taken("text", json!(ARN)), bad("m"), bad("arn:aws:appmesh:us-east-1:000000000000:planet/m")]
        }
        "virtualServiceName" => vec![taken("text", json!("service.local")), bad("")],
        other => bail!("{other} has no bounds: say here what is tried of it"),
    })
}

/// A list of tags, or of their keys.
fn list(api: &Api, item: &str, max: usize) -> Result<Vec<Case>> {
    let is_tag = matches!(api.shape(item)?, Shape::Structure(_));
    let entry =
        |key: &str, value: &str| if is_tag { json!({"key": key, "value": value}) } else { json!(key) };
    // Those of other cases among them: what the server holds already counts once.
    let key = |number: usize| match number {
        0 => "k".to_owned(),
        1 => "k".repeat(128),
        _ => format!("k{number}"),
    };
    let many = |count: usize| json!((0..count).map(|number| entry(&key(number), "")).collect::<Vec<_>>());
    let mut cases =
        vec![taken("max", many(max)), refused("max", Some(many(max + 1)), ""), taken("min", json!([]))];
    cases.push(refused("item", Some(json!([7])), "not a number"));
    match api.shape(item)? {
        Shape::Structure(members) => {
            for Member { name, shape, required, .. } in &members {
                match name.as_str() {
                    "key" => cases.extend(lengths(api, "[0].key", shape, &|key| entry(key, ""))?),
                    "value" => cases.extend(lengths(api, "[0].value", shape, &|value| entry("k", value))?),
                    other => bail!("a tag has {other}: say here how it is tried"),
                }
                anyhow::ensure!(required, "{name} may be absent now");
                let mut without = entry("k", "v");
                without.as_object_mut().map(|members| members.remove(name));
                cases.push(refused("item", Some(json!([without])), &format!("[0].{name}: is required")));
            }
        }
        Shape::Text { .. } => cases.extend(lengths(api, "[0]", item, &|key| entry(key, ""))?),
        Shape::Number { .. } | Shape::List { .. } => bail!("a list of {item}: say here how it is tried"),
    }
    Ok(cases)
}

/// A list of one item, with a text at its bounds and beyond them.
fn lengths(api: &Api, part: &str, shape: &str, make: &dyn Fn(&str) -> Value) -> Result<Vec<Case>> {
    let Shape::Text { min: Some(min), max: Some(max) } = api.shape(shape)? else {
        bail!("{shape} has no bounds: say here what is tried of it");
    };
    let rule = format!("{part}: must have {min} to {max}");
    let of = |length: usize| json!([make(&"k".repeat(length))]);
    let beyond = [min.checked_sub(1), Some(max + 1)].into_iter().flatten();
    let refused = beyond.map(|length| refused("item", Some(of(length)), &rule));
    Ok([min, max].map(|length| taken("item", of(length))).into_iter().chain(refused).collect())
}

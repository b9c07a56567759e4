use serde_json::{Value, json};

use super::*;

const MESH: &str = "arn:aws:appmesh:us-east-1:000000000000:mesh/m";
const NODE: &str = "arn:aws:appmesh:us-east-1:000000000000:mesh/m/virtualNode/a";
const OTHER: &str = "arn:aws:appmesh:us-east-1:000000000000:mesh/mm/virtualNode/a";

fn policy(statements: Value) -> Policy {
    Policy::parse(json!({"Version": "2012-10-17", "Statement": statements})).unwrap()
}

#[test]
fn what_no_statement_allows_is_not_allowed_and_what_one_denies_is_denied() {
    let policy = policy(json!([
        {"Sid": "a", "Effect": "Allow", "Action": ["appmesh:Describe*", "appmesh:UpdateVirtualNode"], "Resource": "*"},
        {"Effect": "Deny", "Action": "appmesh:*VirtualNode", "Resource": "arn:aws:appmesh:*:*:mesh/mm/*"},
    ]));
    let rows = [
        ("appmesh:DescribeMesh", MESH, Verdict::Allowed),
        ("APPMESH:describemesh", MESH, Verdict::Allowed),
        ("appmesh:UpdateVirtualNode", NODE, Verdict::Allowed),
        ("appmesh:UpdateVirtualNode", OTHER, Verdict::Denied),
        ("appmesh:DescribeVirtualNode", OTHER, Verdict::Denied),
        ("appmesh:DeleteVirtualNode", NODE, Verdict::NotAllowed),
        ("appmesh:DeleteVirtualNode", OTHER, Verdict::Denied),
        ("appmesh:ListMeshes", "*", Verdict::NotAllowed),
        ("signet:CreateToken", NODE, Verdict::NotAllowed),
    ];
    for (action, resource, expected) in rows {
        assert_eq!(policy.decide(action, resource), expected, "{action} {resource}");
    }
}

#[test]
fn the_ready_made_policies_say_what_they_promise() {
    let ready = |document| Policy::parse(document).unwrap();
    let mesh = "m".parse().unwrap();
    let (admin, reader) = (ready(Policy::administrator()), ready(Policy::read_only()));
    let (owner, guest) = (ready(Policy::one_mesh(&mesh, false)), ready(Policy::one_mesh(&mesh, true)));
    // Action, resource, and whether the administrator, the reader, the mesh's owner and its guest may.
    let rows = [
        ("signet:CreateCredentials", "arn:aws:signet:r:0:credentials/x", [true, false, false, false]),
        ("appmesh:ListMeshes", "*", [true, true, false, false]),
        ("appmesh:DescribeMesh", MESH, [true, true, true, true]),
        ("appmesh:ListVirtualNodes", MESH, [true, true, true, true]),
        ("appmesh:ListTagsForResource", NODE, [true, true, true, true]),
        ("appmesh:DeleteMesh", MESH, [true, false, true, false]),
        ("appmesh:TagResource", NODE, [true, false, true, false]),
        ("signet:CreateToken", NODE, [true, false, true, false]),
        ("appmesh:DescribeVirtualNode", OTHER, [true, true, false, false]),
        ("appmesh:UpdateVirtualNode", OTHER, [true, false, false, false]),
        ("signet:ListProxies", OTHER, [true, true, false, false]),
        ("signet:DescribeProxies", OTHER, [true, true, false, false]),
        ("signet:DescribeProxies", NODE, [true, true, true, true]),
        ("signet:ListInstances", "arn:aws:signet:r:0:instances/a/b/c", [true, true, false, false]),
        ("signet:RegisterInstance", "arn:aws:signet:r:0:instances/a/b/c", [true, false, false, false]),
        ("signet:Administer", "*", [true, false, false, false]),
    ];
    for (action, resource, expected) in rows {
        let may = [&admin, &reader, &owner, &guest]
            .map(|policy| policy.decide(action, resource) == Verdict::Allowed);
        assert_eq!(may, expected, "{action} {resource}");
    }
}

#[test]
fn no_wildcard_reaches_over_a_colon_but_in_the_last_part() {
    let policy =
        policy(json!({"Effect": "Allow", "Action": "*", "Resource": "arn:aws:appmesh:*:0*:mesh/m?"}));
    assert_eq!(policy.decide("appmesh:X", OTHER), Verdict::NotAllowed);
    assert_eq!(policy.decide("appmesh:X", "arn:aws:appmesh:a:0:mesh/mn"), Verdict::Allowed);
    assert_eq!(policy.decide("appmesh:X", "arn:aws:appmesh:a:b:0:mesh/mn"), Verdict::NotAllowed);
    assert_eq!(policy.decide("appmesh:ListMeshes", "*"), Verdict::NotAllowed);
}

#[test]
fn inverted_members_fit_what_they_do_not_name() {
    let policy = policy(json!([
        {"Effect": "Allow", "NotAction": ["signet:*", "appmesh:Delete*"], "NotResource": format!("{OTHER}*")},
    ]));
    assert_eq!(policy.decide("appmesh:CreateMesh", MESH), Verdict::Allowed);
    assert_eq!(policy.decide("appmesh:DeleteMesh", MESH), Verdict::NotAllowed);
    assert_eq!(policy.decide("signet:ListProxies", "*"), Verdict::NotAllowed);
    assert_eq!(policy.decide("appmesh:UpdateVirtualNode", OTHER), Verdict::NotAllowed);
}

#[test]
fn a_policy_that_would_be_read_as_something_else_is_refused_by_its_member() {
    let statement = |member: &str, value: Value| {
        let mut statement = json!({"Effect": "Allow", "Action": "appmesh:*", "Resource": "*"});
        statement[member] = value;
        json!({"Statement": [statement]})
    };
    let many = json!(vec!["appmesh:*"; 101]);
    let rows = [
        (json!([]), "policy: must be an object"),
        (json!({}), "policy.Statement: is required"),
        (json!({"Statement": []}), "policy.Statement: must have 1 to 100 items"),
        (json!({"Statement": "*"}), "policy.Statement: must be a list"),
        (json!({"Statement": [7]}), "policy.Statement[0]: must be an object"),
        (json!({"Version": "2026-01-01", "Statement": []}), "policy.Version: must be one of 2012-10-17"),
        (json!({"Statements": []}), "policy.Statements: is not known"),
        (statement("Condition", json!({})), "policy.Statement[0].Condition: conditions are not supported"),
        (
            statement("Principal", json!("*")),
            "policy.Statement[0].Principal: a policy belongs to one key pair",
        ),
        (statement("effect", json!("Deny")), "policy.Statement[0].effect: is not known"),
        (statement("Effect", json!("allow")), "policy.Statement[0].Effect: must be one of Allow, Deny"),
        (
            statement("NotAction", json!("*")),
            "policy.Statement[0]: must have exactly one of Action, NotAction",
        ),
        (statement("Action", json!(null)), "policy.Statement[0].Action: must be a list"),
        (statement("Action", json!([])), "policy.Statement[0].Action: must have 1 to 100 items"),
        (statement("Action", many), "policy.Statement[0].Action: must have 1 to 100 items"),
        (statement("Action", json!("DescribeMesh")), "policy.Statement[0].Action: \"DescribeMesh\" must be"),
        (
            statement("Action", json!(["appmesh:*", "appmesh:DescribeMeshs"])),
            "policy.Statement[0].Action[1]: \"appmesh:DescribeMeshs\" is no action of appmesh",
        ),
        (
            statement("Action", json!("signet:Nothing")),
            "policy.Statement[0].Action: \"signet:Nothing\" is no action",
        ),
        (statement("Resource", json!("mesh/m")), "policy.Statement[0].Resource: must be \"*\" or an ARN"),
        (
            statement("Resource", json!("arn:aws:appmesh:*")),
            "policy.Statement[0].Resource: must be \"*\" or an ARN",
        ),
        (
            statement("Resource", json!("arn:aws:appmesh:*:*:mesh/${aws:username}")),
            "policy.Statement[0].Resource: policy variables",
        ),
        (statement("Sid", json!("x".repeat(11_000))), "policy: must have 10240 bytes at most"),
    ];
    for (document, expected) in rows {
        let refused = Policy::parse(document.clone()).unwrap_err().to_string();
        assert!(refused.starts_with(expected), "{document}: {refused:?} does not start with {expected:?}");
    }
    let twice = r#"{"Statement": [{"Effect": "Deny", "Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;
    assert!(Policy::from_json(twice).unwrap_err().to_string().contains("\"Effect\" is there twice"));
    // A policy made for AWS may speak of services that are not here.
    Policy::parse(statement(
        "Action",
        json!(["appmesh:StreamAggregatedResources", "acm:DescribeCertificate"]),
    ))
    .unwrap();
}

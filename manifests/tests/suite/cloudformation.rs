//! Templates.

use serde_json::json;

use crate::{bundle, bundle_with, refused, settings, specs};

const SHOP: &str = include_str!("../files/shop.yaml");

#[test]
fn a_template_comes_to_what_a_stack_of_it_would_hold() {
    let bundle = bundle(SHOP);
    let found = specs(&bundle);
    let expected = json!({
        "mesh/shop-test": {"egressFilter": {"type": "ALLOW_ALL"}},
        "mesh/shop-test/virtualNode/cart-v1": {
            "listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}],
            "serviceDiscovery": {"dns": {"hostname": "cart.test.shop.internal"}},
            "backends": [],
        },
        "mesh/shop-test/virtualNode/CartV2": {
            "listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}],
            "serviceDiscovery": {"dns": {"hostname": "cart-test.shop.internal"}},
            "backends": [],
        },
        "mesh/shop-test/virtualNode/front": {"backends": [
            {"virtualService": {"virtualServiceName": "cart.test.shop.internal"}},
            {"virtualService": {"virtualServiceName": "cart.test.shop.internal"}},
        ]},
        "mesh/shop-test/virtualRouter/cart": {"listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}]},
        "mesh/shop-test/virtualRouter/cart/route/split": {"priority": 10, "httpRoute": {
            "match": {"prefix": "/"},
            "action": {"weightedTargets": [
                {"virtualNode": "cart-v1", "weight": 90}, {"virtualNode": "CartV2", "weight": 10},
            ]},
            "retryPolicy": {
                "maxRetries": 2, "perRetryTimeout": {"unit": "ms", "value": 500},
                "httpRetryEvents": ["server-error"], "tcpRetryEvents": ["connection-error"],
            },
        }},
        "mesh/shop-test/virtualService/cart.test.shop.internal": {
            "provider": {"virtualRouter": {"virtualRouterName": "cart"}},
        },
        "mesh/shop-test/virtualGateway/door": {"listeners": [{"portMapping": {"port": 9080, "protocol": "http"}}]},
        "mesh/shop-test/virtualGateway/door/gatewayRoute/all": {"httpRoute": {
            "match": {"prefix": "/"},
            "action": {"target": {"virtualService": {"virtualServiceName": "cart.test.shop.internal"}}},
        }},
    });
    assert_eq!(json!(found), expected);
    let mesh = bundle.resources.values().next().unwrap();
    assert_eq!(json!(mesh.tags), json!({"owner": "platform", "stage": "test"}));
    assert_eq!(mesh.place.line, 38);
    let notes: Vec<String> = bundle.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains("Cluster is AWS::ECS::Service, which is left out"), "{notes:?}");
}

#[test]
fn flags_take_the_place_of_defaults_and_of_what_only_aws_knows() {
    let mut live = settings();
    live.parameters = [("Stage", "live"), ("CartPort", "9090"), ("CanaryWeight", "0")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    live.resolved.insert("Directory.Name".into(), "found".into());
    live.stack_name = Some("stack".into());
    let found = specs(&bundle_with(SHOP, &live));
    assert!(found.contains_key("mesh/shop-live/virtualNode/stack-LiveOnly"), "{found:?}");
    let node = &found["mesh/shop-live/virtualNode/stack-CartV2"];
    assert_eq!(node["serviceDiscovery"]["dns"]["hostname"], "found.shop.internal");
    assert_eq!(node["listeners"][0]["tls"]["mode"], "STRICT");
    assert_eq!(found["mesh/shop-live/virtualNode/cart-v1"]["listeners"][0]["portMapping"]["port"], 9090);
}

#[test]
fn long_forms_and_json_say_the_same_as_short_forms_and_yaml() {
    let short = "
Parameters: {P: {Type: String, Default: a}, L: {Type: CommaDelimitedList, Default: 'x, y'}}
Conditions: {C: !And [!Equals [!Ref P, a], !Not [!Equals [!Select [1, !Ref L], z]]]}
Mappings: {M: {a: {b: c}}}
Resources:
  Mesh: {Type: 'AWS::AppMesh::Mesh', Properties: {MeshName: !Sub '${P}-${AWS::Region}-${!P}x'}}
  Node:
    Type: AWS::AppMesh::VirtualNode
    Condition: C
    Properties:
      MeshName: !Join ['', [!FindInMap [M, !Ref P, b], !Select [0, !Split ['-', 'q-r']]]]
      Spec: !If [C, {Backends: []}, !Ref AWS::NoValue]
";
    let long = r#"{
"Parameters": {"P": {"Type": "String", "Default": "a"}, "L": {"Type": "CommaDelimitedList", "Default": "x, y"}},
"Conditions": {"C": {"Fn::And": [{"Fn::Equals": [{"Ref": "P"}, "a"]}, {"Fn::Not": [{"Fn::Equals": [{"Fn::Select": [1, {"Ref": "L"}]}, "z"]}]}]}},
"Mappings": {"M": {"a": {"b": "c"}}},
"Resources": {
  "Mesh": {"Type": "AWS::AppMesh::Mesh", "Properties": {"MeshName": {"Fn::Sub": "${P}-${AWS::Region}-${!P}x"}}},
  "Node": {"Type": "AWS::AppMesh::VirtualNode", "Condition": "C", "Properties": {
    "MeshName": {"Fn::Join": ["", [{"Fn::FindInMap": ["M", {"Ref": "P"}, "b"]}, {"Fn::Select": [0, {"Fn::Split": ["-", "q-r"]}]}]]},
    "Spec": {"Fn::If": ["C", {"Backends": []}, {"Ref": "AWS::NoValue"}]}
  }}
}}"#;
    let short = short.replace("-${!P}x", "");
    let long = long.replace("-${!P}x", "");
    assert_eq!(specs(&bundle(&short)), specs(&bundle(&long)));
    let found = specs(&bundle(&short));
    let keys: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(keys, ["mesh/a-us-east-1", "mesh/cq/virtualNode/Node"]);
}

/// A mesh with a description, and what is said of it.
fn node(property: &str) -> String {
    format!(
        "Resources:\n  N:\n    Type: AWS::AppMesh::VirtualNode\n    Properties:\n      MeshName: m\n      {property}\n"
    )
}

#[test]
fn what_cannot_be_resolved_is_named_by_file_line_and_logical_id() {
    let spec = |value: &str| node(&format!("Spec: {{ServiceDiscovery: {{DNS: {{Hostname: {value}}}}}}}"));
    let balancer = "  LB: {Type: 'AWS::ElasticLoadBalancingV2::LoadBalancer', Properties: {Name: lb}}\n";
    let rows = [
        (spec("!Ref Host"), "f:6: N: there is no parameter or resource \"Host\""),
        (
            spec("!GetAtt LB.DNSName") + balancer,
            "f:6: N: LB.DNSName (AWS::ElasticLoadBalancingV2::LoadBalancer) is known to AWS alone; give it with --resolve LB.DNSName=VALUE",
        ),
        (
            spec("!Ref LB") + balancer,
            "f:6: N: what LB (AWS::ElasticLoadBalancingV2::LoadBalancer) refers to is known to AWS alone; give it with --resolve LB=VALUE",
        ),
        (spec("!GetAtt Absent.Name"), "f:6: N: there is no resource \"Absent\""),
        (
            spec("!GetAtt N.Uid"),
            "f:6: N: N.Uid (AWS::AppMesh::VirtualNode) is chosen by the server; give it with --resolve N.Uid=VALUE",
        ),
        (spec("!GetAtt N.Color"), "f:6: N: AWS::AppMesh::VirtualNode has no attribute \"Color\""),
        (spec("!GetAtt N"), "f:6: N: GetAtt has the form LogicalId.Attribute"),
        (
            spec("!ImportValue shared"),
            "f:6: N: \"shared\" is exported by a stack; give its value with --import shared=VALUE",
        ),
        (spec("!Ref AWS::StackName"), "f:6: N: AWS::StackName is not known; give it with --stack-name"),
        (spec("!Ref AWS::StackId"), "f:6: N: AWS::StackId is known to a stack in AWS alone"),
        (spec("!Base64 x"), "f:6: N: the function Base64 is not one that Signet can evaluate"),
        (
            spec("'{{resolve:ssm:x}}'"),
            "f:6: N: a dynamic reference is resolved by AWS alone; write its value, or pass it as a parameter",
        ),
        (spec("!Sub '${x'"), "f:6: N: a ${ has no }"),
        (spec("!Select [3, [a]]"), "f:6: N: Select asks for item 3 of a list of 1 (counted from 0)"),
        (spec("!FindInMap [a, b, c]"), "f:6: N: Mappings has no a.b.c"),
        (spec("!If [a, b, c]"), "f:6: N: there is no condition \"a\""),
        (spec("!If [a, b]"), "f:6: N: If takes 3 arguments, not 2"),
        (spec("!Equals [a, b]"), "f:6: N: Fn::Equals belongs into Conditions"),
        (spec("null"), "f:6: N: CloudFormation takes no null; use AWS::NoValue"),
    ];
    for (template, expected) in rows {
        assert_eq!(refused(&template, &settings()), expected, "{template}");
    }
}

#[test]
fn templates_that_go_round_in_circles_or_swell_are_refused() {
    let circle = "
Conditions: {A: !Not [!Condition A]}
Resources:
  M: {Type: 'AWS::AppMesh::Mesh', Condition: A}
  N: {Type: 'AWS::AppMesh::VirtualNode', Properties: {MeshName: !GetAtt O.MeshName, Spec: {}}}
  O: {Type: 'AWS::AppMesh::VirtualNode', Properties: {MeshName: !GetAtt N.MeshName, Spec: {}}}
";
    let faults = refused(circle, &settings());
    assert_eq!(faults.matches("refers to itself, or nests functions too deeply").count(), 3, "{faults}");

    let mut swelling =
        "Resources:\n  M: {Type: 'AWS::AppMesh::Mesh', Properties: {MeshName: !GetAtt R0.Name}}\n".to_owned();
    for level in 0..40 {
        let next = level + 1;
        swelling.push_str(&format!(
            "  R{level}: {{Type: 'X::Y', Properties: {{Name: !Sub '${{R{next}.Name}}${{R{next}.Name}}'}}}}\n"
        ));
    }
    swelling.push_str(
        "  R40: {Type: 'X::Y', Properties: {Name: !Join ['', [xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]]}}\n",
    );
    let faults = refused(&swelling, &settings());
    assert!(
        faults.contains("makes a text longer than 64 KiB") || faults.contains("too many steps"),
        "{faults}"
    );
}

#[test]
fn parameters_are_held_to_what_the_template_says() {
    let template = |declaration: &str| {
        format!(
            "Parameters: {{P: {declaration}}}\nResources:\n  M: {{Type: 'AWS::AppMesh::Mesh', Properties: {{MeshName: !Ref P}}}}\n"
        )
    };
    let mut given = settings();
    given.parameters.insert("P".into(), "abc".into());
    let rows = [
        (
            "{Type: String, AllowedValues: [a, b]}",
            "f:3: M: the parameter P is \"abc\", which is none of a, b",
        ),
        ("{Type: Number}", "f:3: M: the parameter P is \"abc\", which is no number"),
        ("{Type: String, MaxLength: 2}", "f:3: M: the parameter P is \"abc\", which breaks MaxLength 2"),
        ("{Type: String, MinLength: 4}", "f:3: M: the parameter P is \"abc\", which breaks MinLength 4"),
    ];
    for (declaration, expected) in rows {
        assert_eq!(refused(&template(declaration), &given), expected);
    }
    let missing = "f:3: M: the parameter P has no default; give it with --parameter P=VALUE";
    assert_eq!(refused(&template("{Type: String}"), &settings()), missing);
    let in_ssm = "f:3: M: the parameter P is kept in SSM; give its value with --parameter P=VALUE";
    assert_eq!(
        refused(&template("{Type: 'AWS::SSM::Parameter::Value<String>', Default: /a}"), &settings()),
        in_ssm
    );
    given.parameters.insert("Q".into(), "x".into());
    assert_eq!(refused(&template("{Type: String}"), &given), "f:1: no template has a parameter Q");
}

#[test]
fn members_are_spelled_as_cloudformation_spells_them() {
    let rows = [
        (node("Spec: {Listeners: [{portMapping: {Port: 1, Protocol: http}}]}"), "f:6: N: there is no member \"portMapping\"; it is spelled \"PortMapping\" here"),
        (node("Spec: {ServiceDiscovery: {Dns: {Hostname: a}}}"), "f:6: N: there is no member \"Dns\"; it is spelled \"DNS\" here"),
        (node("Spec: {Listener: []}"), "f:6: N: there is no member \"Listener\"; known here are Listeners, ServiceDiscovery, Backends, BackendDefaults, Logging"),
        (node("VirtualNodeName: a"), "f:2: N: Properties.Spec is required"),
        (node("Spec: {}\n      Extra: 1"), "f:7: N: there is no member \"Extra\"; known here are MeshName, Spec, Tags, MeshOwner, VirtualNodeName"),
        (node("Spec: {}\n      VirtualNodeName: a/b"), "f:7: N: \"a/b\" cannot be a name: the resource name holds '/'; only letters, digits, '-' and '_' are allowed"),
        (node("Spec:\n        Listeners:\n          - PortMapping:\n              Port: 0\n              Protocol: http"), "f:9: N: mesh/m/virtualNode/N: spec.listeners[0].portMapping.port: must be 1 to 65535; it is 0"),
        ("Resources:\n  N:\n    Type: AWS::AppMesh::VirtualNode\n    Properties: {MeshName: !Ref M, Spec: {}}\n  M: {Type: 'AWS::AppMesh::Mesh'}\n".to_owned(), "f:4: N: MeshName: the resource name holds ':'; only letters, digits, '-' and '_' are allowed; !Ref gives an ARN, and !GetAtt X.MeshName the name"),
        ("Resources:\n  N: {Type: 'AWS::AppMesh::Nod'}\n".to_owned(), "f:2: AWS::AppMesh::Nod is no App Mesh type"),
        ("Resources:\n  N: {Properties: {}}\n".to_owned(), "f:2: a resource has a Type"),
        (node("Spec: {}") + "    DependsOn: [Gone]\n", "f:7: N: DependsOn names Gone, which is no resource of this template"),
        (node("Spec: {}\n      Tags: [{Key: a, Value: b}, {Key: a, Value: c}]"), "f:7: N: the tag \"a\" is here for the second time"),
        (node("Spec: {}\n      Tags: [{key: a}]"), "f:7: N: a tag has Key and Value, and no \"key\""),
    ];
    for (template, expected) in rows {
        assert_eq!(refused(&template, &settings()), expected, "{template}");
    }
}

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::client::{Api, node, route};

/// What differs between the kinds.
struct Sample {
    collection: &'static str,
    /// The name of the resource.
    name: &'static str,
    /// The member that holds the name.
    member: &'static str,
    /// The member of a list's answer that holds the items.
    list: &'static str,
    spec: Value,
    new_spec: Value,
    /// The end of the ARN.
    arn: &'static str,
}

fn samples() -> [Sample; 5] {
    let provider = |name: &str| json!({"provider": {"virtualNode": {"virtualNodeName": name}}});
    let mut new_node = node(81);
    new_node["backends"] = json!([]);
    [
        Sample {
            collection: "/meshes",
            name: "n",
            member: "meshName",
            list: "meshes",
            spec: json!({}),
            new_spec: json!({"egressFilter": {"type": "ALLOW_ALL"}}),
            arn: "mesh/n",
        },
        Sample {
            collection: "/meshes/m/virtualNodes",
            name: "n",
            member: "virtualNodeName",
            list: "virtualNodes",
            spec: json!({"listeners": [], "backends": []}),
            new_spec: new_node,
            arn: "mesh/m/virtualNode/n",
        },
        Sample {
            collection: "/meshes/m/virtualServices",
            name: "s.local",
            member: "virtualServiceName",
            list: "virtualServices",
            spec: provider("a"),
            new_spec: json!({}),
            arn: "mesh/m/virtualService/s.local",
        },
        Sample {
            collection: "/meshes/m/virtualRouters",
            name: "q",
            member: "virtualRouterName",
            list: "virtualRouters",
            spec: json!({"listeners": []}),
            new_spec: json!({"listeners": [{"portMapping": {"protocol": "http", "port": 1}}]}),
            arn: "mesh/m/virtualRouter/q",
        },
        Sample {
            collection: "/meshes/m/virtualRouter/r/routes",
            name: "x",
            member: "routeName",
            list: "routes",
            spec: route("a"),
            new_spec: route("b"),
            arn: "mesh/m/virtualRouter/r/route/x",
        },
    ]
}

#[tokio::test]
async fn every_kind_is_created_described_updated_listed_and_deleted() {
    for Sample { collection, name, member, list, spec, new_spec, arn } in samples() {
        let api = Api::new();
        api.furnish().await;
        let item = format!("{collection}/{name}");
        let created = api.must("PUT", collection, Some(&json!({member: name, "spec": spec}))).await;
        assert_eq!(created[member], name);
        assert_eq!(created["meshName"], if member == "meshName" { name } else { "m" });
        assert_eq!(created["spec"], spec);
        assert_eq!(created["status"], json!({"status": "ACTIVE"}));
        let metadata = &created["metadata"];
        assert_eq!(metadata["arn"], format!("arn:aws:appmesh:us-east-1:000000000000:{arn}"));
        assert_eq!((&metadata["version"], metadata["uid"].as_str().unwrap().len()), (&json!(1), 36));
        assert_eq!(
            [&metadata["createdAt"], &metadata["lastUpdatedAt"]],
            [1_606_022_091.476, 1_606_022_091.476]
        );
        assert_eq!([&metadata["meshOwner"], &metadata["resourceOwner"]], ["000000000000", "000000000000"]);
        assert_eq!(api.must("GET", &item, None).await, created);

        api.pass(Duration::from_millis(1524));
        let updated = api.must("PUT", &item, Some(&json!({"spec": new_spec}))).await;
        let mut expected = created.clone();
        expected["spec"] = new_spec;
        expected["metadata"]["version"] = json!(2);
        expected["metadata"]["lastUpdatedAt"] = json!(1_606_022_093.0);
        assert_eq!(updated, expected);

        let listed = api.must("GET", collection, None).await;
        let reference = listed[list].as_array().unwrap().iter().find(|found| found[member] == name).unwrap();
        let mut flat = updated["metadata"].as_object().unwrap().clone();
        flat.remove("uid");
        for names in ["meshName", "virtualRouterName", member] {
            if let Some(name) = updated.get(names) {
                flat.insert(names.to_owned(), name.clone());
            }
        }
        assert_eq!(reference, &Value::from(flat));

        let deleted = api.must("DELETE", &item, None).await;
        expected["status"]["status"] = json!("DELETED");
        expected["metadata"]["version"] = json!(if member == "meshName" { 2 } else { 3 });
        assert_eq!(deleted, expected);
        let gone = api.call("GET", &item, None).await;
        let (status, code, message) = gone.error();
        assert_eq!((status, code), (404, "NotFoundException"));
        assert!(message.contains(&format!("with name {name} is not present")), "{message}");
    }
}

#[tokio::test]
async fn a_mesh_needs_no_spec_and_everything_else_does() {
    let api = Api::new();
    let mesh = api.must("PUT", "/meshes", Some(&json!({"meshName": "m"}))).await;
    assert_eq!(mesh["spec"], json!({}));
    assert_eq!(api.must("PUT", "/meshes/m", Some(&json!({}))).await["metadata"]["version"], 2);
    api.furnish_rest().await;
    for Sample { collection, member, .. } in samples().into_iter().skip(1) {
        let answer = api.call("PUT", collection, Some(&json!({member: "new"}))).await;
        assert_eq!(answer.error(), (400, "BadRequestException", "spec: is required"));
    }
}

#[tokio::test]
async fn a_repeated_creation_gets_the_same_answer_and_another_one_a_conflict() {
    let api = Api::new();
    let body = json!({"meshName": "m", "clientToken": "0b5f9c1e-8f3a-4a53-a6a0-0d9b8f3f2d10"});
    let first = api.must("PUT", "/meshes", Some(&body)).await;
    api.pass(Duration::from_secs(1));
    assert_eq!(api.must("PUT", "/meshes", Some(&body)).await, first);
    let others = [
        json!({"meshName": "m"}),
        json!({"meshName": "m", "clientToken": "another"}),
        json!({"meshName": "m", "clientToken": body["clientToken"], "spec": {"egressFilter": {"type": "DROP_ALL"}}}),
    ];
    for other in others {
        let answer = api.call("PUT", "/meshes", Some(&other)).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code), (409, "ConflictException"));
        assert!(message.contains("Mesh with name m"), "{message}");
    }
}

#[tokio::test]
async fn names_in_paths_are_decoded() {
    let api = Api::new();
    api.must("PUT", "/meshes", Some(&json!({"meshName": "my-mesh_1"}))).await;
    let found = api.must("GET", "/meshes/my%2Dmesh%5F1", None).await;
    assert_eq!(found["meshName"], "my-mesh_1");
}

#[tokio::test]
async fn only_this_account_owns_meshes() {
    let api = Api::new();
    api.furnish().await;
    assert_eq!(api.call("GET", "/meshes/m?meshOwner=000000000000", None).await.status, StatusCode::OK);
    let other = api.call("GET", "/meshes/m?meshOwner=111111111111", None).await;
    assert_eq!((other.error().0, other.error().1), (404, "NotFoundException"));
    let bad = api.call("GET", "/meshes/m?meshOwner=me", None).await;
    assert_eq!(bad.error(), (400, "BadRequestException", "meshOwner: must be the 12 digits of an account"));
}

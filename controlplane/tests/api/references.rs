use serde_json::json;
use signet_controlplane::quotas::Quotas;

use crate::client::{Api, node, route};

/// Mesh `m` with nodes `a`, `b`, router `r`, its route `x` to `a`, and service `s` by `r`.
async fn furnished() -> Api {
    let api = Api::new();
    api.furnish().await;
    api.must("PUT", "/meshes/m/virtualRouter/r/routes", Some(&json!({"routeName": "x", "spec": route("a")})))
        .await;
    let provider = json!({"provider": {"virtualRouter": {"virtualRouterName": "r"}}});
    api.must("PUT", "/meshes/m/virtualServices", Some(&json!({"virtualServiceName": "s", "spec": provider})))
        .await;
    api
}

#[tokio::test]
async fn what_a_spec_refers_to_must_be_there_in_the_words_that_scripts_know() {
    let api = furnished().await;
    let account = "for account 000000000000";
    let cases = [
        (
            "PUT",
            "/meshes/m/virtualRouter/r/routes/x",
            json!({"spec": route("n")}),
            "VirtualNode with name n is missing".to_owned(),
        ),
        (
            "PUT",
            "/meshes/m/virtualServices",
            json!({"virtualServiceName": "t", "spec": {"provider": {"virtualNode": {"virtualNodeName": "n"}}}}),
            "VirtualNode with name n is missing".to_owned(),
        ),
        (
            "GET",
            "/meshes/m/virtualNodes/n",
            json!({}),
            format!("VirtualNode with name n is not present under mesh m {account}"),
        ),
        (
            "PUT",
            "/meshes/n/virtualNodes",
            json!({"virtualNodeName": "a", "spec": node(80)}),
            format!("Mesh with name n is not present {account}"),
        ),
        (
            "DELETE",
            "/meshes/m/virtualRouter/r/routes/y",
            json!({}),
            format!("Route with name y is not present under VirtualRouter r in mesh m {account}"),
        ),
    ];
    for (method, path, body, message) in cases {
        let answer = api.call(method, path, Some(&body)).await;
        assert_eq!(answer.error(), (404, "NotFoundException", &*message), "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_referred_to_cannot_be_deleted_in_the_words_that_scripts_know() {
    let api = furnished().await;
    let cases = [
        (
            "/meshes/m",
            "Mesh m for account 000000000000 has active VirtualNodes, please delete VirtualNodes before deleting the Mesh",
        ),
        (
            "/meshes/m/virtualRouters/r",
            "VirtualRouter r for account 000000000000 has active Routes, please delete Routes before deleting the \
             VirtualRouter",
        ),
        (
            "/meshes/m/virtualNodes/a",
            "VirtualNode with name a cannot be deleted because it is the target of one or more routes. Listing up to \
             5 route names: [x]",
        ),
    ];
    for (path, message) in cases {
        assert_eq!(api.call("DELETE", path, None).await.error(), (409, "ResourceInUseException", message));
    }
    api.must("DELETE", "/meshes/m/virtualRouter/r/routes/x", None).await;
    let answer = api.call("DELETE", "/meshes/m/virtualRouters/r", None).await;
    let message = "VirtualRouter with name r cannot be deleted because it is a VirtualService provider. Listing up to \
                   5 virtual service names: [s]";
    assert_eq!(answer.error(), (409, "ResourceInUseException", message));
    for path in ["virtualServices/s", "virtualRouters/r", "virtualNodes/a", "virtualNodes/b"] {
        api.must("DELETE", &format!("/meshes/m/{path}"), None).await;
    }
    api.must("DELETE", "/meshes/m", None).await;
}

#[tokio::test]
async fn several_listeners_make_ports_required_in_the_words_that_scripts_know() {
    let api = furnished().await;
    let listener = |port: u16| json!({"portMapping": {"port": port, "protocol": "http"}});
    let two = json!({"spec": {"listeners": [listener(80), listener(81)]}});
    let answer = api.call("PUT", "/meshes/m/virtualRouters/r", Some(&two)).await;
    let message = "All Routes for this Virtual Router must define a port match before adding multiple listeners to this \
                   Virtual Router. 1 Route(s) are missing port. Listing up to 5 route names: [x]";
    assert_eq!(answer.error(), (400, "BadRequestException", message));
    api.must("DELETE", "/meshes/m/virtualRouter/r/routes/x", None).await;
    api.must("PUT", "/meshes/m/virtualRouters/r", Some(&two)).await;
    let body = json!({"routeName": "x", "spec": route("a")});
    let answer = api.call("PUT", "/meshes/m/virtualRouter/r/routes", Some(&body)).await;
    let (status, code, message) = answer.error();
    assert_eq!((status, code), (400, "BadRequestException"));
    let known = "Route must define a port match criteria if the Virtual Router has multiple listeners";
    assert!(message.starts_with(known), "{message}");
}

#[tokio::test]
async fn a_target_names_a_port_that_its_node_listens_on_and_keeps() {
    let api = furnished().await;
    let with_port = |port: u16| {
        let mut spec = route("a");
        spec["httpRoute"]["action"]["weightedTargets"][0]["port"] = port.into();
        json!({"spec": spec})
    };
    let path = "/meshes/m/virtualRouter/r/routes/x";
    let answer = api.call("PUT", path, Some(&with_port(9))).await;
    let (status, code, message) = answer.error();
    assert_eq!((status, code), (400, "BadRequestException"));
    let named = "spec.httpRoute.action.weightedTargets[0].port: Route with name x targets port 9 of VirtualNode with name a";
    assert!(message.starts_with(named), "{message}");

    api.must("PUT", "/meshes/m/virtualNodes/a", Some(&json!({"spec": node(9)}))).await;
    api.must("PUT", path, Some(&with_port(9))).await;
    let answer = api.call("PUT", "/meshes/m/virtualNodes/a", Some(&json!({"spec": node(10)}))).await;
    let (status, code, message) = answer.error();
    assert_eq!((status, code), (400, "BadRequestException"));
    let named = "spec.listeners: VirtualNode with name a must keep the ports that routes name. 1 Route(s)";
    assert!(message.starts_with(named) && message.ends_with("[x]"), "{message}");
}

#[tokio::test]
async fn gateway_routes_hold_what_they_need_in_the_words_that_scripts_know() {
    let api = furnished().await;
    let listener = |port: u16| json!({"portMapping": {"port": port, "protocol": "http"}});
    let listeners = |ports: &[u16]| ports.iter().map(|port| listener(*port)).collect::<Vec<_>>();
    let gateway = json!({"virtualGatewayName": "g", "spec": {"listeners": listeners(&[80])}});
    api.must("PUT", "/meshes/m/virtualGateways", Some(&gateway)).await;
    let target = json!({"virtualService": {"virtualServiceName": "s"}});
    let spec = json!({"httpRoute": {"match": {"prefix": "/"}, "action": {"target": target}}});
    let body = json!({"gatewayRouteName": "x", "spec": spec});
    api.must("PUT", "/meshes/m/virtualGateway/g/gatewayRoutes", Some(&body)).await;

    let answer = api.call("DELETE", "/meshes/m/virtualServices/s", None).await;
    let message = "VirtualService s is being referenced in the following: GATEWAY_ROUTE: [x]";
    assert_eq!(answer.error(), (409, "ResourceInUseException", message));

    let two = json!({"spec": {"listeners": listeners(&[80, 81])}});
    let answer = api.call("PUT", "/meshes/m/virtualGateways/g", Some(&two)).await;
    let message = "All Gateway Routes for this Virtual Gateway must define a port match before adding multiple listeners to \
                   this Virtual Gateway. 1 Gateway Route(s) are missing port. Listing up to 5 gateway route names: [x]";
    assert_eq!(answer.error(), (400, "BadRequestException", message));

    api.must("DELETE", "/meshes/m/virtualGateway/g/gatewayRoutes/x", None).await;
    api.must("PUT", "/meshes/m/virtualGateways/g", Some(&two)).await;
    let answer = api.call("PUT", "/meshes/m/virtualGateway/g/gatewayRoutes", Some(&body)).await;
    let (status, code, message) = answer.error();
    assert_eq!((status, code), (400, "BadRequestException"));
    let known =
        "Gateway route must define a match port if the parent Virtual Gateway has multiple listeners.";
    assert!(message.starts_with(known), "{message}");
}

#[tokio::test]
async fn a_quota_that_is_met_is_named_with_the_flag_that_raises_it() {
    let mut quotas = Quotas::default();
    quotas.set("meshes=1").unwrap();
    let api = Api::within(quotas);
    api.must("PUT", "/meshes", Some(&json!({"meshName": "m"}))).await;
    let answer = api.call("PUT", "/meshes", Some(&json!({"meshName": "n"}))).await;
    let message = "Mesh with name n for account 000000000000 would exceed the quota meshes of this server, which is 1; \
                   whoever runs it may raise it with `signet server --quota meshes=N`";
    assert_eq!(answer.error(), (400, "LimitExceededException", message));
}

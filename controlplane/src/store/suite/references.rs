use super::*;

on_every_back_end! {
    what_a_spec_refers_to_must_be_there
    what_is_referred_to_cannot_be_deleted
    gateways_and_services_are_held_by_gateway_routes
    sixty_four_racing_callers_never_leave_a_reference_dangling
}

async fn what_a_spec_refers_to_must_be_there(store: AnyStore) {
    let provider = |kind: &str, name: &str| json!({"provider": {kind: {format!("{kind}Name"): name}}});
    let cases = [
        (creation("mesh/n/virtualNode/a", node(&[80])), Refusal::Missing(key("mesh/n"))),
        (creation("mesh/n/virtualRouter/r/route/x", route("a")), Refusal::Missing(key("mesh/n"))),
        (
            creation("mesh/m/virtualRouter/q/route/x", route("a")),
            Refusal::Missing(key("mesh/m/virtualRouter/q")),
        ),
        (
            update("mesh/m/virtualRouter/q/route/x", route("a")),
            Refusal::Missing(key("mesh/m/virtualRouter/q")),
        ),
        (
            creation("mesh/m/virtualRouter/r/route/y", route("c")),
            Refusal::MissingTarget(key("mesh/m/virtualNode/c")),
        ),
        (
            update("mesh/m/virtualRouter/r/route/x", route("c")),
            Refusal::MissingTarget(key("mesh/m/virtualNode/c")),
        ),
        (
            creation("mesh/m/virtualService/t", provider("virtualNode", "c")),
            Refusal::MissingTarget(key("mesh/m/virtualNode/c")),
        ),
        (
            update("mesh/m/virtualService/s.local", provider("virtualRouter", "q")),
            Refusal::MissingTarget(key("mesh/m/virtualRouter/q")),
        ),
    ];
    furnish(&store).await;
    for (write, expected) in cases {
        assert_eq!(refusal(&store, write).await, expected);
    }
    // A backend may name what is not there yet, and a service may have no provider.
    store
        .write(creation(
            "mesh/m/virtualNode/c",
            json!({"backends": [{"virtualService": {"virtualServiceName": "none"}}]}),
        ))
        .await
        .unwrap();
    store.write(creation("mesh/m/virtualService/t", json!({}))).await.unwrap();
}

async fn what_is_referred_to_cannot_be_deleted(store: AnyStore) {
    furnish(&store).await;
    let children = |of: &str, kind| Refusal::HasChildren { key: key(of), children: kind };
    let referenced = |of: &str, by: &str| Refusal::Referenced { key: key(of), by: vec![key(by)] };
    let (m, r, a) = ("mesh/m", "mesh/m/virtualRouter/r", "mesh/m/virtualNode/a");
    assert_eq!(refusal(&store, deletion(m)).await, children(m, Kind::VirtualNode));
    assert_eq!(refusal(&store, deletion(r)).await, children(r, Kind::Route));
    assert_eq!(refusal(&store, deletion(a)).await, referenced(a, "mesh/m/virtualRouter/r/route/x"));
    // A reference moves with the spec that makes it.
    store.write(update("mesh/m/virtualRouter/r/route/x", route("b"))).await.unwrap();
    store.write(deletion(a)).await.unwrap();
    let b = "mesh/m/virtualNode/b";
    assert_eq!(refusal(&store, deletion(b)).await, referenced(b, "mesh/m/virtualRouter/r/route/x"));
    store.write(deletion("mesh/m/virtualRouter/r/route/x")).await.unwrap();
    assert_eq!(refusal(&store, deletion(r)).await, referenced(r, "mesh/m/virtualService/s.local"));
    for gone in ["mesh/m/virtualService/s.local", r, b, m] {
        store.write(deletion(gone)).await.unwrap();
    }
    assert!(model(&*store).meshes.is_empty());
}

async fn gateways_and_services_are_held_by_gateway_routes(store: AnyStore) {
    furnish(&store).await;
    let (g, x, s) = (GATEWAY, "mesh/m/virtualGateway/g/gatewayRoute/x", "mesh/m/virtualService/s.local");
    assert_eq!(refusal(&store, creation(x, gateway_route("s.local"))).await, Refusal::Missing(key(g)));
    store.write(creation(g, gateway(&[80]))).await.unwrap();
    let absent = Refusal::MissingTarget(key("mesh/m/virtualService/t"));
    assert_eq!(refusal(&store, creation(x, gateway_route("t"))).await, absent);
    store.write(creation(x, gateway_route("s.local"))).await.unwrap();
    assert_eq!(refusal(&store, update(x, gateway_route("t"))).await, absent);
    let held = Refusal::Referenced { key: key(s), by: vec![key(x)] };
    assert_eq!(refusal(&store, deletion(s)).await, held);
    let children = Refusal::HasChildren { key: key(g), children: Kind::GatewayRoute };
    assert_eq!(refusal(&store, deletion(g)).await, children);
    store.write(creation("mesh/n", json!({}))).await.unwrap();
    store.write(creation("mesh/n/virtualGateway/g", gateway(&[80]))).await.unwrap();
    let children = Refusal::HasChildren { key: key("mesh/n"), children: Kind::VirtualGateway };
    assert_eq!(refusal(&store, deletion("mesh/n")).await, children);
    for gone in [x, s, g] {
        store.write(deletion(gone)).await.unwrap();
    }
    assert!(model(&*store).meshes[&"m".parse().unwrap()].virtual_gateways.is_empty());
}

/// Something to delete, and what refers to it or lives under it, by a number.
fn contested(kind: usize, round: usize) -> (Write, impl Fn(usize) -> Write) {
    let name = format!("t{round}");
    let (at, spec) = match kind {
        0 | 1 => (format!("mesh/m/virtualNode/{name}"), node(&[80])),
        2 | 3 => (format!("mesh/m/virtualRouter/{name}"), router(&[80])),
        4 => (format!("mesh/m/virtualService/{name}"), json!({})),
        5 => (format!("mesh/m/virtualGateway/{name}"), gateway(&[80])),
        _ => (format!("mesh/{name}"), json!({})),
    };
    let provider =
        move |kind: &str| json!({"provider": {kind: {format!("{kind}Name"): format!("t{round}")}}});
    let referrer = move |racer: usize| match kind {
        0 => creation(&format!("mesh/m/virtualRouter/r/route/{name}-{racer}"), route(&name)),
        1 => creation(&format!("mesh/m/virtualService/{name}.{racer}"), provider("virtualNode")),
        2 => creation(&format!("mesh/m/virtualService/{name}.{racer}"), provider("virtualRouter")),
        3 => creation(&format!("mesh/m/virtualRouter/{name}/route/x{racer}"), route("a")),
        4 => creation(&format!("{GATEWAY}/gatewayRoute/{name}-{racer}"), gateway_route(&name)),
        5 => {
            creation(&format!("mesh/m/virtualGateway/{name}/gatewayRoute/x{racer}"), gateway_route("s.local"))
        }
        _ => creation(&format!("mesh/{name}/virtualNode/x{racer}"), node(&[80])),
    };
    (creation(&at, spec), referrer)
}

async fn sixty_four_racing_callers_never_leave_a_reference_dangling(store: AnyStore) {
    furnish(&store).await;
    store.write(creation(GATEWAY, gateway(&[80]))).await.unwrap();
    for round in 0..28 {
        let (creation, referrer) = contested(round % 7, round);
        let contested = creation.key().clone();
        store.write(creation).await.unwrap();
        let mut racers = JoinSet::new();
        for racer in 0..64 {
            let is_deletion = racer % 16 == round % 16;
            let write = match is_deletion {
                true => deletion(&contested.to_string()),
                false => referrer(racer),
            };
            let store = store.clone();
            racers.spawn(async move { (is_deletion, store.write(write).await) });
        }
        let outcomes = racers.join_all().await;
        let won = |deletions: bool| {
            outcomes
                .iter()
                .filter(|(is_deletion, outcome)| *is_deletion == deletions && outcome.is_ok())
                .count()
        };
        let (deletions, references) = (won(true), won(false));
        match store.get(&contested).await.is_ok() {
            true => assert_eq!((deletions, references), (0, 60), "{contested}"),
            false => assert_eq!((deletions, references), (1, 0), "{contested}"),
        }
        check_nothing_dangles(&model(&*store));
    }
}

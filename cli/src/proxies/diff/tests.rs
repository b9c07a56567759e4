use super::*;

fn resource(kind: &str, name: &str, wanted: Option<&str>, state: ResourceState) -> ResourceView {
    ResourceView {
        kind: kind.into(),
        name: name.into(),
        wanted: wanted.map(str::to_owned),
        sent: None,
        accepted: None,
        state,
        revision: None,
        changes: Vec::new(),
        reason: None,
        hosts: None,
        config: None,
    }
}

fn runs(active: Option<&str>, warming: Option<&str>, refused: Option<&str>) -> Runs {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Runs { active: text(active), config: None, warming: text(warming), refused: text(refused) }
}

#[test]
fn a_version_that_envoy_runs_is_compared_with_the_one_that_it_is_to_run() {
    use ResourceState::{Acked, Leaving, Pending, Unasked};
    let cases = [
        (Some("1"), Acked, runs(Some("1"), None, None), None),
        (Some("1"), Acked, runs(Some("1"), None, Some("an older one")), None),
        (
            Some("2"),
            Pending,
            runs(Some("1"), Some("2"), None),
            Some("Envoy warms it, and does not use it yet"),
        ),
        (
            Some("2"),
            Pending,
            runs(Some("1"), None, Some("bad port")),
            Some("Envoy runs another version; it refused another: bad port"),
        ),
        (Some("1"), Unasked, runs(None, None, None), None),
        (Some("1"), Pending, runs(None, None, None), Some("Envoy runs none")),
        (None, Leaving, runs(Some("1"), None, None), Some("Envoy runs it, and is to let go of it")),
        (None, Leaving, runs(None, None, None), None),
    ];
    for (wanted, state, envoy, expected) in cases {
        let found = of_content(&resource("cluster", "c", wanted, state), &envoy);
        assert_eq!(found.as_ref().map(|(text, _)| text.as_str()), expected, "{wanted:?} and {envoy:?}");
    }
}

#[test]
fn where_there_is_content_it_decides_and_not_the_version() {
    let mut sent = resource("listener", "l", Some("2"), ResourceState::Acked);
    sent.config = Some(json!({"name": "l", "stat_prefix": "a"}));
    let with = |prefix: &str| Runs {
        config: Some(json!({"name": "l", "stat_prefix": prefix})),
        ..runs(Some("1"), None, None)
    };
    assert_eq!(of_content(&sent, &with("a")), None, "Envoy calls it by the version that it had before");
    let (text, fields) = of_content(&sent, &with("b")).unwrap();
    assert_eq!((text.as_str(), fields[0].path.as_str()), ("Envoy runs another version", "stat_prefix"));
    let table = table(&[Difference { kind: "listener".into(), name: "l".into(), difference: text, fields }]);
    let table = table.to_string();
    assert!(table.contains("stat_prefix") && table.contains("\"a\"") && table.contains("\"b\""), "{table}");
}

#[test]
fn endpoints_are_compared_by_their_hosts() {
    let set = |hosts: &[&str]| -> BTreeSet<String> { hosts.iter().map(|host| (*host).to_owned()).collect() };
    let mut endpoints = resource("endpoint", "c", Some("1"), ResourceState::Acked);
    endpoints.hosts = Some(set(&["10.0.0.1:80", "10.0.0.2:80"]));
    let cases = [
        (set(&["10.0.0.2:80", "10.0.0.1:80"]), None),
        (set(&["10.0.0.1:80"]), Some("Envoy does not call 10.0.0.2:80")),
        (set(&["10.0.0.1:80", "10.0.0.2:80", "[::1]:80"]), Some("Envoy calls [::1]:80, which is gone")),
        (set(&["10.0.0.1:80", "10.0.0.3:80"]), Some("Envoy calls 10.0.0.3:80 in place of 10.0.0.2:80")),
    ];
    for (envoy, expected) in cases {
        assert_eq!(of_hosts(&endpoints, &envoy).as_deref(), expected, "{envoy:?}");
    }
}

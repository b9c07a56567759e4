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
    }
}

fn runs(active: Option<&str>, warming: Option<&str>, refused: Option<&str>) -> Runs {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Runs { active: text(active), warming: text(warming), refused: text(refused) }
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
            Some("Envoy runs version 1, and is to run 2; it refused another: bad port"),
        ),
        (Some("1"), Unasked, runs(None, None, None), None),
        (Some("1"), Pending, runs(None, None, None), Some("Envoy runs none, and is to run version 1")),
        (None, Leaving, runs(Some("1"), None, None), Some("Envoy runs it, and is to let go of it")),
        (None, Leaving, runs(None, None, None), None),
    ];
    for (wanted, state, envoy, expected) in cases {
        let found = of_version(&resource("cluster", "c", wanted, state), &envoy);
        assert_eq!(found.as_deref(), expected, "{wanted:?} and {envoy:?}");
    }
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

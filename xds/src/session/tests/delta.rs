use super::*;

#[test]
fn only_what_changed_is_sent() {
    let mut peer = Peer::delta("C a@1 b@1 c@1");
    assert_eq!(peer.ask("C", &[]), ["C a@1 b@1 c@1"]);
    assert_eq!(peer.ack("C"), NOTHING, "an acknowledgement is silent");
    assert!(peer.is_synced());
    assert_eq!(peer.see("C a@1 b@2 c@1"), ["C b@2"]);
    assert_eq!(peer.ack("C"), NOTHING);
    assert_eq!(peer.see("C a@1 b@2 c@1"), NOTHING);
}

#[test]
fn a_subscription_goes_from_everything_to_a_name_to_nothing() {
    let mut peer = Peer::delta("L a@1 b@1");
    assert_eq!(peer.ask("L", &[]), ["L a@1 b@1"]);
    assert_eq!(peer.ask("L", &["a"]), ["L a@1"], "a name asked for is answered, held or not");
    assert_eq!(peer.unsubscribe("L", &["*"]), NOTHING);
    peer.ack("L");
    assert_eq!(peer.see("L a@1 b@2"), NOTHING);
    assert_eq!(peer.see("L a@2 b@2"), ["L a@2"]);
    peer.ack("L");
    assert_eq!(peer.unsubscribe("L", &["a"]), NOTHING);
    assert_eq!(peer.see("L a@3 b@3"), NOTHING, "no names left is nothing, not everything");
    assert_eq!(peer.ask("L", &["*"]), ["L a@3 b@3"]);
}

#[test]
fn nothing_listed_is_everything_for_clusters_and_listeners_only() {
    let mut peer = Peer::delta("E a@1; R r@1; S default@1");
    for letter in ["E", "R", "S"] {
        assert_eq!(peer.ask(letter, &[]), NOTHING, "{letter}");
    }
    assert_eq!(peer.ask("S", &["*"]), ["S -*"], "`*` is a name here");
}

#[test]
fn with_unnamed_secrets_nothing_listed_is_those_with_spiffe_ids() {
    let mut peer = Peer::delta("S default@1 spiffe://d@1 spiffe://d/a@1");
    peer.session = peer.session.with_unnamed_secrets();
    assert_eq!(peer.ask("S", &[]), ["S spiffe://d@1 spiffe://d/a@1"]);
    peer.ack("S");
    assert_eq!(peer.see("S default@2 spiffe://d@1"), ["S -spiffe://d/a"]);
    peer.ack("S");
    assert_eq!(peer.ask("S", &["default"]), ["S default@2"]);
    peer.ack("S");
    assert_eq!(peer.unsubscribe("S", &["default"]), NOTHING, "no wildcard covers it");
    assert_eq!(peer.see("S default@3 spiffe://d@1"), NOTHING);
    assert_eq!(peer.unsubscribe("S", &["*"]), NOTHING);
    assert_eq!(peer.see("S default@3 spiffe://d@2"), NOTHING);
    assert_eq!(peer.ask("S", &["*"]), ["S spiffe://d@2"]);
}

#[test]
fn a_first_wildcard_request_is_answered_even_when_there_is_nothing_to_say() {
    let mut peer = Peer::delta("");
    assert_eq!(peer.ask("C", &[]), ["C"]);
    assert_eq!(peer.ack("C"), NOTHING);
}

#[test]
fn a_name_left_under_a_wildcard_is_answered() {
    let mut peer = Peer::delta("C a@1");
    peer.ask("C", &["*", "a", "b"]);
    peer.ack("C");
    assert_eq!(peer.unsubscribe("C", &["a"]), ["C a@1"], "it still comes with the wildcard");
    assert_eq!(peer.unsubscribe("C", &["b"]), ["C -b"], "it does not exist");
    assert_eq!(peer.unsubscribe("C", &["b", "never-asked"]), NOTHING);
}

#[test]
fn a_name_that_does_not_exist_is_said_to_be_gone_and_pushed_when_it_comes() {
    for letter in ["C", "E", "L", "R", "S"] {
        let mut peer = Peer::delta("");
        assert_eq!(peer.ask(letter, &["x"]), [format!("{letter} -x")]);
        peer.ack(letter);
        assert_eq!(peer.see(&format!("{letter} x@1")), [format!("{letter} x@1")]);
        peer.ack(letter);
        assert_eq!(peer.see(""), [format!("{letter} -x")]);
        peer.ack(letter);
        assert_eq!(peer.session.status().resource(kind(letter), "x"), None);
        assert_eq!(peer.see(&format!("{letter} x@1")), [format!("{letter} x@1")], "and again");
    }
}

#[test]
fn a_name_asked_for_again_is_sent_again_though_it_did_not_change() {
    let mut peer = Peer::delta("R r@1 s@1");
    peer.ask("R", &["r", "s"]);
    peer.ack("R");
    assert_eq!(peer.ask("R", &["r"]), ["R r@1"], "without dropping it before");
    peer.unsubscribe("R", &["s"]);
    assert_eq!(peer.accepted("R", "s"), None);
    assert_eq!(peer.ask("R", &["s"]), ["R s@1"], "after dropping it");
}

#[test]
fn a_dropped_name_is_not_sent_any_more() {
    let mut peer = Peer::delta("R r@1");
    peer.ask("R", &["r"]);
    peer.unsubscribe("R", &["r"]);
    assert_eq!(peer.see("R r@2"), NOTHING);
    assert_eq!(peer.see(""), NOTHING, "nor is its end");
}

#[test]
fn a_stale_nonce_still_carries_subscriptions() {
    let mut peer = Peer::delta("S a@1 b@1 c@1");
    peer.ask("S", &["a"]);
    peer.ack("S");
    for nonce in ["0-0", "7-1"] {
        let mut request = peer.request("S", changes(vec!["b".into()], &[], &[]));
        request.nonce = nonce.into();
        assert_eq!(peer.give(request), ["S b@1"], "{nonce}");
    }
    assert_eq!(peer.session.status().stale_nonces(), 2);
}

#[test]
fn an_acknowledgement_counts_for_its_own_response_only() {
    let mut peer = Peer::delta("S a@1 b@1");
    peer.ask("S", &["a"]);
    let first = peer.request("S", changes(vec![], &[], &[]));
    peer.nonces.clear();
    peer.ask("S", &["b"]);
    peer.ack("S");
    assert_eq!((peer.accepted("S", "a"), peer.accepted("S", "b").is_some()), (None, true));
    peer.give(first);
    assert!(peer.accepted("S", "a").is_some());
}

#[test]
fn after_a_reconnect_only_differences_are_sent() {
    let mut peer = Peer::delta("C same@1 changed@2 new@1; S same@1 changed@2 new@1");
    let (same, changed, gone) = (version("C", "same@1"), version("C", "changed@1"), version("C", "gone@1"));
    let initial = [("same", &*same), ("changed", &*changed), ("gone", &*gone)];
    let mut request = peer.request("C", changes(vec![], &[], &initial));
    request.nonce = "of-another-stream".into();
    assert_eq!(peer.give(request), ["C changed@2 new@1"]);
    assert_eq!(peer.accepted("C", "same"), Some(&*same), "what it brings along it has accepted");
    assert_eq!(peer.accepted("C", "changed"), Some(&*changed));
    assert!(!peer.is_synced());
    assert_eq!(peer.ack("C"), ["C -gone"]);
    assert!(!peer.is_synced(), "it has not let go of what it brought along");
    peer.ack("C");
    assert!(peer.is_synced());
    assert_eq!(peer.session.status().stale_nonces(), 0);
}

#[test]
fn after_a_reconnect_named_resources_are_resumed_too() {
    let (same, changed) = (version("S", "same@1"), version("S", "changed@1"));
    let initial = [("same", &*same), ("changed", &*changed), ("gone", "1"), ("not-asked", "1")];
    let names = ["same", "changed", "gone", "new"].map(String::from).to_vec();
    let mut peer = Peer::new(Variant::Delta, Service::Only(ResourceType::Secret), "S same@1 changed@2 new@1");
    assert_eq!(peer.give(peer.request("S", changes(names, &[], &initial))), ["S changed@2 new@1"]);
    assert_eq!(peer.ack("S"), ["S -gone"]);
    assert_eq!(peer.session.status().resource(kind("S"), "not-asked"), None);
}

#[test]
fn a_reconnect_with_nothing_new_is_answered_for_wildcards_and_silent_for_names() {
    let mut peer = Peer::delta("C a@1; R r@1");
    let (cluster, route) = (version("C", "a@1"), version("R", "r@1"));
    assert_eq!(peer.give(peer.request("C", changes(vec![], &[], &[("a", &cluster)]))), ["C"]);
    assert_eq!(peer.give(peer.request("R", changes(vec!["r".into()], &[], &[("r", &route)]))), NOTHING);
    assert!(peer.is_synced());
}

#[test]
fn versions_brought_along_later_than_at_first_are_not_believed() {
    let mut peer = Peer::delta("S a@1");
    peer.ask("S", &["x"]);
    let version = version("S", "a@1");
    assert_eq!(peer.give(peer.request("S", changes(vec!["a".into()], &[], &[("a", &version)]))), ["S a@1"]);
}

#[test]
fn a_name_taken_and_dropped_in_one_request_is_dropped() {
    let mut peer = Peer::delta("S a@1");
    assert_eq!(peer.give(peer.request("S", changes(vec!["a".into()], &["a"], &[]))), NOTHING);
    assert_eq!(peer.see("S a@2"), NOTHING);
}

#[test]
fn what_is_given_up_before_its_acknowledgement_does_not_count_as_accepted() {
    for names in [&["a", "b", "c"][..], &["a", "b"]] {
        let mut peer = Peer::delta("E a@1 b@1 c@1");
        peer.ask("E", names);
        let nonce = peer.nonces.remove(&ResourceType::Endpoint).expect("a response");
        peer.unsubscribe("E", &["b"]);
        peer.nonces.insert(ResourceType::Endpoint, nonce);
        peer.ack("E");
        let accepted = ["a", "b"].map(|name| peer.accepted("E", name).is_some());
        assert_eq!(accepted, [true, false], "of {names:?}");
    }
}

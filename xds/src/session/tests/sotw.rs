use super::*;

#[test]
fn an_empty_list_means_everything_for_clusters_and_listeners_only() {
    let mut peer = Peer::sotw("C a@1 b@1; E a@1; L in@1; R r@1; S default@1");
    assert_eq!(peer.ask("C", &[]), ["C a@1 b@1"]);
    assert_eq!(peer.ask("L", &[]), ["L in@1"]);
    for letter in ["E", "R", "S"] {
        assert_eq!(peer.ask(letter, &[]), NOTHING, "{letter}");
        assert_eq!(peer.ask(letter, &["*"]), NOTHING, "{letter}: `*` is a name here");
    }
}

#[test]
fn with_unnamed_secrets_an_empty_list_means_those_with_spiffe_ids_until_one_is_listed() {
    let mut peer = Peer::sotw("S ROOTCA@1 default@1 spiffe://d@1 spiffe://d/a@1");
    peer.session = peer.session.with_unnamed_secrets();
    assert_eq!(peer.ask("S", &[]), ["S spiffe://d@1 spiffe://d/a@1"]);
    assert_eq!(peer.ack("S"), NOTHING);
    assert!(peer.is_synced());
    assert_eq!(peer.see("S ROOTCA@2 default@2 spiffe://d@1 spiffe://d/a@2"), ["S spiffe://d/a@2"]);
    assert_eq!(peer.ack("S"), NOTHING);
    assert_eq!(peer.ask("S", &["*", "default"]), ["S default@2"]);
    assert_eq!(peer.ack("S"), NOTHING);
    assert_eq!(peer.ask("S", &["*"]), NOTHING);
    assert_eq!(peer.accepted("S", "default"), None, "it was given up");
    assert_eq!(peer.see("S default@3 spiffe://d/b@1"), ["S spiffe://d/b@1"]);
    assert_eq!(peer.ask("S", &[]), NOTHING);
    assert_eq!(peer.see("S default@3 spiffe://d/b@2"), NOTHING, "an empty list after others gives all up");
    assert_eq!(peer.ask("E", &[]), NOTHING, "of endpoints it still means none");
}

#[test]
fn an_acknowledgement_is_silent_and_moves_what_is_accepted() {
    let mut peer = Peer::sotw("C a@1");
    peer.ask("C", &[]);
    assert_eq!(peer.accepted("C", "a"), None, "sent is not accepted");
    assert!(!peer.is_synced());
    assert_eq!(peer.ack("C"), NOTHING);
    assert_eq!(peer.accepted("C", "a"), Some(&*version("C", "a@1")));
    assert!(peer.is_synced());
    assert_eq!(peer.ack("C"), NOTHING, "not even when it is repeated");
}

#[test]
fn a_subscription_goes_from_everything_to_a_name_to_nothing() {
    let mut peer = Peer::sotw("L a@1 b@1");
    assert_eq!(peer.ask("L", &[]), ["L a@1 b@1"]);
    assert_eq!(peer.ask("L", &["*", "a"]), ["L a@1 b@1"], "a name asked for is answered");
    assert_eq!(peer.ask("L", &["a"]), NOTHING);
    assert_eq!(peer.see("L a@1 b@2"), NOTHING, "b is no longer wanted");
    assert_eq!(peer.see("L a@2 b@2"), ["L a@2"]);
    assert_eq!(peer.ask("L", &[]), NOTHING, "an empty list is no wildcard once names were listed");
    assert_eq!(peer.see("L a@3 b@3"), NOTHING);
    assert_eq!(peer.ask("L", &["*"]), ["L a@3 b@3"]);
}

#[test]
fn clusters_and_listeners_come_as_whole_sets() {
    let mut peer = Peer::sotw("C a@1 b@1");
    peer.ask("C", &[]);
    peer.ack("C");
    assert_eq!(peer.see("C a@1 b@2 c@1"), ["C a@1 b@2 c@1"]);
    peer.ack("C");
    assert_eq!(peer.see("C a@1"), ["C a@1"]);
    peer.ack("C");
    assert_eq!(peer.see(""), ["C"], "the last removal is an empty response");
    assert!(!peer.is_synced());
    peer.ack("C");
    assert!(peer.is_synced());
    assert_eq!(peer.session.status().resource(kind("C"), "a"), None);
}

#[test]
fn routes_endpoints_and_secrets_come_alone_and_their_end_is_not_told() {
    for letter in ["E", "R", "S"] {
        let mut peer = Peer::sotw(&format!("{letter} a@1 b@1"));
        assert_eq!(peer.ask(letter, &["a", "b"]), [format!("{letter} a@1 b@1")]);
        peer.ack(letter);
        assert_eq!(peer.see(&format!("{letter} a@1 b@2")), [format!("{letter} b@2")]);
        peer.ack(letter);
        assert_eq!(peer.see(&format!("{letter} a@1")), NOTHING, "Envoy's SDS refuses an empty response");
        assert_eq!(peer.see(&format!("{letter} a@1 b@2")), [format!("{letter} b@2")]);
    }
}

#[test]
fn a_name_that_does_not_exist_yet_is_sent_when_it_does() {
    let mut peer = Peer::new(Variant::Sotw, Service::Only(ResourceType::Secret), "S default@1");
    assert_eq!(peer.ask("S", &["default", "ROOTCA"]), ["S default@1"]);
    peer.ack("S");
    assert_eq!(peer.see("S default@1 ROOTCA@1"), ["S ROOTCA@1"]);
}

#[test]
fn a_name_dropped_and_asked_for_again_is_sent_again() {
    for letter in ["C", "E", "S"] {
        let mut peer = Peer::sotw(&format!("{letter} a@1 b@1"));
        peer.ask(letter, &["a", "b"]);
        assert_eq!(peer.ask(letter, &["a"]), NOTHING);
        assert_eq!(peer.accepted(letter, "b"), None, "what was dropped is not held");
        let answer = peer.ask(letter, &["a", "b"]).concat();
        assert!(answer.contains("b@1"), "{letter}: {answer}");
    }
}

#[test]
fn nothing_is_sent_for_a_dropped_name() {
    let mut peer = Peer::sotw("R a@1 b@1");
    peer.ask("R", &["a", "b"]);
    peer.ask("R", &["a"]);
    assert_eq!(peer.see("R a@1 b@2"), NOTHING);
    peer.ask("R", &[]);
    assert_eq!(peer.see("R a@2 b@2"), NOTHING);
}

#[test]
fn a_list_with_a_name_twice_is_the_list_with_it_once() {
    let mut peer = Peer::sotw("S a@1 b@1");
    assert_eq!(peer.ask("S", &["a", "b", "a"]), ["S a@1 b@1"]);
    assert_eq!(peer.ask("S", &["a", "a"]), NOTHING);
    assert_eq!(peer.see("S a@1 b@2"), NOTHING, "b was dropped");
}

#[test]
fn a_stale_nonce_is_ignored_and_counted() {
    let mut peer = Peer::sotw("S a@1 b@1");
    peer.ask("S", &["a"]);
    let stale = Request { ask: Ask::Names(vec!["a".into(), "b".into()]), ..peer.asking("S", &["a"]) };
    peer.ack("S");
    peer.see("S a@2 b@1");
    assert_eq!(peer.give(stale), NOTHING);
    assert_eq!(peer.session.status().stale_nonces(), 1);
    assert_eq!(peer.accepted("S", "a"), Some(&*version("S", "a@1")));
    assert_eq!(peer.ask("S", &["a", "b"]), ["S b@1"], "the names come again with the right nonce");
    assert_eq!(peer.accepted("S", "a"), Some(&*version("S", "a@2")));
}

#[test]
fn a_first_request_with_a_foreign_nonce_and_version_is_answered() {
    let mut peer = Peer::sotw("C a@1; S x@1");
    for (letter, names, answer) in [("C", vec![], "C a@1"), ("S", vec!["x"], "S x@1")] {
        peer.nonces.insert(kind(letter), "of-another-stream".into());
        assert_eq!(peer.ask(letter, &names), [answer]);
    }
    assert_eq!(peer.session.status().stale_nonces(), 0);
}

#[test]
fn a_request_without_nonce_is_a_first_one() {
    let mut peer = Peer::sotw("S a@1");
    assert_eq!(peer.ask("S", &["a"]), ["S a@1"]);
    peer.nonces.clear();
    assert_eq!(peer.ask("S", &["a"]), ["S a@1"]);
}

#[test]
fn types_have_nonces_and_versions_of_their_own() {
    let mut peer = Peer::sotw("C a@1; L in@1");
    peer.ask("C", &[]);
    peer.ask("L", &[]);
    let cross = Request { nonce: peer.nonces[&ResourceType::Listener].clone(), ..peer.asking("C", &[]) };
    assert_eq!(peer.give(cross), NOTHING);
    assert_eq!(peer.accepted("C", "a"), None);
    assert_eq!(peer.session.status().stale_nonces(), 1);
}

#[test]
fn the_version_follows_the_bytes_and_is_equal_on_every_replica() {
    let version = |stream: u64, first: &str, then: &str| {
        let mut peer = Peer::sotw(first);
        peer.session = Session::new(Variant::Sotw, Service::Aggregated, stream);
        peer.ask("R", &["a", "b"]);
        peer.ack("R");
        peer.see(then);
        peer.last.first().map(|response| response.version.clone())
    };
    let direct = {
        let mut peer = Peer::sotw("R a@1 b@2");
        peer.ask("R", &["a", "b"]);
        peer.last[0].version.clone()
    };
    assert_eq!(version(1, "R a@1 b@1", "R a@1 b@2").as_ref(), Some(&direct));
    assert_eq!(version(2, "R a@0 b@2", "R a@1 b@2").as_ref(), Some(&direct));
    assert_ne!(version(1, "R a@1 b@1", "R a@2 b@1").as_ref(), Some(&direct));
}

#[test]
fn nonces_are_never_repeated() {
    let mut seen = std::collections::BTreeSet::new();
    for stream in 0..3 {
        let mut peer = Peer::sotw("");
        peer.session = Session::new(Variant::Sotw, Service::Aggregated, stream);
        for round in 0..20 {
            peer.ask("C", &[]);
            peer.ask("S", &["x"]);
            peer.see(&format!("C a@{round}; S x@{round}"));
            for response in &peer.last {
                assert!(!response.nonce.is_empty() && seen.insert(response.nonce.clone()), "{response:?}");
            }
        }
    }
    assert!(seen.len() >= 60);
}

#[test]
fn content_that_changes_twice_before_the_answer_ends_as_the_last() {
    let mut peer = Peer::sotw("S x@1");
    peer.ask("S", &["x"]);
    assert_eq!(peer.see("S x@2"), NOTHING, "one response at a time");
    assert_eq!(peer.see("S x@3"), NOTHING);
    assert_eq!(peer.ack("S"), ["S x@3"]);
    assert_eq!(peer.ack("S"), NOTHING);
    assert!(peer.is_synced());
}

use super::*;

/// A client that holds everything of the snapshot and has acknowledged it.
fn settled(mut peer: Peer) -> Peer {
    let first = peer.snapshot.clone();
    let names = |kind| first.resources(kind).map(|it| it.name().to_owned()).collect::<Vec<_>>();
    for (letter, kind) in LETTERS {
        let names = if kind.is_wildcard() { Vec::new() } else { names(kind) };
        peer.ask(letter, &names.iter().map(String::as_str).collect::<Vec<_>>());
        peer.ack(letter);
    }
    assert!(peer.is_synced());
    peer
}

const BEFORE: &str = "C ex@1; E ex@1; L in@1; R r@1; S s@1";
const AFTER: &str = "C ey@1; E ey@1; L in@2; R r@2; S s@1";

#[test]
fn the_first_requests_are_answered_at_once_in_whatever_order() {
    for mut peer in [Peer::sotw(BEFORE), Peer::delta(BEFORE)] {
        assert_eq!(peer.ask("R", &["r"]), ["R r@1"]);
        assert_eq!(peer.ask("L", &[]), ["L in@1"]);
        assert_eq!(peer.ask("E", &["ex"]), ["E ex@1"]);
        assert_eq!(peer.ask("S", &["s"]), ["S s@1"]);
        assert_eq!(peer.ask("C", &[]), ["C ex@1"]);
        assert_eq!(peer.ack("E"), ["E ex@1"], "endpoints come again after their cluster");
    }
}

#[test]
fn delta_makes_before_it_breaks_each_step_after_the_answer_to_the_one_before() {
    let mut peer = settled(Peer::delta(BEFORE));
    assert_eq!(peer.see(AFTER), ["C ey@1"]);
    assert_eq!(peer.ask("E", &["ey"]), ["E ey@1"]);
    assert_eq!(peer.ack("C"), NOTHING, "endpoints are still on their way");
    assert_eq!(peer.ack("E"), ["L in@2", "R r@2"]);
    assert_eq!(peer.ack("R"), NOTHING);
    assert_eq!(peer.ack("L"), ["C -ex"]);
    assert!(!peer.is_synced());
    assert_eq!(peer.ack("C"), ["E -ex"]);
    assert_eq!(peer.ack("E"), NOTHING);
    assert!(peer.is_synced());
}

#[test]
fn sotw_keeps_what_is_to_go_until_the_routes_are_in_force() {
    let mut peer = settled(Peer::sotw(BEFORE));
    assert_eq!(peer.see(AFTER), ["C ex@1 ey@1"]);
    assert_eq!(peer.ask("E", &["ex", "ey"]), ["E ey@1"]);
    assert_eq!(peer.ack("C"), NOTHING);
    assert_eq!(peer.ack("E"), ["L in@2", "R r@2"]);
    assert_eq!(peer.ack("L"), NOTHING);
    assert_eq!(peer.ack("R"), ["C ey@1"]);
    peer.ack("C");
    assert!(peer.is_synced());
}

#[test]
fn listeners_and_routes_go_before_clusters_and_endpoints() {
    let mut peer = settled(Peer::delta(BEFORE));
    assert_eq!(peer.see("S s@1"), ["L -in"]);
    assert_eq!(peer.ack("L"), ["R -r"]);
    assert_eq!(peer.ack("R"), ["C -ex"]);
    assert_eq!(peer.ack("C"), ["E -ex"]);
    let mut peer = settled(Peer::sotw(BEFORE));
    assert_eq!(peer.see("S s@1"), ["L"]);
    assert_eq!(peer.ack("L"), ["C"]);
}

#[test]
fn a_snapshot_in_the_middle_of_a_sequence_takes_over() {
    let mut peer = settled(Peer::delta(BEFORE));
    peer.see("C ex@1 ey@1; E ex@1; L in@2; R r@2; S s@1");
    assert_eq!(peer.see("C ex@1 ey@1 ez@1; E ex@1; L in@3; R r@3; S s@1"), NOTHING, "one response at a time");
    assert_eq!(peer.ack("C"), ["C ez@1"]);
    assert_eq!(peer.ack("C"), ["L in@3", "R r@3"], "version 2 was never sent");
    peer.ack("R");
    assert_eq!(peer.see("C ex@1; E ex@1; L in@3; R r@4; S s@1"), ["R r@4"], "removals wait for it");
    assert_eq!(peer.ack("L"), NOTHING);
    assert_eq!(peer.ack("R"), ["C -ey -ez"]);
}

#[test]
fn a_snapshot_that_takes_a_removal_back_leaves_no_trace() {
    for peer in [Peer::delta(BEFORE), Peer::sotw(BEFORE)] {
        let mut peer = settled(peer);
        assert_eq!(peer.see("E ex@1; L in@1; R r@2; S s@1"), ["R r@2"]);
        assert_eq!(peer.see("C ex@1; E ex@1; L in@1; R r@2; S s@1"), NOTHING);
        assert_eq!(peer.ack("R"), NOTHING);
        assert!(peer.is_synced());
    }
}

#[test]
fn endpoints_are_sent_again_after_a_changed_cluster() {
    for peer in [Peer::delta("C ex@1 ey@1; E ex@1 ey@1"), Peer::sotw("C ex@1 ey@1; E ex@1 ey@1")] {
        let mut peer = settled(peer);
        let responses = peer.see("C ex@1 ey@2; E ex@1 ey@1");
        let expected = if peer.variant == Variant::Delta { "C ey@2" } else { "C ex@1 ey@2" };
        assert_eq!(responses, [expected, "E ey@1"], "those of the unchanged cluster do not");
        assert_eq!(peer.ack("C"), NOTHING);
        assert_eq!(peer.ack("E"), NOTHING);
        assert!(peer.is_synced());
    }
}

#[test]
fn a_cluster_that_is_not_fed_by_eds_brings_no_endpoints_along() {
    let mut peer = settled(Peer::delta("C static@1; E static@1"));
    assert_eq!(peer.see("C static@2; E static@1"), ["C static@2"]);
}

#[test]
fn after_a_reconnect_endpoints_follow_their_changed_cluster_whichever_is_asked_for_first() {
    let (cluster, endpoints) = (version("C", "ex@1"), version("E", "ex@1"));
    for clusters_first in [true, false] {
        let mut peer = Peer::delta("C ex@2; E ex@1");
        let ask_clusters = peer.request("C", changes(vec![], &[], &[("ex", &cluster)]));
        let ask_endpoints = peer.request("E", changes(vec!["ex".into()], &[], &[("ex", &endpoints)]));
        if clusters_first {
            assert_eq!(peer.give(ask_clusters), ["C ex@2"]);
            assert_eq!(peer.give(ask_endpoints), ["E ex@1"]);
        } else {
            assert_eq!(peer.give(ask_endpoints), NOTHING);
            assert_eq!(peer.give(ask_clusters), ["C ex@2", "E ex@1"]);
        }
    }
}

#[test]
fn after_a_reconnect_changes_keep_the_order_too() {
    let mut peer = Peer::delta(AFTER);
    let held = |letter: &str, text: &str| version(letter, text);
    let cluster = changes(vec![], &[], &[("ex", &held("C", "ex@1"))]);
    let endpoints = changes(vec!["ex".into()], &[], &[("ex", &held("E", "ex@1"))]);
    let listener = changes(vec![], &[], &[("in", &held("L", "in@1"))]);
    let route = changes(vec!["r".into()], &[], &[("r", &held("R", "r@1"))]);
    assert_eq!(peer.give(peer.request("C", cluster)), ["C ey@1"]);
    assert_eq!(peer.give(peer.request("E", endpoints)), NOTHING);
    assert_eq!(
        peer.give(peer.request("L", listener)),
        ["L"],
        "a wildcard is answered, though with nothing yet"
    );
    assert_eq!(peer.give(peer.request("R", route)), NOTHING);
    assert_eq!(peer.ask("E", &["ey"]), ["E ey@1"]);
    peer.ack("L");
    peer.ack("C");
    assert_eq!(peer.ack("E"), ["L in@2", "R r@2"]);
    peer.ack("L");
    assert_eq!(peer.ack("R"), ["C -ex"]);
}

#[test]
fn a_refused_cluster_does_not_stop_listeners_and_routes() {
    for peer in [Peer::delta("C a@1; L in@1; R r@1"), Peer::sotw("C a@1; L in@1; R r@1")] {
        let mut peer = settled(peer);
        peer.see("C a@2; L in@2; R r@1");
        assert_eq!(peer.nack("C", "no"), ["L in@2"]);
    }
}

#[test]
fn while_a_listener_or_route_is_refused_nothing_is_removed() {
    for (letter, after) in [("L", "C b@1; L in@2; R r@1"), ("R", "C b@1; L in@1; R r@2")] {
        for peer in [Peer::delta("C a@1; L in@1; R r@1"), Peer::sotw("C a@1; L in@1; R r@1")] {
            let mut peer = settled(peer);
            peer.see(after);
            peer.ack("C");
            assert_eq!(peer.nack(letter, "no"), NOTHING, "{letter}: the old one may need cluster a");
            assert!(!peer.is_synced());
            let fixed = peer.see(&after.replace("@2", "@3"));
            assert_eq!(fixed.len(), 1);
            assert_eq!(peer.ack(letter).len(), 1, "{letter}: now cluster a may go");
        }
    }
}

#[test]
fn a_refused_removal_of_a_listener_keeps_its_clusters() {
    let mut peer = settled(Peer::delta("C a@1; L in@1"));
    assert_eq!(peer.see(""), ["L -in"]);
    assert_eq!(peer.nack("L", "no"), NOTHING);
}

#[test]
fn secrets_wait_for_nothing() {
    for peer in [Peer::delta(BEFORE), Peer::sotw(BEFORE)] {
        let mut peer = settled(peer);
        peer.see("C ex@2; E ex@1; L in@1; R r@1; S s@1");
        assert_eq!(peer.see("C ex@2; E ex@1; L in@1; R r@1; S s@2"), ["S s@2"]);
    }
}

#[test]
fn a_resource_that_is_to_go_does_not_go_early_for_the_asking() {
    let mut peer = settled(Peer::delta("C a@1; L in@1; R r@1"));
    peer.see("C b@1; L in@2; R r@1");
    assert_eq!(peer.ask("C", &["a"]), ["L in@2"], "the listener in force may need a");
    assert_eq!(peer.ack("L"), ["C -a"]);
}

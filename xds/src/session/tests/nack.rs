use super::*;

#[test]
fn a_refused_resource_is_not_sent_again_until_it_changes_and_then_at_once() {
    for mut peer in [Peer::sotw("S x@1"), Peer::delta("S x@1")] {
        peer.ask("S", &["x"]);
        peer.ack("S");
        assert_eq!(peer.see("S x@2"), ["S x@2"]);
        assert_eq!(peer.nack("S", "no"), NOTHING);
        assert_eq!(peer.see("S x@2 y@1"), NOTHING);
        assert_eq!(peer.ask("S", &["x", "y"]), ["S y@1"], "not even when it is asked for");
        assert_eq!(peer.rejected("S", "x"), Some((version("S", "x@2"), false)));
        assert_eq!(peer.accepted("S", "x"), Some(&*version("S", "x@1")), "the one before is still in use");
        peer.ack("S");
        assert_eq!(peer.see("S x@3 y@1"), ["S x@3"]);
        peer.ack("S");
        assert_eq!(peer.rejected("S", "x"), None, "accepting the next clears it");
        assert!(peer.is_synced());
    }
}

#[test]
fn a_refused_resource_stays_refused_when_it_is_dropped_and_asked_for_again() {
    let mut peer = Peer::sotw("S x@1");
    peer.ask("S", &["x"]);
    peer.nack("S", "no");
    peer.ask("S", &[]);
    assert_eq!(peer.ask("S", &["x"]), NOTHING);
    let mut peer = Peer::delta("S x@1");
    peer.ask("S", &["x"]);
    peer.nack("S", "no");
    peer.unsubscribe("S", &["x"]);
    assert_eq!(peer.ask("S", &["x"]), NOTHING);
    assert!(peer.rejected("S", "x").is_some());
}

#[test]
fn a_new_snapshot_during_the_refused_response_goes_out_with_the_refusal() {
    for mut peer in [Peer::sotw("S x@1"), Peer::delta("S x@1")] {
        peer.ask("S", &["x"]);
        assert_eq!(peer.see("S x@2"), NOTHING);
        assert_eq!(peer.nack("S", "no"), ["S x@2"]);
    }
}

#[test]
fn names_in_a_refusal_are_subscribed_to() {
    for mut peer in [Peer::sotw("S x@1 y@1"), Peer::delta("S x@1 y@1")] {
        peer.ask("S", &["x"]);
        let request = Request { rejection: Some("no".into()), ..peer.asking("S", &["x", "y"]) };
        assert_eq!(peer.give(request), ["S y@1"]);
        assert!(peer.rejected("S", "x").is_some());
    }
}

#[test]
fn only_an_error_detail_is_a_refusal_and_even_an_empty_one_is() {
    for mut peer in [Peer::sotw("S x@1"), Peer::delta("S x@1")] {
        peer.ask("S", &["x"]);
        peer.nack("S", "");
        assert!(peer.rejected("S", "x").is_some());
    }
}

#[test]
fn a_refusal_as_the_first_request_is_a_first_request() {
    for mut peer in [Peer::sotw("S x@1"), Peer::delta("S x@1")] {
        let request =
            Request { rejection: Some("no".into()), nonce: "7-1".into(), ..peer.asking("S", &["x"]) };
        assert_eq!(peer.give(request), ["S x@1"]);
        assert_eq!(peer.rejected("S", "x"), None);
    }
}

#[test]
fn a_refusal_after_the_name_was_dropped_changes_nothing_else() {
    for mut peer in [Peer::sotw("S x@1"), Peer::delta("S x@1")] {
        peer.ask("S", &["x"]);
        match peer.variant {
            Variant::Sotw => peer.ask("S", &[]),
            Variant::Delta => peer.unsubscribe("S", &["x"]),
        };
        assert_eq!(peer.nack("S", "no"), NOTHING);
        assert_eq!(peer.session.status().rejections().count(), 0);
    }
}

#[test]
fn a_named_culprit_does_not_hold_back_its_companions() {
    let mut peer = Peer::delta("R a@1 bad@1 c@1");
    peer.ask("R", &["a", "bad", "c"]);
    assert_eq!(peer.nack("R", "domain twice in route bad"), ["R a@1 c@1"]);
    peer.ack("R");
    assert_eq!(peer.accepted("R", "a"), Some(&*version("R", "a@1")));
    assert_eq!(peer.rejected("R", "bad"), Some((version("R", "bad@1"), false)));
    assert_eq!(peer.rejected("R", "c"), None);
}

#[test]
fn when_no_culprit_is_named_all_are_suspected_until_one_of_them_changes() {
    let mut peer = Peer::delta("C a@1 bad@1 c@1");
    peer.ask("C", &[]);
    assert_eq!(peer.nack("C", "Proto constraint validation failed"), NOTHING);
    for name in ["a", "bad", "c"] {
        assert_eq!(peer.rejected("C", name).map(|(_, suspected)| suspected), Some(true), "{name}");
    }
    assert_eq!(peer.see("C a@1 bad@1 c@1 d@1"), ["C d@1"], "a stranger does not suffer with them");
    peer.ack("C");
    assert_eq!(peer.see("C a@1 bad@2 c@1 d@1"), ["C a@1 bad@2 c@1"]);
    peer.ack("C");
    assert!(peer.is_synced());
}

#[test]
fn suspects_are_released_when_one_of_them_is_deleted() {
    let mut peer = Peer::delta("C a@1 bad@1");
    peer.ask("C", &[]);
    peer.nack("C", "?");
    assert_eq!(peer.see("C a@1"), ["C a@1"]);
    assert_eq!(peer.ack("C"), ["C -bad"], "part of the refused message may be live");
    peer.ack("C");
    assert!(peer.is_synced());
}

#[test]
fn a_whole_set_is_not_sent_again_until_it_changes() {
    let mut peer = Peer::sotw("C a@1 bad@1");
    peer.ask("C", &[]);
    peer.ack("C");
    peer.see("C a@1 bad@2");
    assert_eq!(peer.nack("C", "?"), NOTHING);
    assert_eq!(peer.see("C a@1 bad@2"), NOTHING);
    assert_eq!(peer.rejected("C", "bad"), Some((version("C", "bad@2"), false)), "nothing else was new");
    assert_eq!(peer.rejected("C", "a"), None, "what was in force before is no suspect");
    assert_eq!(peer.see("C a@1 bad@3"), ["C a@1 bad@3"]);
    peer.ack("C");
    assert!(peer.is_synced());
}

#[test]
fn in_a_whole_set_the_accepted_version_stands_in_for_a_culprit() {
    let mut peer = Peer::sotw("C a@1 bad@1");
    peer.ask("C", &[]);
    peer.ack("C");
    peer.see("C a@1 bad@2 worse@1");
    assert_eq!(peer.nack("C", "cluster(s) bad: no, worse: no"), NOTHING);
    assert_eq!(peer.see("C a@2 bad@2 worse@1"), ["C a@2 bad@1"], "worse never had a good version");
    assert_eq!(peer.ack("C"), NOTHING);
    assert_eq!(peer.see("C a@3 bad@2 worse@1"), ["C a@3 bad@1"], "its ACK clears nothing");
    assert_eq!(peer.rejected("C", "bad").map(|(version, _)| version), Some(version("C", "bad@2")));
    assert_eq!(peer.rejected("C", "worse").map(|(version, _)| version), Some(version("C", "worse@1")));
    peer.ack("C");
    assert_eq!(peer.see("C a@3 bad@3"), ["C a@3 bad@3"]);
    peer.ack("C");
    assert!(peer.is_synced());
    assert_eq!(peer.session.status().rejections().count(), 0);
}

#[test]
fn a_reason_is_kept_without_key_material() {
    let mut peer = Peer::delta("S x@1");
    peer.ask("S", &["x"]);
    peer.nack("S", "x: bad key -----BEGIN PRIVATE KEY-----\nMIGHAg\n-----END PRIVATE KEY-----");
    let (_, _, rejection) = peer.session.status().rejections().next().unwrap();
    assert_eq!(&*rejection.reason, "x: bad key [redacted]");
}

#[test]
fn a_refused_removal_is_tried_again_after_the_next_accepted_response_and_not_before() {
    let mut peer = Peer::delta("C a@1 b@1");
    peer.ask("C", &[]);
    peer.ack("C");
    assert_eq!(peer.see("C a@1"), ["C -b"]);
    assert_eq!(peer.nack("C", "no"), NOTHING);
    assert!(!peer.is_synced(), "it may be there still");
    assert_eq!(peer.see("C a@2"), ["C a@2"]);
    assert_eq!(peer.ack("C"), ["C -b"]);
    peer.ack("C");
    assert!(peer.is_synced());
}

#[test]
fn a_refused_whole_set_is_not_sent_again_for_the_asking() {
    let mut peer = Peer::sotw("C a@1 b@1");
    peer.ask("C", &[]);
    peer.nack("C", "?");
    peer.nonces.clear();
    assert_eq!(peer.ask("C", &[]), NOTHING);
}

#[test]
fn a_version_that_was_accepted_and_is_refused_when_it_is_sent_again_is_not_in_force() {
    let mut peer = Peer::delta("C a@1");
    peer.ask("C", &["a"]);
    peer.ack("C");
    assert!(peer.is_synced());
    assert_eq!(peer.ask("C", &["a"]), ["C a@1"], "whoever asks is answered");
    peer.nack("C", "no");
    assert_eq!(peer.accepted("C", "a"), Some(&*version("C", "a@1")));
    assert!(!peer.is_synced(), "it says that it does not run it");
    assert_eq!(peer.see("C a@2"), ["C a@2"]);
    peer.ack("C");
    assert!(peer.is_synced());
}

//! Clients that run what they should have next to nothing of their own, however much that is.

use std::sync::Arc;

use super::*;

const MANY: usize = 40;

/// Of every kind many, all with this content.
fn world(content: usize) -> String {
    let of_kind = |letter: &str| {
        let names = (0..MANY).map(|number| format!(" {}@{content}", name(number)));
        format!("{letter}{}", names.collect::<String>())
    };
    ["C", "E", "L", "R"].map(of_kind).join("; ")
}

fn name(number: usize) -> String {
    format!("e{number:03}")
}

/// A client that has asked for everything and took it.
fn synced(variant: Variant, snapshot: &Snapshot) -> Peer {
    let mut peer = Peer::new(variant, Service::Aggregated, "");
    peer.snapshot = snapshot.clone();
    let names: Vec<String> = (0..MANY).map(name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for letter in ["C", "E", "L", "R"] {
        peer.ask(letter, if kind(letter).is_wildcard() { &[] } else { &names });
        acknowledge(&mut peer);
    }
    peer
}

/// Until there is nothing left to acknowledge.
fn acknowledge(peer: &mut Peer) {
    let mut open: Vec<_> = peer.last.iter().map(|response| response.kind).collect();
    while let Some(kind) = open.pop() {
        peer.ack(letter(kind));
        open.extend(peer.last.iter().map(|response| response.kind));
    }
    assert!(peer.is_synced(), "{:?}", peer.session.status());
}

fn update(peer: &mut Peer, snapshot: &Snapshot) -> Vec<Response> {
    peer.snapshot = snapshot.clone();
    peer.drain();
    let responses = std::mem::take(&mut peer.last);
    peer.last.clone_from(&responses);
    acknowledge(peer);
    responses
}

/// How many entries of its own a session has, over what it shares with `snapshot`.
fn own(peer: &Peer, snapshot: &Snapshot) -> usize {
    let of_kind = |kind| {
        let (watch, known) = (peer.session.watches.of(kind), peer.session.status().of(kind));
        let shared = snapshot.kind(kind);
        let layers = [
            (watch.told.base(), watch.told.over().len()),
            (watch.interest.names.base(), watch.interest.names.over().len()),
            (known.sent.base(), known.sent.over().len()),
            (known.accepted.base(), known.accepted.over().len()),
            (watch.accepted.base(), watch.accepted.over().len()),
        ];
        let strange =
            |base: &Arc<crate::snapshot::Kind>| if Arc::ptr_eq(base, shared) { 0 } else { base.len() };
        let layers: usize = layers.into_iter().map(|(base, own)| own + strange(base)).sum();
        layers + watch.asked.len() + watch.again.len() + watch.refused.len() + watch.flights.len()
    };
    ResourceType::ALL.into_iter().map(of_kind).sum()
}

#[test]
fn a_client_that_runs_what_it_should_has_nothing_of_its_own() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let (first, second) = (snapshot(&world(1)), snapshot(&world(2)));
        let mut one = first.clone();
        one.extend(snapshot("C e007@3; R e009@3").resources(ResourceType::Cluster).cloned());
        let mut peer = synced(variant, &first);
        assert_eq!(own(&peer, &first), 0, "{variant:?}: as it connected");
        update(&mut peer, &one);
        assert_eq!(own(&peer, &one), 0, "{variant:?}: after one change");
        update(&mut peer, &second);
        assert_eq!(own(&peer, &second), 0, "{variant:?}: after all changed");
    }
}

#[test]
fn clients_that_are_sent_the_same_are_sent_the_very_same() {
    for variant in [Variant::Sotw, Variant::Delta] {
        let (first, second) = (snapshot(&world(1)), snapshot(&world(2)));
        let mut peers = [1, 2].map(|_| synced(variant, &first));
        let [one, other] = peers.each_mut().map(|peer| {
            peer.snapshot = second.clone();
            peer.drain();
            peer.last.first().cloned().expect("a response")
        });
        assert_eq!(one.resources.len(), MANY, "{variant:?}");
        assert!(one.resources.is_same(&other.resources), "{variant:?}");
    }
}

#[test]
fn clients_that_keep_what_is_to_go_until_others_let_go_of_it_share_that_too() {
    let (first, second) = (snapshot(&world(1)), snapshot(&world(1).replace(" e005@1", " new@1")));
    let mut peers = [1, 2].map(|_| synced(Variant::Sotw, &first));
    let [one, other] = peers.each_mut().map(|peer| {
        peer.snapshot = second.clone();
        peer.drain();
        peer.last.first().cloned().expect("a response")
    });
    assert_eq!(one.resources.len(), MANY + 1);
    assert!(one.resources.is_same(&other.resources));
}

#[test]
fn a_client_that_refuses_a_resource_has_only_that_of_its_own() {
    let (first, second) = (snapshot(&world(1)), snapshot(&world(2)));
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut peer = synced(variant, &first);
        peer.snapshot = second.clone();
        peer.drain();
        peer.nack("C", "e007: no");
        let watch = peer.session.watches.of(ResourceType::Cluster);
        let entries = watch.told.over().len() + watch.accepted.over().len() + watch.refused.len();
        assert!(entries <= 3, "{variant:?}: {entries}");
    }
}

#[test]
fn a_client_that_asks_for_one_of_a_few_keeps_that_one_and_no_list_of_what_it_lacks() {
    let few =
        |content: usize| snapshot(&format!("S a@{content} b@{content} c@{content} d@{content} e@{content}"));
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut peer = Peer::new(variant, Service::Aggregated, "");
        peer.snapshot = few(1);
        peer.ask("S", &["a"]);
        acknowledge(&mut peer);
        let second = few(2);
        update(&mut peer, &second);
        assert_eq!(own(&peer, &second), 4, "{variant:?}: asked for, told, sent and accepted");
    }
}

#[test]
fn clients_that_ask_for_the_same_one_of_a_few_are_sent_and_hold_the_very_same() {
    let few = |content: usize| snapshot(&format!("S a@{content} b@{content} c@{content}"));
    for variant in [Variant::Sotw, Variant::Delta] {
        let second = few(2);
        let (peers, responses): (Vec<_>, Vec<_>) = (0..2)
            .map(|_| {
                let mut peer = Peer::new(variant, Service::Only(ResourceType::Secret), "");
                peer.snapshot = few(1);
                peer.ask("S", &["a"]);
                acknowledge(&mut peer);
                peer.snapshot = second.clone();
                peer.drain();
                let response = peer.last.first().cloned().expect("a response");
                acknowledge(&mut peer);
                (peer, response)
            })
            .unzip();
        assert!(responses[0].resources.is_same(&responses[1].resources), "{variant:?}");
        let held = |peer: &Peer| {
            let (watch, known) = (
                peer.session.watches.of(ResourceType::Secret),
                peer.session.status().of(ResourceType::Secret),
            );
            assert!(watch.told.is_plain() && known.sent.is_plain() && known.accepted.is_plain());
            [watch.told.base(), known.sent.base(), known.accepted.base()].map(Arc::clone)
        };
        let [one, other] = [&peers[0], &peers[1]].map(held);
        assert!(one.iter().chain(&other).all(|it| Arc::ptr_eq(it, &one[0])), "{variant:?}");
        assert_eq!(one[0].len(), 1, "{variant:?}: and nothing else");
    }
}

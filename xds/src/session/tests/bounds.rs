use super::*;
use crate::session::{MAX_NAME, MAX_NAMES, MAX_SECRETS};

fn refusal(service: Service, request: impl FnOnce(&mut Request)) -> Option<ProtocolError> {
    let peer = Peer::new(Variant::Sotw, service, "");
    let mut given = peer.request("S", Ask::Names(vec!["x".into()]));
    request(&mut given);
    let mut session = Session::new(Variant::Sotw, service, 0);
    session.on_request(given).err()
}

const SDS: Service = Service::Only(ResourceType::Secret);

#[test]
fn a_node_is_demanded_on_ads_and_welcome_elsewhere() {
    assert_eq!(refusal(Service::Aggregated, |it| it.node = None), Some(ProtocolError::MissingNode));
    assert_eq!(
        refusal(Service::Aggregated, |it| it.node = Some(String::new())),
        Some(ProtocolError::MissingNode)
    );
    assert_eq!(refusal(Service::Aggregated, |_| ()), None);
    assert_eq!(refusal(SDS, |it| it.node = None), None);
}

#[test]
fn a_stream_belongs_to_the_node_of_its_first_request() {
    for service in [Service::Aggregated, SDS] {
        let mut peer = Peer::new(Variant::Delta, service, "S x@1");
        peer.ask("S", &["x"]);
        let request = Request { node: None, ..peer.request("S", changes(vec![], &[], &[])) };
        assert_eq!(peer.session.on_request(request.clone()), Ok(()), "it need not be repeated");
        let other = Request { node: Some("other".into()), ..request };
        assert_eq!(peer.session.on_request(other), Err(ProtocolError::OtherNode));
    }
}

#[test]
fn the_type_is_demanded_on_ads_and_implied_elsewhere() {
    assert_eq!(refusal(Service::Aggregated, |it| it.type_url.clear()), Some(ProtocolError::MissingType));
    assert_eq!(refusal(SDS, |it| it.type_url.clear()), None);
}

#[test]
fn a_service_for_one_type_refuses_every_other() {
    for type_url in [ResourceType::Cluster.type_url(), "type.googleapis.com/x.Y"] {
        let refused = refusal(SDS, |it| it.type_url = type_url.into()).expect("refused");
        assert_eq!(refused, ProtocolError::OtherType(ResourceType::Secret));
        assert!(!refused.to_string().contains(type_url), "what the peer sent is not echoed");
    }
}

#[test]
fn an_unknown_type_on_ads_neither_ends_the_stream_nor_delays_the_others() {
    for mut peer in [Peer::sotw("C a@1"), Peer::delta("C a@1")] {
        let mut unknown = peer.asking("C", &["x"]);
        unknown.type_url = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration".into();
        assert_eq!(peer.give(unknown), NOTHING);
        assert_eq!(peer.ask("C", &[]).len(), 1);
    }
}

#[test]
fn names_that_no_resource_can_have_are_refused() {
    for name in [String::new(), "a\0b".into(), "a".repeat(MAX_NAME + 1)] {
        let refused = refusal(SDS, |it| it.ask = Ask::Names(vec!["fine".into(), name.clone()]));
        assert!(matches!(refused, Some(ProtocolError::BadName(_))), "{} bytes", name.len());
        for ask in [
            changes(vec![name.clone()], &[], &[]),
            changes(vec![], &[&name], &[]),
            changes(vec![], &[], &[(&name, "1")]),
        ] {
            let peer = Peer::delta("");
            let refused = Session::new(Variant::Delta, SDS, 0).on_request(peer.request("S", ask));
            assert!(matches!(refused, Err(ProtocolError::BadName(_))), "{} bytes", name.len());
        }
    }
    assert_eq!(refusal(SDS, |it| it.ask = Ask::Names(vec!["a".repeat(MAX_NAME), "../%2e".into()])), None);
}

#[test]
fn the_number_of_names_is_bounded_over_all_requests() {
    let names = |count: usize| (0..count).map(|i| format!("n{i}")).collect::<Vec<_>>();
    for (service, most) in [(SDS, MAX_SECRETS), (Service::Only(ResourceType::Route), MAX_NAMES)] {
        let ask = |count| {
            refusal(service, |it| {
                it.type_url.clear();
                it.ask = Ask::Names(names(count));
            })
        };
        assert_eq!(ask(most), None);
        assert_eq!(ask(most + 1), Some(ProtocolError::TooManyNames(most)));
    }
    let mut peer = Peer::delta("");
    peer.give(peer.request("S", changes(names(MAX_SECRETS), &[], &[])));
    let more = peer.request("S", changes(vec!["one-more".into()], &[], &[]));
    assert_eq!(peer.session.on_request(more), Err(ProtocolError::TooManyNames(MAX_SECRETS)));
}

#[test]
fn a_client_that_asks_for_ever_and_never_answers_is_refused() {
    let mut peer = Peer::delta("S x@1");
    let result = (0..10_000).find_map(|_| {
        let mut request = peer.request("S", changes(vec!["x".into()], &[], &[]));
        request.nonce.clear();
        let refused = peer.session.on_request(request).err();
        peer.drain();
        refused
    });
    assert_eq!(result, Some(ProtocolError::Unacknowledged));
}

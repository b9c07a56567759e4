//! Statements 22 to 34: names and subscriptions.

use std::collections::HashMap;

use super::*;

#[tokio::test]
async fn s22_default_is_the_own_identity_however_many_are_held() {
    let (own, team) = (secrets(), secrets_of(TEAM));
    let served = serve(Some(Arc::clone(&own)));
    served.further.send_replace(vec![Arc::clone(&team)]);
    let mut stream = Sotw::open(&served, &["default"]).await;
    assert_eq!(stream.next().await, [expected(&own, "default")]);
    let mut further = Sotw::open(&served, &[TEAM]).await;
    assert_eq!(further.next().await, [expected(&team, TEAM)]);
    for others in [vec![], vec![secrets_of("spiffe://signet.internal/a"), team]] {
        served.further.send_replace(others);
        stream.is_silent().await;
    }
    let next = secrets();
    served.publish(&next);
    assert_eq!(stream.next().await, [expected(&next, "default")]);
}

#[tokio::test]
async fn s23_the_three_names_of_the_roots_hold_the_roots_of_what_they_name() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    for name in ["ROOTCA", "ALL", DOMAIN] {
        let mut stream = Sotw::open(&served, &[name]).await;
        let secret = stream.next().await.remove(0);
        let Some(Type::ValidationContext(CertificateValidationContext { trusted_ca, .. })) = &secret.r#type
        else {
            panic!("{secret:?}")
        };
        assert!(trusted_ca.is_some());
        assert_eq!(secret, expected(&held, name));
    }
    let mut other = Sotw::open(&served, &["spiffe://other.test"]).await;
    other.is_silent().await;
}

#[tokio::test]
async fn s24_several_names_of_roots_in_one_request_give_several_secrets() {
    let served = serve(Some(secrets()));
    let mut stream = Sotw::open(&served, &["ROOTCA", "ALL", DOMAIN]).await;
    assert_eq!(names_of(&stream.next().await), ["ALL", "ROOTCA", DOMAIN]);
}

#[tokio::test]
async fn s25_who_asks_for_its_own_and_for_anothers_gets_its_own_and_the_other_name_is_told() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    let other = "spiffe://signet.internal/mesh/m/virtual-node/b";
    let mut stream = Sotw::open(&served, &["default", other]).await;
    assert_eq!(stream.next().await, [expected(&held, "default")]);
    let told = served.told_of(other, |_| true).await;
    assert_eq!((told.sent, told.accepted, told.rejected), (None, None, None));
    assert_eq!(served.deliveries.unserved().into_iter().collect::<Vec<_>>(), [other]);
    assert_eq!(served.deliveries.totals().unserved, 1);
    let next = secrets();
    served.publish(&next);
    assert_eq!(stream.next().await, [expected(&next, "default")], "the stream goes on");
}

#[tokio::test]
async fn s26_an_unknown_name_that_becomes_known_is_sent_without_being_asked_for_again() {
    let served = serve(Some(secrets()));
    let mut stream = Sotw::open(&served, &[TEAM]).await;
    served.told_of(TEAM, |_| true).await;
    let team = secrets_of(TEAM);
    served.further.send_replace(vec![Arc::clone(&team)]);
    assert_eq!(stream.next().await, [expected(&team, TEAM)]);
    served.told_of(TEAM, |one| one.accepted.as_deref() == Some(team.leaf().serial())).await;
    assert!(served.deliveries.unserved().is_empty());
}

#[tokio::test]
async fn s27_a_name_that_goes_leaves_a_sotw_stream_open_and_is_removed_on_a_delta_stream() {
    let served = serve(Some(secrets()));
    served.further.send_replace(vec![secrets_of(TEAM)]);
    let peer = Peer::connect(&served.path).await;
    let mut sotw = peer.sotw(request(&[TEAM, "default"])).await;
    let mut delta = peer.delta(&[TEAM, "default"], HashMap::new()).await;
    sotw.next().await;
    assert_eq!(delta.next().await.resources.len(), 2);
    served.further.send_replace(vec![]);
    assert_eq!(delta.next().await.removed_resources, [TEAM]);
    sotw.is_silent().await;
    served.secrets.send_replace(None);
    assert_eq!(delta.next().await.removed_resources, ["default"], "when it has expired");
    served.publish(&secrets());
    assert_eq!(names_of(&sotw.next().await), ["default"]);
}

#[tokio::test]
async fn s28_an_empty_list_asks_for_nothing_and_the_stream_goes_on() {
    let served = serve(Some(secrets()));
    let mut stream = Sotw::open(&served, &[]).await;
    stream.is_silent().await;
    stream.answer(None, Some(&["default"])).await;
    assert_eq!(names_of(&stream.next().await), ["default"]);
}

#[tokio::test]
async fn s28_where_an_empty_list_asks_for_everything_each_secret_comes_once_by_its_spiffe_id() {
    let own = secrets();
    let served = serve_as(None, own_uid(), EmptyList::Everything);
    let peer = Peer::connect(&served.path).await;
    let mut sotw = peer.sotw(request(&[])).await;
    let mut delta = peer.delta(&[], HashMap::new()).await;
    served.until("they ask", |_| served.deliveries.is_all_asked()).await;
    served.publish(&own);
    let all = [DOMAIN, OWN];
    assert_eq!(sotw.next().await, all.map(|name| expected(&own, name)));
    let first = delta.next().await;
    assert_eq!(first.resources.iter().map(|it| &*it.name).collect::<Vec<_>>(), all);
    let fetched = fetch(&served, &[]).await.unwrap();
    assert_eq!(fetched.resources.len(), 2);

    // What is new is sent by itself.
    let team = secrets_of(TEAM);
    served.further.send_replace(vec![Arc::clone(&team)]);
    assert_eq!(sotw.next().await, [expected(&team, TEAM)]);
    assert_eq!(delta.next().await.resources[0].name, TEAM);
    served.further.send_replace(Vec::new());
    assert_eq!(delta.next().await.removed_resources, [TEAM]);
    let next = with_another_root(&own);
    served.publish(&next);
    assert_eq!(sotw.next().await, [expected(&next, DOMAIN)]);
    let told = served.told_of(DOMAIN, |one| one.sent == one.accepted).await;
    assert_eq!(told.sent, Some(next.bundle().version()));

    // A list is a list from then on, and an empty one gives up.
    sotw.answer(None, Some(&["default"])).await;
    assert_eq!(sotw.next().await, [expected(&next, "default")]);
    served.publish(&own);
    sotw.is_silent().await;
    sotw.answer(None, Some(&[])).await;
    sotw.is_silent().await;
    served.publish(&secrets());
    sotw.is_silent().await;
    delta.next().await;
    drop(delta);
    served.until("nobody asks", |_| !served.deliveries.is_all_asked()).await;
}

#[tokio::test]
async fn s29_an_empty_list_after_others_gives_everything_up_in_silence() {
    let served = serve(Some(secrets()));
    let mut stream = Sotw::open(&served, &["default"]).await;
    stream.next().await;
    stream.answer(None, Some(&[])).await;
    stream.is_silent().await;
    served.publish(&secrets());
    stream.is_silent().await;
    served.until("nothing is asked for", |list| list.is_empty()).await;
}

#[tokio::test]
async fn s30_names_that_nobody_has_are_refused_or_left_unanswered_within_bounds() {
    let served = serve(Some(secrets()));
    let (long, many) = ("x".repeat(2049), vec!["xxx"; 101]);
    let too_many: Vec<String> = (0..101).map(|number| format!("n{number}")).collect();
    let too_many: Vec<&str> = too_many.iter().map(String::as_str).collect();
    for names in [&[""][..], &[&long], &["a\0b"], &many, &too_many] {
        let ended = Sotw::open(&served, names).await.end().await;
        assert_eq!(ended.code(), Code::InvalidArgument, "{:?}", names.first());
        assert!(!ended.message().contains("xxx"), "{ended:?}");
    }
    let odd = ["../default", "%2e%2e/default", "default/", "DEFAULT", "spiffe://", "\u{202e}tluafed"];
    let mut stream = Sotw::open(&served, &odd).await;
    stream.is_silent().await;
    stream.answer(None, Some(&["default"])).await;
    assert_eq!(names_of(&stream.next().await), ["default"]);
}

/// What no generated client can send.
#[tokio::test]
async fn s30_a_name_that_is_no_utf_8_is_refused() {
    #[derive(Clone, PartialEq, Message)]
    struct Bytes {
        #[prost(bytes = "vec", repeated, tag = "3")]
        names: Vec<Vec<u8>>,
    }
    let served = serve(Some(secrets()));
    let Peer(client) = Peer::connect(&served.path).await;
    drop(client);
    let bad = Bytes { names: vec![vec![0xff, 0xfe]] };
    assert!(
        DiscoveryRequest::decode(bad.encode_to_vec().as_slice()).is_err(),
        "prost refuses it before we see it"
    );
}

#[tokio::test]
async fn s31_a_name_that_is_listed_twice_is_sent_once_and_one_that_is_no_longer_listed_is_given_up() {
    let served = serve(Some(secrets()));
    let mut stream = Sotw::open(&served, &["default", "default"]).await;
    assert_eq!(names_of(&stream.next().await), ["default"]);
    stream.answer(None, Some(&["default", "ROOTCA"])).await;
    stream.next().await;
    stream.answer(None, Some(&["default", "default"])).await;
    served.until("ROOTCA is given up", |list| list.iter().all(|one| one.name == "default")).await;
    served.publish(&secrets());
    assert_eq!(names_of(&stream.next().await), ["default"]);
}

#[tokio::test]
async fn s32_added_names_are_answered_and_names_that_go_are_not() {
    let served = serve(Some(secrets()));
    let mut stream = Sotw::open(&served, &["default"]).await;
    stream.next().await;
    stream.answer(None, Some(&["default", "ROOTCA", "ALL"])).await;
    assert_eq!(names_of(&stream.next().await), ["ALL", "ROOTCA"]);
    stream.answer(None, Some(&["ALL"])).await;
    stream.is_silent().await;
}

#[tokio::test]
async fn s33_names_of_other_systems_are_passed_over_one_by_one() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    let foreign = [
        "file-cert:/etc/cert.pem~/etc/key.pem",
        "file-root:system",
        "kubernetes://tls",
        "arn:aws:acm:us-east-1:000000000000:certificate/x",
    ];
    for name in foreign {
        let mut stream = Sotw::open(&served, &[name, "ROOTCA"]).await;
        assert_eq!(stream.next().await, [expected(&held, "ROOTCA")]);
        stream.is_silent().await;
    }
}

#[tokio::test]
async fn s34_one_stream_for_each_secret_and_one_for_all_give_the_same_bytes() {
    let served = serve(Some(secrets()));
    let names = ["ALL", "ROOTCA", "default", OWN, DOMAIN];
    let mut together = Sotw::open(&served, &names).await;
    together.next().await;
    let together = together.last.clone().unwrap().resources;
    assert_eq!(together.len(), names.len());
    for any in together {
        let name = Secret::decode(any.value.as_slice()).unwrap().name;
        let mut alone = Sotw::open(&served, &[&name]).await;
        alone.next().await;
        assert_eq!(alone.last.clone().unwrap().resources, [any]);
    }
}

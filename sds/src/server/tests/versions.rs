//! Statements 8 to 21: versions, nonces, acknowledgements and rejections.

use std::collections::BTreeSet;

use super::*;

#[tokio::test]
async fn s08_no_answer_lacks_a_nonce_and_no_nonce_comes_twice() {
    let served = serve(Some(secrets()));
    let mut nonces = BTreeSet::new();
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(Sotw::open(&served, &["default"]).await);
    }
    for _ in 0..3 {
        for stream in &mut streams {
            stream.next().await;
            assert!(!stream.nonce().is_empty());
            assert!(nonces.insert(stream.nonce().to_owned()), "{} came before", stream.nonce());
        }
        served.publish(&secrets());
    }
}

#[tokio::test]
async fn s09_the_version_changes_with_the_bytes_of_what_was_asked_for_and_with_nothing_else() {
    let first = secrets();
    let served = serve(Some(Arc::clone(&first)));
    let mut leaf = Sotw::open(&served, &["default"]).await;
    leaf.next().await;
    let version = leaf.version().to_owned();
    let mut roots = Sotw::open(&served, &["ROOTCA"]).await;
    roots.next().await;
    let before = roots.version().to_owned();
    served.publish(&with_another_root(&first));
    roots.next().await;
    assert_ne!(roots.version(), before);
    leaf.is_silent().await;
    let mut again = Sotw::open(&served, &["default"]).await;
    again.next().await;
    assert_eq!(again.version(), version);
}

#[tokio::test]
async fn s10_two_servers_with_the_same_secrets_and_one_that_restarts_give_the_same_versions() {
    let held = secrets();
    let mut versions = BTreeSet::new();
    for _ in 0..2 {
        let served = serve(Some(Arc::clone(&held)));
        for names in [["default", "ROOTCA"], ["ROOTCA", "default"]] {
            let mut stream = Sotw::open(&served, &names).await;
            stream.next().await;
            versions.insert(stream.version().to_owned());
        }
    }
    assert_eq!(versions.len(), 1, "{versions:?}");
}

#[tokio::test]
async fn s11_an_acknowledgement_is_not_answered() {
    let served = serve(Some(secrets()));
    let mut stream = Sotw::open(&served, &["default"]).await;
    for _ in 0..2 {
        if stream.last.is_none() {
            stream.hear().await;
        }
        stream.answer(None, None).await;
        stream.is_silent().await;
    }
}

#[tokio::test]
async fn s12_a_rejection_is_not_answered_until_there_is_something_else() {
    let served = serve(Some(secrets()));
    let mut stream = Sotw::open(&served, &["default"]).await;
    stream.hear().await;
    for _ in 0..3 {
        stream.answer(Some("no good"), None).await;
        stream.is_silent().await;
    }
    served.publish(&secrets());
    stream.next().await;
    stream.is_silent().await;
}

#[tokio::test]
async fn s13_a_rejection_is_counted_by_name_and_kept_with_its_version_and_its_reason_but_no_key() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    let mut stream = Sotw::open(&served, &["default"]).await;
    stream.hear().await;
    let key = crate::translate::private_key(held.leaf().key().pkcs8());
    let words = format!("cannot load: {}", *key);
    stream.answer(Some(&words), None).await;
    let told = served.told_of("default", |one| one.rejected.is_some()).await;
    let (version, reason) = told.rejected.unwrap();
    assert_eq!(version, held.leaf().serial());
    assert!(reason.contains("cannot load"), "{reason}");
    assert!(!reason.contains("BEGIN") && !reason.contains(&key[40..80]), "{reason}");
    assert_eq!(served.deliveries.totals().rejected, [("default".to_owned(), 1)].into());
}

#[tokio::test]
async fn s14_a_rejection_that_asks_for_more_is_a_subscription_too() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    let mut stream = Sotw::open(&served, &["default"]).await;
    stream.hear().await;
    stream.answer(Some("no good"), Some(&["default", "ROOTCA"])).await;
    assert_eq!(stream.next().await, [expected(&held, "ROOTCA")]);
}

#[tokio::test]
async fn s15_a_rejection_of_nothing_ends_no_stream() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    let error_detail = Some(signet_xds::pb::google::rpc::Status { code: 13, ..Default::default() });
    let first = DiscoveryRequest { error_detail, ..request(&["default"]) };
    let mut strange = Peer::connect(&served.path).await.sotw(first).await;
    assert_eq!(
        strange.next().await,
        [expected(&held, "default")],
        "a first request is one, whatever it says"
    );
    strange.answer(None, Some(&[])).await;
    strange.answer(Some("of what I gave up"), Some(&[])).await;
    strange.is_silent().await;
    strange.answer(None, Some(&["ROOTCA"])).await;
    assert_eq!(strange.next().await, [expected(&held, "ROOTCA")]);
    let mut other = Sotw::open(&served, &["default"]).await;
    other.next().await;
}

#[tokio::test]
async fn s16_a_stale_nonce_changes_nothing_and_is_counted() {
    let served = serve(Some(secrets()));
    let mut stream = Sotw::open(&served, &["default"]).await;
    stream.next().await;
    let stale = stream.nonce().to_owned();
    served.publish(&secrets());
    stream.next().await;
    stream.send(DiscoveryRequest { response_nonce: stale, ..request(&["ROOTCA"]) }).await;
    stream.is_silent().await;
    assert_eq!(served.deliveries.totals().stale_nonces, 1);
    assert_eq!(served.deliveries.list().len(), 1, "ROOTCA was not asked for");
}

#[tokio::test]
async fn s17_whoever_reconnects_with_the_nonce_of_another_stream_is_answered() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    let first = DiscoveryRequest {
        response_nonce: "of-another-life".to_owned(),
        version_info: "7".to_owned(),
        ..request(&["default"])
    };
    let mut stream = Peer::connect(&served.path).await.sotw(first).await;
    assert_eq!(stream.next().await, [expected(&held, "default")]);
}

#[tokio::test]
async fn s18_a_second_request_with_the_same_nonce_and_more_names_is_answered() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    let mut stream = Sotw::open(&served, &["default"]).await;
    stream.next().await;
    stream.answer(None, Some(&["default", "ROOTCA"])).await;
    assert_eq!(stream.next().await, [expected(&held, "ROOTCA")]);
}

#[tokio::test]
async fn s19_of_quick_changes_a_client_ends_with_the_last_and_never_hears_an_older_after_a_newer() {
    let served = serve(Some(secrets()));
    let mut stream = Sotw::open(&served, &["default"]).await;
    stream.hear().await;
    let changes: Vec<_> = (0..5).map(|_| secrets()).collect();
    for change in &changes {
        served.publish(change);
    }
    stream.is_silent().await;
    stream.answer(None, None).await;
    let mut heard = Vec::new();
    let last = expected(&changes[4], "default");
    while heard.last() != Some(&last) {
        heard.extend(stream.next().await);
    }
    let order: Vec<_> =
        heard.iter().map(|one| changes.iter().position(|it| expected(it, "default") == *one)).collect();
    assert!(order.is_sorted(), "{order:?}");
    stream.is_silent().await;
}

#[tokio::test]
async fn s20_after_a_rejection_the_next_content_goes_out_at_once() {
    let served = serve(Some(secrets()));
    let mut stream = Sotw::open(&served, &["default"]).await;
    stream.hear().await;
    stream.answer(Some("no good"), None).await;
    let next = secrets();
    served.publish(&next);
    assert_eq!(stream.next().await, [expected(&next, "default")]);
    served.told_of("default", |one| one.rejected.is_none()).await;
}

#[tokio::test]
async fn s21_a_leaf_that_was_accepted_is_in_use_until_it_ends_though_the_next_one_is_refused() {
    let (old, new) = (secrets(), secrets());
    let served = serve(Some(Arc::clone(&old)));
    let mut stream = Sotw::open(&served, &["default"]).await;
    stream.next().await;
    served.publish(&new);
    stream.hear().await;
    stream.answer(Some("no good"), None).await;
    let told = served.told_of("default", |one| one.rejected.is_some()).await;
    assert_eq!(told.accepted.as_deref(), Some(old.leaf().serial()));
    let end = old.leaf().validity().not_after();
    let in_use = |now| served.deliveries.in_use(now).into_iter().collect::<Vec<_>>();
    assert_eq!(in_use(end), [old.leaf().serial()]);
    assert!(in_use(end + Duration::from_secs(1)).is_empty());
}

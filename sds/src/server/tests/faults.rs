//! Statements 43 to 50: faults and load.

use std::collections::HashMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// The authority's absence is the rotator's business; the socket does not know of it.
#[tokio::test]
async fn s43_a_new_client_is_served_from_memory_while_nothing_new_comes() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    for _ in 0..3 {
        let mut stream = Sotw::open(&served, &["default"]).await;
        assert_eq!(stream.next().await, [expected(&held, "default")]);
    }
}

#[tokio::test]
async fn s45_a_client_that_does_not_read_delays_no_other_and_gets_the_latest_when_it_does() {
    let served = serve(Some(secrets()));
    // Takes part in HTTP/2 as far as to open a stream, and grants it no byte: its window is zero.
    let mut slow = UnixStream::connect(&served.path).await.unwrap();
    slow.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    slow.write_all(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]).await.unwrap();
    let mut asleep = Sotw::open(&served, &["default"]).await;
    asleep.hear().await;
    let mut quick = Sotw::open(&served, &["default"]).await;
    quick.next().await;
    let mut last = secrets();
    for _ in 0..200 {
        last = secrets();
        served.publish(&last);
        let asked = Instant::now();
        assert_eq!(quick.next().await, [expected(&last, "default")]);
        assert!(asked.elapsed() < Duration::from_secs(1));
    }
    // One is under way to it until it answers; then the latest.
    asleep.is_silent().await;
    asleep.answer(None, None).await;
    assert_eq!(asleep.next().await, [expected(&last, "default")]);
    asleep.is_silent().await;
    let _ = slow.read(&mut [0; 64]).await;
}

#[tokio::test]
async fn s46_a_rotation_is_one_message_to_each_of_many_streams() {
    const STREAMS: usize = 500;
    let served = serve(Some(secrets()));
    let peer = Peer::connect(&served.path).await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = peer.sotw(request(&["default"])).await;
        stream.next().await;
        streams.push(stream);
    }
    let next = secrets();
    served.publish(&next);
    for stream in &mut streams {
        assert_eq!(stream.next().await, [expected(&next, "default")]);
    }
    let all = |list: &[Delivery]| {
        list.iter().filter(|one| one.accepted.as_deref() == Some(next.leaf().serial())).count() == STREAMS
    };
    served.until("all have it", all).await;
    assert_eq!(served.deliveries.totals().sent, 2 * u64::try_from(STREAMS).unwrap());
}

#[tokio::test]
async fn s47_a_delta_client_that_reconnects_is_sent_only_what_differs() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    let names = ["default", "ROOTCA"];
    let first = Peer::connect(&served.path).await.delta(&names, HashMap::new()).await.next().await;
    let versions: HashMap<_, _> =
        first.resources.into_iter().map(|resource| (resource.name, resource.version)).collect();
    assert_eq!(versions.len(), 2);
    let mut again = Peer::connect(&served.path).await.delta(&names, versions.clone()).await;
    again.is_silent().await;
    let told = served.until("it holds both", |list| {
        list.iter().filter(|one| one.accepted.is_some() && one.sent.is_none()).count() == 2
    });
    assert!(told.await.iter().any(|one| one.accepted.as_deref() == Some(held.leaf().serial())));
    served.publish(&with_another_root(&held));
    let changed = again.next().await;
    assert_eq!(changed.resources.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["ROOTCA"]);
    let mut stale = Peer::connect(&served.path).await.delta(&names, versions).await;
    assert_eq!(stale.next().await.resources.len(), 1, "the roots alone have changed since");
}

#[tokio::test]
async fn s48_one_question_is_answered_once_with_a_version_and_by_the_same_rules() {
    let held = secrets();
    let served = serve(Some(Arc::clone(&held)));
    let mut stream = Sotw::open(&served, &["default"]).await;
    stream.next().await;
    let fetched = fetch(&served, &["default"]).await.unwrap();
    assert_eq!(fetched.version_info, stream.version());
    assert_eq!(fetched.resources, stream.last.as_ref().unwrap().resources);
    assert_eq!(fetch(&served, &["of-another"]).await.unwrap_err().code(), Code::NotFound);
    let strangers = serve_to(Some(held), own_uid() + 1);
    let path = strangers.path.clone();
    let mut stream = UnixStream::connect(path).await.unwrap();
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0, "closed, and told nothing");
}

#[tokio::test]
async fn s49_shutdown_ends_streams_so_that_the_client_comes_back_and_then_the_server() {
    let held = secrets();
    let mut served = serve(Some(Arc::clone(&held)));
    let mut stream = Sotw::open(&served, &["default"]).await;
    stream.next().await;
    let version = stream.version().to_owned();
    let asked = Instant::now();
    served.shutdown.cancel();
    assert_eq!(stream.end().await.code(), Code::Unavailable);
    served.tasks.join_next().await.unwrap().unwrap();
    assert!(asked.elapsed() <= DRAIN + Duration::from_secs(1));
    let replacement = serve(Some(held));
    let mut again = Sotw::open(&replacement, &["default"]).await;
    again.next().await;
    assert_eq!(again.version(), version, "no change for Envoy");
}

#[tokio::test]
async fn s50_it_is_known_when_every_stream_had_a_certificate_and_how_long_that_took() {
    let served = serve(Some(secrets()));
    let mut streams = Vec::new();
    for name in ["default", OWN, "default"] {
        let mut stream = Sotw::open(&served, &[name]).await;
        stream.next().await;
        streams.push(stream);
    }
    let all = |list: &[Delivery]| list.iter().filter(|one| one.accepted.is_some()).count() == 3;
    served.until("all have the first", all).await;
    let next = secrets();
    served.publish(&next);
    for stream in &mut streams {
        stream.hear().await;
    }
    served.clock.fetch_add(7, Ordering::Relaxed);
    let (answered, waiting) = streams.split_at_mut(2);
    answered[0].answer(None, None).await;
    answered[1].answer(Some("no good"), None).await;
    served.until("one refuses", |list| list.iter().any(|one| one.rejected.is_some())).await;
    let convergence = served.deliveries.convergence().unwrap();
    assert_eq!((convergence.serial.as_str(), convergence.streams), (next.leaf().serial(), 3));
    assert_eq!(convergence.took, None, "one has not answered");
    waiting[0].answer(None, None).await;
    let has = |list: &[Delivery]| {
        list.iter().filter(|one| one.accepted.as_deref() == Some(next.leaf().serial())).count() == 2
    };
    served.until("two have it", has).await;
    let took = served.deliveries.convergence().unwrap().took;
    assert_eq!(took, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn s50_who_ends_or_gives_the_certificate_up_owes_no_answer_to_the_next() {
    let served = serve(Some(secrets()));
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = Sotw::open(&served, &["default"]).await;
        stream.next().await;
        streams.push(stream);
    }
    let all = |list: &[Delivery]| list.iter().filter(|one| one.accepted.is_some()).count() == 3;
    served.until("all have the first", all).await;
    served.publish(&secrets());
    for stream in &mut streams {
        stream.hear().await;
    }
    streams[0].answer(None, None).await;
    drop(streams.pop());
    served.until("one is gone", |list| list.len() == 2).await;
    assert_eq!(served.deliveries.convergence().unwrap().took, None, "one has not answered");
    streams[1].send(request(&["ROOTCA"])).await;
    served.until("one gave it up", |list| list.iter().any(|one| one.name == "ROOTCA")).await;
    served.until("two had it", |_| served.deliveries.convergence().is_some_and(|it| it.took.is_some())).await;
}

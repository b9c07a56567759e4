use std::time::UNIX_EPOCH;

use tokio::{
    task::{JoinSet, yield_now},
    time::sleep,
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn admission(at_once: usize, waiting: usize) -> Admission {
    let limits = Limits { at_once, waiting, burst: 1000, per_second: 1000, ..Limits::DEFAULT };
    Admission::new(limits, Arc::new(|| UNIX_EPOCH))
}

/// Waits until so many are in the queue.
async fn queued(admission: &Admission, count: usize) {
    while admission.counts().waiting != count {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn joiners_go_first_and_then_whoever_has_the_least_life_left() {
    let admission = admission(1, 10);
    let place = admission.admit("first", SECOND).await.unwrap();
    let (order, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for (number, left) in [500_u32, 20, 0, 3000, 0, 100].into_iter().enumerate() {
        let (admission, order) = (admission.clone(), order.clone());
        let waiting = number + 1;
        let asked = admission.clone();
        tasks.spawn(async move {
            let place = admission.admit("anybody", left * SECOND).await.unwrap();
            order.send((left, number)).unwrap();
            drop(place);
        });
        queued(&asked, waiting).await;
    }
    drop((order, place));
    let mut served = Vec::new();
    while let Some(one) = seen.recv().await {
        served.push(one);
    }
    assert_eq!(served, [(0, 2), (0, 4), (20, 1), (100, 5), (500, 0), (3000, 3)]);
    assert_eq!(admission.counts(), Counts { admitted: 7, waited: 6, ..Counts::default() });
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_sends_away_whoever_has_most_life_left_and_says_when_to_come_back() {
    let admission = admission(1, 2);
    let place = admission.admit("first", SECOND).await.unwrap();
    let waiter = |left: u32| {
        let admission = admission.clone();
        async move { admission.admit("anybody", left * SECOND).await.map(drop) }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(waiter(50));
    queued(&admission, 1).await;
    tasks.spawn(waiter(70));
    queued(&admission, 2).await;
    let refused = waiter(80).await.unwrap_err();
    assert!(matches!(refused, TurnedAway::Full(after) if after >= SECOND), "{refused:?}");
    tasks.spawn(waiter(10));
    let sent_away = tasks.join_next().await.unwrap().unwrap();
    assert!(sent_away.is_err(), "the one with 70 s made room");
    assert_eq!(admission.counts().waiting, 2);
    drop(place);
    for done in tasks.join_all().await {
        assert_eq!(done, Ok(()));
    }
    assert_eq!(admission.counts().full, 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_or_waits_in_vain_leaves_its_place_to_the_next() {
    let admission = admission(1, 10);
    let place = admission.admit("first", SECOND).await.unwrap();
    let gone = timeout(SECOND, admission.admit("gone", Duration::ZERO)).await;
    assert!(gone.is_err());
    assert_eq!(admission.counts().waiting, 0);
    let vain = admission.admit("vain", Duration::ZERO).await.map(drop);
    assert!(matches!(vain, Err(TurnedAway::Full(_))));
    assert_eq!(admission.counts().waiting, 0);
    let next = admission.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { next.admit("next", 9 * SECOND).await.map(drop) });
    queued(&admission, 1).await;
    drop(place);
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), Ok(()));
    let _place = admission.admit("last", SECOND).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_identity_that_asks_too_often_is_sent_away_before_it_takes_a_place() {
    let limits = Limits { burst: 2, per_second: 1, ..Limits::DEFAULT };
    let admission = Admission::new(limits, Arc::new(|| UNIX_EPOCH));
    for _ in 0..2 {
        drop(admission.admit("a", SECOND).await.unwrap());
    }
    let refused = admission.admit("a", SECOND).await.map(drop).unwrap_err();
    assert_eq!(refused, TurnedAway::TooOften(SECOND));
    drop(admission.admit("b", SECOND).await.unwrap());
    assert_eq!(admission.counts(), Counts { admitted: 3, too_often: 1, ..Counts::default() });
}

/// F16: a herd, of which a few must not wait.
#[tokio::test(start_paused = true)]
async fn of_ten_thousand_at_once_everybody_is_served_and_the_urgent_ones_first() {
    let admission = Admission::new(
        Limits { at_once: 64, waiting: 4096, burst: 20_000, ..Limits::DEFAULT },
        Arc::new(|| UNIX_EPOCH),
    );
    let mut tasks = JoinSet::new();
    for number in 0..10_000_u32 {
        let admission = admission.clone();
        // Every hundredth has a minute left, the others hours.
        let left = if number % 100 == 0 { 60 * SECOND } else { (20_000 + number) * SECOND };
        tasks.spawn(async move {
            let asked = Instant::now();
            let mut sent_away = 0_u32;
            loop {
                match admission.admit(&format!("agent-{number}"), left).await {
                    Ok(place) => {
                        // What a signature and its flush take.
                        sleep(Duration::from_millis(10)).await;
                        drop(place);
                        return (left, asked.elapsed(), sent_away);
                    }
                    Err(away) => {
                        sent_away += 1;
                        sleep(away.after()).await;
                    }
                }
            }
        });
    }
    let mut served = tasks.join_all().await;
    served.sort();
    let urgent: Vec<_> = served.iter().take_while(|(left, ..)| *left == 60 * SECOND).collect();
    assert_eq!((served.len(), urgent.len()), (10_000, 100));
    let slowest = urgent.iter().map(|(_, took, _)| *took).max().unwrap();
    assert!(slowest <= Duration::from_millis(100), "the urgent ones never wait for the others: {slowest:?}");
    assert!(urgent.iter().all(|(_, _, sent_away)| *sent_away == 0));
    let slowest = served.iter().map(|(_, took, _)| *took).max().unwrap();
    assert!(slowest <= 10 * SECOND, "10,000 at 6,400 a second: {slowest:?}");
}

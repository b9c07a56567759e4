//! A rotator's days and weeks under paused time, before a signer that misbehaves.

use rand::SeedableRng;
use signet_policies::time::{Timestamp, Validity};
use tokio::{
    task::JoinSet,
    time::{advance, timeout},
};

use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

use super::{schedule::wall, *};
use crate::{
    keypair::KeyPair,
    testing::{Answer, FakeSigner, anchored},
    verify,
};

const LIFE: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);

struct World {
    signer: Arc<FakeSigner>,
    clock: Clock,
    handle: Handle,
    kept: Arc<std::sync::Mutex<Vec<String>>>,
    task: JoinSet<Result<(), RotateError>>,
}

fn identity() -> SpiffeId {
    "spiffe://signet.internal/mesh/m/virtual-node/a".parse().unwrap()
}

/// A rotator, running, whose signer's first calls come to `script`.
fn start(script: &[Answer]) -> World {
    start_holding(script, |_| None)
}

fn start_holding(script: &[Answer], held: impl FnOnce(&FakeSigner) -> Option<Secrets>) -> World {
    let clock = anchored(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let signer = Arc::new(FakeSigner::new(&identity(), Arc::clone(&clock), LIFE));
    signer.script(script);
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let rotation = Rotation {
        identity: identity(),
        signer: Arc::clone(&signer),
        clock: Arc::clone(&clock),
        rng: StdRng::seed_from_u64(1),
        backoff: Backoff::DEFAULT,
        held: held(&signer),
        keeper: Box::new(move |secrets| keep.lock().unwrap().push(secrets.leaf().serial().to_owned())),
    };
    let (handle, task) = rotator(rotation);
    let mut tasks = JoinSet::new();
    tasks.spawn(task);
    World { signer, clock, handle, kept, task: tasks }
}

/// A certificate that an earlier life of the agent left behind.
fn left_behind(signer: &FakeSigner) -> Secrets {
    let key = KeyPair::generate().unwrap();
    let signed = signer.certificate(Answer::Good, &key.request(&identity()).unwrap());
    verify::verify(signed, key, &identity(), Timestamp::from_unix(1_800_000_000)).unwrap()
}

impl World {
    async fn first(&mut self) -> Arc<Secrets> {
        self.until(|held| held.is_some()).await.unwrap()
    }

    async fn next_after(&mut self, old: &Arc<Secrets>) -> Arc<Secrets> {
        let is_new = |held: &Option<Arc<Secrets>>| held.as_ref().is_some_and(|held| !Arc::ptr_eq(held, old));
        self.until(is_new).await.unwrap()
    }

    /// What is published once it is as wanted, within two lives of a certificate.
    async fn until(&mut self, is_wanted: impl FnMut(&Option<Arc<Secrets>>) -> bool) -> Option<Arc<Secrets>> {
        let published = timeout(2 * LIFE, self.handle.secrets.wait_for(is_wanted)).await;
        published.expect("within two lives").expect("the task lives").clone()
    }

    fn now(&self) -> SystemTime {
        (self.clock)()
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_certificate_is_got_at_once_and_kept_before_it_is_published() {
    let mut world = start(&[]);
    let start = world.now();
    let first = world.first().await;
    assert!(world.now() < start + MINUTE);
    assert_eq!(*world.kept.lock().unwrap(), [first.leaf().serial()]);
}

#[tokio::test(start_paused = true)]
async fn each_certificate_is_renewed_at_its_own_moment_between_half_and_seven_tenths_of_its_life() {
    let mut world = start(&[]);
    let first = world.first().await;
    let mut held = world.next_after(&first).await;
    let mut moments = Vec::new();
    for _ in 0..20 {
        let due = renewal_at(held.leaf());
        let issued = wall(held.leaf().validity().not_before());
        assert!(issued + LIFE / 2 <= due && due <= issued + LIFE * 7 / 10);
        moments.push(due.duration_since(issued).unwrap());
        let next = world.next_after(&held).await;
        let renewed = *world.signer.calls().last().unwrap();
        assert!(due <= renewed && renewed < due + Duration::from_secs(1), "{renewed:?} against {due:?}");
        assert_ne!(held.leaf().key().public_key(), next.leaf().key().public_key(), "a fresh key each time");
        held = next;
    }
    moments.sort();
    let spread = moments[moments.len() - 1] - moments[0];
    assert!(spread > LIFE / 20, "the moments of 20 certificates are spread: {spread:?}");
    assert_eq!(world.signer.calls().len(), 22, "one call for each certificate");
}

#[tokio::test(start_paused = true)]
async fn every_failed_renewal_leaves_the_old_certificate_in_place_until_one_succeeds() {
    let failures = [
        Answer::Unavailable,
        Answer::Refused,
        Answer::SomebodyElses,
        Answer::TwoNames,
        Answer::Expired,
        Answer::Early,
        Answer::OtherKey,
        Answer::OtherRoot,
        Answer::ClientOnly,
        Answer::Alone,
        Answer::Never,
    ];
    let mut world = start(&[Answer::Good]);
    let held = world.first().await;
    world.signer.script(&failures);
    let calls = world.signer.called(1 + failures.len()).await;
    assert!(Arc::ptr_eq(&held, &world.first().await), "ten failures and the old certificate is still there");
    let next = world.next_after(&held).await;
    assert!(world.now() < wall(held.leaf().validity().not_after()));
    assert_ne!(next.leaf().serial(), held.leaf().serial());
    let gaps: Vec<_> = calls[1..].windows(2).map(|two| two[1].duration_since(two[0]).unwrap()).collect();
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_millis(250)), "no busy loop: {gaps:?}");
    assert!(gaps.iter().all(|gap| *gap <= Duration::from_secs(31)), "no long silence: {gaps:?}");
    assert_eq!(world.kept.lock().unwrap().len(), 2, "only what was verified was kept");
}

#[tokio::test(start_paused = true)]
async fn a_slow_signer_delays_a_renewal_and_nothing_else() {
    let mut world = start(&[Answer::Good, Answer::Slow(Duration::from_secs(20))]);
    let held = world.first().await;
    world.signer.called(2).await;
    assert!(Arc::ptr_eq(&held, &world.first().await));
    let asked = world.signer.calls()[1];
    world.next_after(&held).await;
    let took = world.now().duration_since(asked).unwrap();
    assert!(took >= Duration::from_secs(20) && took < Duration::from_secs(21), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_is_withdrawn_and_the_first_good_one_ends_the_outage() {
    let mut world = start(&[Answer::Good]);
    let held = world.first().await;
    world.signer.script(&vec![Answer::Unavailable; 100_000]);
    let end = wall(held.leaf().validity().not_after());
    world.until(Option::is_none).await;
    let withdrawn = world.now();
    assert!(end < withdrawn && withdrawn <= end + Duration::from_secs(2), "{withdrawn:?} against {end:?}");
    assert!(world.signer.calls().len() < 6_000, "the outage was not hammered: 15 s from call to call");
    assert!(world.task.try_join_next().is_none(), "the task goes on");
}

#[tokio::test(start_paused = true)]
async fn a_command_rotates_now_and_cuts_a_wait_short() {
    let mut world = start(&[]);
    let first = world.first().await;
    let asked = world.now();
    world.handle.commands.send(Command::RotateNow).await.unwrap();
    let second = world.next_after(&first).await;
    assert!(world.now() < asked + Duration::from_secs(1));
    world.signer.script(&[Answer::Unavailable; 8]);
    world.handle.commands.send(Command::RotateNow).await.unwrap();
    world.signer.called(10).await;
    advance(Duration::from_millis(1)).await;
    let asked = world.now();
    world.handle.commands.send(Command::RotateNow).await.unwrap();
    let third = world.next_after(&second).await;
    assert!(world.now() < asked + Duration::from_secs(1), "not after the wait of the eighth failure");
    assert_eq!(world.signer.calls().len(), 11);
    assert_ne!(third.leaf().serial(), first.leaf().serial());
}

#[tokio::test(start_paused = true)]
async fn a_command_during_an_attempt_gets_a_certificate_that_was_asked_for_after_it() {
    let slow = Answer::Slow(Duration::from_secs(5));
    let mut world = start(&[Answer::Good, slow, Answer::Unavailable, slow]);
    let first = world.first().await;
    let asked = world.now();
    for (calls, held) in [(2, 3), (4, 5)] {
        world.handle.commands.send(Command::RotateNow).await.unwrap();
        world.signer.called(calls).await;
        world.handle.commands.send(Command::RotateNow).await.unwrap();
        world.signer.called(held).await;
    }
    assert!(world.now() < asked + MINUTE, "none of them waited for a renewal");
    assert_ne!(world.first().await.leaf().serial(), first.leaf().serial());
}

#[tokio::test(start_paused = true)]
async fn an_absent_authority_is_asked_again_until_there_is_a_first_certificate() {
    let mut world = start(&[Answer::Unavailable; 6]);
    world.first().await;
    assert_eq!(world.signer.calls().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_first_certificate_that_was_not_heard_of_is_asked_for_again_with_the_same_key_and_a_renewal_with_another()
 {
    let busy = Answer::Busy(Duration::from_secs(1));
    let mut world =
        start(&[Answer::Never, busy, Answer::Unavailable, Answer::Good, busy, Answer::Unavailable]);
    let first = world.first().await;
    world.next_after(&first).await;
    let requests = world.signer.requests();
    let keys: Vec<Vec<u8>> = requests
        .iter()
        .map(|request| {
            let (_, request) = X509CertificationRequest::from_der(request).unwrap();
            request.certification_request_info.subject_pki.raw.to_vec()
        })
        .collect();
    let [unheard, sent_away, unavailable, good, later @ ..] = keys.as_slice() else {
        panic!("{}", keys.len())
    };
    assert_eq!((unheard, sent_away, unavailable), (good, good, good));
    let [turned_down, failed, renewed] = later else { panic!("{}", later.len()) };
    let all = [good, turned_down, failed, renewed];
    assert_eq!(all.into_iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
}

#[tokio::test(start_paused = true)]
async fn a_first_certificate_that_is_refused_or_wrong_ends_the_task_with_the_reason() {
    for answer in [Answer::Refused, Answer::SomebodyElses, Answer::OtherKey] {
        let mut world = start(&[answer]);
        let ended = world.task.join_next().await.unwrap().unwrap();
        assert!(ended.is_err(), "{answer:?}");
        assert!(world.kept.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_held_before_a_restart_is_served_at_once_and_renewed_at_the_same_moment() {
    let mut due = UNIX_EPOCH;
    let mut world = start_holding(&[], |signer| {
        let held = left_behind(signer);
        due = renewal_at(held.leaf());
        Some(held)
    });
    let held = world.handle.secrets.borrow().clone().expect("served before anything was awaited");
    world.next_after(&held).await;
    let [renewed] = world.signer.calls()[..] else { panic!("one call") };
    assert!(due <= renewed && renewed < due + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_rotator_ends_when_nobody_can_command_it_any_more() {
    let mut world = start(&[]);
    world.first().await;
    let World { handle, mut task, .. } = world;
    drop(handle);
    assert_eq!(task.join_next().await.unwrap().unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_window_that_the_authority_advises_wins_and_a_later_one_and_one_for_another_do_not() {
    let mut world = start(&[]);
    let held = world.first().await;
    let due = renewal_at(held.leaf());
    let advise = |serial: &str, from: u64, to: u64| {
        let moment = |after| Timestamp::from(world.now() + Duration::from_secs(after));
        let window = Validity::new(moment(from), moment(to)).unwrap();
        Command::Renew(Advice { serial: serial.to_owned(), window, reason: "a test".to_owned() })
    };
    let commands = [
        advise("00", 1, 2),
        advise(held.leaf().serial(), 86_000, 86_100),
        advise(held.leaf().serial(), 600, 660),
        advise(held.leaf().serial(), 900, 1000),
    ];
    let advised = world.now() + Duration::from_secs(600);
    for command in commands {
        world.handle.commands.send(command).await.unwrap();
    }
    let next = world.next_after(&held).await;
    let renewed = *world.signer.calls().last().unwrap();
    assert!(advised <= renewed && renewed <= advised + MINUTE + Duration::from_secs(1), "{renewed:?}");
    assert!(renewed < due);
    assert_ne!(held.leaf().serial(), next.leaf().serial());
}

#[tokio::test(start_paused = true)]
async fn trust_changes_around_the_same_leaf_and_what_does_not_vouch_for_it_is_refused() {
    let mut world = start(&[]);
    let held = world.first().await;
    let own = world.signer.authority().root().clone();
    let other = crate::testing::MiniCa::new(identity().trust_domain(), world.now()).root().clone();
    let (commands, secrets) = (world.handle.commands.clone(), world.handle.secrets.clone());
    let entrust = async |roots: Vec<_>| {
        let (answer, told) = oneshot::channel();
        let trust = Trust { roots, crls: Vec::new() };
        commands.send(Command::Trust(trust, answer)).await.unwrap();
        told.await.unwrap()
    };
    for bad in [vec![], vec![other.clone()], vec![vec![0; 9].into()]] {
        assert!(entrust(bad).await.is_err());
        assert!(Arc::ptr_eq(&held, secrets.borrow().as_ref().unwrap()), "nothing changed");
    }
    entrust(vec![other.clone(), own.clone()]).await.unwrap();
    let both = world.first().await;
    assert_eq!(both.bundle().roots().len(), 2);
    assert_eq!(both.leaf().serial(), held.leaf().serial());
    assert_eq!(world.kept.lock().unwrap().len(), 2, "kept for a restart, too");
    entrust(vec![own, other]).await.unwrap();
    assert!(Arc::ptr_eq(&both, &world.first().await), "the same roots are no change");
    world.handle.commands.send(Command::RotateNow).await.unwrap();
    let next = world.next_after(&both).await;
    assert_eq!(
        next.bundle().roots().len(),
        2,
        "the signer's answer has one, but the stream has the last word"
    );
}

#[tokio::test(start_paused = true)]
async fn a_busy_authority_is_left_alone_for_as_long_as_it_asks_and_the_failure_is_told() {
    let away = Duration::from_secs(120);
    let mut world = start(&[Answer::Good]);
    world.first().await;
    world.signer.script(&[Answer::Busy(away), Answer::Unavailable]);
    world.handle.commands.send(Command::RotateNow).await.unwrap();
    let calls = world.signer.called(4).await;
    let gap = calls[2].duration_since(calls[1]).unwrap();
    assert!(away <= gap && gap <= away * 5 / 4 + Duration::from_secs(1), "{gap:?}");
    let renewal = &mut world.handle.renewal;
    let settled = renewal.wait_for(|renewal| renewal.failures == 0).await.unwrap().clone();
    assert!(settled.error.is_none() && settled.succeeded.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_first_certificate_of_an_agent_draws_from_the_wide_window_and_a_restart_does_not_forget_that() {
    let mut world = start(&[]);
    let first = world.first().await;
    assert!(first.leaf().is_first());
    world.handle.commands.send(Command::RotateNow).await.unwrap();
    assert!(!world.next_after(&first).await.leaf().is_first());
    let mut early = 0;
    for _ in 0..64 {
        let leaf = left_behind(&world.signer).marked_first();
        let due = renewal_at(leaf.leaf());
        early += u32::from(due < wall(leaf.leaf().validity().not_before()) + LIFE / 2);
    }
    assert!((40..64).contains(&early), "five sixths are renewed in the first half: {early}");
}

#[tokio::test(start_paused = true)]
async fn an_authority_whose_clock_is_behind_is_not_asked_at_once_again_and_again() {
    let mut world = start(&[Answer::Behind(LIFE * 4 / 5); 40]);
    let start = world.first().await;
    let calls = world.signer.called(40).await;
    let (first, last) = (calls[0], calls[calls.len() - 1]);
    // Each has a fifth of its life left, and is past the moment of its renewal when it comes.
    let least = (LIFE / 5 - Duration::from_secs(1)) / 60;
    assert!(last.duration_since(first).unwrap() >= 39 * least, "{:?} is the last call", last);
    let held = world.next_after(&start).await;
    assert!(wall(held.leaf().validity().not_after()) > world.now());
}

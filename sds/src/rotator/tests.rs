//! A rotator's days and weeks under paused time, before a signer that misbehaves.

use rand::SeedableRng;
use tokio::{task::JoinSet, time::advance};

use super::*;
use crate::testing::{Answer, FakeSigner, anchored};

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
    let mut held = world.first().await;
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
    assert_eq!(world.signer.calls().len(), 21, "one call for each certificate");
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
    assert!(world.signer.calls().len() < 2_000, "the outage was not hammered");
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

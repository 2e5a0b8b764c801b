//! The queue of the hydrator alone: times, sizes and room are arguments, so nothing waits and nothing is measured.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use cairn_fs::hydrate::background::Pace;
use cairn_fs::hydrate::queue::SizesWant;
use cairn_fs::hydrate::queue::{Job, Queue, Waiter};
use cairn_fs::limits::{
    BACKGROUND_BATCH_BYTES, BACKGROUND_BATCH_FIRST, BACKGROUND_MAX, DISK_LOOK_PAUSE, FAILURES_UNTIL_DEAD,
    LATE_AGAIN_MAX, WAITING_MAX, WANT_DEADLINE, WANT_DEADLINE_AGAIN, WANT_DEADLINE_DEAD, WANTS_BATCH,
};
use cairn_protocol::object::{HashAlgo, ObjectId};

const ROOM: u64 = u64::MAX;

fn id(nth: u32) -> ObjectId {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&nth.to_be_bytes());
    ObjectId::from_bytes(HashAlgo::Sha1, &bytes).unwrap()
}

fn ids(range: std::ops::Range<u32>) -> std::vec::IntoIter<ObjectId> {
    range.map(id).collect::<Vec<_>>().into_iter()
}

fn background(job: Option<Job>) -> Vec<ObjectId> {
    match job {
        Some(Job::Background(ids)) => ids,
        Some(Job::Wanted(_)) => panic!("somebody waits"),
        Some(Job::Sizes(_)) => panic!("sizes are asked for"),
        None => Vec::new(),
    }
}

fn end(queue: &mut Queue, batch: &[ObjectId], brought: u64) {
    batch.iter().for_each(|id| assert!(queue.settle(id).is_empty()));
    queue.pace.end(brought);
}

#[test]
fn a_bounded_rate_holds_the_background_for_its_time_and_nobody_who_waits() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut queue = Queue::new(Pace::new(Some(100_000)));
    queue.push_background(ids(0..50), false);
    let size = |_: &ObjectId| 20_000;
    let first = background(queue.next(at(0), &size, ROOM));
    assert_eq!(first, ids(0..5).collect::<Vec<_>>(), "what comes in a second");
    assert!(queue.next(at(0), &size, ROOM).is_none(), "one request at a time");
    end(&mut queue, &first, 100_000);
    assert!(queue.next(at(999), &size, ROOM).is_none());
    let waiter = Waiter { deadline: at(60_000), done: Box::new(|_| {}) };
    assert!(queue.want(id(40), b"forty", waiter).is_ok());
    let Some(Job::Wanted(wanted)) = queue.next(at(1), &size, ROOM) else { panic!("who waits is not held") };
    assert_eq!(wanted, [(id(40), b"forty".to_vec())]);
    let mut now = 1_000;
    let mut all = Vec::new();
    while let batch @ [_, ..] = background(queue.next(at(now), &size, ROOM)).as_slice() {
        assert!(queue.next(at(now + 999), &size, ROOM).is_none());
        end(&mut queue, batch, 20_000 * batch.len() as u64);
        all.extend_from_slice(batch);
        now += 1_000;
    }
    assert_eq!(all, ids(5..40).chain(ids(41..50)).collect::<Vec<_>>(), "what somebody waits for comes once");
    assert_eq!(now, 1_000 + 9_000, "44 blobs of 20 kB at 100 kB a second");
}

#[test]
fn a_background_without_room_stands_still_until_the_disk_is_looked_at_again() {
    let now = Instant::now();
    let mut queue = Queue::new(Pace::default());
    queue.push_background(ids(0..4), false);
    let size = |_: &ObjectId| 100;
    let batch = background(queue.next(now, &size, 250));
    assert_eq!(batch, ids(0..2).collect::<Vec<_>>());
    assert!(!queue.is_full(), "as long as something comes");
    end(&mut queue, &batch, 200);
    assert!(queue.next(now, &size, 50).is_none());
    assert!(queue.is_full());
    assert_eq!(queue.look_at, Some(now + DISK_LOOK_PAUSE));
    // Room again, exactly as much as is needed.
    queue.look_at = None;
    assert_eq!(background(queue.next(now, &size, 200)), ids(2..4).collect::<Vec<_>>());
    assert!(!queue.is_full());
}

#[test]
fn a_request_that_failed_goes_back_to_its_place_and_its_blobs_are_there_once() {
    let now = Instant::now();
    let mut queue = Queue::new(Pace::default());
    queue.push_background(ids(0..200), false);
    let size = |_: &ObjectId| 100;
    let batch = background(queue.next(now, &size, ROOM));
    assert_eq!(batch.len(), BACKGROUND_BATCH_FIRST);
    // A scan asks for some of them while they are under way.
    queue.push_background(ids(10..20), true);
    queue.put_back(&batch);
    queue.pace.end(0);
    assert_eq!(queue.lengths(), (0, 200));
    let mut all = Vec::new();
    while let batch @ [_, ..] = background(queue.next(now, &size, ROOM)).as_slice() {
        end(&mut queue, batch, 0);
        all.extend_from_slice(batch);
    }
    assert_eq!(all, ids(0..200).collect::<Vec<_>>());
}

#[test]
fn who_asks_for_what_was_just_waited_for_in_vain_does_not_wait_as_long_again() {
    let start = Instant::now();
    let mut queue = Queue::new(Pace::new(None));
    let want = |queue: &mut Queue, nth: u32, now: Instant| {
        let deadline = queue.begin_wait(&id(nth), now);
        let waiter = Waiter { deadline, done: Box::new(|_| {}) };
        assert!(queue.want(id(nth), b"path", waiter).is_ok());
        deadline
    };
    let mut now = want(&mut queue, 1, start);
    assert_eq!(now, start + WANT_DEADLINE);
    assert_eq!(want(&mut queue, 1, start + WANT_DEADLINE / 2), start + WANT_DEADLINE * 3 / 2);
    // Each of those who come one after the other finds that the one before was late.
    for _ in 0..20 {
        assert!(!queue.expire(now).0.is_empty());
        let deadline = want(&mut queue, 1, now);
        assert_eq!(deadline, now + WANT_DEADLINE_AGAIN);
        now = deadline;
    }
    queue.expire(now);
    assert_eq!(queue.begin_wait(&id(2), now), now + WANT_DEADLINE, "another one");
    let later = now + LATE_AGAIN_MAX;
    assert_eq!(queue.begin_wait(&id(1), later), later + WANT_DEADLINE, "a while later");
    assert_eq!(queue.begin_wait(&id(1), now), now + WANT_DEADLINE_AGAIN);
    queue.succeeded();
    assert_eq!(queue.begin_wait(&id(1), now), now + WANT_DEADLINE, "the remote answers again");

    let waiter = Waiter { deadline: now, done: Box::new(|_| {}) };
    queue.want_sizes(SizesWant { ids: vec![id(7), id(8)], near: Vec::new(), waiter });
    assert_eq!(queue.expire(now).1.len(), 1);
    assert_eq!(queue.begin_wait(&id(7), now), now + WANT_DEADLINE_AGAIN, "for a size, too");
}

#[test]
fn who_waits_is_served_in_batches_of_the_limit() {
    let now = Instant::now();
    let mut queue = Queue::new(Pace::default());
    for nth in 0..=WANTS_BATCH as u32 {
        let waiter = Waiter { deadline: now + Duration::from_secs(60), done: Box::new(|_| {}) };
        assert!(queue.want(id(nth), b"", waiter).is_ok());
    }
    for count in [WANTS_BATCH, 1] {
        let Some(Job::Wanted(wanted)) = queue.next(now, &|_| 1, ROOM) else { panic!("somebody waits") };
        assert_eq!(wanted.len(), count);
    }
}

#[test]
fn so_many_blobs_are_waited_for_and_no_more() {
    let now = Instant::now();
    let mut queue = Queue::new(Pace::default());
    let waiter = || Waiter { deadline: now, done: Box::new(|_| {}) };
    for nth in 0..WAITING_MAX as u32 {
        assert!(queue.want(id(nth), b"", waiter()).is_ok());
    }
    assert!(queue.want(id(WAITING_MAX as u32), b"", waiter()).is_err(), "one past it");
    assert!(queue.want(id(7), b"", waiter()).is_ok(), "another who waits for the same is no more");
}

#[test]
fn the_background_holds_so_many_blobs_and_no_more() {
    let max = BACKGROUND_MAX as u32;
    let mut queue = Queue::new(Pace::default());
    queue.push_background(ids(0..max + 1), false);
    assert_eq!(queue.lengths(), (0, BACKGROUND_MAX));
    queue.push_background(ids(max + 1..max + 2), true);
    assert_eq!(queue.lengths(), (0, BACKGROUND_MAX), "what is put in front pushes out the last");
    let batch = background(queue.next(Instant::now(), &|_| 1, ROOM));
    assert_eq!(batch[..2], [id(max + 1), id(0)]);
}

#[test]
fn a_background_request_stops_at_its_bytes() {
    let batch = |bytes: u64| {
        let mut queue = Queue::new(Pace::default());
        queue.push_background(ids(0..8), false);
        background(queue.next(Instant::now(), &|_| bytes, ROOM)).len()
    };
    assert_eq!((batch(BACKGROUND_BATCH_BYTES / 4), batch(BACKGROUND_BATCH_BYTES / 4 + 1)), (4, 3));
}

#[test]
fn a_remote_is_thought_dead_after_so_many_failures_and_waited_for_less() {
    let mut queue = Queue::new(Pace::default());
    queue.failures = FAILURES_UNTIL_DEAD - 1;
    assert!(!queue.is_dead());
    assert_eq!(queue.patience(), WANT_DEADLINE);
    queue.failures += 1;
    assert!(queue.is_dead());
    assert_eq!(queue.patience(), WANT_DEADLINE_DEAD);
    queue.read_deadline = WANT_DEADLINE_DEAD / 2;
    assert_eq!(queue.patience(), WANT_DEADLINE_DEAD / 2, "who would wait less anyway");
}

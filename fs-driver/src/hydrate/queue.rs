//! What is wanted, what is under way, and what comes next. No threads, no I/O, no clock: the hydrator holds it under its lock.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use cairn_protocol::object::ObjectId;

use super::background::Pace;
use super::line::Line;
use super::upstream::Failure;
use crate::limits::{
    DISK_LOOK_PAUSE, FAILURES_UNTIL_DEAD, LATE_AGAIN_MAX, LATE_MAX, WAITING_MAX, WANT_DEADLINE,
    WANT_DEADLINE_AGAIN, WANT_DEADLINE_DEAD, WANTS_BATCH,
};
use crate::port::{Blob, Done};

/// Somebody who waits.
pub struct Waiter<T> {
    /// After this it is told that time is up.
    pub deadline: Instant,
    /// How it is told.
    pub done: Done<T>,
}

struct Want {
    path: Vec<u8>,
    waiters: Vec<Waiter<Blob>>,
    is_under_way: bool,
}

/// A request for sizes.
pub struct SizesWant {
    /// Whose sizes.
    pub ids: Vec<ObjectId>,
    /// The path of one of them; empty where it is not known.
    pub near: Vec<u8>,
    /// Who waits for them.
    pub waiter: Waiter<()>,
}

/// What a worker does next.
pub enum Job {
    /// Fetch these, which somebody waits for, each with the path where it was met.
    Wanted(Vec<(ObjectId, Vec<u8>)>),
    /// Ask for sizes.
    Sizes(Vec<SizesWant>),
    /// Fetch these, which nobody waits for yet.
    Background(Vec<ObjectId>),
}

/// The queues.
#[derive(Default)]
pub struct Queue {
    wants: HashMap<ObjectId, Want>,
    foreground: VecDeque<ObjectId>,
    sizes: VecDeque<SizesWant>,
    background: Line,
    /// How fast the background goes.
    pub pace: Pace,
    /// Whether the background rests.
    pub is_paused: bool,
    /// The background has no room left on the disk; then the disk is looked at again.
    pub look_at: Option<Instant>,
    /// Before this nobody asks the remote for anything.
    pub open_until: Option<Instant>,
    /// Failures since the last success.
    pub failures: u32,
    /// What was waited for in vain since the last success, and when that was.
    late: HashMap<ObjectId, Instant>,
    /// How long who asks waits, while the remote is thought to be alive.
    pub read_deadline: Duration,
}

impl Queue {
    /// Empty, with a background of this pace.
    pub fn new(pace: Pace) -> Self {
        Self { pace, read_deadline: WANT_DEADLINE, ..Self::default() }
    }

    /// How long who asks now waits.
    pub fn patience(&self) -> Duration {
        if self.is_dead() { self.read_deadline.min(WANT_DEADLINE_DEAD) } else { self.read_deadline }
    }

    /// Somebody begins to wait for a blob or its size: the remote is asked again while that one has patience, however long
    /// the pause was to be. Answers when the patience ends.
    ///
    /// The kernel lets one reader of a page ask, and the next one only after that: who asks for what was waited for in vain
    /// a moment ago has waited all the while, and the remote is asked once more for all of them.
    pub fn begin_wait(&mut self, id: &ObjectId, now: Instant) -> Instant {
        let is_late = |at: &Instant| now.saturating_duration_since(*at) < LATE_AGAIN_MAX;
        let patience = match self.late.get(id).is_some_and(is_late) {
            true => self.patience().min(WANT_DEADLINE_AGAIN),
            false => self.patience(),
        };
        self.open_until = self.open_until.map(|until| until.min(now + patience / 4));
        now + patience
    }

    /// A request failed: nobody asks before the pause is over, or for less long while somebody waits.
    pub fn rest(&mut self, now: Instant, pause: Duration) {
        let longest = if self.is_waited_for() { self.patience() / 4 } else { pause };
        self.open_until = now.checked_add(pause.min(longest));
    }

    /// The remote answered.
    pub fn succeeded(&mut self) {
        (self.failures, self.open_until) = (0, None);
        self.late.clear();
    }

    /// Whether the remote is thought to be dead.
    pub fn is_dead(&self) -> bool {
        self.failures >= FAILURES_UNTIL_DEAD
    }

    /// How many blobs are waited for, and how many the background has before it.
    pub fn lengths(&self) -> (usize, usize) {
        (self.wants.len(), self.background.len())
    }

    /// Adds a waiter. Gives it back where too much is waited for.
    pub fn want(&mut self, id: ObjectId, path: &[u8], waiter: Waiter<Blob>) -> Result<(), Waiter<Blob>> {
        if let Some(want) = self.wants.get_mut(&id) {
            want.waiters.push(waiter);
            return Ok(());
        }
        if self.wants.len() >= WAITING_MAX {
            return Err(waiter);
        }
        self.wants.insert(id, Want { path: path.to_vec(), waiters: vec![waiter], is_under_way: false });
        self.foreground.push_back(id);
        Ok(())
    }

    /// Adds a request for sizes.
    pub fn want_sizes(&mut self, want: SizesWant) {
        self.sizes.push_back(want);
    }

    /// Adds blobs to the background, at its front or its end. Each is in it once.
    pub fn push_background(&mut self, ids: impl DoubleEndedIterator<Item = ObjectId>, in_front: bool) {
        if in_front { self.background.prepend(ids) } else { self.background.append(ids) }
    }

    /// What to do at `now`; `None` while there is nothing to do. The background may take `room` bytes of the disk.
    pub fn next(&mut self, now: Instant, size: &dyn Fn(&ObjectId) -> u64, room: u64) -> Option<Job> {
        if self.open_until.is_some_and(|until| now < until) {
            return None;
        }
        if let Some(wanted) = self.next_wanted() {
            return Some(Job::Wanted(wanted));
        }
        if !self.sizes.is_empty() {
            return Some(Job::Sizes(self.sizes.drain(..).collect()));
        }
        if self.pace.is_busy() || self.is_paused || self.pace.rests_until(now).is_some() {
            return None;
        }
        let batch = self.next_background(now, size, room);
        if batch.is_empty() {
            return None;
        }
        self.pace.begin(now);
        for id in &batch {
            self.wants.insert(*id, Want { path: Vec::new(), waiters: Vec::new(), is_under_way: true });
        }
        Some(Job::Background(batch))
    }

    fn next_background(&mut self, now: Instant, size: &dyn Fn(&ObjectId) -> u64, room: u64) -> Vec<ObjectId> {
        let (blobs_max, bytes_max) = self.pace.batch();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < blobs_max && bytes < bytes_max {
            let Some(id) = self.background.first() else { break };
            if !self.wants.contains_key(&id) {
                let with = bytes + size(&id);
                if with > room {
                    let full_at = now.checked_add(DISK_LOOK_PAUSE).filter(|_| batch.is_empty());
                    self.look_at = self.look_at.or(full_at);
                    break;
                }
                // The first one fills a request by itself if it must.
                if with > bytes_max && !batch.is_empty() {
                    break;
                }
                bytes = with;
                batch.push(id);
            }
            self.background.remove(&id);
        }
        if !batch.is_empty() {
            self.look_at = None;
        }
        batch
    }

    /// Whether the background stands still because it may take no more of the disk.
    pub fn is_full(&self) -> bool {
        self.look_at.is_some() && !self.background.is_empty()
    }

    fn next_wanted(&mut self) -> Option<Vec<(ObjectId, Vec<u8>)>> {
        let mut batch = Vec::new();
        while batch.len() < WANTS_BATCH {
            let Some(id) = self.foreground.pop_front() else { break };
            if let Some(want) = self.wants.get_mut(&id).filter(|want| !want.is_under_way) {
                want.is_under_way = true;
                batch.push((id, want.path.clone()));
            }
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Marks neighbours that come along as under way. Answers those that are not already.
    pub fn claim(&mut self, ids: Vec<ObjectId>) -> Vec<ObjectId> {
        let mut claimed = Vec::new();
        for id in ids {
            if let std::collections::hash_map::Entry::Vacant(slot) = self.wants.entry(id) {
                slot.insert(Want { path: Vec::new(), waiters: Vec::new(), is_under_way: true });
                claimed.push(id);
            }
        }
        claimed
    }

    /// A blob is here or never will be: answers who waited for it.
    pub fn settle(&mut self, id: &ObjectId) -> Vec<Waiter<Blob>> {
        self.background.remove(id);
        self.wants.remove(id).map(|want| want.waiters).unwrap_or_default()
    }

    /// A blob is here: done, unless somebody waits for it.
    pub fn settle_unawaited(&mut self, id: &ObjectId) -> bool {
        let is_awaited = self.wants.get(id).is_some_and(|want| !want.waiters.is_empty());
        if !is_awaited {
            self.settle(id);
        }
        !is_awaited
    }

    /// A request failed for now: what somebody waits for goes back to the front; the rest to the background.
    pub fn put_back(&mut self, ids: &[ObjectId]) {
        for id in ids.iter().rev() {
            let Some(want) = self.wants.get_mut(id) else { continue };
            want.is_under_way = false;
            if want.waiters.is_empty() {
                self.wants.remove(id);
                self.push_background(std::iter::once(*id), true);
            } else {
                self.foreground.push_front(*id);
            }
        }
    }

    /// Takes out who has waited too long.
    pub fn expire(&mut self, now: Instant) -> (Vec<Done<Blob>>, Vec<Done<()>>) {
        let mut blobs = Vec::new();
        self.late.retain(|_, at| now.saturating_duration_since(*at) < LATE_AGAIN_MAX);
        let known = &mut self.late;
        self.wants.retain(|id, want| {
            let (late, waiting) = want.waiters.drain(..).partition::<Vec<_>, _>(|w| w.deadline <= now);
            want.waiters = waiting;
            if !late.is_empty() && known.len() < LATE_MAX {
                known.insert(*id, now);
            }
            blobs.extend(late.into_iter().map(|waiter| waiter.done));
            want.is_under_way || !want.waiters.is_empty()
        });
        let (late, waiting) = self.sizes.drain(..).partition::<VecDeque<_>, _>(|w| w.waiter.deadline <= now);
        self.sizes = waiting;
        let room = LATE_MAX.saturating_sub(self.late.len());
        self.late.extend(late.iter().filter_map(|want| want.ids.first()).take(room).map(|id| (*id, now)));
        (blobs, late.into_iter().map(|want| want.waiter.done).collect())
    }

    /// Ends all waiting.
    pub fn drain(&mut self) -> (Vec<Done<Blob>>, Vec<Done<()>>) {
        let wants = self.wants.drain().flat_map(|(_, want)| want.waiters);
        let blobs = wants.map(|waiter| waiter.done).collect();
        self.background.clear();
        self.foreground.clear();
        (blobs, self.sizes.drain(..).map(|want| want.waiter.done).collect())
    }

    /// Whether anybody waits.
    pub fn is_waited_for(&self) -> bool {
        !self.sizes.is_empty() || self.wants.values().any(|want| !want.waiters.is_empty())
    }
}

/// What those who wait are told.
pub fn error_of(failure: &Failure) -> io::Error {
    failure.clone().into()
}

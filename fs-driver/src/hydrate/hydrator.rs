//! The threads that fetch. Those who wait are called back without any lock held.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cairn_protocol::object::{HashAlgo, ObjectId};
use cairn_remote::FetchWish;
use serde::{Deserialize, Serialize};

use super::ahead::{Ahead, EachFolder, GitRow, Question, What};
use super::background::Pace;
use super::queue::{Job, Queue, SizesWant, Waiter, error_of};
use super::scan::{Detector, Tree, parent};
use super::upstream::{Dial, Failure, Upstream};
use crate::cache::blobs::Blobs;
use crate::cache::sizes::Sizes;
use crate::gitdir::receive::receive;
use crate::limits::{
    BACKGROUND_BATCH, BACKOFF_MAX, BACKOFF_MIN, CONNECTIONS_MAX, NEIGHBOUR_BYTES_MAX, NEIGHBOURS_MAX,
    SCAN_BLOBS_MAX, TREE_DEPTH_MAX, UNKNOWN_BLOB_BYTES,
};
use crate::port::{Blob, Done};

/// How often those who wait too long are looked for.
const TICK: Duration = Duration::from_millis(250);
/// Neighbours bring at most so many bytes to a request that somebody waits for.
const NEIGHBOURS_BYTES_MAX: u64 = 2 << 20;

/// What a hydrator works with.
pub struct Parts {
    /// Opens connections.
    pub dial: Dial,
    /// Whether the remote tells sizes.
    pub has_sizes: bool,
    /// Where contents go.
    pub blobs: Arc<Blobs>,
    /// Where sizes go.
    pub sizes: Arc<Sizes>,
    /// The mounted tree.
    pub tree: Tree,
    /// Where packs are received.
    pub stage: PathBuf,
    /// The hash of the objects.
    pub algo: HashAlgo,
    /// Bytes per second for the background.
    pub background_bytes_per_second: Option<u64>,
    /// The background brings nothing that would make the cache larger than this, in bytes.
    pub background_disk_bytes_max: u64,
    /// How long who asks waits, while the remote is thought to be alive.
    pub read_deadline: Duration,
}

/// What a hydrator has done and has before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Blobs that came.
    pub fetched_blobs: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
    /// Requests for blobs and sizes.
    pub requests: u64,
    /// Blobs that are waited for or under way.
    pub waiting: usize,
    /// Blobs that the background will bring.
    pub background: usize,
    /// Whether the background rests.
    pub is_paused: bool,
    /// Whether the background stands still because it may take no more of the disk.
    #[serde(default)]
    pub is_disk_full: bool,
    /// Whether the remote is thought to be dead.
    pub is_remote_dead: bool,
    /// The last thing that went wrong with the remote.
    pub last_error: Option<String>,
}

struct Inner {
    parts: Parts,
    /// No other lock is taken while this one is held.
    queue: Mutex<Queue>,
    /// Something is to be done, or all is over.
    changed: Condvar,
    is_stopping: AtomicBool,
    fetched_blobs: AtomicU64,
    fetched_bytes: AtomicU64,
    requests: AtomicU64,
    last_error: Mutex<Option<String>>,
    detector: Mutex<Detector>,
    /// Trees are read while it is held, and no other lock is taken.
    ahead: Mutex<Ahead>,
    /// The same for sizes.
    sizes_ahead: Mutex<Ahead>,
    git: Mutex<GitRow>,
    /// Connections that nobody uses now. Whoever used its connection last is the next to use it.
    idle: Mutex<Vec<Box<dyn Upstream>>>,
}

/// Brings blobs and sizes. Dropping it ends its threads after their current request.
pub struct Hydrator {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
}

impl Hydrator {
    /// Starts the threads.
    pub fn start(parts: Parts) -> io::Result<Self> {
        let mut queue = Queue::new(Pace::new(parts.background_bytes_per_second));
        queue.read_deadline = parts.read_deadline;
        let inner = Arc::new(Inner {
            parts,
            queue: Mutex::new(queue),
            changed: Condvar::new(),
            is_stopping: AtomicBool::new(false),
            fetched_blobs: AtomicU64::new(0),
            fetched_bytes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            last_error: Mutex::default(),
            detector: Mutex::default(),
            ahead: Mutex::default(),
            sizes_ahead: Mutex::default(),
            git: Mutex::default(),
            idle: Mutex::default(),
        });
        let mut threads = Vec::new();
        for nth in 0..CONNECTIONS_MAX {
            let inner = Arc::clone(&inner);
            threads.push(thread::Builder::new().name(format!("hydrate-{nth}")).spawn(move || inner.work())?);
        }
        let watched = Arc::clone(&inner);
        threads.push(thread::Builder::new().name("hydrate-clock".to_owned()).spawn(move || watched.watch())?);
        Ok(Self { inner, threads })
    }

    /// Asks for a blob.
    pub fn want(&self, id: ObjectId, path: &[u8], done: Done<Blob>) {
        let mut queue = self.inner.lock();
        let deadline = queue.begin_wait(&id, Instant::now());
        let waiter = Waiter { deadline, done };
        let refused = match self.inner.is_stopping.load(Ordering::Relaxed) {
            true => Some(waiter),
            false => queue.want(id, path, waiter).err(),
        };
        drop(queue);
        match refused {
            Some(waiter) => (waiter.done)(Err(io::Error::from(io::ErrorKind::ResourceBusy))),
            None => self.inner.changed.notify_all(),
        }
    }

    /// Asks for a blob that git wants to read.
    pub fn want_for_git(&self, id: ObjectId, path: &[u8], done: Done<Blob>) {
        locked(&self.inner.git).missed(Instant::now());
        let inner = Arc::clone(&self.inner);
        let told = move |came| {
            locked(&inner.git).answered(Instant::now());
            done(came);
        };
        self.want(id, path, Box::new(told));
    }

    /// Asks for sizes; where the remote tells none, for the contents. `near` is the path of one of them, if it is known.
    pub fn want_sizes(&self, ids: Vec<ObjectId>, near: &[u8], done: Done<()>) {
        let ids: Vec<_> = ids.into_iter().filter(|id| self.inner.parts.sizes.get(id).is_none()).collect();
        let Some(first) = ids.first().copied() else { return done(Ok(())) };
        if !self.inner.parts.has_sizes {
            return self.want_contents(&ids, near, done);
        }
        let mut queue = self.inner.lock();
        let deadline = queue.begin_wait(&first, Instant::now());
        queue.want_sizes(SizesWant { ids, near: near.to_vec(), waiter: Waiter { deadline, done } });
        drop(queue);
        self.inner.changed.notify_all();
    }

    /// Asks for contents. With the path of one of them, as in [`Hydrator::want_sizes`], what is around it may come along.
    pub fn want_contents(&self, ids: &[ObjectId], near: &[u8], done: Done<()>) {
        let Some(first) = ids.first() else { return done(Ok(())) };
        // The last one to come, or the first one to fail, tells.
        let left = Arc::new(Mutex::new((ids.len(), Some(done))));
        let mut refused = Vec::new();
        // Under one lock, so that they go into few requests.
        let mut queue = self.inner.lock();
        let deadline = queue.begin_wait(first, Instant::now());
        for (nth, id) in ids.iter().enumerate() {
            let left = Arc::clone(&left);
            let told = move |found: io::Result<Blob>| {
                let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
                left.0 -= 1;
                let outcome = found.map(|_| ());
                let is_over = outcome.is_err() || left.0 == 0;
                if let Some(done) = left.1.take_if(|_| is_over) {
                    drop(left);
                    done(outcome);
                }
            };
            let waiter = Waiter { deadline, done: Box::new(told) };
            refused.extend(match self.inner.is_stopping.load(Ordering::Relaxed) {
                true => Some(waiter),
                false => queue.want(*id, if nth == 0 { near } else { b"" }, waiter).err(),
            });
        }
        drop(queue);
        self.inner.changed.notify_all();
        for waiter in refused {
            (waiter.done)(Err(io::Error::from(io::ErrorKind::ResourceBusy)));
        }
    }

    /// Gives the background more to do, after all else.
    pub fn append_background(&self, mut ids: impl Iterator<Item = ObjectId>) {
        // Others must not wait for the lock while a million come in.
        loop {
            let some: Vec<_> = ids.by_ref().take(BACKGROUND_BATCH).collect();
            if some.is_empty() {
                return;
            }
            self.inner.lock().push_background(some.into_iter(), false);
            self.inner.changed.notify_all();
        }
    }

    /// Gives the background something to do before all else.
    pub fn hurry_background(&self, ids: Vec<ObjectId>) {
        self.inner.lock().push_background(ids.into_iter(), true);
        self.inner.changed.notify_all();
    }

    /// Lets the background rest, or go on: also where it stood still for want of room, if there is room now.
    pub fn pause(&self, is_paused: bool) {
        {
            let mut queue = self.inner.lock();
            queue.is_paused = is_paused;
            queue.look_at = queue.look_at.map(|_| Instant::now());
        }
        self.inner.changed.notify_all();
    }

    /// What was done and what is to be done.
    pub fn progress(&self) -> Progress {
        let queue = self.inner.lock();
        let (waiting, background) = queue.lengths();
        let (is_paused, is_remote_dead) = (queue.is_paused, queue.is_dead());
        let is_disk_full = queue.is_full();
        drop(queue);
        Progress {
            fetched_blobs: self.inner.fetched_blobs.load(Ordering::Relaxed),
            fetched_bytes: self.inner.fetched_bytes.load(Ordering::Relaxed),
            requests: self.inner.requests.load(Ordering::Relaxed),
            waiting,
            background,
            is_paused,
            is_disk_full,
            is_remote_dead,
            last_error: self.inner.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Ends all waiting and takes no more wants.
    pub fn stop(&self) {
        self.inner.is_stopping.store(true, Ordering::Relaxed);
        let (blobs, sizes) = self.inner.lock().drain();
        self.inner.changed.notify_all();
        let ended = || io::Error::new(io::ErrorKind::Interrupted, "the mount is ending");
        blobs.into_iter().for_each(|done| done(Err(ended())));
        sizes.into_iter().for_each(|done| done(Err(ended())));
    }
}

impl Drop for Hydrator {
    fn drop(&mut self) {
        self.stop();
        // Workers in a request end with it; a dead remote must not hold up who drops this.
        self.threads.clear();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let mut queue = self.lock();
        while !self.is_stopping.load(Ordering::Relaxed) {
            let (blobs, sizes) = queue.expire(Instant::now());
            drop(queue);
            let late = || io::Error::new(io::ErrorKind::TimedOut, "the remote did not answer in time");
            blobs.into_iter().for_each(|done| done(Err(late())));
            sizes.into_iter().for_each(|done| done(Err(late())));
            queue = self.lock();
            queue = match queue.is_waited_for() {
                true => self.changed.wait_timeout(queue, TICK).unwrap_or_else(PoisonError::into_inner).0,
                false => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            let mut connection = locked(&self.idle).pop();
            match job {
                Job::Wanted(wanted) => self.wanted(&mut connection, wanted),
                Job::Sizes(wanted) => self.sizes(&mut connection, wanted),
                Job::Background(ids) => {
                    let brought = self.fetch(&mut connection, ids);
                    self.lock().pace.end(brought);
                    self.changed.notify_all();
                }
            }
            locked(&self.idle).extend(connection);
        }
    }

    fn next(&self) -> Option<Job> {
        let size = |id: &ObjectId| self.parts.sizes.get(id).unwrap_or(UNKNOWN_BLOB_BYTES);
        let mut queue = self.lock();
        loop {
            if self.is_stopping.load(Ordering::Relaxed) {
                return None;
            }
            let now = Instant::now();
            if queue.look_at.is_some_and(|at| at <= now) {
                queue.look_at = None;
                drop(queue);
                // What cannot be counted is told by whoever fills it.
                let _ = self.parts.blobs.look();
                queue = self.lock();
            }
            let room = self.parts.background_disk_bytes_max.saturating_sub(self.parts.blobs.used_bytes());
            if let Some(job) = queue.next(now, &size, room) {
                return Some(job);
            }
            let times = [queue.open_until, queue.pace.rests_until(now), queue.look_at];
            let until = times.into_iter().flatten().filter(|at| *at > now).min();
            queue = match until {
                Some(until) => {
                    let pause = until.saturating_duration_since(now) + Duration::from_millis(1);
                    self.changed.wait_timeout(queue, pause).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn wanted(&self, connection: &mut Option<Box<dyn Upstream>>, wanted: Vec<(ObjectId, Vec<u8>)>) {
        let mut ids: Vec<ObjectId> = wanted.iter().map(|(id, _)| *id).collect();
        let mut folders: Vec<&[u8]> = wanted.iter().filter_map(|(_, path)| parent(path)).collect();
        folders.dedup();
        let mut scans = Vec::new();
        {
            let mut detector = self.detector.lock().unwrap_or_else(PoisonError::into_inner);
            scans.extend(folders.iter().filter_map(|folder| detector.missed(folder)));
        }
        let paths: Vec<&[u8]> =
            wanted.iter().map(|(_, path)| path.as_slice()).filter(|p| !p.is_empty()).collect();
        let mut around = self.neighbours(&paths);
        around.extend(self.ahead(What::Contents, &paths, &|id| !self.parts.blobs.has(id)));
        ids.extend(self.lock().claim(around));
        if let Some(folder) = scans.pop() {
            self.scan(&folder);
        }
        self.fetch(connection, ids);
    }

    /// What a scan of `folder` is about to ask for goes to the front of the background.
    fn scan(&self, folder: &[u8]) {
        let Ok(files) = self.parts.tree.files(folder, TREE_DEPTH_MAX, SCAN_BLOBS_MAX) else { return };
        let missing = files.into_iter().map(|file| file.id).filter(|id| !self.parts.blobs.has(id));
        let missing: Vec<_> = missing.collect();
        self.lock().push_background(missing.into_iter(), true);
        self.changed.notify_all();
    }

    /// What is likely to be asked for next.
    fn ahead(&self, what: What, paths: &[&[u8]], is_missing: &dyn Fn(&ObjectId) -> bool) -> Vec<ObjectId> {
        let walk = |from: &[u8], each: EachFolder<'_>| self.parts.tree.walk(from, each);
        let size = |id: &ObjectId| self.parts.sizes.get(id);
        let about = Question { what, walk: &walk, is_missing, size: &size };
        let ahead = if what == What::Sizes { &self.sizes_ahead } else { &self.ahead };
        // Only a help, as the neighbours are.
        let git_misses = locked(&self.git).misses(Instant::now());
        locked(ahead).missed(paths, git_misses, &about).unwrap_or_default()
    }

    fn neighbours(&self, paths: &[&[u8]]) -> Vec<ObjectId> {
        let mut found = Vec::new();
        let mut bytes = 0;
        for path in paths.iter().take(NEIGHBOURS_MAX) {
            // Only a help: what cannot be read here is told where it is needed.
            for file in self.parts.tree.siblings(path).unwrap_or_default() {
                let size = self.parts.sizes.get(&file.id).unwrap_or(UNKNOWN_BLOB_BYTES);
                if found.len() >= NEIGHBOURS_MAX || bytes >= NEIGHBOURS_BYTES_MAX {
                    return found;
                }
                if size <= NEIGHBOUR_BYTES_MAX && file.path != *path && !self.parts.blobs.has(&file.id) {
                    bytes += size;
                    found.push(file.id);
                }
            }
        }
        found
    }

    /// Fetches blobs and tells who waits for them. What one bad id spoils is tried in halves. Answers how many bytes of
    /// contents came.
    fn fetch(&self, connection: &mut Option<Box<dyn Upstream>>, ids: Vec<ObjectId>) -> u64 {
        let mut brought = 0;
        let mut open = vec![ids];
        while let Some(mut ids) = open.pop() {
            ids.retain(|id| !self.settle_local(id));
            if ids.is_empty() {
                continue;
            }
            match self.fetch_once(connection, &ids, &mut brought) {
                Ok(came) => {
                    self.succeeded();
                    for id in ids.iter().filter(|id| !came.contains(id) && !self.settle_local(id)) {
                        let kind = io::ErrorKind::NotFound;
                        let text = format!("the remote did not send {id}");
                        self.give_up(id, &Failure { text, is_transient: false, kind });
                    }
                }
                Err(failure) if failure.is_transient => {
                    *connection = None;
                    self.failed(&failure);
                    self.lock().put_back(&ids);
                    for rest in open.drain(..) {
                        self.lock().put_back(&rest);
                    }
                    self.changed.notify_all();
                }
                Err(failure) if failure.kind == io::ErrorKind::NotFound && ids.len() > 1 => {
                    *connection = None;
                    let half = ids.split_off(ids.len() / 2);
                    open.extend([half, ids]);
                }
                Err(failure) => {
                    *connection = None;
                    self.note(&failure);
                    ids.iter().for_each(|id| self.give_up(id, &failure));
                }
            }
        }
        brought
    }

    /// Fetches blobs in one request and settles those that came, which it answers.
    fn fetch_once(
        &self,
        connection: &mut Option<Box<dyn Upstream>>,
        ids: &[ObjectId],
        brought: &mut u64,
    ) -> Result<HashSet<ObjectId>, Failure> {
        let upstream = self.connect(connection)?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let wish = FetchWish { wants: ids.to_vec(), ..FetchWish::default() };
        let (_, received) = receive(&self.parts.stage, self.parts.algo, |sink| upstream.fetch(&wish, sink))?;
        let mut came = HashSet::new();
        let Some(received) = received else { return Ok(came) };
        let mut sizes = Vec::new();
        let done = received.for_each_blob(&mut |id, content| {
            self.parts.blobs.fill(&id, &content)?;
            self.fetched_blobs.fetch_add(1, Ordering::Relaxed);
            self.fetched_bytes.fetch_add(content.len() as u64, Ordering::Relaxed);
            *brought += content.len() as u64;
            sizes.push((id, content.len() as u64));
            // Most are waited for by nobody: they need not be opened.
            if !self.lock().settle_unawaited(&id) {
                self.settle_local(&id);
            }
            came.insert(id);
            Ok(())
        });
        self.parts.sizes.add(&sizes)?;
        done?;
        Ok(came)
    }

    fn connect<'a>(
        &self,
        connection: &'a mut Option<Box<dyn Upstream>>,
    ) -> Result<&'a mut Box<dyn Upstream>, Failure> {
        match connection {
            Some(upstream) => Ok(upstream),
            None => Ok(connection.insert((self.parts.dial)()?)),
        }
    }

    fn sizes(&self, connection: &mut Option<Box<dyn Upstream>>, wanted: Vec<SizesWant>) {
        let mut ids: Vec<ObjectId> = wanted.iter().flat_map(|want| want.ids.iter().copied()).collect();
        let is_missing = |id: &ObjectId| self.parts.sizes.get(id).is_none();
        let near: Vec<&[u8]> =
            wanted.iter().map(|want| want.near.as_slice()).filter(|p| !p.is_empty()).collect();
        ids.extend(self.ahead(What::Sizes, &near, &is_missing));
        ids.sort_unstable();
        ids.dedup();
        ids.retain(is_missing);
        let outcome = self.sizes_once(connection, &ids);
        match &outcome {
            Ok(()) => self.succeeded(),
            Err(failure) if failure.is_transient => {
                *connection = None;
                self.failed(failure);
                let mut queue = self.lock();
                wanted.into_iter().for_each(|want| queue.want_sizes(want));
                return;
            }
            Err(failure) => {
                *connection = None;
                self.note(failure);
            }
        }
        for want in wanted {
            (want.waiter.done)(outcome.as_ref().copied().map_err(error_of));
        }
    }

    fn sizes_once(
        &self,
        connection: &mut Option<Box<dyn Upstream>>,
        ids: &[ObjectId],
    ) -> Result<(), Failure> {
        if ids.is_empty() {
            return Ok(());
        }
        let upstream = self.connect(connection)?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let found = upstream.sizes(ids)?;
        let known: Vec<_> =
            ids.iter().copied().zip(found).filter_map(|(id, size)| Some((id, size?))).collect();
        self.parts.sizes.add(&known)?;
        Ok(())
    }

    /// Answers who waits for a blob that is here; `false` where it is not.
    fn settle_local(&self, id: &ObjectId) -> bool {
        let Ok(Some(blob)) = self.parts.blobs.open_blob(id) else { return false };
        let waiters = self.lock().settle(id);
        waiters.into_iter().for_each(|waiter| (waiter.done)(Ok(blob.clone())));
        true
    }

    fn give_up(&self, id: &ObjectId, failure: &Failure) {
        let waiters = self.lock().settle(id);
        waiters.into_iter().for_each(|waiter| (waiter.done)(Err(error_of(failure))));
    }

    fn note(&self, failure: &Failure) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.text.clone());
    }

    fn succeeded(&self) {
        self.lock().succeeded();
    }

    fn failed(&self, failure: &Failure) {
        self.note(failure);
        let mut queue = self.lock();
        queue.failures = queue.failures.saturating_add(1);
        let pause = BACKOFF_MIN.saturating_mul(1 << queue.failures.min(10)).min(BACKOFF_MAX);
        // Many mounts that lost the same remote must not come back at the same moment.
        let jitter = RandomState::new().hash_one(queue.failures) % 1_000;
        let pause = pause / 2 + pause.mul_f64(jitter as f64 / 2_000.0);
        queue.rest(Instant::now(), pause);
    }
}

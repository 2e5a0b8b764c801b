//! What all requests share: running an operation now or after a fetch, and files that the kernel reads by itself.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use fuser::{BackingId, FileHandle, FopenFlags, INodeNo, Notifier, ReplyOpen};
use rustix::io::Errno as Code;

use super::park::{Job, Lot};
use crate::fs::{Fail, Fs, Need, Opened, Res};
use crate::overlay::Ino;
use crate::{errno as errnos, port};

/// How often an operation is tried again after a fetch. It may need a size, then a blob.
pub(super) const ATTEMPTS: u32 = 3;

pub(super) struct Shared {
    pub(super) fs: Arc<Fs>,
    pub(super) lot: Arc<Lot>,
    /// Requests so far, but for those that the kernel wants no answer to.
    pub(super) served: Arc<AtomicU64>,
    pub(super) notices: Mutex<Sender<Ino>>,
    /// Whether the kernel is to be asked to read large files by itself.
    pub(super) wants_passthrough: bool,
    /// Whether it does.
    pub(super) passthrough: AtomicBool,
    /// Whether the kernel opens files without asking.
    pub(super) stateless_files: AtomicBool,
    /// Whether the kernel lists directories without opening them.
    pub(super) stateless_dirs: AtomicBool,
    /// Bytes of writes that wait for what they are written into.
    pub(super) parked_bytes: Arc<AtomicUsize>,
    /// The kernel wants one id for all that have an inode open.
    pub(super) backing: Mutex<HashMap<Ino, Weak<BackingId>>>,
    pub(super) backed: Mutex<HashMap<u64, Arc<BackingId>>>,
}

/// Inodes whose attributes the kernel must forget.
pub(super) struct Notices(pub(super) Receiver<Ino>);

impl Notices {
    /// Tells the kernel from a thread of its own: it may wait for a request that is being served.
    pub(super) fn start(self, notifier: Notifier) -> io::Result<()> {
        let tell = move || {
            for ino in self.0 {
                if let Err(error) = notifier.inval_inode(INodeNo(ino), -1, 0) {
                    log::debug!("inode {ino} is not forgotten: {error}");
                }
            }
        };
        std::thread::Builder::new().name("cairn-notify".to_owned()).spawn(tell).map(drop)
    }
}

/// Runs `op`, now or once what it needs has been fetched, and gives `answer` its result or an errno.
pub(super) fn run<T, O, A>(shared: &Arc<Shared>, attempts: u32, op: O, answer: A)
where
    O: Fn(&Fs) -> Res<T> + Send + 'static,
    A: FnOnce(&Arc<Shared>, Result<T, i32>) + Send + 'static,
{
    let result = catch_unwind(AssertUnwindSafe(|| op(&shared.fs)));
    let need = match result {
        Ok(Ok(value)) => return answer(shared, Ok(value)),
        Ok(Err(Fail::Io(error))) => {
            let code = errnos::of(&error);
            if code == Code::IO.raw_os_error() {
                log::warn!("answered with an input/output error: {error}");
            }
            return answer(shared, Err(code));
        }
        Ok(Err(Fail::Need(need))) if attempts > 0 => need,
        Ok(Err(Fail::Need(need))) => {
            log::warn!("fetched but still missing: {need:?}");
            return answer(shared, Err(Code::IO.raw_os_error()));
        }
        Err(_) => return answer(shared, Err(Code::IO.raw_os_error())),
    };
    let again = Arc::clone(shared);
    let job: Job = Box::new(move |got| match got {
        Ok(()) => run(&again, attempts - 1, op, answer),
        Err(error) => {
            log::warn!("could not be fetched: {error}");
            answer(&again, Err(Code::IO.raw_os_error()));
        }
    });
    let ticket = shared.lot.park(job);
    let objects = shared.fs.objects();
    match need {
        Need::Sizes(ids, near) => objects.want_sizes(ids, &near, Box::new(move |got| ticket.end(got))),
        Need::Blob(id, path) => {
            // The blob is held until the operation has opened it.
            let done: port::Done<port::Blob> = Box::new(move |got| match got {
                Ok(blob) => {
                    ticket.end(Ok(()));
                    drop(blob);
                }
                Err(error) => ticket.end(Err(error)),
            });
            objects.want(id, &path, done);
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Tells the kernel of an open file, and lets it read a blob by itself where it can.
    pub(super) fn opened(&self, ino: Ino, opened: Opened, reply: ReplyOpen) {
        let handle = FileHandle(opened.handle);
        let clean = if opened.clean { FopenFlags::FOPEN_NOFLUSH } else { FopenFlags::empty() };
        if let Some(blob) = &opened.passthrough {
            match self.backing(ino, blob, &reply) {
                Some(id) => {
                    lock(&self.backed).insert(opened.handle, Arc::clone(&id));
                    return reply.opened_passthrough(handle, clean, &id);
                }
                None => self.fs.no_passthrough(opened.handle),
            }
        }
        reply.opened(handle, FopenFlags::FOPEN_KEEP_CACHE | clean);
    }

    fn backing(&self, ino: Ino, blob: &port::Blob, reply: &ReplyOpen) -> Option<Arc<BackingId>> {
        if !self.passthrough.load(Ordering::Relaxed) {
            return None;
        }
        let mut backing = lock(&self.backing);
        if let Some(id) = backing.get(&ino).and_then(Weak::upgrade) {
            return Some(id);
        }
        match reply.open_backing(&*blob.file) {
            Ok(id) => {
                let id = Arc::new(id);
                backing.insert(ino, Arc::downgrade(&id));
                Some(id)
            }
            Err(error) => {
                log::info!("the kernel does not read files by itself here: {error}");
                self.passthrough.store(false, Ordering::Relaxed);
                None
            }
        }
    }

    pub(super) fn released(&self, ino: Ino, handle: u64) {
        self.fs.release(handle);
        let backed = lock(&self.backed).remove(&handle);
        if backed.is_some() {
            let mut backing = lock(&self.backing);
            drop(backed);
            if backing.get(&ino).is_some_and(|id| id.strong_count() == 0) {
                backing.remove(&ino);
            }
        }
    }
}

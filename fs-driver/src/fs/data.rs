//! Contents: opening, reading, writing, truncating, syncing.
//!
//! A file is copied into the state directory before its first write, not when it is opened; what is cut to nothing is
//! never copied.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use cairn_protocol::object::ObjectId;
use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use super::state::State;
use super::{Fs, Need, Res, later_than};
use crate::limits::{LINK_TARGET_BYTES_MAX, PASSTHROUGH_BYTES_MIN};
use crate::overlay::{DOTGIT, Ino, Inode, Kind, Op};
use crate::port::Blob;

/// What is no handle of any open file.
pub const NO_HANDLE: u64 = 0;

/// An open file.
pub(super) struct Handle {
    pub ino: Ino,
    pub write: bool,
    pub passthrough: AtomicBool,
    pub blob: OnceLock<Blob>,
}

impl Handle {
    pub(super) fn new(ino: Ino, write: bool) -> Self {
        Self { ino, write, passthrough: false.into(), blob: OnceLock::new() }
    }
}

/// An open file, as the kernel is to be told of it.
pub struct Opened {
    /// Names it until [`Fs::release`].
    pub handle: u64,
    /// Whether its content is that of a blob, to be read alone: a close need not be told.
    pub clean: bool,
    /// The blob that the kernel may read itself. Where it cannot, [`Fs::no_passthrough`] must be told.
    pub passthrough: Option<Blob>,
}

/// Where the bytes to be read are.
pub enum Source {
    /// In a file that is read without any lock.
    File(Arc<File>),
    /// Here.
    Bytes(Vec<u8>),
}

impl Source {
    /// At most `len` bytes from `at`; fewer only at the end.
    pub fn read(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::Bytes(all) => {
                let rest = usize::try_from(at).ok().and_then(|at| all.get(at..)).unwrap_or_default();
                Ok(rest[..len.min(rest.len())].to_vec())
            }
            Self::File(file) => {
                let mut buffer = vec![0; len];
                let mut filled = 0;
                while filled < len {
                    match file.read_at(&mut buffer[filled..], at + filled as u64) {
                        Ok(0) => break,
                        Ok(count) => filled += count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                buffer.truncate(filled);
                Ok(buffer)
            }
        }
    }
}

impl Source {
    /// The next data or hole at or behind `at`.
    pub fn seek(&self, at: u64, data: bool) -> io::Result<u64> {
        let Self::File(file) = self else { return Err(Errno::INVAL.into()) };
        let to = if data { SeekFrom::Data(at) } else { SeekFrom::Hole(at) };
        Ok(rustix::fs::seek(&**file, to)?)
    }
}

impl Fs {
    /// Opens a file. `ESTALE` asks the kernel to look its name up again: another inode stands there now.
    pub fn open_file(&self, ino: Ino, write: bool, truncate: bool) -> Res<Opened> {
        if write || truncate {
            self.writable()?;
        }
        let facts = self.facts(ino)?;
        let blob = match &facts.kind {
            Kind::Base(id) if write && !truncate => Some(self.blob(id, ino)?),
            // Open files pin what is in the cache, so that no eviction takes it.
            Kind::Base(id) => self.open_blob(id),
            Kind::Upper if ino == DOTGIT && write => return Err(Errno::PERM.into()),
            Kind::Upper => None,
            Kind::Dir(_) => return Err(Errno::ISDIR.into()),
            Kind::Link(_) | Kind::BaseLink(_) => return Err(Errno::LOOP.into()),
            Kind::Fifo | Kind::Socket | Kind::Block(_) | Kind::Char(_) => return Err(Errno::NXIO.into()),
        };
        let mut state = self.lock();
        if (write || truncate) && state.open(ino).is_some_and(|open| open.passthrough > 0) {
            self.divorce(&mut state, ino)?;
            return Err(Errno::STALE.into());
        }
        let is_base = matches!(state.facts(ino)?.kind, Kind::Base(_));
        let handle = Handle::new(ino, write);
        let mut passthrough = None;
        if let (true, Some(blob)) = (is_base, &blob) {
            let plain = state.open(ino).is_some_and(|open| open.handles > open.passthrough);
            // While it is copied it is about to be written: its readers must see that.
            let plain = plain || state.copying.contains(&ino);
            if !write && !truncate && !plain && blob.size >= PASSTHROUGH_BYTES_MIN {
                passthrough = Some(blob.clone());
            }
        }
        if let Some(blob) = blob {
            let _ = handle.blob.set(blob);
        }
        handle.passthrough.store(passthrough.is_some(), Ordering::Relaxed);
        let open = state.open_mut(ino);
        open.handles += 1;
        open.writers += u32::from(write);
        open.passthrough += u32::from(passthrough.is_some());
        let id = state.next_handle();
        state.handles.insert(id, Arc::new(handle));
        drop(state);
        if truncate && let Err(error) = self.truncate(ino, 0) {
            self.release(id);
            return Err(error);
        }
        Ok(Opened { handle: id, clean: is_base && !write && !truncate, passthrough })
    }

    /// The kernel cannot read this open file by itself after all.
    pub fn no_passthrough(&self, handle: u64) {
        let mut state = self.lock();
        let Ok(handle) = state.handle(handle) else { return };
        if handle.passthrough.swap(false, Ordering::Relaxed) {
            let open = state.open_mut(handle.ino);
            open.passthrough = open.passthrough.saturating_sub(1);
        }
    }

    /// Closes an open file.
    pub fn release(&self, handle: u64) {
        let mut state = self.lock();
        let Some(handle) = state.handles.remove(&handle) else { return };
        let ino = handle.ino;
        let passthrough = handle.passthrough.load(Ordering::Relaxed);
        let open = state.open_mut(ino);
        open.handles = open.handles.saturating_sub(1);
        open.writers = open.writers.saturating_sub(u32::from(handle.write));
        open.passthrough = open.passthrough.saturating_sub(u32::from(passthrough));
        let (last, last_writer) = (open.handles == 0, handle.write && open.writers == 0);
        if last_writer && let Err(error) = state.settle(ino) {
            log::warn!("cannot note the time of a change: {error:?}");
        }
        if handle.write {
            state.record(ino);
        }
        if last_writer {
            state.note_settled(ino, None);
        }
        if last {
            if let Some(live) = state.live.get_mut(&ino) {
                live.open = None;
            }
            state.evict(ino);
        }
        self.reap(state);
    }

    /// Where the bytes of an open file are.
    pub fn source(&self, handle: u64) -> Res<Source> {
        let mut state = self.lock();
        let handle = state.handle(handle)?;
        if handle.ino == DOTGIT {
            return Ok(Source::Bytes(self.dotgit_text()));
        }
        match state.facts(handle.ino)?.kind {
            Kind::Upper => Ok(Source::File(state.upper(handle.ino)?)),
            Kind::Base(id) => {
                drop(state);
                let blob = match handle.blob.get() {
                    Some(blob) => blob.clone(),
                    None => self.blob(&id, handle.ino)?,
                };
                Ok(Source::File(Arc::clone(&handle.blob.get_or_init(|| blob).file)))
            }
            _ => Err(Errno::INVAL.into()),
        }
    }

    pub(super) fn blob(&self, id: &ObjectId, ino: Ino) -> Res<Blob> {
        self.open_blob(id).ok_or_else(|| {
            let path = self.lock().path(ino).unwrap_or_default();
            super::Fail::Need(Need::Blob(*id, path))
        })
    }

    /// The target of a symbolic link.
    pub fn readlink(&self, ino: Ino) -> Res<Vec<u8>> {
        match self.facts(ino)?.kind {
            Kind::Link(target) => Ok(target.into()),
            Kind::BaseLink(id) => {
                let blob = self.blob(&id, ino)?;
                if blob.size > LINK_TARGET_BYTES_MAX as u64 {
                    return Err(Errno::NAMETOOLONG.into());
                }
                Ok(Source::File(blob.file).read(0, LINK_TARGET_BYTES_MAX)?)
            }
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// Writes into an open file.
    pub fn write(&self, handle: u64, at: u64, data: &[u8]) -> Res<usize> {
        let file = self.begin_write(handle)?;
        self.write_file(&file, at, data)
    }

    pub(super) fn write_file(&self, file: &File, at: u64, data: &[u8]) -> Res<usize> {
        match file.write_at(data, at) {
            // Removed files may still take up the room.
            Err(error) if error.kind() == io::ErrorKind::StorageFull && self.make_room()? => {
                Ok(file.write_at(data, at)?)
            }
            written => Ok(written?),
        }
    }

    /// Changes how much room a file has (`fallocate`).
    pub fn allocate(&self, handle: u64, mode: i32, at: u64, len: u64) -> Res<()> {
        let flags = allocation(mode)?;
        let file = self.begin_write(handle)?;
        Ok(rustix::fs::fallocate(&*file, flags, at, len).map_err(io::Error::from)?)
    }

    /// Makes an open file's content local and notes that it changes.
    fn begin_write(&self, handle: u64) -> Res<Arc<File>> {
        let handle = self.lock().handle(handle)?;
        if !handle.write {
            return Err(Errno::BADF.into());
        }
        self.open_to_write(handle.ino, None)
    }

    /// Copies a blob into the state directory where that is to be done, of at most `len` bytes, and notes that the file changes.
    pub(super) fn open_to_write(&self, ino: Ino, len: Option<u64>) -> Res<Arc<File>> {
        loop {
            self.copy_up(ino, len)?;
            let mut state = self.lock();
            // It may have been folded back since.
            if matches!(state.facts(ino)?.kind, Kind::Upper) {
                state.begin_write(ino)?;
                return Ok(state.upper(ino)?);
            }
        }
    }

    /// Cuts or lengthens a file.
    pub fn truncate(&self, ino: Ino, size: u64) -> Res<()> {
        self.writable()?;
        if ino == DOTGIT {
            return Err(Errno::PERM.into());
        }
        {
            let mut state = self.lock();
            if state.facts(ino)?.kind.is_dir() {
                return Err(Errno::ISDIR.into());
            }
            if state.open(ino).is_some_and(|open| open.passthrough > 0) {
                self.divorce(&mut state, ino)?;
                return Err(Errno::STALE.into());
            }
        }
        let _under_way = self.writes.begin(ino);
        self.open_to_write(ino, Some(size))?.set_len(size)?;
        let mut state = self.lock();
        if state.open(ino).is_none_or(|open| open.writers == 0) {
            state.settle(ino)?;
            let at = state.open(ino).is_none().then(Instant::now);
            state.note_settled(ino, at);
        }
        Ok(())
    }

    /// Copies a blob into the state directory, where its file is not there yet; of at most `len` bytes.
    fn copy_up(&self, ino: Ino, len: Option<u64>) -> Res<()> {
        let mut state = self.lock();
        let id = loop {
            match state.facts(ino)?.kind {
                Kind::Upper => return Ok(()),
                Kind::Base(_) if state.copying.contains(&ino) => {
                    state = self.copied.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                Kind::Base(id) => break id,
                _ => return Err(Errno::INVAL.into()),
            }
        };
        state.copying.insert(ino);
        drop(state);
        let copied = self.copy_blob(&id, ino, len);
        let mut state = self.lock();
        state.copying.remove(&ino);
        let done = copied.and_then(|()| {
            let mut facts = state.facts(ino)?;
            facts.kind = Kind::Upper;
            state.put(ino, facts)
        });
        if done.is_err() {
            // Nothing names it yet.
            let _ = fs::remove_file(self.upper_path(ino));
        }
        drop(state);
        self.copied.notify_all();
        done?;
        self.objects.diverges(id);
        Ok(())
    }

    fn copy_blob(&self, id: &ObjectId, ino: Ino, len: Option<u64>) -> Res<()> {
        let path = self.upper_path(ino);
        if path.exists() {
            // It was folded back. Until that is durable, a crash may bring it back; and whoever reads it still reads on.
            let journal = self.lock().journal.file();
            journal.sync_data()?;
            fs::remove_file(&path)?;
        }
        if len == Some(0) {
            File::create(path)?;
            return Ok(());
        }
        let kept = {
            let state = self.lock();
            let mut open = state.handles.values().filter(|handle| handle.ino == ino);
            open.find_map(|handle| handle.blob.get().cloned())
        };
        let blob = match kept {
            Some(blob) => blob,
            None => self.blob(id, ino)?,
        };
        // Opened anew: the offset of the shared one belongs to nobody.
        let from = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&*blob.file));
        let mut to = File::create(path)?;
        match File::open(from) {
            Ok(from) => io::copy(&mut from.take(len.unwrap_or(u64::MAX)), &mut to)?,
            Err(_) => copy_at(&blob.file, &to, len.unwrap_or(u64::MAX))?,
        };
        // The record that it replaces the blob must never be more durable than the bytes.
        Ok(to.sync_data()?)
    }

    /// Makes a file's content and its name durable.
    pub fn sync(&self, handle: u64) -> Res<()> {
        let ino = self.lock().handle(handle)?.ino;
        self.sync_inode(ino)
    }

    /// As [`Fs::sync`], of a file that is not known to be open.
    pub fn sync_inode(&self, ino: Ino) -> Res<()> {
        let file = {
            let mut state = self.lock();
            match state.facts(ino)?.kind {
                Kind::Upper if ino != DOTGIT => Some(state.upper(ino)?),
                _ => None,
            }
        };
        if let Some(file) = file {
            file.sync_all()?;
            File::open(self.upper_path(ino).parent().unwrap_or(&self.dir))?.sync_all()?;
            let mut state = self.lock();
            state.publish.remove(&ino);
            state.settle(ino)?;
        }
        Ok(self.sync_journal()?)
    }

    /// Syncs the journal, after the data of files that it gives names to.
    pub fn sync_journal(&self) -> io::Result<()> {
        let (journal, publish, doomed) = {
            let mut state = self.lock();
            state.doomed_bytes = 0;
            let publish = std::mem::take(&mut state.publish);
            (state.journal.file(), publish, std::mem::take(&mut state.doomed))
        };
        let synced = self.sync_uppers(publish.iter().copied()).and_then(|()| journal.sync_data());
        if let Err(error) = synced {
            let mut state = self.lock();
            state.publish.extend(publish);
            state.doomed.extend(doomed);
            return Err(error);
        }
        doomed.into_iter().for_each(|ino| self.remove_doomed(ino));
        Ok(())
    }

    /// Removes a content that nothing names, unless its inode was written again meanwhile: then it is what was written.
    fn remove_doomed(&self, ino: Ino) {
        let state = self.lock();
        let is_upper = |inode: &Inode| inode.facts.kind == Kind::Upper;
        if state.copying.contains(&ino) || state.overlay.inodes.get(&ino).is_some_and(is_upper) {
            return;
        }
        if let Err(error) = fs::remove_file(self.upper_path(ino)) {
            log::warn!("cannot remove the content of a removed file: {error}");
        }
    }

    /// Frees what removed files still take up; `false` where there is nothing.
    pub(super) fn make_room(&self) -> io::Result<bool> {
        if self.lock().doomed.is_empty() {
            return Ok(false);
        }
        self.sync_journal().map(|()| true)
    }

    /// Ends an operation that may have removed files: their contents go once their removal is durable.
    pub(super) fn reap(&self, state: MutexGuard<'_, State>) {
        let due = state.wants_reaping();
        drop(state);
        if due && let Err(error) = self.sync_journal() {
            log::warn!("cannot sync the journal: {error}");
        }
    }

    fn sync_uppers(&self, inos: impl IntoIterator<Item = Ino>) -> io::Result<()> {
        for ino in inos {
            match File::open(self.upper_path(ino)) {
                Ok(file) => file.sync_data()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        let dirty: Vec<Ino> = {
            let mut state = self.lock();
            let inodes = state.overlay.inodes.iter();
            let dirty: Vec<Ino> = inodes.filter(|(_, inode)| inode.dirty).map(|(ino, _)| *ino).collect();
            for ino in &dirty {
                if let Err(super::Fail::Io(error)) = state.settle(*ino) {
                    return Err(error);
                }
            }
            dirty
        };
        self.sync_uppers(dirty)?;
        rustix::fs::syncfs(File::open(&self.dir)?)?;
        self.sync_journal()
    }

    /// Room of the file system that holds the state.
    pub fn room(&self) -> io::Result<rustix::fs::StatVfs> {
        Ok(rustix::fs::statvfs(&self.dir)?)
    }
}

/// What `fallocate` is asked to do, where that can be done.
pub(super) fn allocation(mode: i32) -> Res<FallocateFlags> {
    let flags = FallocateFlags::from_bits(mode as u32).ok_or(Errno::OPNOTSUPP)?;
    let supported = FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE | FallocateFlags::ZERO_RANGE;
    if supported.contains(flags) { Ok(flags) } else { Err(Errno::OPNOTSUPP.into()) }
}

fn copy_at(from: &File, to: &File, len: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 16];
    let mut at = 0;
    while at < len {
        let want = buffer.len().min(usize::try_from(len - at).unwrap_or(usize::MAX));
        let count = from.read_at(&mut buffer[..want], at)?;
        if count == 0 {
            break;
        }
        to.write_all_at(&buffer[..count], at)?;
        at += count as u64;
    }
    Ok(at)
}

impl State {
    pub(super) fn handle(&self, handle: u64) -> Res<Arc<Handle>> {
        Ok(Arc::clone(self.handles.get(&handle).ok_or(Errno::BADF)?))
    }

    /// Notes that a file of the state directory is about to be written, in the journal before the first byte.
    fn begin_write(&mut self, ino: Ino) -> Res<()> {
        let inode = self.overlay.inodes.get(&ino).ok_or(Errno::STALE)?;
        if !inode.dirty && !inode.links.is_empty() {
            self.commit(&[Op::Dirty(ino)])?;
        }
        if let Some(inode) = self.overlay.inodes.get_mut(&ino) {
            let at = later_than(inode.facts.mtime.max(inode.facts.ctime));
            inode.facts.mtime = at;
            inode.facts.ctime = at;
        }
        if self.folding == Some(ino) {
            self.folding = None;
        }
        if self.open(ino).is_none() {
            // No close will tell that it is written.
            self.note_settled(ino, Some(Instant::now()));
        }
        self.record(ino);
        Ok(())
    }

    /// Puts the times of a written file into its record.
    pub(super) fn settle(&mut self, ino: Ino) -> Res<()> {
        let Some(inode) = self.overlay.inodes.get(&ino) else { return Ok(()) };
        if !inode.dirty {
            return Ok(());
        }
        let facts = inode.facts.clone();
        self.put(ino, facts)
    }
}

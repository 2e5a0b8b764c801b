//! Shows git the mounted commit's blobs as an object folder, so that git finds them all at hand.
//!
//! In a partial clone `git commit` first fetches every blob of the index that is missing, and clients that know no partial
//! clones fail at the first one. Here each blob is a loose object: its name costs nothing, and its content comes through
//! the same cache as the files of the mount once somebody opens it. Nothing waits for the network but that.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use cairn_protocol::object::ObjectId;
use fuser::{
    BsdFileFlags, Config, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, Request, SessionUnmounter, TimeOrNow,
};
use rustix::io::Errno as Code;

use super::convert::{errno, nothing};
use super::park::Lot;
use super::shared::lock;
use crate::gitdir::loose::{Loose, Names, stream_bytes};
use crate::limits::NAME_BYTES_MAX;
use crate::port::Objects;

const TTL: Duration = Duration::from_secs(24 * 3600);
const GENERATION: Generation = Generation(0);
/// The root; then the folders `00` to `ff`, then the objects.
const ROOT: u64 = 1;
const SHELF_FIRST: u64 = 2;
const OBJECT_FIRST: u64 = SHELF_FIRST + 256;

struct View {
    names: Arc<Names>,
    objects: Arc<dyn Objects>,
    at: SystemTime,
    owner: (u32, u32),
    open: Arc<Mutex<HashMap<u64, Arc<Loose>>>>,
    next: Arc<AtomicU64>,
    lot: Arc<Lot>,
}

/// The mounted object folder. Dropping it unmounts.
pub struct ObjectFolder(SessionUnmounter);

/// Mounts the object folder. It serves when this returns.
pub fn serve(
    names: Arc<Names>,
    objects: Arc<dyn Objects>,
    mountpoint: &Path,
    fsname: &str,
    deadline: Duration,
) -> io::Result<ObjectFolder> {
    let view = View {
        names,
        objects,
        at: SystemTime::now(),
        owner: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        open: Arc::default(),
        next: Arc::new(AtomicU64::new(1)),
        lot: Lot::new(deadline)?,
    };
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(fsname.to_owned()),
        MountOption::Subtype("cairn-objects".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
        MountOption::RW,
    ];
    config.n_threads = Some(1);
    let mut session = fuser::Session::new(view, mountpoint, &config).map_err(super::device::explain)?;
    let unmounter = session.unmount_callable();
    std::thread::Builder::new().name("cairn-objects".to_owned()).spawn(move || {
        if let Err(error) = session.run() {
            log::warn!("the object folder is gone: {error}");
        }
    })?;
    Ok(ObjectFolder(unmounter))
}

impl Drop for ObjectFolder {
    fn drop(&mut self) {
        if let Err(error) = self.0.unmount() {
            log::warn!("cannot unmount the object folder: {error}");
        }
    }
}

/// Two lower-case hex digits.
fn shelf_of(name: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(name).ok().filter(|text| text.len() == 2)?;
    u8::from_str_radix(text, 16).ok().filter(|byte| format!("{byte:02x}") == text)
}

impl View {
    fn attr(&self, ino: u64, kind: FileType, size: u64) -> FileAttr {
        let perm = if kind == FileType::Directory { 0o755 } else { 0o444 };
        let (at, (uid, gid)) = (self.at, self.owner);
        let ino = INodeNo(ino);
        FileAttr { ino, size, kind, perm, uid, gid, nlink: 1, atime: at, mtime: at, ctime: at, ..nothing() }
    }

    /// The object of an inode.
    fn object(&self, ino: u64) -> Option<(usize, ObjectId)> {
        let place = usize::try_from(ino.checked_sub(OBJECT_FIRST)?).ok()?;
        Some((place, self.names.at(place)?))
    }

    /// The attributes, and for how long they hold: an object of unknown size has none before it is opened.
    fn attr_of(&self, ino: u64) -> Option<(FileAttr, Duration)> {
        if ino < OBJECT_FIRST {
            return Some((self.attr(ino, FileType::Directory, 4096), TTL));
        }
        let (_, id) = self.object(ino)?;
        let known = self.objects.size(&id);
        let ttl = if known.is_some() { TTL } else { Duration::ZERO };
        Some((self.attr(ino, FileType::RegularFile, known.map_or(0, stream_bytes)), ttl))
    }

    fn find(&self, parent: u64, name: &[u8]) -> Option<u64> {
        if parent == ROOT {
            return shelf_of(name).map(|byte| SHELF_FIRST + u64::from(byte));
        }
        let first = u8::try_from(parent.checked_sub(SHELF_FIRST)?).ok()?;
        let hex = [format!("{first:02x}").as_bytes(), name].concat();
        let id = ObjectId::from_hex(self.objects.algo(), &hex)?;
        self.names.find(&id).map(|place| OBJECT_FIRST + place as u64)
    }

    fn entry(&self, ino: u64, place: u64) -> Option<(u64, FileType, String)> {
        match place {
            0 => Some((ino, FileType::Directory, ".".to_owned())),
            1 => Some((ROOT, FileType::Directory, "..".to_owned())),
            _ if ino == ROOT => {
                let byte = u8::try_from(place - 2).ok()?;
                Some((SHELF_FIRST + u64::from(byte), FileType::Directory, format!("{byte:02x}")))
            }
            _ => {
                let shelf = self.names.shelf(u8::try_from(ino.checked_sub(SHELF_FIRST)?).ok()?);
                let at = shelf.start + usize::try_from(place - 2).ok()?;
                let id = self.names.at(at).filter(|_| shelf.contains(&at))?.to_string();
                Some((OBJECT_FIRST + at as u64, FileType::RegularFile, id.get(2..)?.to_owned()))
            }
        }
    }
}

impl Filesystem for View {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name.len() > NAME_BYTES_MAX {
            return reply.error(errno(Code::NAMETOOLONG.raw_os_error()));
        }
        match self.find(parent.0, name.as_bytes()).and_then(|ino| self.attr_of(ino)) {
            Some((attr, ttl)) => reply.entry_with_ttls(&TTL, &ttl, &attr, GENERATION),
            None => reply.entry(&TTL, &nothing(), GENERATION),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr_of(ino.0) {
            Some((attr, ttl)) => reply.attr(&ttl, &attr),
            None => reply.error(errno(Code::STALE.raw_os_error())),
        }
    }

    /// git marks an object as used by its time. There is nothing to be kept from being pruned here.
    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let more = mode.is_some() || uid.is_some() || gid.is_some() || size.is_some();
        match self.attr_of(ino.0) {
            Some((attr, ttl)) if !more => reply.attr(&ttl, &attr),
            _ => reply.error(errno(Code::PERM.raw_os_error())),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.0 & 0o3 != 0 {
            return reply.error(errno(Code::ROFS.raw_os_error()));
        }
        let Some((place, id)) = self.object(ino.0) else {
            return reply.error(errno(Code::ISDIR.raw_os_error()));
        };
        let (open, next) = (Arc::clone(&self.open), Arc::clone(&self.next));
        // Answered once, by what comes or by the deadline.
        let got = Arc::new(Mutex::new(None));
        let taken = Arc::clone(&got);
        let ticket = self.lot.park(Box::new(move |how| match (how, lock(&taken).take()) {
            (Ok(()), Some(blob)) => {
                let handle = next.fetch_add(1, Ordering::Relaxed);
                lock(&open).insert(handle, Arc::new(Loose::new(blob)));
                reply.opened(FileHandle(handle), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH);
            }
            (how, _) => {
                log::warn!("object {id} could not be fetched: {how:?}");
                reply.error(errno(Code::IO.raw_os_error()));
            }
        }));
        let done = Box::new(move |came| match came {
            Ok(blob) => {
                *lock(&got) = Some(blob);
                ticket.end(Ok(()));
            }
            Err(error) => ticket.end(Err(error)),
        });
        self.objects.want_for_git(id, self.names.path(place), done);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        at: u64,
        len: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let loose = lock(&self.open).get(&handle.0).cloned();
        match loose.map(|loose| loose.read(at, len as usize)) {
            Some(Ok(data)) => reply.data(&data),
            Some(Err(_)) => reply.error(errno(Code::IO.raw_os_error())),
            None => reply.error(errno(Code::BADF.raw_os_error())),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.open).remove(&handle.0);
        reply.ok();
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // The names never change: the kernel keeps them.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, at: u64, mut reply: ReplyDirectory) {
        for place in at.. {
            let Some((found, kind, name)) = self.entry(ino.0, place) else { break };
            if reply.add(INodeNo(found), place + 1, kind, &name) {
                break;
            }
        }
        reply.ok();
    }
}

//! Each request of the kernel: what it asks of the core, and the answer.
//!
//! A request that needs what is not local is parked; the thread that read it goes on with the next.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};
use rustix::io::Errno as Code;

use super::convert::{attr, errno, kind, nothing, set_time};
use super::features;
use super::park::Lot;
use super::shared::{ATTEMPTS, Notices, Shared, lock, run};
use crate::errno as errnos;
use crate::fs::{
    Attr, Fail, FileKind, Fs, NO_HANDLE, New, PLACE_RESERVED_MAX, Rename, Res, SetAttr, Source, XATTR_PREFIX,
};
use crate::limits::NAME_BYTES_MAX;
use crate::overlay::Ino;

/// The kernel keeps what it was told for a day: all changes go through it.
const TTL: Duration = Duration::from_secs(24 * 3600);
const GENERATION: Generation = Generation(0);

pub(super) struct Adapter(Arc<Shared>);

impl Adapter {
    pub(super) fn new(
        fs: Arc<Fs>,
        served: Arc<AtomicU64>,
        wants_passthrough: bool,
    ) -> io::Result<(Self, Notices)> {
        let (send, receive) = channel();
        let shared = Shared {
            lot: Lot::new(fs.options().read_deadline)?,
            fs,
            served,
            notices: Mutex::new(send),
            wants_passthrough,
            passthrough: AtomicBool::new(false),
            stateless_files: AtomicBool::new(false),
            stateless_dirs: AtomicBool::new(false),
            parked_bytes: Arc::default(),
            backing: Mutex::default(),
            backed: Mutex::default(),
        };
        Ok((Self(Arc::new(shared)), Notices(receive)))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    fn run<T, O, A>(&self, op: O, answer: A)
    where
        O: Fn(&Fs) -> Res<T> + Send + 'static,
        A: FnOnce(&Arc<Shared>, Result<T, i32>) + Send + 'static,
    {
        self.0.served.fetch_add(1, Ordering::Relaxed);
        run(&self.0, ATTEMPTS, op, answer);
    }

    fn empty(&self, reply: ReplyEmpty, op: impl Fn(&Fs) -> Res<()> + Send + 'static) {
        self.run(op, |_, result| match result {
            Ok(()) => reply.ok(),
            Err(code) => reply.error(errno(code)),
        });
    }

    fn entry(&self, reply: ReplyEntry, op: impl Fn(&Fs) -> Res<Attr> + Send + 'static) {
        self.run(op, |_, result| match result {
            Ok(found) => reply.entry(&TTL, &attr(&found), GENERATION),
            Err(code) => reply.error(errno(code)),
        });
    }

    fn attr(&self, reply: ReplyAttr, op: impl Fn(&Fs) -> Res<Attr> + Send + 'static) {
        self.run(op, |_, result| match result {
            Ok(found) => reply.attr(&TTL, &attr(&found)),
            Err(code) => reply.error(errno(code)),
        });
    }

    /// For operations that may leave an inode with other names: its count of names changed behind the kernel's back.
    fn unlinking(&self, reply: ReplyEmpty, op: impl Fn(&Fs) -> Res<Option<Ino>> + Send + 'static) {
        self.run(op, |shared, result| match result {
            Ok(left) => {
                reply.ok();
                if let Some(ino) = left {
                    let _ = lock(&shared.notices).send(ino);
                }
            }
            Err(code) => reply.error(errno(code)),
        });
    }
}

fn is_write(flags: OpenFlags) -> bool {
    flags.0 & 0o3 != 0
}

const O_TRUNC: i32 = 0o1000;
const O_EXCL: i32 = 0o200;
const XATTR_CREATE: i32 = 1;
const XATTR_REPLACE: i32 = 2;
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// Where the bytes of an open file are. One that the kernel opened without asking has no handle.
fn source(fs: &Fs, ino: INodeNo, handle: FileHandle) -> Res<Source> {
    if handle.0 == NO_HANDLE { fs.source_of(ino.0) } else { fs.source(handle.0) }
}

fn send_xattr(reply: ReplyXattr, size: u32, result: Result<Vec<u8>, i32>) {
    match result {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > size as usize => reply.error(errno(Code::RANGE.raw_os_error())),
        Ok(value) => reply.data(&value),
        Err(code) => reply.error(errno(code)),
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        features::ask(&self.0, config);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.as_bytes().to_vec();
        self.run(
            move |fs| fs.lookup(parent.0, &name),
            |_, result| match result {
                Ok(found) => reply.entry(&TTL, &attr(&found), GENERATION),
                Err(code) if code == Code::NOENT.raw_os_error() => reply.entry(&TTL, &nothing(), GENERATION),
                Err(code) => reply.error(errno(code)),
            },
        );
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        self.0.fs.forget(ino.0, count);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.attr(reply, move |fs| fs.getattr(ino.0));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = SetAttr { mode, uid, gid, atime: atime.map(set_time), mtime: mtime.map(set_time) };
        self.attr(reply, move |fs| {
            if let Some(size) = size {
                fs.truncate(ino.0, size)?;
            }
            let more = mode.is_some() || uid.is_some() || gid.is_some() || atime.is_some() || mtime.is_some();
            if more { fs.setattr(ino.0, set) } else { fs.getattr(ino.0) }
        });
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        self.run(
            move |fs| fs.readlink(ino.0),
            |_, result| match result {
                Ok(target) => reply.data(&target),
                Err(code) => reply.error(errno(code)),
            },
        );
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        device: u32,
        reply: ReplyEntry,
    ) {
        let (name, owner) = (name.as_bytes().to_vec(), (request.uid(), request.gid()));
        self.entry(reply, move |fs| {
            let new = match mode & 0o170_000 {
                0 | 0o100_000 => New::File,
                0o010_000 => New::Fifo,
                0o140_000 => New::Socket,
                0o060_000 => New::Block(device),
                0o020_000 => New::Char(device),
                _ => return Err(Code::PERM.into()),
            };
            fs.make(parent.0, &name, new, mode, owner)
        });
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let (name, owner) = (name.as_bytes().to_vec(), (request.uid(), request.gid()));
        self.entry(reply, move |fs| fs.make(parent.0, &name, New::Dir, mode, owner));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (name, owner) = (name.as_bytes().to_vec(), (request.uid(), request.gid()));
        let target = target.as_os_str().as_bytes().to_vec();
        self.entry(reply, move |fs| fs.make(parent.0, &name, New::Link(&target), 0o777, owner));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.as_bytes().to_vec();
        self.entry(reply, move |fs| fs.link(ino.0, parent.0, &name));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.unlinking(reply, move |fs| fs.unlink(parent.0, &name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.empty(reply, move |fs| fs.rmdir(parent.0, &name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (name, new_name) = (name.as_bytes().to_vec(), new_name.as_bytes().to_vec());
        self.unlinking(reply, move |fs| {
            let how = if flags.is_empty() {
                Rename::Replace
            } else if flags == RenameFlags::RENAME_NOREPLACE {
                Rename::NoReplace
            } else if flags == RenameFlags::RENAME_EXCHANGE {
                Rename::Exchange
            } else {
                return Err(Code::INVAL.into());
            };
            fs.rename((parent.0, &name), (new_parent.0, &new_name), how)
        });
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if self.0.stateless_files.load(Ordering::Relaxed) {
            // The kernel asks this once.
            return reply.error(errno(Code::NOSYS.raw_os_error()));
        }
        let (write, truncate) = (is_write(flags), flags.0 & O_TRUNC != 0);
        self.run(
            move |fs| fs.open_file(ino.0, write, truncate),
            move |shared, result| match result {
                Ok(opened) => shared.opened(ino.0, opened, reply),
                Err(code) => reply.error(errno(code)),
            },
        );
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (name, owner) = (name.as_bytes().to_vec(), (request.uid(), request.gid()));
        let write = flags & 0o3 != 0;
        let stateless = self.0.stateless_files.load(Ordering::Relaxed);
        let op = move |fs: &Fs| {
            let found = match fs.make(parent.0, &name, New::File, mode, owner) {
                Err(Fail::Io(error))
                    if flags & O_EXCL == 0 && error.raw_os_error() == Some(Code::EXIST.raw_os_error()) =>
                {
                    fs.lookup(parent.0, &name)?
                }
                made => made?,
            };
            if stateless {
                // A file that is new has nothing that could be cut.
                if flags & O_TRUNC != 0
                    && found.size > 0
                    && let Err(error) = fs.truncate(found.ino, 0)
                {
                    fs.forget(found.ino, 1);
                    return Err(error);
                }
                return Ok((fs.getattr(found.ino)?, None));
            }
            match fs.open_file(found.ino, write, flags & O_TRUNC != 0) {
                Ok(opened) => Ok((fs.getattr(found.ino)?, Some(opened))),
                Err(error) => {
                    fs.forget(found.ino, 1);
                    Err(error)
                }
            }
        };
        self.run(op, |shared, result| match result {
            Ok((found, opened)) => {
                let handle = opened.as_ref().map_or(NO_HANDLE, |opened| opened.handle);
                if opened.is_some_and(|opened| opened.passthrough.is_some()) {
                    shared.fs.no_passthrough(handle);
                }
                let flags = FopenFlags::FOPEN_KEEP_CACHE;
                reply.created(&TTL, &attr(&found), GENERATION, FileHandle(handle), flags);
            }
            Err(code) => reply.error(errno(code)),
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        at: u64,
        len: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.run(
            move |fs| Ok(source(fs, ino, handle)?.read(at, len as usize)?),
            |_, result| match result {
                Ok(data) => reply.data(&data),
                Err(code) => reply.error(errno(code)),
            },
        );
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        at: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if handle.0 == NO_HANDLE {
            return self.write_inode(ino.0, at, data, reply);
        }
        // A file that is open for writing has its content at hand: this never waits for the network.
        let result = catch_unwind(AssertUnwindSafe(|| self.0.fs.write(handle.0, at, data)));
        match result {
            Ok(Ok(count)) => reply.written(count as u32),
            Ok(Err(Fail::Io(error))) => reply.error(errno(errnos::of(&error))),
            Ok(Err(Fail::Need(_))) | Err(_) => reply.error(errno(Code::IO.raw_os_error())),
        }
    }

    /// There is nothing to be done at a close that its release does not do: after this the kernel asks no more.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(errno(Code::NOSYS.raw_os_error()));
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let shared = Arc::clone(&self.0);
        self.empty(reply, move |_| {
            shared.released(ino.0, handle.0);
            Ok(())
        });
    }

    fn fsync(&self, _: &Request, ino: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        self.empty(reply, move |fs| match handle.0 {
            NO_HANDLE => fs.sync_inode(ino.0),
            handle => fs.sync(handle),
        });
    }

    /// Listings need no handle. A kernel that can do without asks this once, and keeps listings by itself from then on.
    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.0.stateless_dirs.load(Ordering::Relaxed) {
            return reply.error(errno(Code::NOSYS.raw_os_error()));
        }
        reply.opened(FileHandle(0), FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, at: u64, mut reply: ReplyDirectory) {
        let op = move |fs: &Fs| Ok((fs.list_from(ino.0, at)?, fs.parent(ino.0)));
        self.run(op, move |_, result| {
            let (left, parent) = match result {
                Ok(found) => found,
                Err(code) => return reply.error(errno(code)),
            };
            let dots: [(u64, _, &[u8]); 2] = [(1, ino.0, b"."), (PLACE_RESERVED_MAX, parent, b"..")];
            let dots = dots.into_iter().map(|(place, found, name)| (place, found, FileKind::Dir, name));
            let names = left.iter().map(|one| (one.place, one.ino, one.kind, &one.name[..]));
            for (place, found, file_kind, name) in dots.filter(|dot| dot.0 > at).chain(names) {
                if reply.add(INodeNo(found), place, kind(file_kind), OsStr::from_bytes(name)) {
                    break;
                }
            }
            reply.ok();
        });
    }

    /// Asked by all who want to know whether a file is a terminal. Without this each question is a line in the log.
    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: fuser::IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: fuser::ReplyIoctl,
    ) {
        reply.error(errno(Code::NOTTY.raw_os_error()));
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, _: FileHandle, at: u64, mut reply: ReplyDirectoryPlus) {
        let op = move |fs: &Fs| {
            let parent = fs.getattr(fs.parent(ino.0))?;
            Ok((fs.list_from(ino.0, at)?, fs.getattr(ino.0)?, parent))
        };
        self.run(op, move |shared, result| {
            let (left, this, parent) = match result {
                Ok(found) => found,
                Err(code) => return reply.error(errno(code)),
            };
            // The kernel takes no reference for the first two.
            for (place, dot, name) in [(1, &this, "."), (PLACE_RESERVED_MAX, &parent, "..")] {
                let number = INodeNo(dot.ino);
                if place > at && reply.add(number, place, name, &TTL, &attr(dot), GENERATION) {
                    return reply.ok();
                }
            }
            for one in left.iter() {
                // It may have been removed since the listing was made.
                let Ok((found, known)) = shared.fs.lookup_listed(ino.0, &one.name) else {
                    continue;
                };
                let ttl = if known { TTL } else { Duration::ZERO };
                let (number, name) = (INodeNo(found.ino), OsStr::from_bytes(&one.name));
                if reply.add(number, one.place, name, &ttl, &attr(&found), GENERATION) {
                    shared.fs.forget(found.ino, 1);
                    break;
                }
            }
            reply.ok();
        });
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.empty(reply, |fs| Ok(fs.sync_journal()?));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.run(
            |fs| Ok(fs.room()?),
            |_, result| match result {
                Ok(room) => reply.statfs(
                    room.f_blocks,
                    room.f_bfree,
                    room.f_bavail,
                    room.f_files,
                    room.f_ffree,
                    room.f_bsize as u32,
                    NAME_BYTES_MAX as u32,
                    room.f_frsize as u32,
                ),
                Err(code) => reply.error(errno(code)),
            },
        );
    }

    fn setxattr(
        &self,
        _: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let (name, value) = (name.as_bytes().to_vec(), value.to_vec());
        let (create, replace) = (flags & XATTR_CREATE != 0, flags & XATTR_REPLACE != 0);
        self.empty(reply, move |fs| fs.setxattr(ino.0, &name, &value, create, replace));
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !name.as_bytes().starts_with(XATTR_PREFIX) {
            // `ls -l` asks each file for its security label: there are none.
            self.0.served.fetch_add(1, Ordering::Relaxed);
            return reply.error(errno(Code::NODATA.raw_os_error()));
        }
        let name = name.as_bytes().to_vec();
        self.run(move |fs| fs.getxattr(ino.0, &name), move |_, result| send_xattr(reply, size, result));
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.run(move |fs| fs.listxattr(ino.0), move |_, result| send_xattr(reply, size, result));
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.empty(reply, move |fs| fs.removexattr(ino.0, &name));
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        at: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.empty(reply, move |fs| match handle.0 {
            NO_HANDLE => fs.allocate_inode(ino.0, mode, at, len),
            handle => fs.allocate(handle, mode, at, len),
        });
    }

    fn lseek(&self, _: &Request, ino: INodeNo, handle: FileHandle, at: i64, whence: i32, reply: ReplyLseek) {
        let op = move |fs: &Fs| match (u64::try_from(at), whence) {
            (Ok(at), SEEK_DATA) => Ok(source(fs, ino, handle)?.seek(at, true)?),
            (Ok(at), SEEK_HOLE) => Ok(source(fs, ino, handle)?.seek(at, false)?),
            (Err(_), SEEK_DATA | SEEK_HOLE) => Err(Code::NXIO.into()),
            _ => Err(Code::INVAL.into()),
        };
        self.run(op, |_, result| match result {
            Ok(at) => reply.offset(at as i64),
            Err(code) => reply.error(errno(code)),
        });
    }

    /// The kernel copies by reading and writing instead.
    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: fuser::CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(errno(Code::OPNOTSUPP.raw_os_error()));
    }
}

//! Between the core's words and the kernel's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, INodeNo, TimeOrNow};

use crate::fs::{Attr, FileKind, stamp};
use crate::overlay::Stamp;

pub(super) fn errno(code: i32) -> Errno {
    Errno::from_i32(code)
}

pub(super) fn kind(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Dir => FileType::Directory,
        FileKind::Link => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::Block(_) => FileType::BlockDevice,
        FileKind::Char(_) => FileType::CharDevice,
    }
}

fn time(at: Stamp) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(at.nanos));
    let whole = Duration::from_secs(at.secs.unsigned_abs());
    let seconds = if at.secs < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    seconds.and_then(|seconds| seconds.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

pub(super) fn set_time(at: TimeOrNow) -> Option<Stamp> {
    match at {
        TimeOrNow::SpecificTime(at) => Some(stamp(at)),
        TimeOrNow::Now => None,
    }
}

pub(super) fn attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: time(attr.atime),
        mtime: time(attr.mtime),
        ctime: time(attr.ctime),
        crtime: UNIX_EPOCH,
        kind: kind(attr.kind),
        perm: attr.mode as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: match attr.kind {
            FileKind::Block(device) | FileKind::Char(device) => device,
            _ => 0,
        },
        blksize: 4096,
        flags: 0,
    }
}

/// The answer for a name that is not there; the kernel remembers it.
pub(super) fn nothing() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

//! What the kernel is told about an error: the one place that picks an errno.

use std::io::{self, ErrorKind};

use rustix::io::Errno;

/// The errno for an error of the filesystem. What carries none of its own and is no known kind is `EIO`.
pub fn of(error: &io::Error) -> i32 {
    if let Some(errno) = error.raw_os_error() {
        return errno;
    }
    let errno = match error.kind() {
        ErrorKind::StorageFull => Errno::NOSPC,
        ErrorKind::QuotaExceeded => Errno::DQUOT,
        ErrorKind::FileTooLarge => Errno::FBIG,
        ErrorKind::PermissionDenied => Errno::ACCESS,
        ErrorKind::OutOfMemory => Errno::NOMEM,
        ErrorKind::ReadOnlyFilesystem => Errno::ROFS,
        // A missing object must not look like a missing file; a late one fails as a broken disk does.
        _ => Errno::IO,
    };
    errno.raw_os_error()
}

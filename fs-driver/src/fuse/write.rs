//! Writes into files that the kernel opened without asking: the first one into an unchanged file may have to wait for its content.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fuser::ReplyWrite;
use rustix::io::Errno as Code;

use super::adapter::Adapter;
use super::convert::errno;
use super::shared::{ATTEMPTS, run};
use crate::errno as errnos;
use crate::fs::Fail;
use crate::limits::PARKED_WRITE_BYTES_MAX;
use crate::overlay::Ino;

/// Data of a write that waits.
struct Parked {
    data: Vec<u8>,
    all_bytes: Arc<AtomicUsize>,
}

impl Parked {
    /// `None` where too much waits already.
    fn new(all_bytes: &Arc<AtomicUsize>, data: &[u8]) -> Option<Self> {
        let before = all_bytes.fetch_add(data.len(), Ordering::Relaxed);
        if before.saturating_add(data.len()) > PARKED_WRITE_BYTES_MAX {
            all_bytes.fetch_sub(data.len(), Ordering::Relaxed);
            return None;
        }
        Some(Self { data: data.to_vec(), all_bytes: Arc::clone(all_bytes) })
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.all_bytes.fetch_sub(self.data.len(), Ordering::Relaxed);
    }
}

impl Adapter {
    pub(super) fn write_inode(&self, ino: Ino, at: u64, data: &[u8], reply: ReplyWrite) {
        let shared = self.shared();
        shared.served.fetch_add(1, Ordering::Relaxed);
        let code = match catch_unwind(AssertUnwindSafe(|| shared.fs.write_inode(ino, at, data))) {
            Ok(Ok(written)) => {
                reply.written(written.count as u32);
                return drop(written);
            }
            Ok(Err(Fail::Need(_))) => match Parked::new(&shared.parked_bytes, data) {
                Some(parked) => {
                    let op = move |fs: &crate::fs::Fs| fs.write_inode(ino, at, &parked.data);
                    return run(shared, ATTEMPTS, op, |_, result| match result {
                        Ok(written) => {
                            reply.written(written.count as u32);
                            drop(written);
                        }
                        Err(code) => reply.error(errno(code)),
                    });
                }
                None => {
                    log::warn!("{PARKED_WRITE_BYTES_MAX} bytes of writes wait already: one more is refused");
                    Code::IO.raw_os_error()
                }
            },
            Ok(Err(Fail::Io(error))) => errnos::of(&error),
            Err(_) => Code::IO.raw_os_error(),
        };
        reply.error(errno(code));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{PARKED_WRITE_BYTES_MAX, Parked};

    #[test]
    fn so_many_bytes_of_writes_wait_and_no_more() {
        let all = Arc::new(AtomicUsize::new(PARKED_WRITE_BYTES_MAX - 3));
        let last = Parked::new(&all, b"abc").expect("it fits");
        assert!(Parked::new(&all, b"d").is_none(), "one past it");
        drop(last);
        assert_eq!(
            all.load(Ordering::Relaxed),
            PARKED_WRITE_BYTES_MAX - 3,
            "what was refused counts no more"
        );
    }
}

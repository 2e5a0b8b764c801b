//! Contents of files that the kernel opens without asking: each request names the inode alone.
//!
//! Nobody knows then who has a file open. A content stays as long as the kernel refers to its inode, with or without a name.
//! Files of the state directory and of the cache that were used lately are left open, so that the next request finds them.

use std::fs::File;
use std::io;
use std::sync::{Arc, PoisonError};

use rustix::io::Errno;

use super::writes::Writing;
use super::{Fail, Fs, Res, Source};
use crate::overlay::{DOTGIT, Ino, Kind};

/// What was written.
pub struct Written {
    /// Bytes.
    pub count: usize,
    /// To be dropped once the kernel was told.
    pub under_way: Writing,
}

impl Fs {
    /// Where the bytes of a file are.
    pub fn source_of(&self, ino: Ino) -> Res<Source> {
        if ino == DOTGIT {
            return Ok(Source::Bytes(self.dotgit_text()));
        }
        let id = {
            let mut state = self.lock();
            match state.facts(ino)?.kind {
                Kind::Upper => return Ok(Source::File(state.upper(ino)?)),
                Kind::Base(id) => id,
                _ => return Err(Errno::INVAL.into()),
            }
        };
        let held = self.read_lately.lock().unwrap_or_else(PoisonError::into_inner).get(&id);
        let blob = match held {
            Some(blob) => blob,
            None => {
                let blob = self.blob(&id, ino)?;
                self.read_lately.lock().unwrap_or_else(PoisonError::into_inner).put(id, blob.clone());
                blob
            }
        };
        Ok(Source::File(blob.file))
    }

    /// Writes into a file. An unchanged one is copied first, and may have to be fetched.
    pub fn write_inode(&self, ino: Ino, at: u64, data: &[u8]) -> Res<Written> {
        let (file, under_way) = self.begin_write_inode(ino)?;
        let count = self.write_file(&file, at, data)?;
        Ok(Written { count, under_way })
    }

    /// Changes how much room a file has (`fallocate`).
    pub fn allocate_inode(&self, ino: Ino, mode: i32, at: u64, len: u64) -> Res<()> {
        let flags = super::data::allocation(mode)?;
        let (file, _under_way) = self.begin_write_inode(ino)?;
        Ok(rustix::fs::fallocate(&*file, flags, at, len).map_err(io::Error::from)?)
    }

    fn begin_write_inode(&self, ino: Ino) -> Res<(Arc<File>, Writing)> {
        self.writable()?;
        if ino == DOTGIT {
            return Err(Errno::PERM.into());
        }
        let under_way = self.writes.begin(ino);
        match self.open_to_write(ino, None) {
            Ok(file) => Ok((file, under_way)),
            Err(error) => {
                if matches!(error, Fail::Need(_)) {
                    // It will change; whoever asks meanwhile has to look.
                    self.lock().record(ino);
                }
                Err(error)
            }
        }
    }

    /// Closes what was not used lately.
    pub fn close_idle(&self) {
        let blobs = self.read_lately.lock().unwrap_or_else(PoisonError::into_inner).take_old();
        drop(blobs);
        let files = self.lock().uppers.take_old();
        drop(files);
    }
}

//! The journal: a checkpoint of the overlay and a log of what came after, both made of frames.
//!
//! A frame is the length of its payload, a CRC-32 of it, and the payload: records that take effect together. A log may
//! end in half a frame after a crash: what is in front of it counts, the rest is cut off. A checkpoint is written beside
//! the old one and renamed over it, so it is whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;

use super::codec::{Reader, encode};
use super::{Meta, Op, Overlay, ROOT};
use crate::limits::{JOURNAL_BYTES_MAX, JOURNAL_FRAME_BYTES_MAX, JOURNAL_RESERVE_BYTES};

const CHECKPOINT: &str = "checkpoint";
const FRAME_HEAD_BYTES: usize = 8;

/// The open log of a state directory.
pub struct Journal {
    dir: PathBuf,
    file: Arc<File>,
    len: u64,
    meta: Meta,
    checkpoint_bytes: u64,
    /// Up to here the disk has room for the log: on a full disk files can still be removed.
    reserved: u64,
    broken: bool,
}

impl Journal {
    /// Opens the state in `dir`, or starts it with what `fresh` gives.
    pub fn open(dir: &Path, fresh: impl FnOnce() -> (Meta, Overlay)) -> io::Result<(Self, Overlay)> {
        let path = dir.join(CHECKPOINT);
        let (meta, mut overlay) = match File::open(&path) {
            Ok(file) => read_checkpoint(file)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (meta, overlay) = fresh();
                create_log(dir, meta.generation)?;
                write_checkpoint(dir, &meta, &overlay)?;
                (meta, overlay)
            }
            Err(error) => return Err(error),
        };
        let checkpoint_bytes = fs::metadata(&path)?.len();
        // It is made and synced before the checkpoint that names it.
        let file = OpenOptions::new().read(true).write(true).open(log_path(dir, meta.generation))?;
        let len = replay(&file, &mut overlay)?;
        file.set_len(len)?;
        remove_other_logs(dir, meta.generation)?;
        let journal = Self {
            reserved: 0,
            dir: dir.to_owned(),
            file: Arc::new(file),
            len,
            meta,
            checkpoint_bytes,
            broken: false,
        };
        Ok((journal, overlay))
    }

    /// What holds for the whole state.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Adds records that take effect together. After an error none of them is in the log.
    pub fn append(&mut self, ops: &[Op]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("the journal could not be mended after a failed write"));
        }
        let frame = frame(ops)?;
        self.reserve(frame.len() as u64);
        if let Err(error) = self.file.write_all_at(&frame, self.len) {
            self.broken = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len += frame.len() as u64;
        Ok(())
    }

    fn reserve(&mut self, more: u64) {
        let end = self.len + more;
        // Half of the room is kept for when there is no more.
        if end + JOURNAL_RESERVE_BYTES / 2 <= self.reserved {
            return;
        }
        let flags = FallocateFlags::KEEP_SIZE;
        if rustix::fs::fallocate(&*self.file, flags, end, JOURNAL_RESERVE_BYTES).is_ok() {
            self.reserved = end + JOURNAL_RESERVE_BYTES;
        }
    }

    /// The log, to be synced without a lock held. Whoever syncs it has all that was appended before.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Whether the log is long enough to be folded.
    pub fn wants_checkpoint(&self) -> bool {
        self.len > JOURNAL_BYTES_MAX.max(2 * self.checkpoint_bytes)
    }

    /// Writes the whole overlay and starts an empty log. After an error the old ones still hold.
    pub fn checkpoint(&mut self, overlay: &Overlay) -> io::Result<()> {
        let meta = Meta { generation: self.meta.generation + 1, ..self.meta };
        let file = create_log(&self.dir, meta.generation)?;
        self.checkpoint_bytes = write_checkpoint(&self.dir, &meta, overlay)?;
        let old = log_path(&self.dir, self.meta.generation);
        (self.file, self.len, self.meta, self.broken) = (Arc::new(file), 0, meta, false);
        self.reserved = 0;
        fs::remove_file(old)
    }
}

fn log_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("journal.{generation}"))
}

fn create_log(dir: &Path, generation: u64) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(log_path(dir, generation))?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok(file)
}

fn remove_other_logs(dir: &Path, generation: u64) -> io::Result<()> {
    let keep = format!("journal.{generation}");
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("journal.") && *name != *keep || *name == *"checkpoint.tmp" {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn frame(ops: &[Op]) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; FRAME_HEAD_BYTES];
    ops.iter().for_each(|op| encode(op, &mut frame));
    let len = frame.len() - FRAME_HEAD_BYTES;
    if len > JOURNAL_FRAME_BYTES_MAX {
        let text = format!("a journal frame of {len} bytes: at most {JOURNAL_FRAME_BYTES_MAX} are allowed");
        return Err(io::Error::new(ErrorKind::FileTooLarge, text));
    }
    let crc = crc32fast::hash(&frame[FRAME_HEAD_BYTES..]);
    frame[..4].copy_from_slice(&(len as u32).to_le_bytes());
    frame[4..FRAME_HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    Ok(frame)
}

fn write_checkpoint(dir: &Path, meta: &Meta, overlay: &Overlay) -> io::Result<u64> {
    let tmp = dir.join("checkpoint.tmp");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = io::BufWriter::new(options.open(&tmp)?);
    let all = std::iter::once(Op::Meta(*meta)).chain(overlay.ops()).chain(std::iter::once(Op::End));
    // One record in a frame: the file counts as a whole, so that nothing is gained by larger ones.
    for op in all {
        file.write_all(&frame(&[op])?)?;
    }
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    fs::rename(&tmp, dir.join(CHECKPOINT))?;
    File::open(dir)?.sync_all()?;
    Ok(file.metadata()?.len())
}

/// Reads frames until the file ends or a frame does not hold; tells how many bytes held.
fn each_frame(file: &File, each: &mut dyn FnMut(Vec<Op>) -> bool) -> io::Result<u64> {
    let mut input = BufReader::new(file);
    let mut good = 0;
    loop {
        let mut head = [0; FRAME_HEAD_BYTES];
        if !read_whole(&mut input, &mut head)? {
            return Ok(good);
        }
        let [a, b, c, d, crc @ ..] = head;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        if len > JOURNAL_FRAME_BYTES_MAX {
            return Ok(good);
        }
        let mut payload = vec![0; len];
        if !read_whole(&mut input, &mut payload)? || crc32fast::hash(&payload) != u32::from_le_bytes(crc) {
            return Ok(good);
        }
        let mut reader = Reader(&payload);
        let mut ops = Vec::new();
        while !reader.0.is_empty() {
            let Some(op) = reader.op() else { return Ok(good) };
            ops.push(op);
        }
        // A run of zero bytes looks like an empty frame.
        if ops.is_empty() || !each(ops) {
            return Ok(good);
        }
        good += (FRAME_HEAD_BYTES + len) as u64;
    }
}

fn read_whole(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_checkpoint(file: File) -> io::Result<(Meta, Overlay)> {
    let mut overlay = Overlay::default();
    let (mut meta, mut ended) = (None, false);
    each_frame(&file, &mut |ops| {
        ops.iter().all(|op| {
            match op {
                Op::Meta(found) => meta = Some(*found),
                Op::End => ended = true,
                _ => {}
            }
            overlay.apply(op)
        })
    })?;
    let meta = meta.filter(|_| ended && overlay.inodes.contains_key(&ROOT));
    let broken = || io::Error::new(ErrorKind::InvalidData, "the checkpoint of the local changes is damaged");
    Ok((meta.ok_or_else(broken)?, overlay))
}

fn replay(file: &File, overlay: &mut Overlay) -> io::Result<u64> {
    each_frame(file, &mut |ops| ops.iter().all(|op| overlay.apply(op)))
}

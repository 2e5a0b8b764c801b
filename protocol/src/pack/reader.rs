//! Reads single entries of a pack that was scanned.

use crate::pack::inflate::Inflater;
use crate::pack::limits::STEP_BYTES;
use crate::pack::table::Table;
use crate::pack::{PackBytes, PackError, entry};

/// Inflates entries of a stored pack.
pub(crate) struct Reader<'a> {
    bytes: &'a dyn PackBytes,
    inflater: Inflater,
    buffer: Vec<u8>,
    bytes_max: u64,
}

impl<'a> Reader<'a> {
    /// Refuses entries of more than `bytes_max` inflated bytes.
    pub(crate) fn new(bytes: &'a dyn PackBytes, bytes_max: u64) -> Self {
        Self { bytes, inflater: Inflater::new(), buffer: Vec::new(), bytes_max }
    }

    /// Replaces `out` with the object or delta that the entry holds.
    pub(crate) fn read(&mut self, table: &Table, index: u32, out: &mut Vec<u8>) -> Result<(), PackError> {
        let (at, total) = (table.offset(index), table.entry_bytes(index));
        self.fill(at, total)?;
        let header = entry::decode(table.algo, &self.buffer).map_err(|error| error.moved_to(at))?;
        let header = header.ok_or(PackError::Truncated { at })?;
        if header.size > self.bytes_max {
            return Err(PackError::ObjectTooLarge { bytes: header.size, max: self.bytes_max });
        }
        out.clear();
        let Self { bytes, inflater, buffer, .. } = self;
        let mut stream = inflater.start(header.size, out)?;
        let (mut used, mut read_to) = (header.header_bytes, buffer.len() as u64);
        loop {
            let step = stream.feed(buffer.get(used..).unwrap_or_default());
            let step = step.map_err(|error| error.moved_to(at))?;
            used += step.used;
            if step.done {
                return stream.end().map_err(|error| error.moved_to(at));
            }
            if used < buffer.len() && step.used + step.written > 0 {
                continue;
            }
            let more = (total - read_to).min(STEP_BYTES as u64);
            if more == 0 && step.used + step.written == 0 {
                return Err(PackError::Truncated { at });
            }
            buffer.resize(more as usize, 0);
            bytes.read_at(at + read_to, buffer)?;
            read_to += more;
            used = 0;
        }
    }

    fn fill(&mut self, at: u64, total: u64) -> Result<(), PackError> {
        self.buffer.resize(total.min(STEP_BYTES as u64) as usize, 0);
        Ok(self.bytes.read_at(at, &mut self.buffer)?)
    }
}

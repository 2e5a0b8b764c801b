//! The answer to a fetch, made batch by batch as the client takes it.
//!
//! Between batches no transaction and no thread is held, and little memory: a slow client costs none of it.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use cairn_protocol::object::HashAlgo;
use cairn_protocol::pack::PackBytes;
use cairn_protocol::pktline;
use cairn_protocol::plan::{PackStream, Plan};
use cairn_protocol::upload_pack::SideBand;

use super::OpError;
use super::read::Halt;
use super::read::batches::{Batches, Step};
use super::room::Room;
use super::spool::Spool;
use crate::error::Error;
use crate::store::repo::Snapshot;

/// Bytes of pack that one batch carries; each batch is one trip to a blocking thread.
pub const BATCH_BYTES_MAX: usize = 8 * pktline::BAND_DATA_MAX;

/// A pack under way. Owns all that it needs, so that it can wait for its client without a thread.
pub struct PackAnswer {
    snapshot: Snapshot,
    head: Vec<u8>,
    stream: PackStream,
    side_band: SideBand,
    /// A large object that was made, until the client has taken it: whoever is slow holds no memory.
    parked: Option<Spool>,
    spool_dir: PathBuf,
    ended: bool,
}

impl PackAnswer {
    /// The pack of `plan` behind `head`. Needs no more of the snapshot than what it reads of packs.
    pub fn new(
        algo: HashAlgo,
        snapshot: &Snapshot,
        head: Vec<u8>,
        plan: Arc<Plan>,
        side_band: SideBand,
    ) -> Self {
        let (stream, snapshot) = (PackStream::new(plan, algo), snapshot.at_rest());
        let (parked, spool_dir) = (None, PathBuf::new());
        Self { snapshot, head, stream, side_band, parked, spool_dir, ended: false }
    }

    /// Large objects that wait for the client do so in files in `dir`.
    pub fn parking_in(mut self, dir: PathBuf) -> Self {
        self.spool_dir = dir;
        self
    }

    /// Fills `into` as the stream does, but for what was parked.
    fn fill(&mut self, into: &mut [u8]) -> Result<usize, OpError> {
        if let Some(parked) = &mut self.parked {
            let count = into.len().min(usize::try_from(parked.len()).unwrap_or(usize::MAX));
            parked.read_at(0, into.get_mut(..count).unwrap_or_default())?;
            parked.cut_front(count as u64);
            if parked.len() == 0 {
                self.parked = None;
            }
            return Ok(count);
        }
        let count = self.stream.fill(&self.snapshot, into)?;
        if self.stream.pending_bytes() > BATCH_BYTES_MAX {
            let mut spool = Spool::default();
            spool.write(&self.spool_dir, &self.stream.take_pending())?;
            self.parked = Some(spool);
        }
        Ok(count)
    }

    /// The next bytes of the answer; `None` when it is complete.
    pub fn next_batch(&mut self) -> Result<Option<Vec<u8>>, OpError> {
        if self.ended {
            return Ok(None);
        }
        let mut out = std::mem::take(&mut self.head);
        let max = match self.side_band {
            SideBand::None => BATCH_BYTES_MAX,
            other => other.data_max(),
        };
        let framed = !matches!(self.side_band, SideBand::None);
        out.reserve(BATCH_BYTES_MAX + 64);
        while out.len() < BATCH_BYTES_MAX && !self.ended {
            let start = out.len();
            let head = if framed { 5 } else { 0 };
            out.resize(start + head + max, 0);
            let into = out.get_mut(start + head..).unwrap_or_default();
            let n = match self.fill(into) {
                Ok(n) => n,
                Err(error) if start == 0 => return Err(error),
                // What is there goes out first: the error comes again.
                Err(_) => {
                    out.truncate(start);
                    return Ok(Some(out));
                }
            };
            out.truncate(start + head + n);
            if n == 0 {
                out.truncate(start);
            } else if framed {
                let header = format!("{:04x}\u{1}", n + 5);
                out.get_mut(start..start + 5).unwrap_or_default().copy_from_slice(header.as_bytes());
            }
            self.ended = self.parked.is_none() && self.stream.is_ended();
        }
        if self.ended && framed {
            pktline::write_flush(&mut out);
        }
        Ok(Some(out))
    }

    /// What tells the client that the pack will not be completed.
    fn told(&self, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        if !matches!(self.side_band, SideBand::None) {
            pktline::write_band(&mut out, 3, format!("{text}\n").as_bytes(), self.side_band.data_max());
        }
        out
    }
}

impl Batches for PackAnswer {
    fn step(&mut self, room: Room) -> Result<Step, Halt> {
        self.stream.limit(room.object_bytes_max());
        Ok(self.next_batch()?.map_or(Step::End, |batch| Step::Data(batch.into())))
    }

    fn failure(&self, why: &Error) -> Option<Bytes> {
        Some(self.told(&why.message).into())
    }
}

//! zlib streams of pack entries: a reused inflater, and the deflater for packs that we make.

use flate2::{Decompress, FlushDecompress, Status};

use crate::pack::PackError;
use crate::pack::deflate::Deflater;
use crate::pack::limits::INFLATE_RATIO_MAX;

/// Inflates one stream after the other with the same state.
pub struct Inflater {
    state: Decompress,
}

/// What one step of inflating did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub used: usize,
    pub written: usize,
    pub done: bool,
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Inflater {
    /// Costs some 40 KiB: keep it.
    pub fn new() -> Self {
        Self { state: Decompress::new(true) }
    }

    /// Inflates the stream at the start of `input` to the end of `out`, which grows by exactly `size_expected` bytes.
    /// Answers how many bytes of `input` the stream took. Errors count from the start of `input`.
    pub fn inflate(
        &mut self,
        input: &[u8],
        size_expected: u64,
        out: &mut Vec<u8>,
    ) -> Result<usize, PackError> {
        if size_expected / INFLATE_RATIO_MAX > input.len() as u64 {
            return Err(TOO_SHORT); // before so much is allocated
        }
        let mut stream = self.start(size_expected, out)?;
        let mut used = 0;
        loop {
            let step = stream.feed(input.get(used..).unwrap_or_default())?;
            used += step.used;
            if step.done {
                stream.end()?;
                return Ok(used);
            }
            if step.used == 0 && step.written == 0 {
                return Err(PackError::Truncated { at: 0 });
            }
        }
    }

    /// Starts a stream of `size` bytes that goes to the end of `out`.
    pub(crate) fn start<'a>(&'a mut self, size: u64, out: &'a mut Vec<u8>) -> Result<Stream<'a>, PackError> {
        self.reset();
        let too_large = || PackError::ObjectTooLarge { bytes: size, max: isize::MAX as u64 };
        let room = usize::try_from(size).ok().and_then(|size| size.checked_add(1)).ok_or_else(too_large)?;
        let at = out.len();
        out.try_reserve(room).map_err(|_| too_large())?;
        out.resize(at + room, 0);
        Ok(Stream { inflater: self, out, at })
    }

    pub(crate) fn reset(&mut self) {
        self.state.reset(true);
    }

    /// One step of the current stream. No progress means that more input or more room is needed.
    pub(crate) fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, PackError> {
        let (in_before, out_before) = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(input, out, FlushDecompress::None);
        let status = status.map_err(|_| PackError::Inflate { at: 0, why: "not a zlib stream" })?;
        Ok(Step {
            used: (self.state.total_in() - in_before) as usize,
            written: (self.state.total_out() - out_before) as usize,
            done: status == Status::StreamEnd,
        })
    }
}

/// A stream whose input comes in pieces.
pub(crate) struct Stream<'a> {
    inflater: &'a mut Inflater,
    /// One byte longer than what is expected, so that a stream that is too long is seen.
    out: &'a mut Vec<u8>,
    at: usize,
}

impl Stream<'_> {
    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<Step, PackError> {
        let step = self.inflater.step(input, self.out.get_mut(self.at..).unwrap_or_default())?;
        self.at += step.written;
        if self.at == self.out.len() {
            return Err(TOO_LONG);
        }
        Ok(step)
    }

    /// Call when the stream is done.
    pub(crate) fn end(self) -> Result<(), PackError> {
        if self.at + 1 != self.out.len() {
            return Err(TOO_SHORT);
        }
        self.out.truncate(self.at);
        Ok(())
    }
}

pub(crate) const TOO_LONG: PackError = PackError::Inflate { at: 0, why: "more data than the entry declares" };
pub(crate) const TOO_SHORT: PackError =
    PackError::Inflate { at: 0, why: "less data than the entry declares" };

/// Compresses a whole object for keeping, at level 4: nearly as small as git's default, at less than half of its time.
pub fn deflate(data: &[u8]) -> Vec<u8> {
    deflate_at(data, 4)
}

/// Compresses a whole object for sending once, at level 1.
pub fn deflate_fast(data: &[u8]) -> Vec<u8> {
    deflate_at(data, 1)
}

fn deflate_at(data: &[u8], level: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / 2 + 16);
    let mut deflater = Deflater::new(level);
    let written = deflater.write(data, &mut out).and_then(|()| deflater.finish(&mut out));
    written.expect("writing to a vector cannot fail");
    out
}

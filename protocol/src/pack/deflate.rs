//! Compression of whole objects, with states that are used again.
//!
//! The state of a deflate stream is some 300 KB. Made anew for each object, between small things that stay, it leaves
//! holes in the heap that no later state fits into: a server that makes commits grows by 40 KB with each of them.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use flate2::{Compress, Compression, FlushCompress, Status};

use super::limits::{DEFLATE_BUFFER_BYTES, DEFLATE_STATES_MAX};

/// States at rest, with their level. Lock order: taken last, and held for no work.
static AT_REST: Mutex<Vec<(u32, Compress)>> = Mutex::new(Vec::new());

/// A zlib stream that is being written.
pub(crate) struct Deflater {
    level: u32,
    /// `None` only while it is dropped.
    state: Option<Compress>,
    buffer: Vec<u8>,
}

impl Deflater {
    /// An empty stream.
    pub(crate) fn new(level: u32) -> Self {
        let mut at_rest = AT_REST.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = at_rest.iter().position(|(of, _)| *of == level).map(|at| at_rest.swap_remove(at).1);
        drop(at_rest);
        let state = kept.unwrap_or_else(|| Compress::new(Compression::new(level), true));
        Self { level, state: Some(state), buffer: vec![0; DEFLATE_BUFFER_BYTES] }
    }

    /// Compresses more of the data.
    pub(crate) fn write(&mut self, data: &[u8], out: &mut dyn Write) -> io::Result<()> {
        self.run(data, FlushCompress::None, out)
    }

    /// Ends the stream.
    pub(crate) fn finish(mut self, out: &mut dyn Write) -> io::Result<()> {
        self.run(&[], FlushCompress::Finish, out)
    }

    fn run(&mut self, mut data: &[u8], flush: FlushCompress, out: &mut dyn Write) -> io::Result<()> {
        let Some(state) = &mut self.state else { return Err(io::Error::other("the stream has ended")) };
        loop {
            let (read, written) = (state.total_in(), state.total_out());
            let status = state.compress(data, &mut self.buffer, flush).map_err(io::Error::other)?;
            let used = usize::try_from(state.total_in() - read).unwrap_or(usize::MAX);
            let made = usize::try_from(state.total_out() - written).unwrap_or(usize::MAX);
            out.write_all(self.buffer.get(..made).unwrap_or_default())?;
            data = data.get(used..).unwrap_or_default();
            let has_room = made < self.buffer.len();
            match status {
                Status::StreamEnd => return Ok(()),
                _ if has_room && data.is_empty() && flush == FlushCompress::None => return Ok(()),
                _ if used == 0 && made == 0 => return Err(io::Error::other("deflate does not go on")),
                _ => {}
            }
        }
    }
}

impl Drop for Deflater {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else { return };
        state.reset();
        let mut at_rest = AT_REST.lock().unwrap_or_else(PoisonError::into_inner);
        if at_rest.len() < DEFLATE_STATES_MAX {
            at_rest.push((self.level, state));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn inflated(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut out).expect("a zlib stream");
        out
    }

    #[test]
    fn a_state_that_was_used_or_given_up_makes_the_same_stream_again() {
        let noise: Vec<u8> =
            (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for data in [b"".as_slice(), b"short", &[7; 100_000], &noise] {
            let mut streams = Vec::new();
            for step in [1_000, 65_536, 1_000_000] {
                let mut given_up = Deflater::new(4);
                given_up.write(b"never ended", &mut io::sink()).expect("memory");
                drop(given_up);
                let (mut out, mut deflater) = (Vec::new(), Deflater::new(4));
                data.chunks(step).for_each(|piece| deflater.write(piece, &mut out).expect("memory"));
                deflater.finish(&mut out).expect("memory");
                assert_eq!(inflated(&out), data);
                streams.push(out);
            }
            assert_eq!(streams[1], streams[2], "the second state is the first one, used");
        }
    }

    #[test]
    fn only_so_many_states_rest() {
        let many: Vec<Deflater> = (0..DEFLATE_STATES_MAX + 3).map(|_| Deflater::new(4)).collect();
        drop(many);
        assert!(AT_REST.lock().expect("no panic").len() <= DEFLATE_STATES_MAX);
    }
}

//! A pack of whole objects written front to back, so that none of it need be in memory.

use std::io::{self, Read, Write};

use crate::object::{Collision, HashAlgo, Hasher, Kind};
use crate::pack::deflate::Deflater;
use crate::pack::entry::{encode_whole, pack_header};
use crate::pack::limits::STEP_BYTES;

/// Level at which objects are deflated: that of [`crate::pack::inflate::deflate`].
const LEVEL: u32 = 4;

/// Writes a pack to `W`. The number of objects is known from the start, since it stands in front.
pub struct PackSink<W: Write> {
    out: Hashed<W>,
    algo: HashAlgo,
    left: u32,
}

struct Hashed<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> PackSink<W> {
    /// Starts a pack of `count` objects.
    pub fn new(algo: HashAlgo, count: u32, out: W) -> io::Result<Self> {
        let mut out = Hashed { out, hasher: Hasher::new(algo) };
        out.write_all(&pack_header(count))?;
        Ok(Self { out, algo, left: count })
    }

    /// Adds an object.
    pub fn add(&mut self, kind: Kind, data: &[u8]) -> io::Result<()> {
        self.add_stream(kind, data.len() as u64, &mut io::Cursor::new(data))
    }

    /// Adds an object of `size` bytes. An error where `data` ends before; what it holds beyond stays in it.
    pub fn add_stream(&mut self, kind: Kind, size: u64, data: &mut dyn Read) -> io::Result<()> {
        self.left =
            self.left.checked_sub(1).ok_or_else(|| io::Error::other("more objects than announced"))?;
        let mut header = Vec::new();
        encode_whole(&mut header, kind, size);
        self.out.write_all(&header)?;
        let mut deflater = Deflater::new(LEVEL);
        let mut buffer = vec![0; STEP_BYTES.min(usize::try_from(size).unwrap_or(STEP_BYTES))];
        let mut rest = size;
        while rest > 0 {
            let step = usize::try_from(rest).unwrap_or(STEP_BYTES).min(buffer.len());
            let piece = buffer.get_mut(..step).unwrap_or_default();
            data.read_exact(piece)?;
            deflater.write(piece, &mut self.out)?;
            rest -= step as u64;
        }
        deflater.finish(&mut self.out)
    }

    /// Writes the trailer.
    pub fn finish(self) -> io::Result<W> {
        if self.left > 0 {
            return Err(io::Error::other("fewer objects than announced"));
        }
        let Hashed { mut out, hasher } = self.out;
        let trailer = hasher.finish().map_err(|collision: Collision| io::Error::other(collision))?;
        debug_assert_eq!(trailer.algo(), self.algo);
        out.write_all(trailer.as_bytes())?;
        out.flush()?;
        Ok(out)
    }
}

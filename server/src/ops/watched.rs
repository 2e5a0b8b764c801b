//! An upload that is read for a request.

use std::io;

use cairn_protocol::pack::PackBytes;

use crate::stop::Stop;

/// Bytes that can no longer be read once the request is to end: the index pass and staging end at their next read.
pub struct Watched<'a> {
    bytes: &'a dyn PackBytes,
    stop: Stop,
}

impl<'a> Watched<'a> {
    /// For the request for which this runs.
    pub fn new(bytes: &'a dyn PackBytes) -> Self {
        Self { bytes, stop: Stop::current() }
    }
}

impl PackBytes for Watched<'_> {
    fn len(&self) -> u64 {
        self.bytes.len()
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.stop.check().map_err(io::Error::other)?;
        self.bytes.read_at(at, into)
    }
}

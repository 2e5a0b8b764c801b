//! A zip archive, entry by entry, in one pass (APPNOTE.TXT 6.3): sizes and checksums of files follow their data. Its
//! directory waits in memory or, where there are many entries, in a file without a name.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tempfile::SpooledTempFile;

use crate::limits::{BLOB_BATCH_BYTES, ZIP_DIRECTORY_BYTES_MAX};

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Sizes and checksum are zero in front of the data and follow it.
const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_UTF8: u16 = 1 << 11;
/// Made on Unix, so that modes count.
const MADE_BY: u16 = 3 << 8 | 45;
const U32_MAX: u64 = u32::MAX as u64;

/// Writes one archive. Paths come with slashes and without `..`; those of folders end with a slash.
pub struct Zip {
    mtime: u32,
    /// Time, then date, as MS-DOS writes them.
    dos_time: [u16; 2],
    compress: Compress,
    directory: SpooledTempFile,
    entry_count: u64,
    written: u64,
    file: Option<File>,
    ending: Option<u64>,
}

struct File {
    path: Vec<u8>,
    mode: u32,
    at: u64,
    crc: Crc,
    data_at: u64,
}

struct Entry<'a> {
    path: &'a [u8],
    mode: u32,
    at: u64,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
}

impl Zip {
    /// An archive whose entries are all of one time, in seconds since 1970. `folder` is where its directory may wait.
    pub fn new(mtime: i64, folder: &Path) -> Self {
        Self {
            mtime: u32::try_from(mtime).unwrap_or(0),
            dos_time: dos_time(mtime),
            compress: Compress::new(Compression::new(4), false),
            directory: SpooledTempFile::new_in(ZIP_DIRECTORY_BYTES_MAX, folder),
            entry_count: 0,
            written: 0,
            file: None,
            ending: None,
        }
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(bytes);
        self.written += bytes.len() as u64;
    }

    /// A folder.
    pub fn folder(&mut self, path: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.stored(path, 0o040_755, b"", out)
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &[u8], target: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.stored(path, 0o120_777, target, out)
    }

    fn stored(&mut self, path: &[u8], mode: u32, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut crc = Crc::new();
        crc.update(data);
        let size = data.len() as u64;
        let (at, crc) = (self.written, crc.sum());
        let entry = Entry { path, mode, at, method: STORED, crc, packed: size, size };
        let header = self.local_header(&entry, 0);
        self.put(&header, out);
        self.put(data, out);
        self.note(&entry)
    }

    /// A file, whose bytes follow through `data`; then `end_file`.
    pub fn file(&mut self, path: &[u8], is_executable: bool, out: &mut Vec<u8>) {
        let mode = if is_executable { 0o100_755 } else { 0o100_644 };
        let at = self.written;
        let entry = Entry { path, mode, at, method: DEFLATED, crc: 0, packed: 0, size: 0 };
        let header = self.local_header(&entry, FLAG_DESCRIPTOR);
        self.put(&header, out);
        self.compress.reset();
        let (path, crc, data_at) = (path.to_vec(), Crc::new(), self.written);
        self.file = Some(File { path, mode, at, crc, data_at });
    }

    /// Bytes of the file.
    pub fn data(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.crc.update(bytes);
        }
        self.deflate(bytes, FlushCompress::None, out)
    }

    fn deflate(&mut self, bytes: &[u8], flush: FlushCompress, out: &mut Vec<u8>) -> io::Result<()> {
        let mut used = 0;
        loop {
            let (start, before) = (out.len(), self.compress.total_in());
            out.reserve((bytes.len() - used) / 2 + 1_024);
            let status = self.compress.compress_vec(bytes.get(used..).unwrap_or_default(), out, flush)?;
            used += (self.compress.total_in() - before) as usize;
            self.written += (out.len() - start) as u64;
            let has_room = out.len() < out.capacity();
            if status == Status::StreamEnd
                || (flush == FlushCompress::None && used == bytes.len() && has_room)
            {
                return Ok(());
            }
        }
    }

    /// Ends a file.
    pub fn end_file(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.deflate(b"", FlushCompress::Finish, out)?;
        let Some(file) = self.file.take() else { return Ok(()) };
        let (crc, size) = (file.crc.sum(), self.compress.total_in());
        let packed = self.written - file.data_at;
        let mut descriptor = b"PK\x07\x08".to_vec();
        for number in [crc, small(packed), small(size)] {
            descriptor.extend(number.to_le_bytes());
        }
        self.put(&descriptor, out);
        let (mode, at) = (file.mode, file.at);
        self.note(&Entry { path: &file.path, mode, at, method: DEFLATED, crc, packed, size })
    }

    fn flags(path: &[u8]) -> u16 {
        if !path.is_ascii() && std::str::from_utf8(path).is_ok() { FLAG_UTF8 } else { 0 }
    }

    /// What local headers and the directory have in common: from the version to the sizes.
    fn common(&self, entry: &Entry<'_>, flags: u16) -> Vec<u8> {
        let mut out = Vec::new();
        let version = if entry.at >= U32_MAX { 45 } else { 20 };
        for number in [version, flags | Self::flags(entry.path), entry.method] {
            out.extend(number.to_le_bytes());
        }
        self.dos_time.iter().for_each(|number| out.extend(number.to_le_bytes()));
        for number in [entry.crc, small(entry.packed), small(entry.size)] {
            out.extend(number.to_le_bytes());
        }
        out.extend((entry.path.len() as u16).to_le_bytes());
        out
    }

    fn local_header(&self, entry: &Entry<'_>, flags: u16) -> Vec<u8> {
        let mut out = b"PK\x03\x04".to_vec();
        out.extend(self.common(entry, flags));
        let extra = self.extra();
        out.extend((extra.len() as u16).to_le_bytes());
        out.extend_from_slice(entry.path);
        out.extend(extra);
        out
    }

    /// The time in seconds (Info-ZIP's "UT"), since MS-DOS counts in twos.
    fn extra(&self) -> Vec<u8> {
        [b"UT\x05\x00\x01".as_slice(), &self.mtime.to_le_bytes()].concat()
    }

    fn note(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let flags = if entry.method == DEFLATED { FLAG_DESCRIPTOR } else { 0 };
        let mut out = b"PK\x01\x02".to_vec();
        out.extend(MADE_BY.to_le_bytes());
        out.extend(self.common(entry, flags));
        let mut extra = self.extra();
        if entry.at >= U32_MAX {
            extra.extend([1, 0, 8, 0]);
            extra.extend(entry.at.to_le_bytes());
        }
        out.extend((extra.len() as u16).to_le_bytes());
        out.extend([0; 6]); // comment, disk, internal attributes
        let is_folder = u32::from(entry.mode >> 12 == 0o04) << 4; // as MS-DOS marks it
        out.extend((entry.mode << 16 | is_folder).to_le_bytes());
        out.extend(small(entry.at).to_le_bytes());
        out.extend_from_slice(entry.path);
        out.extend(extra);
        self.entry_count += 1;
        self.directory.write_all(&out)
    }

    /// Writes the next part of the directory; true when the archive is complete.
    pub fn end(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let at = match self.ending {
            Some(at) => at,
            None => {
                self.directory.seek(SeekFrom::Start(0))?;
                *self.ending.insert(self.written)
            }
        };
        let mut part = Vec::new();
        let read = (&mut self.directory).take(BLOB_BATCH_BYTES as u64).read_to_end(&mut part)?;
        self.put(&part, out);
        if read == BLOB_BATCH_BYTES {
            return Ok(false);
        }
        self.end_record(at, out);
        Ok(true)
    }

    fn end_record(&mut self, at: u64, out: &mut Vec<u8>) {
        let (end, bytes, count) = (self.written, self.written - at, self.entry_count);
        let mut record = Vec::new();
        if count >= 0xffff || bytes >= U32_MAX || at >= U32_MAX {
            record.extend(b"PK\x06\x06");
            record.extend(44_u64.to_le_bytes());
            record.extend([MADE_BY.to_le_bytes(), 45_u16.to_le_bytes()].concat());
            record.extend([0; 8]);
            for number in [count, count, bytes, at] {
                record.extend(number.to_le_bytes());
            }
            record.extend(b"PK\x06\x07\0\0\0\0");
            record.extend(end.to_le_bytes());
            record.extend(1_u32.to_le_bytes());
        }
        record.extend(b"PK\x05\x06\0\0\0\0");
        let short = count.min(0xffff) as u16;
        record.extend([short.to_le_bytes(), short.to_le_bytes()].concat());
        record.extend([small(bytes).to_le_bytes(), small(at).to_le_bytes()].concat());
        record.extend([0; 2]);
        self.put(&record, out);
    }
}

/// A number in 32 bits; all ones say that it is elsewhere.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// UTC, from 1980 to 2107, in steps of two seconds.
fn dos_time(seconds: i64) -> [u16; 2] {
    let (first, last) = (315_532_800, 4_354_819_198);
    let time = Timestamp::from_second(seconds.clamp(first, last)).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = time.to_zoned(TimeZone::UTC);
    let number = |value: i8| u16::try_from(value).unwrap_or(0);
    let year = u16::try_from(time.year() - 1980).unwrap_or(0);
    [
        number(time.hour()) << 11 | number(time.minute()) << 5 | (number(time.second()) / 2),
        year << 9 | number(time.month()) << 5 | number(time.day()),
    ]
}

#[cfg(test)]
mod tests {
    use super::dos_time;

    #[test]
    fn times_are_those_of_ms_dos() {
        let cases = [
            (0, [0, 1 << 5 | 1]),
            (1_700_000_000, [22 << 11 | 13 << 5 | 10, 43 << 9 | 11 << 5 | 14]),
            (i64::MAX, [23 << 11 | 59 << 5 | 29, 127 << 9 | 12 << 5 | 31]),
        ];
        for (seconds, want) in cases {
            assert_eq!(dos_time(seconds), want, "{seconds}");
        }
    }
}

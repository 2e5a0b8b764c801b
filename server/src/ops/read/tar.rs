//! A tar archive, entry by entry: ustar headers, with pax headers for what does not fit them (pax Interchange Format,
//! POSIX.1-2001). As `git archive` does, a global header tells the commit.

use cairn_protocol::object::ObjectId;

const BLOCK_BYTES: usize = 512;
/// What `tar` reads at once: archives are padded to it.
const RECORD_BYTES: usize = 20 * BLOCK_BYTES;
const NAME_BYTES_MAX: usize = 100;
/// Eleven octal digits.
const NUMBER_MAX: u64 = 0o777_7777_7777;

/// Writes one archive. Paths come with slashes and without `..`; those of folders end with a slash.
pub struct Tar {
    mtime: u64,
    written: u64,
}

impl Tar {
    /// An archive whose entries are all of one time, in seconds since 1970.
    pub fn new(mtime: i64) -> Self {
        Self { mtime: u64::try_from(mtime).unwrap_or(0).min(NUMBER_MAX), written: 0 }
    }

    /// Tells what commit the archive is of: `git get-tar-commit-id` reads it.
    pub fn commit(&mut self, id: &ObjectId, out: &mut Vec<u8>) {
        let record = pax_record(b"comment", id.to_string().as_bytes());
        self.header(b"pax_global_header", (b'g', 0o644), record.len() as u64, b"", out);
        self.data(&record, out);
        self.pad(out);
    }

    /// A folder.
    pub fn folder(&mut self, path: &[u8], out: &mut Vec<u8>) {
        self.entry(path, (b'5', 0o755), 0, b"", out);
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &[u8], target: &[u8], out: &mut Vec<u8>) {
        self.entry(path, (b'2', 0o777), 0, target, out);
    }

    /// A file of `size` bytes, which follow through `data`; then `pad`.
    pub fn file(&mut self, path: &[u8], is_executable: bool, size: u64, out: &mut Vec<u8>) {
        self.entry(path, (b'0', if is_executable { 0o755 } else { 0o644 }), size, b"", out);
    }

    /// Bytes of the file.
    pub fn data(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(bytes);
        self.written += bytes.len() as u64;
    }

    /// Ends a file.
    pub fn pad(&mut self, out: &mut Vec<u8>) {
        self.zeros((self.written.next_multiple_of(BLOCK_BYTES as u64) - self.written) as usize, out);
    }

    /// Ends the archive.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.zeros(2 * BLOCK_BYTES, out);
        self.zeros((self.written.next_multiple_of(RECORD_BYTES as u64) - self.written) as usize, out);
    }

    fn zeros(&mut self, count: usize, out: &mut Vec<u8>) {
        out.resize(out.len() + count, 0);
        self.written += count as u64;
    }

    fn entry(&mut self, path: &[u8], kind: (u8, u32), size: u64, link: &[u8], out: &mut Vec<u8>) {
        let mut records = Vec::new();
        if path.len() > NAME_BYTES_MAX {
            records.extend(pax_record(b"path", path));
        }
        if link.len() > NAME_BYTES_MAX {
            records.extend(pax_record(b"linkpath", link));
        }
        if !records.is_empty() {
            self.header(b"pax_header", (b'x', 0o644), records.len() as u64, b"", out);
            self.data(&records, out);
            self.pad(out);
        }
        self.header(path, kind, size, link, out);
    }

    fn header(&mut self, path: &[u8], (kind, mode): (u8, u32), size: u64, link: &[u8], out: &mut Vec<u8>) {
        let mut block = [0; BLOCK_BYTES];
        let mut put = |at: usize, bytes: &[u8]| {
            let field = block.get_mut(at..at + bytes.len()).expect("fields lie within the block");
            field.copy_from_slice(bytes);
        };
        let cut = |bytes: &[u8]| bytes.get(..NAME_BYTES_MAX.min(bytes.len())).unwrap_or_default().to_vec();
        put(0, &cut(path));
        put(100, format!("{mode:07o}\0{:07o}\0{:07o}\0", 0, 0).as_bytes());
        put(124, format!("{:011o}\0{:011o}\0", size.min(NUMBER_MAX), self.mtime).as_bytes());
        put(148, b"        "); // the checksum counts itself as spaces
        put(156, &[kind]);
        put(157, &cut(link));
        put(257, b"ustar\x0000root\0");
        put(297, b"root\0");
        put(329, b"0000000\x000000000\0");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&block);
        self.written += BLOCK_BYTES as u64;
    }
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [len.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::pax_record;

    #[test]
    fn a_record_counts_its_own_digits() {
        for value in [0, 1, 89, 90, 91, 92, 986, 987, 988, 989, 990, 5_000] {
            let record = pax_record(b"path", &vec![b'v'; value]);
            let digits = record.split(|byte| *byte == b' ').next().unwrap();
            assert_eq!(std::str::from_utf8(digits).unwrap().parse(), Ok(record.len()), "{value}");
        }
    }
}

//! Which paths changed, for git's fsmonitor.
//!
//! A mount that ends well keeps what it knows for the next one, which takes it away before it serves: after a crash nothing
//! is known, and git looks at everything once.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::write_whole;
use crate::limits::{CHANGED_PATHS_MAX, CHANGES_BYTES_MAX};

/// Where the changes are between two mounts, in the state directory.
const KEPT: &str = "changes";

/// An answer to "what changed since?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// To be given with the next question.
    pub token: u64,
    /// Paths from the root without a leading slash; a directory of which all may have changed ends with a slash.
    /// `None` where everything may have changed.
    pub paths: Option<Vec<Vec<u8>>>,
}

/// The latest change of each path. Numbers go on from those of the mount before; where nothing is known of it, they begin
/// at the time of the mount, so that a token of an earlier one is known to be too old.
pub(super) struct ChangeLog {
    latest: HashMap<Vec<u8>, u64>,
    floor: u64,
    seq: u64,
}

impl ChangeLog {
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
        Self { latest: HashMap::new(), floor: now, seq: now }
    }

    /// Takes what the mount before left. It is gone for good before this returns.
    pub(super) fn take(dir: &Path) -> io::Result<Self> {
        let path = dir.join(KEPT);
        let kept = match fs::metadata(&path) {
            Ok(meta) if meta.len() <= CHANGES_BYTES_MAX => decode(&fs::read(&path)?),
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::new()),
            Err(error) => return Err(error),
        };
        fs::remove_file(&path)?;
        File::open(dir)?.sync_all()?;
        Ok(kept.unwrap_or_else(Self::new))
    }

    /// What is kept for the next mount.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = format!("{} {}\0", self.floor, self.seq).into_bytes();
        for (path, seq) in &self.latest {
            out.extend_from_slice(format!("{seq} ").as_bytes());
            out.extend_from_slice(path);
            out.push(0);
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(format!("{crc:08x}").as_bytes());
        out
    }

    pub(super) fn record(&mut self, path: Vec<u8>) {
        self.seq += 1;
        if self.latest.len() >= CHANGED_PATHS_MAX && !self.latest.contains_key(&path) {
            self.latest.clear();
            self.floor = self.seq;
        }
        self.latest.insert(path, self.seq);
    }

    pub(super) fn since(&self, token: u64) -> Changes {
        let known = (self.floor..=self.seq).contains(&token);
        let paths = known.then(|| {
            let newer = self.latest.iter().filter(|(_, seq)| **seq > token);
            newer.map(|(path, _)| path.clone()).collect()
        });
        Changes { token: self.seq, paths }
    }
}

/// Keeps changes for the next mount.
pub(super) fn keep(dir: &Path, encoded: &[u8]) -> io::Result<()> {
    write_whole(&dir.join(KEPT), encoded)
}

/// `None` where it is damaged.
fn decode(raw: &[u8]) -> Option<ChangeLog> {
    let (body, crc) = raw.split_at_checked(raw.len().checked_sub(8)?)?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    let body = body.strip_suffix(b"\0").filter(|_| crc == crc32fast::hash(body))?;
    let mut records = body.split(|byte| *byte == 0).map(|record| {
        let space = record.iter().position(|byte| *byte == b' ')?;
        let (number, rest) = record.split_at(space);
        Some((std::str::from_utf8(number).ok()?.parse::<u64>().ok()?, rest.get(1..)?))
    });
    let (floor, seq) = records.next()??;
    let seq = std::str::from_utf8(seq).ok()?.parse().ok()?;
    let latest = records.map(|record| record.map(|(seq, path)| (path.to_vec(), seq)));
    Some(ChangeLog { floor, seq, latest: latest.collect::<Option<_>>()? })
}

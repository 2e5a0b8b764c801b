//! A repository that is made for a run: random blobs, which no compression makes smaller, of sizes from 1 KiB to 8 MiB.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::Result;
use crate::context::utf8;
use crate::stock::{Git, Input};

/// Blobs of one commit.
const COMMIT_BLOBS: u64 = 64;
/// Sizes are powers of two from this one on, and something between.
const SMALLEST_BITS: u64 = 10;
const SIZES: u64 = 13;

/// Random bytes and numbers: xorshift, from one seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        for piece in buffer.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            piece.copy_from_slice(bytes.get(..piece.len()).unwrap_or_default());
        }
    }
}

/// Makes a bare repository of `bytes` of blobs.
pub fn repository(git: &Git, temp: &Path, bytes: u64) -> Result<PathBuf> {
    let (path, script) = (temp.join("made.git"), temp.join("made.script"));
    write_script(&script, bytes)?;
    let repo = utf8(&path)?;
    git.output(&["init", "--quiet", "--bare", &repo], Input::Nothing)?;
    let import = ["-c", "core.compression=0", "-C", &repo, "fast-import", "--quiet", "--depth=0"];
    git.output(&import, Input::File(&script))?;
    std::fs::remove_file(&script)?;
    Ok(path)
}

fn write_script(path: &Path, bytes: u64) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let (mut noise, mut buffer) = (Noise(0x9e37_79b9_7f4a_7c15), Vec::new());
    let (mut written, mut number) = (0, 0);
    while written < bytes {
        if number % COMMIT_BLOBS == 0 {
            let message = format!("commit {}\n", number / COMMIT_BLOBS);
            write!(
                out,
                "commit refs/heads/main\ncommitter Bench <bench@example.com> {} +0000\ndata {}\n{message}",
                1_700_000_000 + number,
                message.len()
            )?;
        }
        let size = (1 << SMALLEST_BITS) << (noise.next() % SIZES);
        let size = (size / 2 + noise.next() % size.max(1)).min(bytes - written).max(1);
        buffer.resize(usize::try_from(size)?, 0);
        noise.fill(&mut buffer);
        write!(out, "M 100644 inline {}/{number}\ndata {size}\n", number % 100)?;
        out.write_all(&buffer)?;
        out.write_all(b"\n")?;
        written += size;
        number += 1;
    }
    Ok(out.flush()?)
}

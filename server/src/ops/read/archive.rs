//! A tree as an archive, made as the client takes it: tar, the same compressed, or zip.
//!
//! All paths lie in one folder and none can leave it. Submodules are empty folders. Of what `.gitattributes` asks of
//! `git archive`, `export-ignore` is done and `export-subst` is not.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;

use bytes::Bytes;
use cairn_protocol::object::ObjectId;
use cairn_protocol::source::ObjectSource;
use cairn_protocol::walk::WalkError;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::attributes::{ExportIgnore, FILE_NAME};
use super::batches::{Batches, Step};
use super::blob::{Blob, BlobReader};
use super::tar::Tar;
use super::tree::{Item, TreeWalk};
use super::zip::Zip;
use super::{Halt, Reading};
use crate::error::{Error, code};
use crate::limits::{ARCHIVE_ENTRIES_MAX, ARCHIVE_LINK_BYTES_MAX, ATTRIBUTES_BYTES_MAX, BLOB_BATCH_BYTES};
use crate::ops::OpError;
use crate::ops::room::Room;

/// The format of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.tar`
    Tar,
    /// `.tar.gz`
    TarGz,
    /// `.zip`
    Zip,
}

impl Format {
    /// Takes the ending off a name.
    pub fn strip(name: &str) -> Option<(&str, Self)> {
        let endings =
            [(".tar.gz", Self::TarGz), (".tgz", Self::TarGz), (".tar", Self::Tar), (".zip", Self::Zip)];
        endings.into_iter().find_map(|(ending, format)| Some((name.strip_suffix(ending)?, format)))
    }

    /// The usual ending.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Tar => ".tar",
            Self::TarGz => ".tar.gz",
            Self::Zip => ".zip",
        }
    }

    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Tar => "application/x-tar",
            Self::TarGz => "application/gzip",
            Self::Zip => "application/zip",
        }
    }
}

/// The folder that everything is in: `<repository>-<short ref>`, in characters that are safe everywhere.
pub fn folder_name(repo: &str, name: &str, default_branch: &str) -> String {
    let name = if name.is_empty() || name == "HEAD" { default_branch } else { name };
    let short =
        ["refs/heads/", "refs/tags/", "refs/remotes/"].iter().find_map(|space| name.strip_prefix(space));
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._+@-".contains(c) { c } else { '-' };
    let short: String = short.unwrap_or(name).chars().take(128).map(safe).collect();
    format!("{repo}-{short}")
}

enum Writer {
    Tar(Tar),
    Zip(Box<Zip>),
}

/// An archive under way.
pub struct Archive {
    reading: Reading,
    walk: TreeWalk,
    /// The entry that is next, where it had to wait for room.
    pending: Option<Item>,
    ignore: ExportIgnore,
    /// Whether the rules of the folder that was entered last are still to be read.
    is_new_folder: bool,
    file: Option<BlobReader>,
    writer: Writer,
    gzip: Option<GzEncoder<Vec<u8>>>,
    made: Vec<u8>,
    entry_count: u64,
    spool_dir: PathBuf,
    has_ended: bool,
    ready: VecDeque<Bytes>,
}

impl Archive {
    /// An archive of what `tip`, a commit, a tag of one or a tree, shows. `None` where that is not so.
    pub fn new(
        mut reading: Reading,
        tip: ObjectId,
        folder: &str,
        format: Format,
        spool_dir: PathBuf,
    ) -> Result<Option<Self>, Halt> {
        reading.keeps = false;
        let view = &reading.view;
        let (Some((peeled, _)), Some(tree)) = (view.peel(tip)?, view.tree_of(tip)?) else { return Ok(None) };
        let commit = match view.place(&peeled)? {
            Some(at) if peeled != tree => Some(view.snapshot.commit(at)?),
            _ => None,
        };
        let mtime = commit.as_ref().map_or(0, |commit| commit.time);
        let walk = TreeWalk::new(&reading, &tree, folder.as_bytes())?;
        let mut made = Vec::new();
        let folder = [folder.as_bytes(), b"/"].concat();
        let mut writer = match format {
            Format::Zip => Writer::Zip(Box::new(Zip::new(mtime, &spool_dir))),
            Format::Tar | Format::TarGz => Writer::Tar(Tar::new(mtime)),
        };
        match &mut writer {
            Writer::Tar(tar) => {
                if commit.is_some() {
                    tar.commit(&peeled, &mut made);
                }
                tar.folder(&folder, &mut made);
            }
            Writer::Zip(zip) => zip.folder(&folder, &mut made).map_err(OpError::Spool)?,
        }
        // A slow client holds no commits: none is looked at from here on.
        reading.view.snapshot = reading.view.snapshot.at_rest();
        let gzip = (format == Format::TarGz).then(|| GzEncoder::new(Vec::new(), Compression::new(4)));
        Ok(Some(Self {
            reading,
            walk,
            pending: None,
            ignore: ExportIgnore::default(),
            is_new_folder: true,
            file: None,
            writer,
            gzip,
            made,
            entry_count: 0,
            spool_dir,
            has_ended: false,
            ready: VecDeque::new(),
        }))
    }

    /// Makes some more. May be asked again where it stops for want of room.
    fn advance(&mut self) -> Result<(), Halt> {
        if let Some(file) = &mut self.file {
            let bytes = file.next_bytes()?;
            let done = match (&mut self.writer, &bytes) {
                (Writer::Tar(tar), Some(bytes)) => {
                    tar.data(bytes, &mut self.made);
                    Ok(())
                }
                (Writer::Tar(tar), None) => {
                    tar.pad(&mut self.made);
                    Ok(())
                }
                (Writer::Zip(zip), Some(bytes)) => zip.data(bytes, &mut self.made),
                (Writer::Zip(zip), None) => zip.end_file(&mut self.made),
            };
            done.map_err(OpError::Spool)?;
            if bytes.is_none() {
                self.file = None;
            }
            return Ok(());
        }
        if self.is_new_folder {
            self.read_rules()?;
            self.is_new_folder = false;
        }
        let Some(item) = self.pending.take().or_else(|| self.walk.step()) else {
            self.has_ended = match &mut self.writer {
                Writer::Tar(tar) => {
                    tar.end(&mut self.made);
                    true
                }
                Writer::Zip(zip) => zip.end(&mut self.made).map_err(OpError::Spool)?,
            };
            return Ok(());
        };
        let done = self.add(&item);
        if done.is_err() {
            self.pending = Some(item);
        } else {
            self.entry_count += 1;
        }
        if self.entry_count > ARCHIVE_ENTRIES_MAX {
            let text = format!("an archive may have {ARCHIVE_ENTRIES_MAX} entries");
            return Err(Error::new(code::QUOTA_EXCEEDED, text).into());
        }
        done
    }

    /// Reads the `.gitattributes` of the folder whose entries come next.
    fn read_rules(&mut self) -> Result<(), Halt> {
        let Some(id) = self.walk.file(FILE_NAME) else { return Ok(()) };
        let blob = Blob::shown(&self.reading, &id, &self.spool_dir)?.ok_or(WalkError::Missing(id))?;
        if blob.size > ATTRIBUTES_BYTES_MAX {
            let text = format!("a .gitattributes has {} bytes, read are {ATTRIBUTES_BYTES_MAX}", blob.size);
            return Err(Error::new(code::MEMORY_LIMIT, text).into());
        }
        self.ignore.enter(self.walk.depth(), self.walk.path_len(), &blob.head(ATTRIBUTES_BYTES_MAX)?);
        Ok(())
    }

    fn write_folder(&mut self, path: &[u8]) -> Result<(), Halt> {
        match &mut self.writer {
            Writer::Tar(tar) => tar.folder(path, &mut self.made),
            Writer::Zip(zip) => zip.folder(path, &mut self.made).map_err(OpError::Spool)?,
        }
        Ok(())
    }

    fn add(&mut self, item: &Item) -> Result<(), Halt> {
        if self.ignore.is_ignored(self.walk.depth(), &item.path, item.is_tree()) {
            return Ok(());
        }
        let mut path = safe_path(&item.path);
        if path.len() > usize::from(u16::MAX) {
            return Err(Error::new(code::QUOTA_EXCEEDED, "a path is longer than archives can hold").into());
        }
        match item.mode & 0o170_000 {
            kind @ (0o100_000 | 0o120_000) => {
                let blob = Blob::shown(&self.reading, &item.id, &self.spool_dir)?;
                let blob = blob.ok_or(WalkError::Missing(item.id))?;
                if kind == 0o120_000 {
                    return self.add_link(&path, &blob);
                }
                self.file = Some(blob.reader(0..blob.size)?);
                let is_executable = item.mode & 0o100 != 0;
                match &mut self.writer {
                    Writer::Tar(tar) => tar.file(&path, is_executable, blob.size, &mut self.made),
                    Writer::Zip(zip) => zip.file(&path, is_executable, &mut self.made),
                }
                return Ok(());
            }
            0o040_000 => {
                self.walk.enter(&self.reading, item)?;
                self.is_new_folder = true;
            }
            _ => {}
        }
        path.push(b'/');
        self.write_folder(&path)
    }

    fn add_link(&mut self, path: &[u8], blob: &Blob) -> Result<(), Halt> {
        if blob.size > ARCHIVE_LINK_BYTES_MAX {
            let text = format!("the target of a link has {} bytes", blob.size);
            return Err(Error::new(code::QUOTA_EXCEEDED, text).into());
        }
        let target = blob.head(ARCHIVE_LINK_BYTES_MAX)?;
        match &mut self.writer {
            Writer::Tar(tar) => tar.link(path, &target, &mut self.made),
            Writer::Zip(zip) => zip.link(path, &target, &mut self.made).map_err(OpError::Spool)?,
        }
        Ok(())
    }

    /// Moves what was made to what can be sent; true where that is a batch.
    fn flush(&mut self) -> Result<bool, Halt> {
        let Some(gzip) = &mut self.gzip else {
            if self.made.len() < BLOB_BATCH_BYTES && !self.has_ended {
                return Ok(false);
            }
            self.ready.push_back(std::mem::take(&mut self.made).into());
            return Ok(true);
        };
        gzip.write_all(&self.made).map_err(OpError::Spool)?;
        self.made.clear();
        if self.has_ended {
            gzip.try_finish().map_err(OpError::Spool)?;
        } else if gzip.get_ref().len() < BLOB_BATCH_BYTES {
            return Ok(false);
        }
        self.ready.push_back(std::mem::take(gzip.get_mut()).into());
        Ok(true)
    }
}

impl Batches for Archive {
    fn step(&mut self, room: Room) -> Result<Step, Halt> {
        self.reading.view.served.room = room;
        loop {
            if let Some(bytes) = self.ready.pop_front().filter(|bytes| !bytes.is_empty()) {
                return Ok(Step::Data(bytes));
            }
            if self.has_ended {
                return Ok(Step::End);
            }
            self.advance()?;
            self.flush()?;
        }
    }
}

/// A path without parts that could lead out of the folder, on any system: such parts, and backslashes that would make
/// some, are percent-encoded. Stock git lets none of them in.
fn safe_path(path: &[u8]) -> Vec<u8> {
    let is_bad = |part: &[u8]| part == b"." || part == b"..";
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).map(|part| {
        let hides_bad = part.contains(&b'\\')
            && part.split(|byte| *byte == b'\\').any(|inner| inner.is_empty() || is_bad(inner));
        let mut out = Vec::with_capacity(part.len());
        for byte in part {
            match byte {
                b'.' if is_bad(part) => out.extend(b"%2E"),
                b'\\' if hides_bad => out.extend(b"%5C"),
                byte => out.push(*byte),
            }
        }
        out
    });
    parts.collect::<Vec<_>>().join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::{Format, folder_name, safe_path};

    #[test]
    fn no_path_leads_out_of_the_folder() {
        let cases = [
            ("p/a b/c", "p/a b/c"),
            ("p/../../etc/passwd", "p/%2E%2E/%2E%2E/etc/passwd"),
            ("p/./x", "p/%2E/x"),
            ("p//x", "p/x"),
            ("p/..\\..\\x", "p/..%5C..%5Cx"),
            ("p/\\x", "p/%5Cx"),
            ("p/a\\b", "p/a\\b"),
            ("p/...", "p/..."),
        ];
        for (given, want) in cases {
            assert_eq!(String::from_utf8(safe_path(given.as_bytes())).unwrap(), want);
        }
    }

    #[test]
    fn folders_have_the_short_name_of_the_ref() {
        let cases = [
            ("refs/heads/main", "x-main"),
            ("feature/a b", "x-feature-a-b"),
            ("refs/tags/v1.0", "x-v1.0"),
            ("HEAD", "x-trunk"),
            ("", "x-trunk"),
            ("../../etc", "x-..-..-etc"),
        ];
        for (name, want) in cases {
            assert_eq!(folder_name("x", name, "trunk"), want);
        }
    }

    #[test]
    fn the_ending_tells_the_format() {
        assert_eq!(Format::strip("a/b.tar.gz"), Some(("a/b", Format::TarGz)));
        assert_eq!(Format::strip("v1.zip.tar"), Some(("v1.zip", Format::Tar)));
        assert_eq!(Format::strip("main.rar"), None);
    }
}

//! The disk of `cairn-faults` as the store takes it.

use std::io;
use std::path::{Path, PathBuf};

use cairn_faults::Disk;
use cairn_server::store::disk;

pub struct Faulty(pub Disk);

impl disk::Disk for Faulty {
    fn vfs(&self) -> Option<&str> {
        Some(cairn_faults::VFS)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.0.make_folder(path)
    }

    fn make_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let draft = path.with_extension("tmp");
        self.0.remove(&draft).ok();
        self.0.write_new(&draft, bytes)?;
        self.0.rename_new(&draft, path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.0.sync_folder(path)
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        self.0.len(path)
    }

    fn rewrite(&self, path: &Path) -> io::Result<()> {
        self.0.rewrite(path)
    }

    fn make_file_of(
        &self,
        path: &Path,
        write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let draft = path.with_extension("tmp");
        self.0.remove(&draft).ok();
        self.0.write_new(&draft, b"")?;
        write(&mut Appender(&self.0, &draft))?;
        self.0.sync_file(&draft)?;
        self.0.rename_new(&draft, path)
    }

    fn make_own_folder(&self, path: &Path) -> io::Result<()> {
        self.0.make_folder(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.list(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.0.is_folder(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.0.remove_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.0.sync_file(path)
    }

    fn stamp(&self, path: &Path) -> io::Result<Option<disk::Stamp>> {
        let stamp = |(number, bytes, changes)| disk::Stamp { number, bytes, changed_ns: i128::from(changes) };
        Ok(self.0.stamp(path)?.map(stamp))
    }

    fn hold(&self, _: &Path) -> io::Result<Option<disk::Held>> {
        // One process has the disk.
        Ok(Some(Box::new(())))
    }
}

/// Writes to the end of a file.
struct Appender<'a>(&'a Disk, &'a Path);

impl io::Write for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(self.1, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! The disk of `cairn-faults` as the store takes it.

use std::io;
use std::path::Path;

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
}

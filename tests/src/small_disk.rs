//! A disk that is soon full.

use std::path::{Path, PathBuf};

/// A folder on a file system of so many MiB in memory; `None` where this process may not mount one.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it at `at`, an empty folder.
    pub fn mount(at: &Path, mib: u32) -> Option<Self> {
        let size = format!("size={mib}m");
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at);
        let done = mount.output().ok()?;
        done.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg(&self.0).output().ok();
    }
}

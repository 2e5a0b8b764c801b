//! A mount that is there before its tree: the kernel lets all who look into it wait until somebody serves.
//!
//! The kernel asks for nothing before its first request, INIT, is answered. So a mount whose device is open and not yet
//! read holds up every access, and nothing can be written below it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::MountOptions;

const DEVICE: &str = "/dev/fuse";
/// What the kernel wants to know of the mode of the root: that it is a folder.
const ROOT_MODE: &str = "40000";

/// A mount that nobody serves yet. Dropping it takes it away; who waits then gets `ENOTCONN`.
pub struct Gate {
    device: Option<OwnedFd>,
    dir: PathBuf,
}

impl Gate {
    /// Mounts at `dir`. `None` where only a helper may mount, which gives no mount that waits.
    pub fn shut(dir: &Path, options: &MountOptions, read_only: bool) -> io::Result<Option<Self>> {
        let device = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| io::Error::new(io::Error::from(error).kind(), format!("{DEVICE}: {error}")))?;
        let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let mut data = format!(
            "fd={},rootmode={ROOT_MODE},user_id={user},group_id={group},default_permissions",
            device.as_raw_fd()
        );
        if options.allow_other {
            data.push_str(",allow_other");
        }
        let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
        if read_only {
            flags |= MountFlags::RDONLY;
        }
        let data = CString::new(data).map_err(io::Error::other)?;
        match mount(options.fsname.as_str(), dir, "fuse.cairn", flags, Some(data.as_c_str())) {
            Ok(()) => Ok(Some(Self { device: Some(device), dir: dir.to_owned() })),
            Err(Errno::PERM | Errno::ACCESS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The device, for the one who serves from now on and has to unmount.
    pub(super) fn open(mut self) -> Option<OwnedFd> {
        self.device.take()
    }

    /// Where it is mounted.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if self.device.is_none() {
            return;
        }
        if let Err(error) = unmount(&self.dir, UnmountFlags::DETACH) {
            log::warn!("{}: cannot unmount: {error}", self.dir.display());
        }
    }
}

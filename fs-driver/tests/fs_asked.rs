//! What the kernel asks of a mount again, and what it remembers: counted, on a real mount.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/fake.rs"]
mod fake;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cairn_fs::fs::{Fs, Options};
use cairn_fs::fuse::{MountOptions, Session, serve};
use fake::{Fake, options};
use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;

struct Mount {
    session: Session,
    root: PathBuf,
    _dir: tempfile::TempDir,
}

impl Mount {
    fn new(read_only: bool) -> Self {
        Self::with(read_only, false)
    }

    fn with(read_only: bool, passthrough: bool) -> Self {
        let (fake, dir) = (Arc::new(Fake::default()), tempfile::tempdir().unwrap());
        let root = dir.path().join("mnt");
        fs::create_dir(&root).unwrap();
        let tree = fake.tree_of(&[("file", "100644", b"content\n"), ("folder/other", "100644", b"other\n")]);
        let options = Options { read_only, ..options(Duration::from_secs(60)) };
        let fs = Fs::open(&dir.path().join("state"), tree, fake, options).unwrap();
        let session = serve(fs, &root, MountOptions { passthrough, ..MountOptions::default() }).unwrap();
        Self { session, root, _dir: dir }
    }

    /// How many requests `run` makes.
    fn asked(&self, run: impl FnOnce()) -> u64 {
        let before = self.session.served();
        run();
        self.session.served() - before
    }
}

fn acl(path: &Path) -> Errno {
    getxattr(path, "system.posix_acl_access", &mut [0; 64]).unwrap_err()
}

#[test]
fn the_kernel_asks_once_whether_a_file_has_an_access_list() {
    let mount = Mount::new(false);
    for path in [mount.root.join("file"), mount.root.join("folder")] {
        assert_eq!(acl(&path), Errno::NODATA);
        assert_eq!(mount.asked(|| assert_eq!(acl(&path), Errno::NODATA)), 0, "{}", path.display());
        // A list of one entry for each class, which says what the mode says.
        let list = [
            &2_u32.to_le_bytes()[..],
            &[
                1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255,
                255,
            ],
        ]
        .concat();
        let refused = setxattr(&path, "system.posix_acl_access", &list, XattrFlags::empty());
        assert_eq!(refused, Err(Errno::OPNOTSUPP));
        assert_eq!(acl(&path), Errno::NODATA);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        assert_eq!(acl(&path), Errno::NODATA);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o750);
        setxattr(&path, "user.one", b"1", XattrFlags::empty()).unwrap();
        assert_eq!(getxattr(&path, "user.one", &mut [0; 8]), Ok(1));
    }
}

#[test]
fn a_mount_is_asked_for_contents_and_not_for_opens_unless_the_kernel_is_to_read_past_it() {
    for (read_only, passthrough, opens) in [(true, false, false), (false, false, false), (false, true, true)]
    {
        let mount = Mount::with(read_only, passthrough);
        let path = mount.root.join("file");
        let read = || assert_eq!(fs::read(&path).unwrap(), b"content\n");
        read();
        // Where anything may change, a request for contents makes the kernel ask once when it was read last.
        read();
        let again = mount.asked(read);
        assert_eq!(again > 0, opens, "read only: {read_only}, {again} requests");
        let kept = File::open(&path).unwrap();
        let mut seen = [0; 8];
        let asked = mount.asked(|| kept.read_exact_at(&mut seen, 0).unwrap());
        assert_eq!(&seen, b"content\n");
        // A release of an earlier open may come as late as now.
        assert!(asked == 0 || opens, "{asked} requests");
    }
}

#[test]
fn one_write_into_a_file_that_is_known_is_one_request() {
    let mount = Mount::new(false);
    let path = mount.root.join("new");
    // The first open tells the kernel that there need be none; a release of what was made before may come as late.
    fs::write(&path, b"first").unwrap();
    fs::write(&path, b"again").unwrap();
    let asked = mount.asked(|| {
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(b"other", 0).unwrap();
    });
    assert_eq!(asked, 1, "no open, no close");
    assert_eq!(fs::read(&path).unwrap(), b"other");
    drop(File::create(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

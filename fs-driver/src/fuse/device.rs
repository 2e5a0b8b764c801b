//! Whether the kernel lets this process mount, and what to do where it does not: most often, a container is to be given more.

use std::io::{self, ErrorKind};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

const DEVICE: &str = "/dev/fuse";
/// What does without a mount.
const INSTEAD: &str = "without it, `git clone --filter=blob:none` fetches contents as late as git can";

/// Opens the device, and closes it again: before a remote is asked for anything.
pub fn check() -> io::Result<()> {
    match rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(_) => Ok(()),
        Err(errno) => Err(io::Error::new(io::Error::from(errno).kind(), unusable(errno))),
    }
}

fn unusable(errno: Errno) -> String {
    match errno {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => format!(
            "{DEVICE} is not there, and no mount without it: give it to the container (--device {DEVICE}), or load the \
             kernel's module (modprobe fuse); {INSTEAD}"
        ),
        Errno::PERM => format!(
            "{DEVICE} is there, but devices are forbidden here: give it to the container (--device {DEVICE} rather than \
             a bind); {INSTEAD}"
        ),
        Errno::ACCESS => format!(
            "{DEVICE} is not open to this user: udev usually gives it mode 0666 (chmod 0666 {DEVICE}); {INSTEAD}"
        ),
        errno => format!("{DEVICE} cannot be opened: {errno}; {INSTEAD}"),
    }
}

/// Why a mount failed, and what would help.
pub(super) fn explain(error: io::Error) -> io::Error {
    let (kind, text) = (error.kind(), error.to_string());
    let text = text.trim();
    let is_clear = text.contains("user_allow_other");
    let is_refused = kind == ErrorKind::PermissionDenied
        // What the helper says comes as text alone.
        || text.contains("Operation not permitted")
        || text.contains("Permission denied");
    let seen = match kind {
        // The device was opened before, and the folder was made: what is missing is the helper.
        ErrorKind::NotFound => "fusermount3 is not there",
        _ if is_refused && !is_clear => text,
        _ => return error,
    };
    io::Error::new(
        kind,
        format!(
            "{seen}: this process may not mount. A container needs --cap-add SYS_ADMIN (and with Docker, where AppArmor is \
             in force, --security-opt apparmor=unconfined); a user needs fusermount3 (package fuse3); any command gets a \
             mount of its own by `unshare --user --map-root-user --mount`"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_not_to_have_the_device_has_its_own_remedy() {
        let cases = [
            (Errno::NOENT, "modprobe fuse"),
            (Errno::NXIO, "--device /dev/fuse"),
            (Errno::PERM, "rather than a bind"),
            (Errno::ACCESS, "chmod 0666"),
            (Errno::NFILE, "cannot be opened"),
        ];
        for (errno, remedy) in cases {
            let text = unusable(errno);
            assert!(text.contains(remedy) && text.contains("--filter=blob:none"), "{errno:?}: {text}");
        }
    }

    #[test]
    fn only_a_mount_that_is_not_allowed_is_explained() {
        let helper = || io::Error::other("fusermount3: mount failed: Operation not permitted\n");
        let missing = || io::Error::from(ErrorKind::NotFound);
        let denied = || io::Error::from(Errno::PERM);
        for (why, error) in [("helper", helper()), ("no helper", missing()), ("kernel", denied())] {
            let text = explain(error).to_string();
            assert!(text.contains("--cap-add SYS_ADMIN") && !text.contains('\n'), "{why}: {text}");
        }
        let other = "option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf";
        for error in [io::Error::new(ErrorKind::PermissionDenied, other), io::Error::from(Errno::BUSY)] {
            let before = error.to_string();
            assert_eq!(explain(error).to_string(), before);
        }
    }
}

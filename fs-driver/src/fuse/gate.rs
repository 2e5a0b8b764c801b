//! A mount that is there before its tree: the kernel lets all who look into it wait until somebody serves.
//!
//! The kernel asks for nothing before its first request, INIT, is answered. So a mount whose device is open and not yet
//! read holds up every access, and nothing can be written below it. Where nobody will serve, it is taken out of the tree
//! of folders, and who waited is answered with `EIO` before it goes.

use std::ffi::CString;
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::MountOptions;
use crate::limits::GATE_END_MAX;

const DEVICE: &str = "/dev/fuse";
/// What mounts for who may not, and where it is told to send the device: a socket that is its standard input.
const HELPER: &str = "fusermount3";
const HELPER_SOCKET: (&str, &str) = ("_FUSE_COMMFD", "0");
/// What the kernel wants to know of the mode of the root: that it is a folder.
const ROOT_MODE: &str = "40000";

/// A mount that nobody serves yet. Dropping it takes it away; who waits then gets `EIO`.
pub struct Gate {
    device: Option<OwnedFd>,
    dir: PathBuf,
}

impl Gate {
    /// Mounts at `dir`, with the help of `fusermount3` where only that may. `None` where there is none.
    pub fn shut(dir: &Path, options: &MountOptions, read_only: bool) -> io::Result<Option<Self>> {
        let device = match Self::mount_here(dir, options, read_only) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Self::mount_by_helper(dir, options, read_only)?
            }
            Err(error) => return Err(error),
            Ok(device) => Some(device),
        };
        Ok(device.map(|device| Self { device: Some(device), dir: dir.to_owned() }))
    }

    fn mount_here(dir: &Path, options: &MountOptions, read_only: bool) -> io::Result<OwnedFd> {
        let device = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| named(DEVICE, error.into()))?;
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
        mount(options.fsname.as_str(), dir, "fuse.cairn", flags, Some(data.as_c_str()))
            .map_err(|error| named(&dir.display().to_string(), error.into()))?;
        Ok(device)
    }

    fn mount_by_helper(dir: &Path, options: &MountOptions, read_only: bool) -> io::Result<Option<OwnedFd>> {
        let fsname = options.fsname.replace('\\', "\\\\").replace(',', "\\,");
        let mut words = format!("fsname={fsname},subtype=cairn,default_permissions,nosuid,nodev,noatime");
        words.push_str(if read_only { ",ro" } else { ",rw" });
        if options.allow_other {
            words.push_str(",allow_other");
        }
        let (ours, theirs) = UnixStream::pair()?;
        let mut helper = Command::new(HELPER);
        helper.args(["-o", &words, "--"]).arg(dir).env(HELPER_SOCKET.0, HELPER_SOCKET.1);
        helper.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut helper = match helper.spawn() {
            Ok(helper) => helper,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(named(HELPER, error)),
        };
        let device = receive_device(&ours);
        let mut said = String::new();
        if let Some(errors) = helper.stderr.take() {
            // What it says is for people; it says a line.
            let _ = errors.take(4 << 10).read_to_string(&mut said);
        }
        let ended = helper.wait()?;
        match device {
            Ok(Some(device)) if ended.success() => Ok(Some(device)),
            Err(error) => Err(named(HELPER, error)),
            Ok(_) => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{HELPER}: {}", said.trim())))
            }
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
        let Some(device) = self.device.take() else { return };
        // Nobody new comes in; who waits keeps it from going until there is an answer.
        if let Err(error) = unmount(&self.dir, UnmountFlags::DETACH) {
            log::warn!("{}: cannot unmount: {error}", self.dir.display());
        }
        let (told, ended) = channel();
        let refusing = std::thread::Builder::new().name("cairn-refuse".to_owned()).spawn(move || {
            refuse_all(&device);
            // Nobody waits for it any more where it took too long.
            let _ = told.send(());
        });
        if refusing.is_ok() {
            // Somebody may stay in the folder for as long as he likes.
            let _ = ended.recv_timeout(GATE_END_MAX);
        }
    }
}

fn named(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Unmounts what a gate mounted. `fusermount3` does it for who may not; it does not wait until nobody has a file open.
pub(super) fn unmount(dir: &Path, flags: UnmountFlags) -> io::Result<()> {
    match rustix::mount::unmount(dir, flags) {
        Err(Errno::PERM) => {}
        outcome => return Ok(outcome?),
    }
    let mut helper = Command::new(HELPER);
    helper.args(["-u", "-q"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    if flags.contains(UnmountFlags::DETACH) {
        helper.arg("-z");
    }
    let out = helper.arg("--").arg(dir).output().map_err(|error| named(HELPER, error))?;
    match out.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{HELPER}: {}", String::from_utf8_lossy(&out.stderr).trim()))),
    }
}

/// The descriptor that comes with a byte; `None` where the other side ends without one.
fn receive_device(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    loop {
        let mut into = [IoSliceMut::new(&mut byte)];
        match recvmsg(socket, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => break,
        }
    }
    let mut devices = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(devices.next())
}

/// Bytes of a request that are read at once: what the kernel insists on, and more than any request without data takes.
const REQUEST_BYTES: usize = 64 << 10;
/// `fuse_in_header`, of which length, opcode and unique id matter here, and `fuse_out_header`.
const IN_HEADER_BYTES: usize = 40;
const OUT_HEADER_BYTES: u32 = 16;
/// `FUSE_FORGET`, `FUSE_INIT`, `FUSE_INTERRUPT` and `FUSE_BATCH_FORGET`; all but INIT want no answer.
const FORGET: u32 = 2;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;
/// The version of the protocol that is spoken (`FUSE_KERNEL_VERSION`), and `fuse_init_out` of it without its header.
const VERSION: (u32, u32) = (7, 31);
const INIT_OUT_BYTES: usize = 64;
/// The least that a write request may bring.
const WRITE_BYTES_MAX: u32 = 4_096;

/// Answers all that is asked with `EIO`, until nobody is left who could ask.
fn refuse_all(device: &OwnedFd) {
    let mut request = vec![0; REQUEST_BYTES];
    loop {
        let answer = match rustix::io::read(device, &mut request) {
            Ok(len) => request.get(..len).and_then(refusal),
            // Who asked gave up before the question was read.
            Err(Errno::INTR | Errno::NOENT | Errno::AGAIN) => None,
            // The mount is gone.
            Err(_) => return,
        };
        if let Some(answer) = answer {
            // Who asked may have given up since.
            let _ = rustix::io::write(device, &answer);
        }
    }
}

/// The answer to a request; `None` where none is wanted.
fn refusal(request: &[u8]) -> Option<Vec<u8>> {
    let header = request.get(..IN_HEADER_BYTES)?;
    let opcode = u32::from_ne_bytes(header.get(4..8)?.try_into().ok()?);
    let unique = header.get(8..16)?;
    let (code, body) = match opcode {
        FORGET | BATCH_FORGET | INTERRUPT => return None,
        INIT => {
            let mut body = Vec::with_capacity(INIT_OUT_BYTES);
            // major, minor, max_readahead, flags, max_background and congestion_threshold, max_write, time_gran
            for word in [VERSION.0, VERSION.1, 0, 0, 0, WRITE_BYTES_MAX, 1] {
                body.extend_from_slice(&word.to_ne_bytes());
            }
            body.resize(INIT_OUT_BYTES, 0);
            (0, body)
        }
        _ => (-Errno::IO.raw_os_error(), Vec::new()),
    };
    let len = OUT_HEADER_BYTES + u32::try_from(body.len()).ok()?;
    Some([&len.to_ne_bytes(), &code.to_ne_bytes(), unique, &body].concat())
}

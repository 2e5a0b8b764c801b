//! Serves a working tree to the kernel. Only here is `fuser` named.

mod adapter;
mod convert;
pub mod device;
mod features;
pub mod gate;
pub mod objects;
mod park;
mod shared;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use fuser::{Config, MountOption, SessionACL, SessionUnmounter};
use rustix::mount::UnmountFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fs::Fs;
use adapter::Adapter;
use gate::Gate;
use shared::Notices;

/// How a working tree is mounted.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// Whether other users may enter.
    pub allow_other: bool,
    /// The source that `/proc/mounts` shows.
    pub fsname: String,
    /// Threads that serve the kernel; 0 means one per core, at most four.
    pub threads: usize,
    /// Whether the kernel reads large files of the cache by itself. It must then ask for each open file.
    pub passthrough: bool,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self { allow_other: false, fsname: "cairn".to_owned(), threads: 0, passthrough: false }
    }
}

/// A mounted working tree. Dropping it unmounts.
pub struct Session {
    dir: PathBuf,
    /// Of what fuser mounted, until the first try: a second one of its own does nothing, but while it has one it would
    /// unmount once more what is found there at its end.
    unmounter: Mutex<Option<SessionUnmounter>>,
    end: Arc<End>,
    fs: Arc<Fs>,
    served: Arc<AtomicU64>,
}

#[derive(Default)]
struct End {
    result: Mutex<Option<io::Result<()>>>,
    told: Condvar,
}

/// Mounts `fs` at `mountpoint`. It serves when this returns.
pub fn serve(fs: Arc<Fs>, mountpoint: &Path, options: MountOptions) -> io::Result<Session> {
    raise_open_files();
    let passthrough = options.passthrough;
    let config = config_of(&fs, options);
    let served = Arc::<AtomicU64>::default();
    let (adapter, notices) = Adapter::new(Arc::clone(&fs), Arc::clone(&served), passthrough)?;
    let mut session = fuser::Session::new(adapter, mountpoint, &config).map_err(device::explain)?;
    let unmounter = session.unmount_callable();
    start(session, notices, fs, served, (mountpoint.to_owned(), Some(unmounter)))
}

/// Serves `fs` to all who wait before `gate`.
pub fn serve_behind(gate: Gate, fs: Arc<Fs>, options: MountOptions) -> io::Result<Session> {
    raise_open_files();
    let passthrough = options.passthrough;
    let config = config_of(&fs, options);
    let served = Arc::<AtomicU64>::default();
    let (adapter, notices) = Adapter::new(Arc::clone(&fs), Arc::clone(&served), passthrough)?;
    let dir = gate.dir().to_owned();
    let device = gate.open().ok_or_else(|| io::Error::other("the gate is open already"))?;
    let session = fuser::Session::from_fd(adapter, device, config.acl, config)?;
    start(session, notices, fs, served, (dir, None))
}

fn config_of(fs: &Fs, options: MountOptions) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.fsname),
        MountOption::Subtype("cairn".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
    ];
    config.mount_options.push(if fs.options().read_only { MountOption::RO } else { MountOption::RW });
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    config.n_threads = Some(if options.threads == 0 { cores.clamp(2, 4) } else { options.threads });
    config.clone_fd = true;
    config
}

fn start(
    session: fuser::Session<Adapter>,
    notices: Notices,
    fs: Arc<Fs>,
    served: Arc<AtomicU64>,
    (dir, unmounter): (PathBuf, Option<SessionUnmounter>),
) -> io::Result<Session> {
    notices.start(session.notifier())?;
    let end = Arc::new(End::default());
    let ending = Arc::clone(&end);
    std::thread::Builder::new().name("cairn-fuse".to_owned()).spawn(move || {
        // The kernel says so where the mount goes just while one of its last requests is being taken.
        let is_end = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionAborted;
        let result = session.run().or_else(|error| if is_end(&error) { Ok(()) } else { Err(error) });
        *ending.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        ending.told.notify_all();
    })?;
    Ok(Session { dir, unmounter: Mutex::new(unmounter), end, fs, served })
}

impl Session {
    /// Waits until the tree is unmounted by whomever, then makes all changes durable.
    pub fn wait(&self) -> io::Result<()> {
        let mut result = self.end.result.lock().unwrap_or_else(PoisonError::into_inner);
        while result.is_none() {
            result = self.end.told.wait(result).unwrap_or_else(PoisonError::into_inner);
        }
        let served = match result.as_ref() {
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            _ => Ok(()),
        };
        drop(result);
        self.fs.finish().and(served)
    }

    /// Counts the requests of the kernel so far, to see whether anybody is at work.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Unmounts what nobody uses. May be tried again where somebody does.
    pub fn unmount(&self) -> io::Result<()> {
        if self.has_ended() {
            // Something else could be mounted there by now.
            return Ok(());
        }
        let first = self.unmounter.lock().unwrap_or_else(PoisonError::into_inner).take();
        match first {
            Some(mut unmounter) => unmounter.unmount(),
            None => gate::unmount(&self.dir, UnmountFlags::empty()),
        }
    }

    fn has_ended(&self) -> bool {
        self.end.result.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            log::warn!("cannot unmount: {error}");
        }
    }
}

/// Each open file of the tree takes one of ours.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        log::warn!("cannot raise the number of open files: {error}");
    }
}

//! Where the state of a mountpoint is, for commands that are not told its cache; and how a mount that does not serve yet is.
//!
//! One small file for each mountpoint, in `$XDG_RUNTIME_DIR/cairn-fs` or `/tmp/cairn-fs-UID`, names the mount's cache. An
//! entry that outlives its mount only costs its bytes: who reads it asks the mount itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{private_folder, short_hash, state_of, write_fleeting, write_whole};

#[derive(Serialize, Deserialize)]
struct Entry {
    dir: PathBuf,
    cache: PathBuf,
}

fn folder() -> io::Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let user = rustix::process::geteuid().as_raw();
    let folder = runtime
        .map_or_else(|| PathBuf::from(format!("/tmp/cairn-fs-{user}")), |runtime| runtime.join("cairn-fs"));
    // Refuses a folder of somebody else, which /tmp could hold.
    private_folder(&folder)?;
    Ok(folder)
}

fn entry_of(dir: &Path) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Ok(folder()?.join(short_hash(dir.as_os_str().as_bytes())))
}

/// Notes that what is mounted at `dir` keeps its state in `cache`.
pub fn enter(dir: &Path, cache: &Path) -> io::Result<()> {
    let entry = Entry { dir: dir.to_owned(), cache: cache.to_owned() };
    write_whole(&entry_of(dir)?, &serde_json::to_vec(&entry)?)
}

/// Forgets `dir`.
pub fn leave(dir: &Path) -> io::Result<()> {
    match fs::remove_file(entry_of(dir)?) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Option<PathBuf> {
    let entry: Entry = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    Some(state_of(&entry.cache, &entry.dir))
}

/// The state folder of what was last mounted at `dir`.
pub fn find(dir: &Path) -> Option<PathBuf> {
    read(&entry_of(dir).ok()?)
}

/// The state folders of all mountpoints that are known.
pub fn all() -> Vec<PathBuf> {
    let entries = folder().and_then(fs::read_dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| read(&entry.path())).collect()
}

/// How a mount is that has no daemon that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The supervisor with this process id prepares it.
    Preparing(u32),
    /// It could not be prepared, for this reason.
    Failed(String),
}

fn gate_file(state: &Path) -> PathBuf {
    state.join("gate")
}

/// Notes whether the mount is as much there as it can be before its tree is.
pub fn set_gate(state: &Path, is_shut: bool) -> io::Result<()> {
    if is_shut {
        return fs::write(gate_file(state), b"");
    }
    match fs::remove_file(gate_file(state)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether [`set_gate`] noted it.
pub fn has_gate(state: &Path) -> bool {
    gate_file(state).exists()
}

fn phase_file(state: &Path) -> PathBuf {
    state.join("phase.json")
}

/// Notes how the mount is; `None` once it serves.
pub fn set_phase(state: &Path, phase: Option<&Phase>) -> io::Result<()> {
    if let Some(phase) = phase {
        // It speaks of processes, which do not outlive a loss of power either.
        return write_fleeting(&phase_file(state), &serde_json::to_vec(phase)?);
    }
    match fs::remove_file(phase_file(state)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// How the mount is, if it is being prepared or was not to be had.
pub fn phase(state: &Path) -> Option<Phase> {
    let phase = serde_json::from_slice(&fs::read(phase_file(state)).ok()?).ok()?;
    match phase {
        Phase::Preparing(supervisor) if !is_supervisor(supervisor, state) => {
            Some(Phase::Failed("its processes were ended before it was ready".to_owned()))
        }
        phase => Some(phase),
    }
}

/// Whether a process is the supervisor of a mount. Ids of processes are used again, so its arguments have to fit, too.
pub fn is_supervisor(id: u32, state: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).skip(1).eq([b"supervise", state.as_os_str().as_bytes(), b""])
}

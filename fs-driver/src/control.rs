//! The control socket of a mount: one JSON line in, one JSON line out. Only its owner may speak.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::gitdir::head::HeadNow;
use crate::hydrate::hydrator::Progress;
use crate::limits::{CONTROL_CLIENTS_MAX, CONTROL_REQUEST_BYTES_MAX, CONTROL_TIMEOUT, SOCKET_PATH_BYTES_MAX};
use crate::repo::hydrated::Hydrated;

/// What can be asked of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// How it is.
    Status,
    /// What changed since the token.
    Changes(String),
    /// Bring the files below a path, from the root of the tree.
    Prefetch(String),
    /// Let the background rest.
    Pause,
    /// Let the background go on.
    Resume,
    /// End.
    Unmount,
}

/// How a mount is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `preparing`, `ready` or `failed`.
    pub state: String,
    /// The remote, without credentials.
    pub remote: String,
    /// Where it is mounted.
    pub dir: PathBuf,
    /// The commit that was mounted.
    pub commit: String,
    /// The branch that was mounted.
    pub branch: Option<String>,
    /// Where HEAD of the mount's git directory is now; `None` where it is not ready or cannot be read.
    #[serde(default)]
    pub head: Option<HeadNow>,
    /// The daemon's process id.
    pub pid: u32,
    /// How much of the mounted commit is here, whoever brought it; `None` where it is not ready, or has too many files to be
    /// counted.
    #[serde(default)]
    pub hydrated: Option<Hydrated>,
    /// What the hydrator did and has before it.
    pub hydration: Progress,
    /// Files that were changed, and whose content is kept by the mount.
    pub dirty_files: u64,
    /// Their bytes.
    pub dirty_bytes: u64,
    /// What is shown otherwise than a checkout would show it.
    pub warnings: Vec<String>,
    /// Why the history in the background did not come.
    pub history_error: Option<String>,
}

/// What a mount answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// How it is.
    Status(Box<Status>),
    /// The next token, and the paths that changed, in bytes; `None` where all may have changed.
    Changes(String, Option<Vec<Vec<u8>>>),
    /// So many files are on their way.
    Prefetch(usize),
    /// It is done.
    Done,
    /// It is not to be done.
    Error(String),
}

/// Answers requests.
pub type Answer = Arc<dyn Fn(Request) -> Reply + Send + Sync>;

/// Where the socket of a state folder is.
pub fn socket_of(state: &Path) -> PathBuf {
    state.join("control.sock")
}

/// Listens on the socket of `state` and answers from threads of its own, as long as the process lives.
pub fn serve(state: &Path, answer: Answer) -> io::Result<()> {
    let path = socket_of(state);
    if path.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
        let text = format!(
            "{}: longer than the {SOCKET_PATH_BYTES_MAX} bytes of a socket: choose a shorter --cache",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, text));
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Its folder is closed to others, so there is no moment in which they reach it.
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let clients = Arc::new(AtomicUsize::new(0));
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            if clients.load(Ordering::Relaxed) >= CONTROL_CLIENTS_MAX || !is_ours(&stream) {
                continue;
            }
            let (answer, clients) = (Arc::clone(&answer), Arc::clone(&clients));
            clients.fetch_add(1, Ordering::Relaxed);
            // A client that breaks off sees that by itself.
            thread::spawn(move || {
                let _ = talk(&stream, &answer);
                clients.fetch_sub(1, Ordering::Relaxed);
            });
        }
    })?;
    Ok(())
}

fn is_ours(stream: &UnixStream) -> bool {
    let peer = rustix::net::sockopt::socket_peercred(stream);
    peer.is_ok_and(|peer| peer.uid == rustix::process::geteuid())
}

fn talk(stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    stream.set_read_timeout(Some(CONTROL_TIMEOUT))?;
    stream.set_write_timeout(Some(CONTROL_TIMEOUT))?;
    let mut line = Vec::new();
    BufReader::new(stream).take(CONTROL_REQUEST_BYTES_MAX).read_until(b'\n', &mut line)?;
    let is_cut = line.len() as u64 == CONTROL_REQUEST_BYTES_MAX && line.last() != Some(&b'\n');
    let reply = match serde_json::from_slice(&line) {
        _ if is_cut => Reply::Error(format!("the request is larger than {CONTROL_REQUEST_BYTES_MAX} bytes")),
        Ok(request) => answer(request),
        Err(error) => Reply::Error(format!("malformed request: {error}")),
    };
    let mut out = serde_json::to_vec(&reply)?;
    out.push(b'\n');
    (&mut &*stream).write_all(&out)
}

/// Asks the mount of a state folder.
pub fn ask(state: &Path, request: &Request) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(socket_of(state))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

//! Where things are on the disk, what a mount remembers of how it was asked for, and where its credentials come from.
//!
//! No credentials are ever in an argument, in a log, in the mount's record or in git's settings.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cairn_protocol::object::{HashAlgo, Hasher};
use cairn_remote::{Credentials, Options};
use serde::{Deserialize, Serialize};

use crate::gitdir::idx::finished;
use crate::limits::{CACHE_KEPT_PERCENT, PREPARE_DEADLINE, TOKEN_FILE_BYTES_MAX, WANT_DEADLINE};

/// How much history a mount brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum History {
    /// All of it, in the background.
    Full,
    /// None but the mounted commit, until git asks.
    Lazy,
    /// So many commits, before the mount is ready.
    Depth(u32),
}

/// How a mount was asked for. Kept in its state folder, so that it can be started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The remote, without credentials.
    pub url: String,
    /// Where it is mounted.
    pub dir: PathBuf,
    /// The branch, tag or full ref name to mount; the remote's HEAD if `None`.
    pub reference: Option<String>,
    /// The number of a log entry, or a time: the state of the remote that is mounted; today's if `None`.
    #[serde(default)]
    pub at: Option<String>,
    /// The only commit that may be mounted.
    pub require_commit: Option<String>,
    /// How much history to bring.
    pub history: History,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether the kernel reads large files of the cache by itself.
    #[serde(default)]
    pub passthrough: bool,
    /// Whether who looks in waits for the tree.
    #[serde(default)]
    pub is_async: bool,
    /// Whether other users may look in.
    pub allow_other: bool,
    /// The root of all caches.
    pub cache: PathBuf,
    /// Bytes that the blob cache may hold.
    pub cache_bytes_max: u64,
    /// The file that holds the token.
    pub token_file: Option<PathBuf>,
    /// Bytes per second that the background may fetch; no bound if `None`.
    pub background_bytes_per_second: Option<u64>,
    /// Bytes that the blob cache may hold, for all that the background brings; a little less than what it may hold at all if
    /// `None`.
    #[serde(default)]
    pub hydrate_bytes_max: Option<u64>,
    /// Seconds that a read waits for its content; [`WANT_DEADLINE`] if `None`.
    #[serde(default)]
    pub read_seconds_max: Option<u64>,
    /// Seconds that the preparation of the mount may take; [`PREPARE_DEADLINE`] if `None`.
    #[serde(default)]
    pub prepare_seconds_max: Option<u64>,
}

impl Record {
    /// The folder of this mount's state: git dir, overlay, control socket. The same for the same mountpoint.
    pub fn state(&self) -> PathBuf {
        state_of(&self.cache, &self.dir)
    }

    /// What the background may fill the blob cache to, in bytes: never so far that something else is evicted for it.
    pub fn background_disk_bytes_max(&self) -> u64 {
        let kept = self.cache_bytes_max / 100 * CACHE_KEPT_PERCENT;
        self.hydrate_bytes_max.map_or(kept, |max| max.min(kept))
    }

    /// How long a read waits for its content.
    pub fn read_deadline(&self) -> Duration {
        self.read_seconds_max.map_or(WANT_DEADLINE, Duration::from_secs)
    }

    /// How long the preparation of the mount may take.
    pub fn prepare_deadline(&self) -> Duration {
        self.prepare_seconds_max.map_or(PREPARE_DEADLINE, Duration::from_secs)
    }

    /// The folder of what mounts of this remote share.
    pub fn store(&self) -> PathBuf {
        self.cache.join("remotes").join(short_hash(self.url.as_bytes()))
    }

    /// Writes the record into its state folder.
    pub fn save(&self) -> io::Result<()> {
        write_whole(&self.state().join("mount.json"), &serde_json::to_vec_pretty(self)?)
    }

    /// Reads the record of a state folder.
    pub fn load(state: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(state.join("mount.json"))?)?)
    }
}

/// The state folder of what is mounted at `dir`.
pub fn state_of(cache: &Path, dir: &Path) -> PathBuf {
    cache.join("mounts").join(short_hash(dir.as_os_str().as_bytes()))
}

/// 16 hex digits that stand for `bytes` in a file name.
pub fn short_hash(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(HashAlgo::Sha256);
    hasher.update(bytes);
    let id = finished(hasher).map(|id| id.to_string()).unwrap_or_default();
    id.get(..16).unwrap_or_default().to_owned()
}

/// `$XDG_CACHE_HOME/cairn`, or `~/.cache/cairn`.
pub fn default_cache() -> io::Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|base| base.join("cairn"))
        .ok_or_else(|| io::Error::other("neither XDG_CACHE_HOME nor HOME is set: say --cache DIR"))
}

/// Makes a folder that only its owner enters, and refuses one that belongs to somebody else.
pub fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let meta = fs::symlink_metadata(path)?;
    let owner = rustix::process::geteuid().as_raw();
    if !meta.is_dir() || meta.uid() != owner {
        let text = format!("{}: not a folder of user {owner}", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    if meta.mode() & 0o077 != 0 {
        let private = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
        fs::set_permissions(path, private)?;
    }
    Ok(())
}

/// Replaces a file as a whole: after a crash it is the old one or the new one. One that holds these bytes stays: the disk is
/// not waited for.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let is_as_long = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == bytes.len() as u64);
    if is_as_long && fs::read(path).is_ok_and(|known| known == bytes) {
        return Ok(());
    }
    write_all_whole(&[(path, bytes)])
}

/// Replaces a file as a whole for all who look, but for a loss of power: after that it may hold anything.
pub fn write_fleeting(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("a file needs a folder"))?;
    let mut file = tempfile::Builder::new().prefix("tmp_").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Replaces files of one folder or several, each as [`write_whole`] does, in the order given. They are made durable at the
/// same time, so that they share the waits of the disk.
pub fn write_all_whole<P: AsRef<Path>, B: AsRef<[u8]>>(files: &[(P, B)]) -> io::Result<()> {
    let write = |(path, bytes): &(P, B)| {
        let folder = path.as_ref().parent().ok_or_else(|| io::Error::other("a file needs a folder"))?;
        let mut file = tempfile::Builder::new().prefix("tmp_").tempfile_in(folder)?;
        file.write_all(bytes.as_ref())?;
        Ok(file)
    };
    let written = files.iter().map(write).collect::<io::Result<Vec<_>>>()?;
    let Some((last, others)) = written.split_last() else { return Ok(()) };
    std::thread::scope(|scope| {
        let syncs: Vec<_> = others.iter().map(|file| scope.spawn(|| file.as_file().sync_data())).collect();
        last.as_file().sync_data()?;
        let panicked = |_| Err(io::Error::other("a thread that writes panicked"));
        syncs.into_iter().try_for_each(|sync| sync.join().unwrap_or_else(panicked))
    })?;
    for (file, (path, _)) in written.into_iter().zip(files) {
        file.persist(path).map_err(|error| error.error)?;
    }
    Ok(())
}

/// Writes a secret where only its owner reads it.
pub fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())
}

/// A user and a password, as git wants them.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// May be a placeholder: hosts that take tokens ignore it.
    pub user: String,
    /// The password or token.
    pub password: String,
}

impl From<Login> for Credentials {
    fn from(login: Login) -> Self {
        Self::Basic { user: login.user, password: login.password }
    }
}

/// A token as a login: all hosts take it as a password. Cairn's tokens end at their `?`.
fn login_of_token(token: &str) -> Option<Login> {
    let token = token.trim();
    let plain = if token.starts_with("art_v1_") { token.split('?').next() } else { Some(token) };
    let (user, password) = match plain?.split_once(':') {
        Some((user, password)) if !user.is_empty() => (user, password),
        _ => ("x-access-token", plain?),
    };
    (!password.is_empty()).then(|| Login { user: user.to_owned(), password: password.to_owned() })
}

fn read_token(path: &Path) -> io::Result<Option<Login>> {
    let mut text = String::new();
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    File::open(path)
        .map_err(named)?
        .take(TOKEN_FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(named)?;
    if text.len() as u64 > TOKEN_FILE_BYTES_MAX {
        let text = format!("larger than the {TOKEN_FILE_BYTES_MAX} bytes of a file with a token");
        return Err(named(io::Error::new(io::ErrorKind::FileTooLarge, text)));
    }
    Ok(login_of_token(&text))
}

/// The login of a mount: from its token file, or from the copy of what its environment or git's helpers gave.
pub fn login(record: &Record) -> io::Result<Option<Login>> {
    if let Some(file) = &record.token_file {
        return read_token(file);
    }
    match read_token(&record.state().join("token")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other,
    }
}

/// Asks git's credential helpers. `None` where they know nothing.
pub fn ask_git(url: &str) -> io::Result<Option<Login>> {
    let mut child = Command::new("git")
        .args(["credential", "fill"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "true")
        .env("SSH_ASKPASS", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(format!("url={url}\n\n").as_bytes())?;
    drop(stdin);
    let out = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
    let password = field("password=").filter(|password| !password.is_empty());
    Ok(password.map(|password| Login { user: field("username=").unwrap_or_default(), password }))
}

/// How a mount's remote is reached.
pub fn remote_options(record: &Record) -> io::Result<Options> {
    let credentials = login(record)?.map(Credentials::from);
    let server_options = record.at.iter().map(|at| format!("at={at}")).collect();
    Ok(Options { credentials, server_options, ..Options::default() })
}

//! The command line.

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cairn_protocol::limit::{Limit, markdown};
use cairn_remote::{Credentials, split_credentials};
use clap::{Args, Parser, Subcommand, value_parser};
use indicatif::ProgressBar;

use crate::cache::blobs::Blobs;
use crate::config::{History, Record, default_cache, login, private_folder, state_of, write_secret};
use crate::control::{Reply, Request, Status, ask};
use crate::daemon;
use crate::limits::{CACHE_BYTES_DEFAULT, DEADLINE_SECONDS_MAX, UNMOUNT_DEADLINE};
use crate::mount::clear_stale;
use crate::registry::{self, Phase};
use crate::repo::Mounted;

/// Mounts any git remote as a working tree.
#[derive(Parser)]
#[command(name = "cairn-fs", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Mounts a remote. A token comes from CAIRN_TOKEN, from --token-file, or from git's credential helpers.
    Mount(Box<MountArgs>),
    /// Unmounts. What was changed is kept, and is there again at the next mount upon the same folder.
    Unmount(Place),
    /// Tells how one mount or all mounts are.
    Status(StatusArgs),
    /// Brings files and folders ahead of all others.
    Prefetch(PrefetchArgs),
    /// Lets the background rest.
    Pause(Place),
    /// Lets the background go on.
    Resume(Place),
    /// Makes the cache of contents smaller.
    Gc(GcArgs),
    /// Prints every limit, what it is, and how it is set.
    Limits,
    /// Answers git's fsmonitor hook.
    #[command(hide = true)]
    Fsmonitor(HookArgs),
    /// Answers git's question for credentials.
    #[command(hide = true)]
    Credential(HookArgs),
    #[command(hide = true)]
    Supervise { state: PathBuf },
    #[command(hide = true)]
    Serve { state: PathBuf },
}

#[derive(Args)]
struct MountArgs {
    /// The remote's URL: https or http.
    remote: String,
    /// The folder to mount upon; it is made where it does not exist.
    dir: PathBuf,
    /// The branch or tag to mount; the remote's HEAD if not given.
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// Brings so many commits of history, and no more.
    #[arg(long, value_name = "N", conflicts_with = "history")]
    depth: Option<u32>,
    /// Shows the remote as it was after an entry of its log (a number) or at a time (RFC 3339). Cairn servers can.
    #[arg(long, value_name = "SEQ|TIME")]
    at: Option<String>,
    /// Refuses all changes.
    #[arg(long)]
    read_only: bool,
    /// Lets the kernel read large files of the cache by itself where it can; each open and close is then a request.
    #[arg(long, conflicts_with = "read_only")]
    passthrough: bool,
    /// Refuses any other commit.
    #[arg(long, value_name = "OID")]
    require_commit: Option<String>,
    /// The folder of all caches and of the state of all mounts.
    #[arg(long, value_name = "DIR", env = "CAIRN_FS_CACHE")]
    cache: Option<PathBuf>,
    /// A file that holds the token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Serves in this process until it is ended.
    #[arg(long)]
    foreground: bool,
    /// Returns at once. Until the mount is ready, who looks into the folder waits.
    #[arg(long = "async", conflicts_with = "foreground")]
    is_async: bool,
    /// Lets other users look in.
    #[arg(long)]
    allow_other: bool,
    /// How much history to bring: full (in the background), lazy (none until git asks) or a number of commits.
    #[arg(long, default_value = "full", value_name = "full|lazy|N")]
    history: String,
    /// Bytes that the cache of contents may hold.
    #[arg(long, default_value_t = CACHE_BYTES_DEFAULT, value_name = "BYTES")]
    cache_limit: u64,
    /// Bytes per second that the background may fetch.
    #[arg(long, value_name = "BYTES")]
    background_rate: Option<u64>,
    /// Bytes to which the background may fill the cache of contents; what is read comes beyond that, too.
    #[arg(long, value_name = "BYTES")]
    hydrate_limit: Option<u64>,
    /// Seconds that a read waits for content that is not here; then it fails with EIO. 60 if not given.
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=DEADLINE_SECONDS_MAX))]
    read_deadline: Option<u64>,
    /// Seconds after which a mount that is not ready is given up. 3600 if not given.
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=DEADLINE_SECONDS_MAX))]
    prepare_deadline: Option<u64>,
}

#[derive(Args)]
struct Place {
    /// Where it is mounted.
    dir: PathBuf,
    /// The folder of all caches.
    #[arg(long, value_name = "DIR", env = "CAIRN_FS_CACHE")]
    cache: Option<PathBuf>,
}

#[derive(Args)]
struct StatusArgs {
    /// Where it is mounted; all mounts if not given.
    dir: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// The folder of all caches.
    #[arg(long, value_name = "DIR", env = "CAIRN_FS_CACHE")]
    cache: Option<PathBuf>,
}

#[derive(Args)]
struct PrefetchArgs {
    /// Where it is mounted.
    dir: PathBuf,
    /// Files and folders, from the root of the mount.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The folder of all caches.
    #[arg(long, value_name = "DIR", env = "CAIRN_FS_CACHE")]
    cache: Option<PathBuf>,
}

#[derive(Args)]
struct GcArgs {
    /// Bytes that may stay.
    #[arg(long, default_value_t = CACHE_BYTES_DEFAULT, value_name = "BYTES")]
    cache_limit: u64,
    /// The folder of all caches.
    #[arg(long, value_name = "DIR", env = "CAIRN_FS_CACHE")]
    cache: Option<PathBuf>,
}

#[derive(Args)]
struct HookArgs {
    #[arg(long)]
    state: PathBuf,
    asked: Vec<String>,
}

fn bad(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.into())
}

/// Runs the command line.
pub fn run(cli: Cli) -> io::Result<()> {
    let program = std::env::current_exe()?;
    match cli.command {
        What::Mount(args) => mount(*args, &program),
        What::Unmount(place) => unmount(&place),
        What::Status(args) => status(&args),
        What::Prefetch(args) => prefetch(&args),
        What::Pause(place) => simple(&place, &Request::Pause),
        What::Resume(place) => simple(&place, &Request::Resume),
        What::Gc(args) => gc(&args),
        What::Limits => limits(),
        What::Fsmonitor(args) => fsmonitor(&args),
        What::Credential(args) => credential(&args),
        What::Supervise { state } => daemon::supervise(&program, &state),
        What::Serve { state } => daemon::serve(&program, &state),
    }
}

/// The table of limits in Markdown, as documents have it.
fn limits() -> io::Result<()> {
    let set = |limit: &Limit| limit.set.map_or("fixed".into(), |flag| format!("`{flag}`"));
    io::stdout().write_all(markdown(crate::limits::ALL, set).as_bytes())
}

fn cache_of(given: Option<&PathBuf>) -> io::Result<PathBuf> {
    let cache = given.map_or_else(default_cache, std::path::absolute)?;
    private_folder(&cache)?;
    cache.canonicalize()
}

/// The folder without symbolic links. It is not touched itself: a dead mount could be there.
fn place_of(dir: &Path) -> io::Result<PathBuf> {
    let dir = std::path::absolute(dir)?;
    match (dir.parent(), dir.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        _ => Err(bad(format!("{}: cannot be mounted upon", dir.display()))),
    }
}

fn history_of(args: &MountArgs) -> io::Result<History> {
    let depth = |depth: u32| match depth {
        0 => Err(bad("a history of 0 commits: at least 1 is needed")),
        depth => Ok(History::Depth(depth)),
    };
    match (args.depth, args.history.as_str()) {
        (Some(given), _) => depth(given),
        (None, "full") => Ok(History::Full),
        (None, "lazy") => Ok(History::Lazy),
        (None, text) => {
            depth(text.parse().map_err(|_| bad(format!("history {text:?}: full, lazy or a number")))?)
        }
    }
}

fn mount(args: MountArgs, program: &Path) -> io::Result<()> {
    crate::fuse::device::check()?;
    let (url, in_url) = split_credentials(&args.remote)
        .map_err(|error| bad(format!("the remote cannot be used: {error}")))?;
    let parent = std::path::absolute(&args.dir)?;
    clear_stale(&parent)?;
    std::fs::create_dir_all(&parent)?;
    let record = Record {
        url,
        dir: place_of(&args.dir)?,
        history: history_of(&args)?,
        reference: args.reference,
        at: args.at,
        require_commit: args.require_commit.map(|id| id.to_ascii_lowercase()),
        read_only: args.read_only,
        passthrough: args.passthrough,
        is_async: args.is_async,
        allow_other: args.allow_other,
        cache: cache_of(args.cache.as_ref())?,
        cache_bytes_max: args.cache_limit,
        token_file: args.token_file.map(std::path::absolute).transpose()?,
        background_bytes_per_second: args.background_rate,
        hydrate_bytes_max: args.hydrate_limit,
        read_seconds_max: args.read_deadline,
        prepare_seconds_max: args.prepare_deadline,
    };
    private_folder(&record.state())?;
    refuse_other(&record)?;
    keep_token(&record, in_url)?;
    record.save()?;
    let state = record.state();
    registry::set_phase(&state, None)?;
    registry::set_gate(&state, false)?;
    registry::enter(&record.dir, &record.cache)?;
    if args.foreground {
        let mut ready = |mounted: &Mounted| {
            eprintln!("mounted {}", mounted.commit);
            // Where systemd started this process, and asked to be told (`Type=notify`).
            if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
                eprintln!("the service manager could not be told: {error}");
            }
        };
        let ended = |error: &io::Error| eprintln!("cairn-fs: {error}");
        return crate::mount::run(record, program, &mut ready, Box::new(ended));
    }
    let mut supervisor = daemon::start(program, &state)?;
    if args.is_async {
        return wait_for_phase(&mut supervisor, &state);
    }
    let bar = if io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.set_message("fetching the commit and its trees");
    bar.enable_steady_tick(Duration::from_millis(100));
    let outcome = daemon::wait_ready(&mut supervisor);
    bar.finish_and_clear();
    let commit = outcome.inspect_err(|_| {
        // It ends by itself; a zombie is not left behind while this process lives.
        let _ = supervisor.wait();
        // Who waited learns it here: there is nothing left to tell of.
        let _ = registry::set_phase(&state, None).and_then(|()| registry::leave(&record.dir));
    })?;
    eprintln!("mounted {commit} at {}", record.dir.display());
    Ok(())
}

/// From now on the status tells of the mount, and who looks in waits for the tree, even if nothing serves yet.
fn wait_for_phase(supervisor: &mut std::process::Child, state: &Path) -> io::Result<()> {
    let is_known = || match registry::phase(state) {
        Some(Phase::Failed(_)) => true,
        Some(Phase::Preparing(_)) => registry::has_gate(state),
        None => ask(state, &Request::Status).is_ok(),
    };
    while !is_known() {
        if let Some(ended) = supervisor.try_wait()? {
            return Err(io::Error::other(format!("the supervisor ended with {ended}")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// A state holds changes: it is used for the remote that they were made upon, and by one daemon.
fn refuse_other(record: &Record) -> io::Result<()> {
    let by_other_cache = registry::find(&record.dir);
    if by_other_cache.iter().chain([&record.state()]).any(|state| ask(state, &Request::Status).is_ok()) {
        return Err(bad(format!("{}: is mounted already", record.dir.display())));
    }
    let upon = |record: &Record| (record.url.clone(), record.reference.clone(), record.at.clone());
    // What was never mounted holds no changes.
    if !record.state().join("mounted.json").exists() {
        return Ok(());
    }
    match Record::load(&record.state()) {
        Ok(before) if upon(&before) != upon(record) => {
            let (dir, state) = (record.dir.display(), record.state());
            Err(bad(format!(
                "{dir}: holds the changes of a mount of {} {}{}; mount that one, or remove {}",
                before.url,
                before.reference.as_deref().unwrap_or("HEAD"),
                before.at.iter().map(|at| format!(" at {at}")).collect::<String>(),
                state.display()
            )))
        }
        _ => Ok(()),
    }
}

fn keep_token(record: &Record, in_url: Option<Credentials>) -> io::Result<()> {
    let from_env = std::env::var("CAIRN_TOKEN").ok().filter(|token| !token.is_empty());
    let secret = match (from_env, in_url) {
        (Some(token), _) => token,
        (None, Some(Credentials::Basic { user, password })) => format!("{user}:{password}"),
        (None, Some(Credentials::Bearer(token))) => token,
        (None, None) => return Ok(()),
    };
    write_secret(&record.state().join("token"), &secret)
}

fn state_for(dir: &Path, cache: Option<&PathBuf>) -> io::Result<PathBuf> {
    let dir = place_of(dir)?;
    match registry::find(&dir).filter(|_| cache.is_none()) {
        Some(state) => Ok(state),
        None => Ok(state_of(&cache_of(cache)?, &dir)),
    }
}

/// How one mount is: as it tells itself, or as its files tell while it does not serve.
fn status_of(state: &Path) -> io::Result<Status> {
    match asked(state, &Request::Status) {
        Ok(Reply::Status(status)) => return Ok(*status),
        Ok(_) => return Err(io::Error::other("the mount answers something else")),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "nothing is mounted there");
    let (name, pid, error) = match registry::phase(state).ok_or_else(nothing)? {
        Phase::Preparing(pid) => ("preparing", pid, None),
        Phase::Failed(why) => ("failed", 0, Some(why)),
    };
    let record = Record::load(state)?;
    let mut status =
        Status { state: name.to_owned(), remote: record.url, dir: record.dir, ..Status::default() };
    status.pid = pid;
    status.hydration.last_error = error;
    Ok(status)
}

fn asked(state: &Path, request: &Request) -> io::Result<Reply> {
    match ask(state, request) {
        Ok(Reply::Error(why)) => Err(io::Error::other(why)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Err(io::Error::new(io::ErrorKind::NotFound, "nothing is mounted there"))
        }
        other => other,
    }
}

fn simple(place: &Place, request: &Request) -> io::Result<()> {
    asked(&state_for(&place.dir, place.cache.as_ref())?, request).map(|_| ())
}

fn unmount(place: &Place) -> io::Result<()> {
    let state = state_for(&place.dir, place.cache.as_ref())?;
    let dir = place_of(&place.dir)?;
    if let Err(error) = asked(&state, &Request::Unmount) {
        if let Some(Phase::Preparing(supervisor)) = registry::phase(&state) {
            return stop_preparing(&state, &dir, supervisor);
        }
        clear_stale(&dir)?;
        if matches!(registry::phase(&state), Some(Phase::Failed(_))) {
            registry::set_phase(&state, None)?;
            return registry::leave(&dir);
        }
        return Err(error);
    }
    let deadline = Instant::now() + UNMOUNT_DEADLINE;
    while crate::control::socket_of(&state).exists() {
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("{}: is in use", dir.display())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    registry::leave(&dir)
}

/// Ends a mount before it is ready. Its folder is not looked at: that would wait for the tree.
fn stop_preparing(state: &Path, dir: &Path, supervisor: u32) -> io::Result<()> {
    daemon::pass_on(supervisor);
    let deadline = Instant::now() + UNMOUNT_DEADLINE;
    while registry::is_supervisor(supervisor, state) {
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("{}: its preparation does not end", dir.display())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    clear_stale(dir)?;
    registry::set_phase(state, None)?;
    registry::leave(dir)
}

fn status(args: &StatusArgs) -> io::Result<()> {
    let mut states = match &args.dir {
        Some(dir) => vec![state_for(dir, args.cache.as_ref())?],
        None => std::fs::read_dir(cache_of(args.cache.as_ref())?.join("mounts"))
            .map(|list| list.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default(),
    };
    if args.dir.is_none() && args.cache.is_none() {
        states.extend(registry::all());
        states.sort_unstable();
        states.dedup();
    }
    let mut found = Vec::new();
    for state in states {
        match status_of(&state) {
            Ok(status) => found.push(status),
            Err(error) if args.dir.is_some() => return Err(error),
            Err(_) => {}
        }
    }
    let mut out = io::stdout().lock();
    if args.json {
        let text = match (&args.dir, found.first()) {
            (Some(_), Some(one)) => serde_json::to_string_pretty(one)?,
            _ => serde_json::to_string_pretty(&found)?,
        };
        return writeln!(out, "{text}");
    }
    found.iter().try_for_each(|status| print_status(&mut out, status))
}

fn print_status(out: &mut impl Write, status: &Status) -> io::Result<()> {
    let hydration = &status.hydration;
    writeln!(out, "{}: {} ({})", status.dir.display(), status.state, status.remote)?;
    let branch = status.branch.as_deref().unwrap_or("detached");
    writeln!(out, "  commit   {} ({branch})", status.commit)?;
    if let Some(head) = &status.head {
        let commit = head.commit.as_deref().unwrap_or("no commit");
        writeln!(out, "  head     {commit} ({})", head.branch.as_deref().unwrap_or("detached"))?;
    }
    if let Some(here) = &status.hydrated {
        writeln!(out, "  here     {} of {} files, {} bytes", here.blobs, here.of_blobs, here.bytes)?;
    }
    let fetched = (hydration.fetched_blobs, hydration.fetched_bytes, hydration.requests);
    writeln!(out, "  fetched  {} files, {} bytes, {} requests", fetched.0, fetched.1, fetched.2)?;
    writeln!(out, "  to come  {} wanted, {} in the background", hydration.waiting, hydration.background)?;
    if hydration.is_paused || hydration.is_disk_full {
        let why = if hydration.is_paused { "it is paused" } else { "it may take no more of the disk" };
        writeln!(out, "  rests    the background brings nothing: {why}")?;
    }
    writeln!(out, "  changed  {} files, {} bytes", status.dirty_files, status.dirty_bytes)?;
    let notes = status.warnings.iter().chain(&hydration.last_error).chain(&status.history_error);
    notes.into_iter().try_for_each(|note| writeln!(out, "  note     {note}"))
}

fn prefetch(args: &PrefetchArgs) -> io::Result<()> {
    let state = state_for(&args.dir, args.cache.as_ref())?;
    let dir = place_of(&args.dir)?;
    for path in &args.paths {
        let inside = path.strip_prefix(&dir).unwrap_or(path);
        let inside = inside.to_str().ok_or_else(|| bad(format!("{}: not UTF-8", path.display())))?;
        let inside = inside.trim_matches('/').trim_start_matches("./");
        let inside = if inside == "." { "" } else { inside };
        if let Reply::Prefetch(count) = asked(&state, &Request::Prefetch(inside.to_owned()))? {
            println!("{}: {count} files on their way", path.display());
        }
    }
    Ok(())
}

fn gc(args: &GcArgs) -> io::Result<()> {
    let done = Blobs::open(&cache_of(args.cache.as_ref())?.join("blobs"), args.cache_limit)?
        .evict(args.cache_limit)?;
    println!(
        "removed {} files, {} bytes; kept {} files, {} bytes",
        done.gone, done.gone_bytes, done.kept, done.kept_bytes
    );
    Ok(())
}

/// git's fsmonitor hook, version 2: the new token, NUL, then paths, each with a NUL; `/` for all.
fn fsmonitor(args: &HookArgs) -> io::Result<()> {
    let [version, token] = args.asked.as_slice() else { return Err(bad("a version and a token are needed")) };
    if version != "2" {
        return Err(bad(format!("version {version} of the hook's protocol: only 2 is spoken")));
    }
    // A linked work tree asks as well, with the same settings: nothing is known of that one.
    if std::env::current_dir()? != Record::load(&args.state)?.dir {
        return io::stdout().lock().write_all(&[token.as_bytes(), b"\0/\0"].concat());
    }
    bring_mapped_pages();
    let Reply::Changes(next, paths) = asked(&args.state, &Request::Changes(token.clone()))? else {
        return Err(io::Error::other("the mount answers something else"));
    };
    let mut out = next.into_bytes();
    out.push(0);
    for path in paths.unwrap_or_else(|| vec![b"/".to_vec()]) {
        out.extend_from_slice(&path);
        out.push(0);
    }
    io::stdout().lock().write_all(&out)
}

/// Makes the kernel send all that was written through memory maps, or is cached otherwise, to the mount below the current
/// folder. Here, and not in the daemon, which would wait for itself.
fn bring_mapped_pages() {
    // What cannot be written any more was told to who wrote it. Where the mount is gone, the question that follows says so.
    let Ok(dir) = std::fs::File::open(".") else { return };
    let _ = rustix::fs::syncfs(&dir);
    // The kernel does not wait for answers there. This request stands behind all of those.
    let _ = rustix::fs::fstatfs(&dir);
}

/// git's credential helper. It only ever answers `get`: what git learns elsewhere is not ours to keep.
fn credential(args: &HookArgs) -> io::Result<()> {
    if args.asked.first().map(String::as_str) != Some("get") {
        return Ok(());
    }
    // git waits for its question to be read.
    io::stdin().lock().take(1 << 16).read_to_end(&mut Vec::new())?;
    if let Some(login) = login(&Record::load(&args.state)?)? {
        print!("username={}\npassword={}\n", login.user, login.password);
    }
    Ok(())
}

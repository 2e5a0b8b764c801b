//! One mount from preparation to its end, within one process.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use cairn_remote::Options as RemoteOptions;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::attributes::view::Converted;
use crate::config::{History, Record, ask_git, login, private_folder, remote_options, write_secret};
use crate::control::{self, Reply, Request, Status};
use crate::fs::{DotGit, Fs, Options};
use crate::fuse::gate::Gate;
use crate::fuse::objects::ObjectFolder;
use crate::fuse::{self, MountOptions};
use crate::gitdir::index::Listing;
use crate::gitdir::layout::view_of;
use crate::gitdir::loose::Names;
use crate::hydrate::upstream::{Dial, Failure, dial};
use crate::limits::{
    BACKOFF_MAX, BACKOFF_MIN, CALM, CALM_WAIT_MAX, FOLD_PAUSE, HISTORY_TRIES_MAX, LEARNT_LISTING_MAX,
    PREPARE_TRIES_MAX, UNMOUNT_PAUSE, UNMOUNT_TRY_MAX, VIEW_OBJECTS_MAX,
};
use crate::port::Objects;
use crate::registry;
use crate::repo::{Mounted, Repo, prepare};

/// The hydrator ends waits by itself; what it should forget is answered this much later.
const PARKED_MARGIN: Duration = Duration::from_secs(5);

/// What the control socket tells of.
struct Shared {
    repo: Arc<Repo>,
    fs: Arc<Fs>,
    warnings: Mutex<Vec<String>>,
    history_error: Mutex<Option<String>>,
    stop: Mutex<Sender<()>>,
}

/// How far a mount has come.
enum Stage {
    /// Nobody serves it. Who looks into it waits at the gate, if there is one.
    Preparing(Option<Gate>),
    /// Somebody serves it, and ends it.
    Serving,
}

/// A mount that is being made. The gate goes, and with it all who wait there, unless somebody serves.
struct Opening(Arc<Mutex<Stage>>);

impl Opening {
    fn of(gate: Option<Gate>) -> Self {
        Self(Arc::new(Mutex::new(Stage::Preparing(gate))))
    }

    /// The gate, for who serves from now on.
    fn serve(&self) -> Option<Gate> {
        match std::mem::replace(&mut *lock(&self.0), Stage::Serving) {
            Stage::Preparing(gate) => gate,
            Stage::Serving => None,
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Stage::Preparing(gate) = &mut *lock(&self.0) {
            drop(gate.take());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Mounts, calls `ready`, and serves until the mount is unmounted by whomever, or a signal asks for it. A signal that comes
/// before it is ready ends the process, once `ended` was told why.
pub fn run(
    record: Record,
    program: &Path,
    ready: &mut dyn FnMut(&Mounted),
    ended: Box<dyn Fn(&io::Error) + Send>,
) -> io::Result<()> {
    clear_stale(&record.dir)?;
    private_folder(&record.cache)?;
    private_folder(&record.state())?;
    let how = MountOptions {
        allow_other: record.allow_other,
        fsname: record.url.clone(),
        passthrough: record.passthrough,
        ..MountOptions::default()
    };
    let gate = match record.is_async {
        true => Gate::shut(&record.dir, &how, record.read_only)?,
        false => None,
    };
    let (stop, stopped) = channel();
    let opening = Opening::of(gate);
    stop_on_signals(stop.clone(), Arc::clone(&opening.0), ended)?;
    registry::set_gate(&record.state(), true)?;
    let mounted = prepare_in_time(&record, program)?;
    let repo = Repo::open(record.clone(), mounted.clone(), dial_to_read(&record))?;
    let settings = repo.ask_settings();
    let listing = repo.list()?.map(Arc::new);
    let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let options = options_of(&repo, owner);
    // They come while the rest is made ready.
    let sizes = listing.as_deref().and_then(|listing| repo.ask_sizes(listing));
    if let Some(Err(error)) = listing.as_deref().map(|listing| repo.bring_rules(listing)) {
        // They come when they are needed.
        log::warn!("the .gitignore files could not be brought ahead: {error}");
    }
    let view = Arc::new(repo.view(listing.as_deref(), settings)?);
    let objects: Arc<dyn Objects> = Arc::<Converted>::clone(&view);
    let fs = Fs::open(&record.state().join("overlay"), view.root(), objects, options)?;
    if let Some(listing) = listing.as_deref() {
        // An index without sizes is right, too: it only costs a comparison should the fsmonitor be lost.
        let _ = sizes.map(|sizes| sizes.recv());
        repo.write_index(listing, &view, owner, &fs.changes_since(0).token.to_string())?;
    }
    let mut warnings = view.warnings().to_vec();
    if !mounted.is_partial {
        warnings.push("the remote offers no filters: all contents were fetched at once".to_owned());
    }
    let shared = Arc::new(Shared {
        repo: Arc::clone(&repo),
        fs: Arc::clone(&fs),
        warnings: Mutex::new(warnings),
        history_error: Mutex::default(),
        stop: Mutex::new(stop),
    });
    // From here on there is more to be taken away than the gate: a signal ends it as it ends who serves.
    let gate = opening.serve();
    let folder = show_objects(&repo, listing.as_ref(), how.fsname.as_str())?;
    let session = Arc::new(match gate {
        Some(gate) => fuse::serve_behind(gate, fs, how)?,
        None => fuse::serve(fs, &record.dir, how)?,
    });
    // Who is answered finds the tree. Until then git's hook fails, and git looks at everything.
    let answering = Arc::clone(&shared);
    control::serve(&record.state(), Arc::new(move |request| answering.answer(request)))?;
    let unmounting = Arc::clone(&session);
    thread::spawn(move || unmount_when_told(&stopped, &unmounting));
    ready(&mounted);
    let learnt = listing.clone().filter(|listing| listing.len() <= LEARNT_LISTING_MAX);
    start_background(&shared, &session, listing, &record)?;
    let served = session.wait();
    learnt.iter().for_each(|listing| repo.save_learnt(listing));
    drop(folder);
    repo.hydrator().stop();
    // Nobody is to ask a mount that is gone.
    let _ = std::fs::remove_file(control::socket_of(&record.state()));
    served
}

fn options_of(repo: &Repo, (uid, gid): (u32, u32)) -> Options {
    Options {
        dotgit: DotGit::Symlink(repo.gitdir()),
        read_only: repo.record().read_only,
        uid,
        gid,
        commit_time: repo.mounted().commit_time(),
        read_deadline: repo.record().read_deadline() + PARKED_MARGIN,
    }
}

/// Shows git the blobs as objects. Without that, git fetches them itself before it commits.
fn show_objects(
    repo: &Arc<Repo>,
    listing: Option<&Arc<Listing>>,
    fsname: &str,
) -> io::Result<Option<ObjectFolder>> {
    let place = view_of(&repo.record().state());
    clear_stale(&place)?;
    let Some(listing) = listing.filter(|listing| listing.len() <= VIEW_OBJECTS_MAX) else { return Ok(None) };
    private_folder(&place)?;
    let objects: Arc<dyn Objects> = Arc::<Repo>::clone(repo);
    let deadline = repo.record().read_deadline() + PARKED_MARGIN;
    let names = Arc::new(Names::new(Arc::clone(listing)));
    repo.count_of(Arc::clone(&names));
    fuse::objects::serve(names, objects, &place, fsname, deadline).map(Some)
}

fn dial_for(record: &Record) -> Dial {
    let (record, url) = (record.clone(), record.url.clone());
    dial(url, move || remote_options(&record))
}

/// A connection for reads is given up when who waits for it has to be.
fn dial_to_read(record: &Record) -> Dial {
    let (record, url) = (record.clone(), record.url.clone());
    dial(url, move || {
        let options = remote_options(&record)?;
        let longest = |timeout: Duration| timeout.min(record.read_deadline());
        let (connect, read) = (longest(options.connect_timeout), longest(options.read_timeout));
        Ok(RemoteOptions { connect_timeout: connect, read_timeout: read, ..options })
    })
}

/// Prepares until it is done or the deadline has come. What is under way then ends with the process.
fn prepare_in_time(record: &Record, program: &Path) -> Result<Mounted, Failure> {
    let (told, outcome) = channel();
    let (about, program) = (record.clone(), program.to_owned());
    thread::Builder::new()
        .name("prepare".to_owned())
        // Nobody listens any more after the deadline.
        .spawn(move || _ = told.send(prepare_patiently(&about, &program)))?;
    let deadline = record.prepare_deadline();
    outcome.recv_timeout(deadline).unwrap_or_else(|ended| {
        let (kind, text) = match ended {
            RecvTimeoutError::Timeout => {
                let text = format!("it was not ready after {} s (--prepare-deadline)", deadline.as_secs());
                (io::ErrorKind::TimedOut, text)
            }
            RecvTimeoutError::Disconnected => (io::ErrorKind::Other, "its preparation panicked".to_owned()),
        };
        Err(Failure { text, is_transient: false, kind })
    })
}

/// Tries again what may go better in a moment; asks git's credential helpers where the remote wants to know who asks.
fn prepare_patiently(record: &Record, program: &Path) -> Result<Mounted, Failure> {
    let dial = dial_for(record);
    let mut has_asked = false;
    let mut pause = BACKOFF_MIN;
    let mut tries = 0;
    loop {
        tries += 1;
        match prepare(record, &dial, program) {
            Err(failure) if failure.kind == io::ErrorKind::PermissionDenied && !has_asked => {
                has_asked = true;
                let found = if login(record)?.is_none() { ask_git(&record.url)? } else { None };
                let Some(found) = found else { return Err(failure) };
                write_secret(&record.state().join("token"), &format!("{}:{}", found.user, found.password))?;
            }
            Err(failure) if failure.is_transient && tries < PREPARE_TRIES_MAX => {
                thread::sleep(pause);
                pause = (pause * 2).min(BACKOFF_MAX);
            }
            outcome => return outcome,
        }
    }
}

/// A signal asks who serves to unmount. While nobody serves it takes the gate away, which answers all who wait there, and
/// ends the process: whatever it waits for.
fn stop_on_signals(
    stop: Sender<()>,
    stage: Arc<Mutex<Stage>>,
    ended: Box<dyn Fn(&io::Error) + Send>,
) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::spawn(move || {
        for _ in signals.forever() {
            // Held until the end: nobody begins to serve meanwhile.
            let mut stage = lock(&stage);
            if let Stage::Preparing(gate) = &mut *stage {
                drop(gate.take());
                ended(&io::Error::new(io::ErrorKind::Interrupted, "it was ended before it was ready"));
                std::process::exit(1);
            }
            // Gone only when the process ends anyway.
            let _ = stop.send(());
        }
    });
    Ok(())
}

fn unmount_when_told(stopped: &Receiver<()>, session: &fuse::Session) {
    while stopped.recv().is_ok() {
        let deadline = Instant::now() + UNMOUNT_TRY_MAX;
        loop {
            match session.unmount() {
                Ok(()) => return,
                Err(_) if Instant::now() < deadline => thread::sleep(UNMOUNT_PAUSE),
                Err(error) => break eprintln!("cannot unmount: {error}"),
            }
        }
    }
}

/// A daemon that was killed leaves a mount behind that answers ENOTCONN, and ECONNABORTED to who asks as it dies: it is
/// taken away.
pub fn clear_stale(dir: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    let is_stale = || {
        let error = std::fs::symlink_metadata(dir).err().and_then(|error| error.raw_os_error());
        error.is_some_and(|error| {
            [Errno::NOTCONN, Errno::CONNABORTED].map(Errno::raw_os_error).contains(&error)
        })
    };
    if !is_stale() {
        return Ok(());
    }
    if rustix::mount::unmount(dir, rustix::mount::UnmountFlags::DETACH).is_err() {
        let mut helper = Command::new("fusermount3");
        helper.args(["-u", "-z"]).arg(dir).stdin(Stdio::null()).stdout(Stdio::null());
        helper.status()?;
    }
    match is_stale() {
        true => Err(io::Error::other(format!(
            "{}: a dead mount is there, and cannot be taken away",
            dir.display()
        ))),
        false => Ok(()),
    }
}

/// The first looks at a tree follow its mount at once. What nobody waits for yet stays out of their way, until they are over
/// or somebody does wait.
fn wait_for_calm(session: &Weak<fuse::Session>, repo: &Repo) {
    let until = Instant::now() + CALM_WAIT_MAX;
    let mut before = 0;
    while let Some(served) = session.upgrade().map(|session| session.served()) {
        if before == served || repo.progress().waiting > 0 || Instant::now() > until {
            return;
        }
        before = served;
        thread::sleep(CALM);
    }
}

fn start_background(
    shared: &Arc<Shared>,
    session: &Arc<fuse::Session>,
    listing: Option<Arc<Listing>>,
    record: &Record,
) -> io::Result<()> {
    let (about, session) = (Arc::clone(shared), Arc::downgrade(session));
    let calm = session.clone();
    let kept = listing.clone().filter(|listing| listing.len() <= LEARNT_LISTING_MAX);
    thread::Builder::new().name("background".to_owned()).spawn(move || {
        let Some(listing) = listing else { return };
        wait_for_calm(&calm, &about.repo);
        about.repo.start_background(&listing);
    })?;
    let (about, repo) = (Arc::downgrade(&shared.fs), Arc::clone(&shared.repo));
    thread::Builder::new().name("fold".to_owned()).spawn(move || {
        while let Some(fs) = about.upgrade() {
            fs.fold_back();
            fs.close_idle();
            drop(fs);
            repo.close_idle();
            kept.iter().for_each(|listing| repo.save_learnt(listing));
            thread::sleep(FOLD_PAUSE);
        }
    })?;
    if record.history != History::Full {
        return Ok(());
    }
    let (about, dial) = (Arc::clone(shared), dial_for(record));
    thread::Builder::new().name("history".to_owned()).spawn(move || {
        wait_for_calm(&session, &about.repo);
        let mut pause = BACKOFF_MIN;
        for _ in 0..HISTORY_TRIES_MAX {
            let outcome = about.repo.complete_history(&dial);
            let failure = outcome.as_ref().err().map(|failure| failure.text.clone());
            *about.history_error.lock().unwrap_or_else(PoisonError::into_inner) = failure;
            if outcome.is_ok_and(|()| true) {
                return;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    })?;
    Ok(())
}

impl Shared {
    fn answer(&self, request: Request) -> Reply {
        match request {
            Request::Status => Reply::Status(Box::new(self.status())),
            Request::Changes(token) => {
                // A token of another kind is one that is not known.
                let changes = self.fs.changes_since(token.parse().unwrap_or(0));
                Reply::Changes(changes.token.to_string(), changes.paths)
            }
            Request::Prefetch(path) => match self.repo.prefetch(path.as_bytes()) {
                Ok(count) => Reply::Prefetch(count),
                Err(error) => Reply::Error(error.to_string()),
            },
            Request::Pause => self.pause(true),
            Request::Resume => self.pause(false),
            Request::Unmount => {
                let told = self.stop.lock().unwrap_or_else(PoisonError::into_inner).send(());
                told.map_or_else(|_| Reply::Error("the mount is ending".to_owned()), |()| Reply::Done)
            }
        }
    }

    fn pause(&self, is_paused: bool) -> Reply {
        self.repo.hydrator().pause(is_paused);
        Reply::Done
    }

    fn status(&self) -> Status {
        let (mounted, record, fs) = (self.repo.mounted(), self.repo.record(), self.fs.status());
        Status {
            state: "ready".to_owned(),
            remote: record.url.clone(),
            dir: record.dir.clone(),
            commit: mounted.commit.clone(),
            branch: mounted.branch.clone(),
            head: self.repo.head().ok(),
            pid: std::process::id(),
            hydrated: self.repo.hydrated(),
            hydration: self.repo.progress(),
            dirty_files: fs.dirty_files,
            dirty_bytes: fs.upper_bytes,
            warnings: self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            history_error: self.history_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

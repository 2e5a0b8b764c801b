//! Imports: begun by a request, which waits for the small ones; the others go on by themselves, and at the next start where
//! the process ended.
//!
//! The catalog's row is the state. It is there before anything is fetched, and says `importing` until the entry stands; an
//! import that fails takes its row back. Credentials live in memory alone, so that a private import ends with the process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cairn_remote::{Class, Credentials, RemoteError, Stopper};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::app::App;
use crate::auth::{self, Edit, Grant};
use crate::budget::Wait;
use crate::error::{Error, Result, code};
use crate::limits::{
    IMPORT_LOOK_MS, IMPORT_PAUSE_MS, IMPORT_PROBES_MAX, IMPORT_TRIES_MAX, IMPORT_WAIT_MS, IMPORTS_MAX,
    IMPORTS_WAITING_MAX, TOKEN_TTL_SECONDS,
};
use crate::names::{Name, is_branch_name};
use crate::ops::create::Created;
use crate::ops::import::{self, Fetched, Probed, Source};
use crate::ops::index::index_bytes;
use crate::ops::push::By;
use crate::ops::room::within;
use crate::ops::{self, OpError, Served};
use crate::random;
use crate::store::RepoId;
use crate::store::catalog::{CatalogError, ImportRow, NewRepo, RepoRow, Scope};
use crate::store::repo::EntryKind;

/// What a caller asks for.
#[derive(Clone, Default)]
pub struct Wish {
    /// Where; made if absent.
    pub namespace: String,
    /// The new repository's name.
    pub name: Option<String>,
    /// Where it comes from; may hold credentials.
    pub url: Option<String>,
    /// The one branch that is wanted.
    pub branch: Option<String>,
    /// Commits of history.
    pub depth: Option<u32>,
    /// Whether pushes are refused afterwards.
    pub read_only: bool,
    /// For the remote; where there is a token, any user will do for most hosts.
    pub username: Option<String>,
    /// For the remote.
    pub password: Option<String>,
    /// For the remote: sent as the password.
    pub token: Option<String>,
}

/// The imports of this process. Clones share them.
#[derive(Clone)]
pub struct Imports(Arc<Inner>);

struct Inner {
    probes: Arc<Semaphore>,
    slots: Arc<Semaphore>,
    /// Leaf lock: nothing is taken or awaited while it is held.
    running: Mutex<HashMap<RepoId, Arc<Halt>>>,
    ended: Notify,
}

impl Default for Imports {
    fn default() -> Self {
        Self(Arc::new(Inner {
            probes: Arc::new(Semaphore::new(IMPORT_PROBES_MAX)),
            slots: Arc::new(Semaphore::new(IMPORTS_MAX)),
            running: Mutex::default(),
            ended: Notify::new(),
        }))
    }
}

/// How a running import is told to end.
#[derive(Default)]
struct Halt {
    state: AtomicU8,
    /// Ends a wait for the remote. Leaf lock.
    stopper: Mutex<Option<Stopper>>,
}

impl Halt {
    fn is_going(&self) -> bool {
        self.state.load(Ordering::Acquire) == GOING
    }

    fn end(&self, why: u8) {
        // The first reason stands.
        let _ = self.state.compare_exchange(GOING, why, Ordering::AcqRel, Ordering::Acquire);
        if let Some(stopper) = self.stopper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            stopper.stop();
        }
    }

    /// `stopper` ends the wait that comes now.
    fn watch(&self, stopper: Stopper) {
        *self.stopper.lock().unwrap_or_else(PoisonError::into_inner) = Some(stopper);
        if !self.is_going() {
            self.end(GOING);
        }
    }
}

const GOING: u8 = 0;
/// The repository was deleted.
const CANCELLED: u8 = 1;
/// The process ends; the next one goes on.
const STOPPED: u8 = 2;

impl Imports {
    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<RepoId, Arc<Halt>>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, id: RepoId) -> Job {
        let halt = Arc::<Halt>::default();
        self.running().insert(id, Arc::clone(&halt));
        Job { imports: self.clone(), id, halt }
    }

    /// Ends the import of a deleted repository, if there is one.
    pub fn cancel(&self, id: RepoId) {
        let halt = self.running().get(&id).map(Arc::clone);
        if let Some(halt) = halt {
            halt.end(CANCELLED);
        }
    }

    /// How many run or wait.
    pub fn count(&self) -> usize {
        self.running().len()
    }

    /// Lets imports end for a while; then those that are left stop where they are.
    pub async fn drain(&self, wait: Duration) {
        // Those that wait for their turn would only begin.
        self.0.slots.close();
        let all_ended = async {
            loop {
                let ended = self.0.ended.notified();
                if self.count() == 0 {
                    return;
                }
                ended.await;
            }
        };
        if timeout(wait, all_ended).await.is_err() {
            let halts: Vec<_> = self.running().values().map(Arc::clone).collect();
            halts.iter().for_each(|halt| halt.end(STOPPED));
        }
    }
}

/// A running import's place in the list, for as long as it lives.
struct Job {
    imports: Imports,
    id: RepoId,
    halt: Arc<Halt>,
}

impl Job {
    fn halted(&self) -> Option<Ended> {
        match self.halt.state.load(Ordering::Acquire) {
            CANCELLED => Some(Ended::Cancelled),
            STOPPED => Some(Ended::Stopped),
            _ => None,
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.imports.running().remove(&self.id);
        self.imports.0.ended.notify_waiters();
    }
}

/// Why an import did not get to its end.
enum Ended {
    Cancelled,
    Stopped,
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<OpError> for Ended {
    fn from(error: OpError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<CatalogError> for Ended {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::RepoMissing => Self::Cancelled,
            error => Self::Failed(error.into()),
        }
    }
}

/// Checks the wish, asks the remote, makes the row and starts the work; waits for it a while. The answer's row says whether it
/// is done.
pub async fn begin(app: &App, _grant: Grant<Edit>, wish: Wish) -> Result<Created> {
    let namespace = ops::namespace_name(Some(&wish.namespace))?;
    let name = ops::repo_name(wish.name.as_deref())?;
    let (source, credentials) = source(&wish)?;
    if app.catalog.resolve(namespace.as_str(), name.as_str()).await?.is_some() {
        return Err(CatalogError::RepoExists(name.as_str().to_owned()).into());
    }
    if app.imports.count() >= IMPORTS_WAITING_MAX {
        let text = format!("{IMPORTS_WAITING_MAX} imports are under way; come back later");
        return Err(Error::new(code::QUOTA_EXCEEDED, text));
    }
    let probed = probe(app, &source, credentials.clone()).await?;
    let (row, token) = make(app, (namespace, name), &wish, &source, credentials.is_some(), &probed).await?;
    let done = start(app, row.clone(), source, credentials, Some(probed));
    let row = match timeout(Duration::from_millis(IMPORT_WAIT_MS), done).await {
        Ok(Ok(Ok(row))) => row,
        Ok(Ok(Err(error))) => return Err(error),
        // Under way, or stopped with the process.
        Ok(Err(_)) | Err(_) => row,
    };
    Ok(Created { row, token })
}

async fn make(
    app: &App,
    (namespace, name): (Name, Name),
    wish: &Wish,
    source: &Source,
    is_private: bool,
    probed: &Probed,
) -> Result<(RepoRow, String)> {
    let now_ms = app.clock.now_ms();
    let token = auth::issue(Scope::Write, now_ms, TOKEN_TTL_SECONDS);
    let new = NewRepo {
        namespace,
        name,
        description: None,
        default_branch: probed.chosen.default_branch.clone(),
        object_format: probed.format(),
        read_only: wish.read_only,
        now_ms,
        token: Some(token.row),
    };
    let Source { url, branch, depth } = source.clone();
    let row = app.catalog.create_import(new, ImportRow { url, branch, depth, is_private }).await?;
    Ok((row, token.plaintext))
}

/// What of the wish goes to the remote, with its credentials cut off.
fn source(wish: &Wish) -> Result<(Source, Option<Credentials>)> {
    let url = wish.url.as_deref().unwrap_or_default().trim();
    if !url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        return Err(Error::input("/url", "Must be an HTTPS URL"));
    }
    let split = cairn_remote::split_credentials(url);
    let (url, in_url) = split.map_err(|error| Error::new(code::INVALID_URL, error.to_string()).at("/url"))?;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (user, password, token) = (given(&wish.username), given(&wish.password), given(&wish.token));
    let credentials = match (token, user, password, in_url) {
        (Some(_), _, Some(_), _) => {
            return Err(Error::input("/token", "give a password or a token, not both"));
        }
        (Some(password), user, None, _) => {
            let user = user.unwrap_or_else(|| "x-access-token".to_owned());
            Some(Credentials::Basic { user, password })
        }
        (None, None, None, in_url) => in_url,
        (None, user, password, _) => Some(Credentials::Basic {
            user: user.unwrap_or_default(),
            password: password.unwrap_or_default(),
        }),
    };
    let branch = given(&wish.branch);
    let branch = branch.map(|name| name.strip_prefix("refs/heads/").map(str::to_owned).unwrap_or(name));
    if branch.as_deref().is_some_and(|name| !is_branch_name(name)) {
        return Err(Error::input("/branch", "Invalid branch name"));
    }
    if wish.depth.is_some_and(|depth| depth == 0 || depth >= cairn_protocol::limits::DEEPEN_DEPTH_MAX) {
        return Err(Error::input("/depth", "must be at least 1"));
    }
    Ok((Source { url, branch, depth: wish.depth }, credentials))
}

async fn probe(app: &App, source: &Source, credentials: Option<Credentials>) -> Result<Probed> {
    let turn = Arc::clone(&app.imports.0.probes).acquire_owned();
    let turn = timeout(Duration::from_millis(app.memory.config().wait_ms), turn).await;
    let turn = turn.map_err(|_| app.memory.refuse())?.map_err(Error::internal)?;
    let (config, source) = (app.config.imports.clone(), source.clone());
    let work = move || {
        let _held = turn;
        import::probe(&config, &source, credentials)
    };
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

/// Starts again what the last process left. Call it once, before requests are served.
pub async fn resume(app: &App) -> std::result::Result<(), CatalogError> {
    for (row, import) in app.catalog.imports().await? {
        let source = Source { url: import.url, branch: import.branch, depth: import.depth };
        let has_entry = {
            let (app, row) = (app.clone(), row.clone());
            let seen = tokio::task::spawn_blocking(move || app.served(&row)?.repo.snapshot(None)).await;
            matches!(seen, Ok(Ok(snapshot)) if snapshot.seq() > 0)
        };
        if import.is_private && !has_entry {
            tracing::warn!(repo = %row.id, url = source.url, "a private import ended with the last process");
            discard(app, row.id).await;
            continue;
        }
        tracing::info!(repo = %row.id, url = source.url, "an import goes on");
        drop(start(app, row, source, None, None));
    }
    Ok(())
}

/// Runs the import by itself; what is returned tells its end to whoever waits, or nothing where the process stops.
fn start(
    app: &App,
    row: RepoRow,
    source: Source,
    credentials: Option<Credentials>,
    probed: Option<Probed>,
) -> oneshot::Receiver<Result<RepoRow>> {
    let (tell, told) = oneshot::channel();
    let job = app.imports.enter(row.id);
    let app = app.clone();
    tokio::spawn(async move {
        let id = row.id;
        let ended = run(&app, &job, row, &source, credentials, probed).await;
        let answer = match ended {
            Ok(row) => Ok(row),
            Err(Ended::Stopped) => return,
            Err(Ended::Cancelled) => {
                drop_file(&app, id).await;
                Err(Error::repo_missing())
            }
            Err(Ended::Failed(error)) => {
                let cause = error.cause.as_deref().unwrap_or_default();
                tracing::warn!(repo = %id, url = source.url, error = error.message, cause, "an import failed");
                discard(&app, id).await;
                Err(error)
            }
        };
        drop(job);
        // Whoever asked may have gone.
        let _ = tell.send(answer);
    });
    told
}

async fn run(
    app: &App,
    job: &Job,
    row: RepoRow,
    source: &Source,
    credentials: Option<Credentials>,
    probed: Option<Probed>,
) -> std::result::Result<RepoRow, Ended> {
    let slots = &app.imports.0.slots;
    let (_slot, probed) = match Arc::clone(slots).try_acquire_owned() {
        Ok(slot) => (slot, probed),
        // Refs and a connection are not kept while waiting.
        Err(_) => (waited(app, job).await?, None),
    };
    let served = app.served(&row).map_err(OpError::from)?;
    let seen = served.clone();
    let seq = ops::blocking(move || Ok(seen.repo.snapshot(None)?.seq())).await?;
    // An earlier process may have got as far as the entry.
    if seq == 0 {
        let (probed, fetched) = fetch(app, job, source, credentials, probed).await?;
        if probed.format() != row.object_format {
            return Err(Error::new(code::INVALID_URL, "the remote has another object format now").into());
        }
        let bytes = fetched.spool.as_ref().map_or(0, index_bytes);
        let (chosen, halt) = (probed.chosen, Arc::clone(&job.halt));
        let actor = format!("import:{}", row.id);
        let by = By { kind: EntryKind::Import, actor, time_ms: app.clock.now_ms(), nonce: random::bytes() };
        let land = move |room| match halt.is_going() {
            true => {
                let served = Served { room, ..served.clone() };
                Ok(Some(import::land(&served, &chosen, &fetched, by.clone())?))
            }
            false => Ok(None),
        };
        let landed: Result<_> = within(app, Wait::Upload, bytes, land).await;
        if landed?.is_none() {
            return Err(job.halted().unwrap_or(Ended::Stopped));
        }
    }
    Ok(app.catalog.import_done(row.id, app.clock.now_ms()).await?)
}

async fn waited(app: &App, job: &Job) -> std::result::Result<OwnedSemaphorePermit, Ended> {
    let slots = Arc::clone(&app.imports.0.slots);
    let mut slot = std::pin::pin!(slots.acquire_owned());
    loop {
        match timeout(Duration::from_millis(IMPORT_LOOK_MS), &mut slot).await {
            Ok(Ok(slot)) => return Ok(slot),
            Ok(Err(_)) => return Err(Ended::Stopped),
            Err(_) => look(app, job).await?,
        }
    }
}

/// Ends the job where the repository was deleted, by this process or by another.
async fn look(app: &App, job: &Job) -> std::result::Result<(), Ended> {
    if app.catalog.import(job.id).await?.is_none() {
        app.imports.cancel(job.id);
    }
    job.halted().map_or(Ok(()), Err)
}

/// Fetches the pack, anew where the remote breaks off.
async fn fetch(
    app: &App,
    job: &Job,
    source: &Source,
    credentials: Option<Credentials>,
    mut probed: Option<Probed>,
) -> std::result::Result<(Probed, Fetched), Ended> {
    let mut pause = Duration::from_millis(IMPORT_PAUSE_MS);
    let mut tries = 0;
    loop {
        tries += 1;
        let (error, may_retry) = match attempt(app, job, source, credentials.clone(), probed.take()).await {
            Ok(done) => return Ok(done),
            Err(Failure::Ended(ended)) => return Err(ended),
            Err(Failure::Probe(error)) => {
                let may_retry = error.code == code::UPSTREAM_UNAVAILABLE;
                (error, may_retry)
            }
            Err(Failure::Fetch(error)) => {
                // What is not there any more may have been moved since the refs were asked for.
                let may_retry = error.is_transient() || error.class() == Class::NotFound;
                (import::failed(&error), may_retry)
            }
        };
        if let Some(ended) = job.halted() {
            return Err(ended);
        }
        if !may_retry || tries == IMPORT_TRIES_MAX {
            return Err(error.into());
        }
        tracing::info!(repo = %job.id, url = source.url, error = error.message, tries, "an import tries again");
        sleep(pause).await;
        pause *= 2;
    }
}

enum Failure {
    Ended(Ended),
    Probe(Error),
    Fetch(RemoteError),
}

async fn attempt(
    app: &App,
    job: &Job,
    source: &Source,
    credentials: Option<Credentials>,
    probed: Option<Probed>,
) -> std::result::Result<(Probed, Fetched), Failure> {
    let mut probed = match probed {
        Some(probed) => probed,
        None => probe(app, source, credentials).await.map_err(Failure::Probe)?,
    };
    let (depth, dir, halt) = (source.depth, app.spool_dir(), Arc::clone(&job.halt));
    halt.watch(probed.remote.stopper());
    let mut work = tokio::task::spawn_blocking(move || {
        let is_halted = || !halt.is_going();
        import::fetch(&mut probed, depth, &dir, &is_halted).map(|fetched| (probed, fetched))
    });
    loop {
        match timeout(Duration::from_millis(IMPORT_LOOK_MS), &mut work).await {
            Ok(Ok(done)) => return done.map_err(Failure::Fetch),
            Ok(Err(panicked)) => return Err(Failure::Probe(Error::internal(panicked))),
            // A remote that stands still must not hold up a delete.
            Err(_) => look(app, job).await.map_err(Failure::Ended)?,
        }
    }
}

/// Takes back all that an import made.
async fn discard(app: &App, id: RepoId) {
    match app.catalog.discard_import(id, app.clock.now_ms()).await {
        Ok(_) => drop_file(app, id).await,
        Err(error) => tracing::error!(repo = %id, %error, "a failed import could not be taken back"),
    }
}

/// Drops the file of a deleted repository, if it has one. What cannot be dropped now is dropped at the next start.
async fn drop_file(app: &App, id: RepoId) {
    let files = app.files.clone();
    let dropped = tokio::task::spawn_blocking(move || files.delete(id)).await;
    if matches!(dropped, Ok(Ok(true)))
        && let Err(error) = app.catalog.file_dropped(id).await
    {
        tracing::warn!(repo = %id, %error, "a dropped file was not noted");
    }
}

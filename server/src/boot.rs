//! From settings to a running server, and to an `App` without one for the command line.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, Parts};
use crate::auth::ApiToken;
use crate::budget::Budget;
use crate::clock::Clock;
use crate::config::{Config, Given, Patience, reachable};
use crate::edge::Edge;
use crate::jobs::import::Imports;
use crate::jobs::maintenance::Maintenance;
use crate::limits::{IMPORT_DRAIN_MS_MAX, OPEN_FILES_MAX, TOKEN_KEPT_MS};
use crate::listen::{self, Door};
use crate::metrics::Metrics;
use crate::ops::plans::{Plans, Visible};
use crate::ops::quota::Quotas;
use crate::ops::reserve;
use crate::ops::write::Turns;

use crate::rate::Rates;
use crate::rest::idempotency::Running;
use crate::store::catalog::{Catalog, CatalogError};
use crate::store::disk::{self, Disk, System};
use crate::store::{Files, maintain};
use crate::tls::{Tls, TlsError};
use crate::{descriptors, jobs, random};

/// Why the server did not start or did not run.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The file system or the network failed.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        error: io::Error,
    },
    /// The catalog did not open.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The certificate cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// Another server has the folder.
    #[error("another server uses {0}")]
    InUse(String),
    /// The API token is too short to be one.
    #[error("the API token in {0} is empty")]
    EmptyToken(String),
}

fn doing<T>(what: impl Into<String>, done: io::Result<T>) -> Result<T, BootError> {
    done.map_err(|error| BootError::Io { what: what.into(), error })
}

/// Makes the folder and opens what is in it. Safe beside a running server.
pub fn open(config: Config, api_token: &str) -> Result<App, BootError> {
    open_at(config, api_token, Clock::System)
}

/// The same with a clock of the caller's.
pub fn open_at(config: Config, api_token: &str, clock: Clock) -> Result<App, BootError> {
    open_on(System::shared(), config, api_token, clock)
}

/// The same on a disk of the caller's, but for what waits in `tmp`.
pub fn open_on(disk: Arc<dyn Disk>, config: Config, api_token: &str, clock: Clock) -> Result<App, BootError> {
    let metrics = Metrics::default();
    let path = config.data.join("catalog.sqlite");
    let catalog = Catalog::on(Arc::clone(&disk), &path, metrics.catalog_commit().clone())?;
    let api_token = ApiToken::new(api_token);
    let files = Files::on(disk, &config.data, OPEN_FILES_MAX, metrics.repo_commit().clone());
    let spool = config.data.join("tmp");
    doing(format!("make {}", spool.display()), fs::create_dir_all(&spool))?;
    let bounds = config.bounds;
    Ok(App::new(Parts {
        quotas: Quotas::new(bounds.size, catalog.clone()),
        token_rates: bounds.rate_per_token.map(Rates::new),
        namespace_rates: bounds.rate_per_namespace.map(Rates::new),
        memory: Budget::new(config.memory),
        config,
        catalog,
        api_token,
        clock,
        files,
        plans: Arc::new(Plans::new(metrics.clone())),
        visible: Arc::new(Visible::new(metrics.clone())),
        metrics,
        reads: Arc::default(),
        running: Running::default(),
        commit_turns: Turns::default(),
        imports: Imports::default(),
        maintenance: Maintenance::default(),
    }))
}

/// Makes the data folder, open to its owner alone.
pub fn make_folder(data: &Path) -> Result<(), BootError> {
    let is_new = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.is_dir();
    let new: Vec<&Path> = data.ancestors().take_while(is_new).collect();
    doing(
        format!("make {}", data.display()),
        fs::DirBuilder::new().recursive(true).mode(0o700).create(data),
    )?;
    // What is stored below a folder whose name is lost is lost, too.
    for parent in new.into_iter().filter_map(Path::parent) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let synced = File::open(parent).and_then(|folder| folder.sync_all());
        doing(format!("make {} durable", data.display()), synced)?;
    }
    Ok(())
}

/// Makes the folder where packs are received and SQLite puts what it does not keep.
pub fn temporary_files(data: &Path) -> Result<(), BootError> {
    let folder = data.join("tmp");
    let made = fs::create_dir_all(&folder).and_then(|()| std::path::absolute(&folder));
    let folder = doing(format!("make {}", folder.display()), made)?;
    disk::temporary_files_in(&folder).map_err(|error| BootError::Catalog(CatalogError::from(error)))
}

/// Runs the server until it is told to stop.
pub async fn serve(given: Given) -> Result<(), BootError> {
    make_folder(&given.data)?;
    let _lock = lock(&given.data)?;
    temporary_files(&given.data)?;
    let (api_token, is_new) = api_token(&given)?;
    let listener = doing(format!("listen on {}", given.listen), TcpListener::bind(given.listen).await)?;
    let address = doing("read the address", listener.local_addr())?;
    let tls = given.tls.as_ref().map(|(certificate, key)| Tls::open(certificate, key)).transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let own_url = format!("{scheme}://{}", reachable(address));
    let public_url = given.public_url.as_deref().unwrap_or(&own_url).trim_end_matches('/').to_owned();
    let patience = Patience { connections_max: connections(&given), ..given.patience };
    let config = Config {
        data: given.data.clone(),
        account: given.account.clone(),
        public_url: public_url.clone(),
        imports: given.imports.clone(),
        trusted_proxies: given.trusted_proxies.clone(),
        slow_request_ms: given.slow_request_ms,
        patience,
        memory: given.memory,
        bounds: given.bounds,
        maintenance_quiet_ms: given.maintenance_quiet_ms,
        keep_unreachable_ms: given.keep_unreachable_ms,
    };
    let app = open(config, &api_token)?;
    doing("write the URL", fs::write(given.data.join("url"), &public_url))?;
    sweep(&app).await?;
    if let Err(error) = reserve::keep(&given.data) {
        tracing::warn!(%error, "no room is kept back for deletions");
    }

    let mut term = doing("watch SIGTERM", signal(SignalKind::terminate()))?;
    let mut int = doing("watch SIGINT", signal(SignalKind::interrupt()))?;
    announce(&given, &own_url, &public_url, is_new.then_some(api_token.as_str()))?;
    let stop = async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::info!("stopping");
        tell_manager(NotifyState::Stopping);
    };
    jobs::import::resume(&app).await?;
    if let Some(tls) = &tls {
        tokio::spawn(tls.clone().watch());
    }
    // What it is at when the server stops is done or not done at all.
    let maintenance = tokio::spawn(jobs::maintenance::run(app.clone()));
    let door = Door { listener, metrics: app.metrics.clone(), tls };
    tell_manager(NotifyState::Ready);
    if !listen::serve(door, Edge::new(app.clone()), stop).await {
        tracing::warn!("some requests did not end in time and were cut");
    }
    maintenance.abort();
    app.imports.drain(Duration::from_millis(IMPORT_DRAIN_MS_MAX)).await;
    Ok(())
}

/// How many connections are served: as many as were asked for, if the system has descriptors for them.
fn connections(given: &Given) -> usize {
    let asked = given.patience.connections_max;
    match descriptors::raise() {
        Ok(descriptors) => {
            let room = descriptors::connections(descriptors);
            let connections = asked.min(room);
            tracing::info!(descriptors, connections, "connections at once");
            if room < asked {
                tracing::warn!(asked, connections, "the limit of descriptors (RLIMIT_NOFILE) allows fewer");
            }
            connections
        }
        Err(error) => {
            tracing::warn!(%error, "the limit of descriptors (RLIMIT_NOFILE) could not be raised");
            asked
        }
    }
}

/// Tells systemd, where it started this process and asked to be told (`Type=notify`).
fn tell_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// Takes what earlier runs left behind.
async fn sweep(app: &App) -> Result<(), BootError> {
    app.catalog.sweep_tokens(app.clock.now_ms() - TOKEN_KEPT_MS).await?;
    let removed = maintain::sweep_files(&app.catalog, |id| match app.files.delete(id)? {
        true => Ok(()),
        false => Err("it is in use".into()),
    })
    .await?;
    if removed > 0 {
        tracing::info!(removed, "removed the files of deleted repositories");
    }
    Ok(())
}

/// Held for as long as the server runs; the system frees it however the process ends.
pub(crate) fn lock(data: &Path) -> Result<File, BootError> {
    let path = data.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = doing(format!("open {}", path.display()), file)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BootError::InUse(data.display().to_string())),
        Err(TryLockError::Error(error)) => Err(BootError::Io { what: "lock the folder".into(), error }),
    }
}

/// The given token, the kept one, or a new one that is kept from now on; and whether it is new.
fn api_token(given: &Given) -> Result<(String, bool), BootError> {
    if let Some(token) = given.api_token.as_deref().map(str::trim).filter(|token| !token.is_empty()) {
        return Ok((token.to_owned(), false));
    }
    let path = given.data.join("api-token");
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Err(BootError::EmptyToken(path.display().to_string())),
        Ok(text) => Ok((text.trim().to_owned(), false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = random::hex(&random::bytes::<32>());
            // Whole or not at all: a crash must not leave a half-written token.
            let draft = given.data.join("api-token.new");
            let written = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&draft)
                .and_then(|mut file| {
                    file.write_all(format!("{token}\n").as_bytes()).and_then(|()| file.sync_all())
                })
                .and_then(|()| fs::rename(&draft, &path));
            doing(format!("write {}", path.display()), written)?;
            Ok((token, true))
        }
        Err(error) => Err(BootError::Io { what: format!("read {}", path.display()), error }),
    }
}

/// One line of JSON for programs on stdout; what to try for people on stderr. A new token is shown to a terminal only:
/// what supervisors and containers collect from stderr is a log, and more people read logs than may have the token.
fn announce(given: &Given, url: &str, public_url: &str, new_token: Option<&str>) -> Result<(), BootError> {
    let account = &given.account;
    let line = json!({
        "url": url,
        "public_url": public_url,
        "account": account,
        "data": given.data,
        "api_token_file": given.api_token.is_none().then(|| given.data.join("api-token")),
    });
    let mut out = io::stdout();
    doing("write to stdout", writeln!(out, "{line}").and_then(|()| out.flush()))?;
    if let Some(token) = new_token {
        let base = format!("{public_url}/client/v4/accounts/{account}/artifacts/namespaces/default");
        let host = public_url.split_once("://").map_or(public_url, |(_, host)| host);
        let scheme = public_url.split_once("://").map_or("http", |(scheme, _)| scheme);
        let kept = given.data.join("api-token").display().to_string();
        let (told, token) = match io::stderr().is_terminal() {
            true => (format!(":\n\n  {token}"), token.to_owned()),
            false => (".".to_owned(), format!("$(cat '{kept}')")),
        };
        eprintln!(
            "A new API token is kept in {kept}{told}\n\nTry (TOKEN is what the first line answers):\n\
             \n  curl -H \"Authorization: Bearer {token}\" -d '{{\"name\":\"hello\"}}' {base}/repos\
             \n  git push '{scheme}://x:TOKEN@{host}/git/default/hello.git' HEAD:main\
             \n  git clone '{scheme}://x:TOKEN@{host}/git/default/hello.git'\n",
        );
    }
    Ok(())
}

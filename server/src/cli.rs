//! The command line.

mod api_token;
mod authorities;
mod bounds;
mod clone;
mod commit;
mod credential;
mod export;
mod http;
pub mod limits;
mod maintain;
mod memory;
mod merge;
mod ns;
mod patience;
mod read;
mod ready;
mod refs;
mod repo;
mod show;
mod target;
mod token;
mod top;
mod upkeep;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use self::http::agent;

use self::http::Problem;
use crate::app::App;
use crate::boot;
use crate::config::{Config, Given, ImportConfig};
use crate::limits::{BLOCKING_STOP_MS_MAX, SLOW_REQUEST_MS};
use crate::peer::Network;
use crate::trace;

/// Versioned storage that speaks git
#[derive(Parser)]
#[command(
    name = "cairn",
    version,
    after_help = "serve, fsck, backup, restore, export, maintain and api-token work on a data folder; all else asks a\n\
    server: the one that CAIRN_URL and CAIRN_API_TOKEN name, or the local one whose folder is ./cairn-data."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(Serve),
    /// Make, list, show or delete namespaces
    Ns(ns::NsArgs),
    /// Make, list, show, change, fork or delete repositories
    Repo(repo::RepoArgs),
    /// Issue, list or revoke tokens that open git
    Token(token::TokenArgs),
    /// Make, list or take back tokens that open REST.
    ApiToken(api_token::ApiTokenArgs),
    /// Fork a repository: at once, whatever its size
    Fork(repo::ForkArgs),
    /// Make a repository out of any git remote
    Import(repo::ImportArgs),
    /// Clone with the user's own git, and make git ask for tokens by itself
    Clone(clone::CloneArgs),
    /// Commit files without a clone
    Commit(commit::CommitArgs),
    /// Show the history of a ref or a file
    Log(read::LogArgs),
    /// Print a file
    Cat(read::CatArgs),
    /// List a folder
    Ls(read::LsArgs),
    /// List, show, move or delete refs
    Refs(refs::RefsArgs),
    /// Show what differs between two commits
    Diff(merge::DiffArgs),
    /// Merge on the server
    Merge(merge::MergeArgs),
    /// Download a tree as one file
    Archive(read::ArchiveArgs),
    /// Show what happened to a repository, by whom, and when
    Activity(read::ActivityArgs),
    /// Show how much a repository holds
    Usage(read::UsageArgs),
    /// Give stock git short-lived tokens: git's credential helper
    Credential(credential::CredentialArgs),
    /// Print what makes a shell complete this program's words
    #[command(after_help = "Example:\n  cairn completions bash >/etc/bash_completion.d/cairn")]
    Completions {
        /// bash, zsh, fish and others
        shell: Shell,
    },
    /// Check everything under the data folder.
    Fsck(maintain::FsckArgs),
    /// Copy everything to another folder, also while a server runs; again, what changed.
    Backup(maintain::BackupArgs),
    /// Make a data folder out of a backup, or put one repository of it back.
    Restore(maintain::RestoreArgs),
    /// Write repositories as bundles, which stock git clones and fetches from
    Export(export::ExportArgs),
    /// Print every limit of the server, what it is, and how it is set
    Limits(limits::LimitsArgs),
    /// Ask a server whether it takes changes, without a token: for health checks
    Ready(ready::ReadyArgs),
    /// Watch what a server does
    Top(top::TopArgs),
    /// Roll small packs into larger ones and give the space back; a server that runs is asked to do it
    #[command(after_help = "Example:\n  cairn maintain --all")]
    Maintain(upkeep::MaintainArgs),
}

#[derive(Args)]
struct Serve {
    /// Where to listen; port 0 picks one.
    #[arg(long, env = "CAIRN_LISTEN", default_value = "127.0.0.1:8787")]
    listen: SocketAddr,
    /// The API token; made and kept in the folder if absent.
    #[arg(long, env = "CAIRN_API_TOKEN", hide_env_values = true)]
    api_token: Option<String>,
    /// Import from loopback and private networks too.
    #[arg(long, env = "CAIRN_IMPORT_ALLOW_PRIVATE")]
    import_allow_private: bool,
    /// A PEM file with certificate authorities that imports trust beside the system's.
    #[arg(long, env = "CAIRN_IMPORT_CA_FILE")]
    import_ca_file: Option<PathBuf>,
    /// A PEM file with the certificate's chain: the server itself speaks TLS. Read again when it changes, and at SIGHUP.
    #[arg(long, env = "CAIRN_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// A PEM file with the certificate's key.
    #[arg(long, env = "CAIRN_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Addresses or networks of proxies whose X-Forwarded-For is believed.
    #[arg(long, env = "CAIRN_TRUSTED_PROXIES", value_delimiter = ',')]
    trusted_proxy: Vec<Network>,
    /// Log requests that take longer, in milliseconds.
    #[arg(long, env = "CAIRN_SLOW_REQUEST_MS", default_value_t = SLOW_REQUEST_MS)]
    slow_request_ms: u64,
    /// The origin of an OpenTelemetry collector that takes traces as OTLP over HTTP, such as http://127.0.0.1:4318. Without
    /// it, the standard OTEL_ variables say whether and where traces go.
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Maintain a repository that got no push for so many seconds, and at any time one that got many; off: only when asked.
    #[arg(long, env = "CAIRN_MAINTENANCE", value_name = "SECONDS|off", default_value = "600")]
    maintenance: upkeep::Quiet,
    #[command(flatten)]
    keep: upkeep::KeepArgs,
    #[command(flatten)]
    patience: patience::PatienceArgs,
    #[command(flatten)]
    memory: memory::MemoryArgs,
    #[command(flatten)]
    bounds: bounds::BoundsArgs,
    #[command(flatten)]
    place: Place,
}

/// Which data folder, and how it is named outside.
#[derive(Args)]
struct Place {
    /// The folder that holds everything.
    #[arg(long, global = true, env = "CAIRN_DATA", default_value = "./cairn-data")]
    data: PathBuf,
    /// The origin that clients use.
    #[arg(long, global = true, env = "CAIRN_PUBLIC_URL")]
    public_url: Option<String>,
    /// The account that REST paths name.
    #[arg(long, global = true, env = "CAIRN_ACCOUNT", default_value = "local")]
    account: String,
}

/// Any failure, in words for the operator.
type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Place {
    /// The data folder without a server.
    fn open(self) -> Result<App, Failure> {
        boot::make_folder(&self.data)?;
        // A folder that can only be read leaves SQLite its usual places.
        let _ = boot::temporary_files(&self.data);
        // The last server wrote down how clients reach it.
        let known = std::fs::read_to_string(self.data.join("url")).ok();
        let url = self.public_url.or(known).unwrap_or_else(|| "http://127.0.0.1:8787".into());
        let public_url = url.trim().trim_end_matches('/').to_owned();
        let config = Config { data: self.data, account: self.account, public_url, ..Config::default() };
        // Nobody asks this process for REST, so its token is nobody's.
        let nobody = crate::random::hex(&crate::random::bytes::<32>());
        Ok(boot::open(config, &nobody)?)
    }
}

/// Reads the arguments and does what they ask. Commands that ask a server need no runtime and start none.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(args) => {
            let endpoint = args.otlp_endpoint.clone();
            return local(Some(endpoint.as_deref()), serve(args));
        }
        Command::Fsck(args) => return local(None, maintain::fsck(args)),
        Command::Backup(args) => return local(None, maintain::backup(args)),
        Command::Restore(args) => return local(None, maintain::restore(args)),
        Command::Export(args) => return local(None, export::export(args)),
        Command::Limits(args) => limits::run(args),
        Command::Ready(args) => ready::run(args),
        Command::Top(args) => top::run(args),
        Command::Maintain(args) => return local(None, upkeep::maintain(args)),
        Command::ApiToken(args) => return local(None, api_token::run(args)),
        Command::Ns(args) => ns::run(args),
        Command::Repo(args) => repo::run(args),
        Command::Token(args) => token::run(args),
        Command::Fork(args) => repo::fork(args),
        Command::Import(args) => repo::import(args),
        Command::Clone(args) => clone::run(args),
        Command::Commit(args) => commit::run(args),
        Command::Log(args) => read::log(args),
        Command::Cat(args) => read::cat(args),
        Command::Ls(args) => read::ls(args),
        Command::Refs(args) => refs::run(args),
        Command::Diff(args) => merge::diff(args),
        Command::Merge(args) => merge::merge(args),
        Command::Archive(args) => read::archive(args),
        Command::Activity(args) => read::activity(args),
        Command::Usage(args) => read::usage(args),
        Command::Credential(args) => credential::run(args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "cairn", &mut std::io::stdout());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Problem::Exit(code)) => code.into(),
        Err(problem) => {
            eprintln!("cairn: {problem}");
            if matches!(problem, Problem::Usage(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Runs what works on the data folder. `server`: where a server sends its traces, as far as its arguments say.
fn local(server: Option<Option<&str>>, work: impl Future<Output = Result<ExitCode, Failure>>) -> ExitCode {
    let traces = match server {
        Some(endpoint) => trace::start(endpoint),
        None => trace::start_logs(),
    };
    let traces = match traces {
        Ok(traces) => traces,
        Err(error) => {
            eprintln!("cairn: traces: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut builder = match server.is_some() {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    let done = match builder.enable_all().build() {
        Ok(runtime) => {
            let done = runtime.block_on(work);
            // A thread that waits for a remote must not keep the process; what it would have written is whole or absent.
            runtime.shutdown_timeout(Duration::from_millis(BLOCKING_STOP_MS_MAX));
            done
        }
        Err(error) => Err(error.into()),
    };
    traces.stop();
    done.unwrap_or_else(|error| {
        eprintln!("cairn: {error}");
        ExitCode::FAILURE
    })
}

async fn serve(args: Serve) -> Result<ExitCode, Failure> {
    let given = Given {
        listen: args.listen,
        data: args.place.data,
        public_url: args.place.public_url,
        api_token: args.api_token,
        account: args.place.account,
        tls: args.tls_cert.zip(args.tls_key),
        trusted_proxies: args.trusted_proxy,
        slow_request_ms: args.slow_request_ms,
        patience: args.patience.into(),
        memory: args.memory.into(),
        imports: ImportConfig { allow_private: args.import_allow_private, ca_file: args.import_ca_file },
        bounds: args.bounds.into(),
        maintenance_quiet_ms: args.maintenance.0,
        keep_unreachable_ms: args.keep.ms(),
    };
    boot::serve(given).await?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn no_two_arguments_of_a_command_have_one_name() {
        Cli::command().debug_assert();
    }
}

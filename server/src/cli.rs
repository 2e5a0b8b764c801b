//! The command line.

mod api_token;
mod bounds;
mod maintain;
mod repo;
mod token;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;
use tracing_subscriber::EnvFilter;

use crate::app::App;
use crate::boot;
use crate::config::{Config, Given, ImportConfig};
use crate::limits::{BLOCKING_STOP_MS_MAX, SLOW_REQUEST_MS};
use crate::peer::Network;

/// Versioned storage that speaks git.
#[derive(Parser)]
#[command(name = "cairn", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(Serve),
    /// Make, list, show, fork or delete repositories, with or without a running server.
    Repo(repo::RepoArgs),
    /// Issue tokens that open git.
    Token(token::TokenArgs),
    /// Make, list or take back tokens that open REST.
    ApiToken(api_token::ApiTokenArgs),
    /// Check everything under the data folder.
    Fsck(maintain::FsckArgs),
    /// Copy everything to another folder, also while a server runs.
    Backup(maintain::BackupArgs),
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

/// Reads the arguments and does what they ask.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("CAIRN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let mut builder = match cli.command {
        Command::Serve(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let done = match builder.enable_all().build() {
        Ok(runtime) => {
            let done = runtime.block_on(command(cli.command));
            // A thread that waits for a remote must not keep the process; what it would have written is whole or absent.
            runtime.shutdown_timeout(Duration::from_millis(BLOCKING_STOP_MS_MAX));
            done
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cairn: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn command(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(args) => {
            let given = Given {
                listen: args.listen,
                data: args.place.data,
                public_url: args.place.public_url,
                api_token: args.api_token,
                account: args.place.account,
                imports: ImportConfig {
                    allow_private: args.import_allow_private,
                    ca_file: args.import_ca_file,
                },
                tls: args.tls_cert.zip(args.tls_key),
                trusted_proxies: args.trusted_proxy,
                slow_request_ms: args.slow_request_ms,
                bounds: args.bounds.into(),
            };
            boot::serve(given).await?;
        }
        Command::Repo(args) => repo::run(args).await?,
        Command::Token(args) => token::run(args).await?,
        Command::ApiToken(args) => api_token::run(args).await?,
        Command::Fsck(args) => return maintain::fsck(args).await,
        Command::Backup(args) => maintain::backup(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `ns/name`, or a name in the namespace `default`.
fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("default", name))
}

/// Prints a result as JSON, or its fields one a line.
fn print(json: bool, value: &Value) {
    match value.as_object() {
        Some(fields) if !json => {
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                println!("{name}: {text}");
            }
        }
        _ => println!("{value}"),
    }
}

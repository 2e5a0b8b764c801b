//! `cairn ready`: asks a server by its `/readyz` whether it takes changes, for the health checks of containers and for
//! scripts. It needs no token and sends none.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::authorities;
use super::http::{Problem, body, refused, settings, tls, tls_unchecked};
use super::show;
use crate::config::reachable;
use crate::limits::CLI_READY_SECONDS_MAX;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  cairn ready                                  # the server that CAIRN_LISTEN is for, from beside it\n  \
    cairn ready --url https://git.example.com\n\nThe exit code is 0 where the server takes changes."
)]
pub(super) struct ReadyArgs {
    /// The server's origin. Without it, the server on this machine is asked where it listens
    #[arg(long)]
    url: Option<String>,
    /// Where the server on this machine listens
    #[arg(long, env = "CAIRN_LISTEN", default_value = "127.0.0.1:8787")]
    listen: SocketAddr,
    /// The server on this machine speaks TLS. Its certificate names it as others know it, and so is not checked here
    #[arg(long, env = "CAIRN_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// A PEM file with certificate authorities that are trusted beside the system's
    #[arg(long, env = "CAIRN_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

pub(super) fn run(args: ReadyArgs) -> Result<(), Problem> {
    let (origin, tls, is_local) = match (&args.url, args.tls_cert.is_some()) {
        (Some(url), _) if url.starts_with("https://") => {
            let trust =
                args.ca_file.as_deref().map_or_else(|| Ok(authorities::usual()), authorities::with_file);
            (url.trim_end_matches('/').to_owned(), tls(Some(trust.map_err(Problem::Usage)?)), false)
        }
        (Some(url), _) => (url.trim_end_matches('/').to_owned(), tls(None), false),
        (None, is_tls) => {
            let scheme = if is_tls { "https" } else { "http" };
            (format!("{scheme}://{}", reachable(args.listen)), tls_unchecked(), true)
        }
    };
    let wait = Some(Duration::from_secs(CLI_READY_SECONDS_MAX));
    let mut settings = settings(tls).timeout_global(wait);
    if is_local {
        settings = settings.proxy(None);
    }
    let agent: ureq::Agent = settings.build().into();
    let answer = agent.get(format!("{origin}/readyz")).call();
    let mut answer = answer.map_err(|error| Problem::Failed(format!("{origin} cannot be asked: {error}")))?;
    let text = body(&mut answer)?;
    match answer.status().as_u16() {
        200 => show::line("ready"),
        status => Err(refused(status, &text)),
    }
}

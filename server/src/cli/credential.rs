//! `cairn credential`: git's credential helper protocol (gitcredentials, git-credential). Stock git asks it for the user and
//! password of a remote; remotes of the configured server are answered with a new token of that one repository. Nothing
//! is kept on disk, and other hosts get no answer.

use std::collections::HashMap;
use std::io::{self, Read};
use std::process::Command;

use clap::{Args, Subcommand};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::http::{Client, Problem, part, result};
use super::show;
use super::target::{RepoName, Target};
use crate::limits::{CREDENTIAL_QUESTION_BYTES_MAX, CREDENTIAL_TTL_SECONDS};

#[derive(Args)]
#[command(after_help = "Examples:\n  cairn credential setup          # shows what is to be set\n  \
    cairn credential setup --set    # sets it in the user's git settings\n  \
    printf 'protocol=http\\nhost=127.0.0.1:8787\\npath=git/team/site.git\\n\\n' | cairn credential get")]
pub(super) struct CredentialArgs {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Answer git's question with a short-lived token
    Get,
    /// Taken and not used: nothing is kept
    Store,
    /// Taken and not used: nothing is kept
    Erase,
    /// Print the settings that make git ask this program, or set them
    Setup {
        /// Set them in the user's git settings
        #[arg(long)]
        set: bool,
    },
}

pub(super) fn run(args: CredentialArgs) -> Result<(), Problem> {
    match args.what {
        What::Get => get(&args.target, &question()?),
        What::Store | What::Erase => question().map(|_| ()),
        What::Setup { set } => setup(&args.target, set),
    }
}

/// `key=value` lines up to an empty one; a later value replaces an earlier one.
fn question() -> Result<HashMap<String, String>, Problem> {
    let mut text = String::new();
    io::stdin().lock().take(CREDENTIAL_QUESTION_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > CREDENTIAL_QUESTION_BYTES_MAX {
        return Err(Problem::Failed(format!(
            "git asks with more than {CREDENTIAL_QUESTION_BYTES_MAX} bytes"
        )));
    }
    let lines = text.lines().take_while(|line| !line.is_empty());
    Ok(lines.filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
}

fn get(target: &Target, asked: &HashMap<String, String>) -> Result<(), Problem> {
    let field = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    let (server, path) = place(&target.origin()?);
    if server != format!("{}://{}", field("protocol"), field("host")).to_ascii_lowercase() {
        return Ok(());
    }
    if field("path").is_empty() {
        eprintln!("cairn: git does not say which repository; set credential.{server}.useHttpPath to true");
        return Ok(());
    }
    let Some(repo) = named(field("path"), &path) else { return Ok(()) };
    // Other helpers and the terminal know nothing better about this server.
    let token = issue(&target.client()?, &repo).inspect_err(|_| {
        show::line("quit=1").ok();
    })?;
    let secret = show::text(&token, "plaintext");
    let (password, expiry) = secret.split_once("?expires=").unwrap_or((&secret, ""));
    show::line(&format!("username=cairn\npassword={password}"))?;
    match expiry.parse::<u64>() {
        Ok(seconds) => show::line(&format!("password_expiry_utc={seconds}")),
        Err(_) => Ok(()),
    }
}

/// `https://host[:port]` in small letters as git spells it, and the path of an origin that has one.
fn place(origin: &str) -> (String, String) {
    let after_scheme = origin.find("://").map_or(0, |at| at + 3);
    let end = origin[after_scheme..].find('/').map_or(origin.len(), |at| after_scheme + at);
    let path = origin[end..].trim_matches('/');
    let path = if path.is_empty() { String::new() } else { format!("{path}/") };
    (origin[..end].to_ascii_lowercase(), path)
}

/// The repository whose remote has this path: `git/NAMESPACE/NAME[.git]`, whatever follows.
fn named(path: &str, prefix: &str) -> Option<RepoName> {
    let mut parts = path.trim_start_matches('/').strip_prefix(prefix)?.strip_prefix("git/")?.split('/');
    let (namespace, name) = (parts.next()?, parts.next()?);
    let decoded = |text: &str| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
    let (namespace, name) = (decoded(namespace)?, decoded(name.strip_suffix(".git").unwrap_or(name))?);
    (!namespace.is_empty() && !name.is_empty()).then_some(RepoName { namespace, name })
}

/// A write token where the API token may issue one, else a read token: git does not say what it wants it for.
fn issue(client: &Client, repo: &RepoName) -> Result<Value, Problem> {
    let path = format!("/namespaces/{}/tokens", part(&repo.namespace));
    let ask = |scope: &str| {
        let body = json!({ "repo": repo.name, "scope": scope, "ttl": CREDENTIAL_TTL_SECONDS });
        client.post(&path, &body).map(|answer| result(&answer).clone())
    };
    match ask("write") {
        Err(Problem::Refused { status: 403, .. }) => ask("read"),
        other => other,
    }
}

/// git's settings for one server, in the order in which they are set: first the list of helpers is emptied, since any
/// other helper would be told to store the token.
pub(super) fn settings(target: &Target) -> Result<Vec<(String, String)>, Problem> {
    let (server, _) = place(&target.origin()?);
    let program = std::env::current_exe().map_err(|error| Problem::Failed(error.to_string()))?;
    let mut words = vec![program.to_string_lossy().into_owned(), "credential".to_owned()];
    words.extend(target.as_arguments()?);
    let helper: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let mut settings = vec![
        (format!("credential.{server}.helper"), String::new()),
        (format!("credential.{server}.helper"), format!("!{}", helper.join(" "))),
        (format!("credential.{server}.useHttpPath"), "true".to_owned()),
    ];
    // git takes the file instead of the system's authorities; it is told so for this server alone.
    settings.extend(target.ca_file()?.map(|file| (format!("http.{server}.sslCAInfo"), file)));
    Ok(settings)
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:@%+=,".contains(&byte);
    match !word.is_empty() && word.bytes().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

fn setup(target: &Target, set: bool) -> Result<(), Problem> {
    let settings = settings(target)?;
    if target.json {
        let list: Vec<Value> =
            settings.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        show::json(&Value::Array(list))?;
    }
    for (at, (key, value)) in settings.iter().enumerate() {
        // The first replaces what an earlier set-up left.
        let how = if at == 1 { "--add" } else { "--replace-all" };
        if set {
            let done = Command::new("git").args(["config", "--global", how, key, value]).status();
            let done = done.map_err(|error| Problem::Failed(format!("git cannot be run: {error}")))?;
            if !done.success() {
                return Err(Problem::Failed(format!("git config did not set {key}")));
            }
        }
        if !target.json {
            show::line(&format!("git config --global {how} {} {}", quoted(key), quoted(value)))?;
        }
    }
    Ok(())
}

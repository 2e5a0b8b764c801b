//! Which Cairn a command talks to, and how a repository is named on the command line.

use std::path::{Path, PathBuf};

use clap::Args;

use super::http::{Client, Problem};
use crate::limits::CLI_TOKEN_FILE_BYTES_MAX;

/// Where the server is and what opens it. With neither URL nor token, those that a local server left in its data folder.
#[derive(Args, Clone, Debug)]
pub(super) struct Target {
    /// The server's origin, such as https://git.example.com
    #[arg(long, global = true, env = "CAIRN_URL", help_heading = "Server")]
    url: Option<String>,
    /// A file that holds the API token; else CAIRN_API_TOKEN is read. A token is never an argument
    #[arg(long, global = true, env = "CAIRN_TOKEN_FILE", help_heading = "Server", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A PEM file with certificate authorities that are trusted beside the system's; git is told of it by `clone` and
    /// `credential setup`
    #[arg(long, global = true, env = "CAIRN_CA_FILE", help_heading = "Server", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The data folder of a local server, for its URL and token
    #[arg(long, global = true, env = "CAIRN_DATA", default_value = "./cairn-data", help_heading = "Server")]
    data: PathBuf,
    /// The account that REST paths name
    #[arg(long, global = true, env = "CAIRN_ACCOUNT", default_value = "local", help_heading = "Server")]
    account: String,
    /// The namespace of repositories that are named without one
    #[arg(long, global = true, env = "CAIRN_NAMESPACE", default_value = "default", help_heading = "Server")]
    namespace: String,
    /// Print the result as the server gave it, as JSON
    #[arg(long, global = true, help_heading = "Output")]
    pub(super) json: bool,
}

impl Target {
    /// The same at an origin or at the data folder of a local server.
    pub(super) fn at(self, place: &str) -> Self {
        match place.starts_with("http://") || place.starts_with("https://") {
            true => Self { url: Some(place.to_owned()), ..self },
            false => Self { url: None, data: place.into(), ..self },
        }
    }

    /// The origin, without a slash at its end.
    pub(super) fn origin(&self) -> Result<String, Problem> {
        let given = self.url.clone().filter(|url| !url.is_empty()).or_else(|| self.local_url());
        let url = given.ok_or_else(|| {
            let place = self.data.display();
            Problem::Usage(format!(
                "which server? Set CAIRN_URL or --url; {place} has no file `url` of a local one"
            ))
        })?;
        let url = url.trim().trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Problem::Usage(format!("{url} is no URL: it starts with http:// or https://")));
        }
        Ok(url)
    }

    /// A client with a token. The token of a local server goes to that server alone.
    pub(super) fn client(&self) -> Result<Client, Problem> {
        let origin = self.origin()?;
        let token = match &self.token_file {
            Some(file) => Some(read_small(file).map_err(|error| {
                Problem::Usage(format!("cannot read the token in {}: {error}", file.display()))
            })?),
            None => std::env::var("CAIRN_API_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        let is_local = || self.local_url().is_some_and(|url| url.trim().trim_end_matches('/') == origin);
        let token = match token {
            Some(token) => token,
            None if is_local() => self.local("api-token").ok_or_else(|| self.no_token())?,
            None => return Err(self.no_token()),
        };
        Client::new(&origin, &self.account, token.trim(), self.ca_file.as_deref())
    }

    /// The options that lead another process to the same server; the token stays where it is.
    pub(super) fn as_arguments(&self) -> Result<Vec<String>, Problem> {
        let mut arguments = vec!["--url".to_owned(), self.origin()?];
        let mut path = |option: &str, path: &Path| -> Result<(), Problem> {
            arguments.extend([option.to_owned(), absolute(path)?]);
            Ok(())
        };
        match &self.token_file {
            Some(file) => path("--token-file", file)?,
            None if self.local("api-token").is_some() => path("--data", &self.data)?,
            None => {}
        }
        if let Some(file) = &self.ca_file {
            path("--ca-file", file)?;
        }
        if self.account != "local" {
            arguments.extend(["--account".to_owned(), self.account.clone()]);
        }
        Ok(arguments)
    }

    /// The whole path of the file of authorities, where one is named.
    pub(super) fn ca_file(&self) -> Result<Option<String>, Problem> {
        self.ca_file.as_deref().map(absolute).transpose()
    }

    /// `NAMESPACE/NAME`, or a name in the usual namespace.
    pub(super) fn repo(&self, text: &str) -> Result<RepoName, Problem> {
        let (namespace, name) = text.split_once('/').unwrap_or((&self.namespace, text));
        if namespace.is_empty() || name.is_empty() || name.contains('/') {
            return Err(Problem::Usage(format!("{text} names no repository: NAMESPACE/NAME does")));
        }
        Ok(RepoName { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The namespace of repositories that are named without one.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// `NAMESPACE/NAME[@REF][:PATH]`.
    pub(super) fn spot(&self, text: &str) -> Result<Spot, Problem> {
        let (before, path) = match text.split_once(':') {
            Some((before, path)) => (before, Some(path.trim_start_matches('/').to_owned())),
            None => (text, None),
        };
        let (repo, reference) = match before.split_once('@') {
            Some((repo, reference)) => (repo, Some(reference.to_owned()).filter(|text| !text.is_empty())),
            None => (before, None),
        };
        Ok(Spot { repo: self.repo(repo)?, reference, path })
    }

    fn local_url(&self) -> Option<String> {
        self.local("url")
    }

    fn local(&self, name: &str) -> Option<String> {
        read_small(&self.data.join(name)).ok().filter(|text| !text.trim().is_empty())
    }

    fn no_token(&self) -> Problem {
        Problem::Usage(
            "no API token: set CAIRN_API_TOKEN, or name a file that holds it with --token-file".into(),
        )
    }
}

fn absolute(path: &Path) -> Result<String, Problem> {
    let whole = std::path::absolute(path).map_err(|error| Problem::Failed(error.to_string()))?;
    Ok(whole.to_string_lossy().into_owned())
}

/// A file of one short line.
fn read_small(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(CLI_TOKEN_FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > CLI_TOKEN_FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("more than {CLI_TOKEN_FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// A repository, as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RepoName {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
}

impl std::fmt::Display for RepoName {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}/{}", self.namespace, self.name)
    }
}

/// A place in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// The repository.
    pub(super) repo: RepoName,
    /// A ref or a hash; the default branch where there is none.
    pub(super) reference: Option<String>,
    /// A path from the root.
    pub(super) path: Option<String>,
}

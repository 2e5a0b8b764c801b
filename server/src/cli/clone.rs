//! `cairn clone`: the user's own git, with the credential helper set in the new clone. No token is in a URL, in the list of
//! processes or in `.git/config`.

use std::process::Command;

use clap::Args;
use serde_json::Value;

use super::credential::settings;
use super::http::{Problem, result, route};
use super::target::Target;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  cairn clone team/site\n  cairn clone team/site here -- --depth 1 --branch main\n\n\
    In the clone, git push and git pull work as they are."
)]
pub(super) struct CloneArgs {
    #[command(flatten)]
    target: Target,
    /// NAMESPACE/NAME
    #[arg(value_name = "NS/NAME")]
    of: String,
    /// Where to; the name of the repository if absent
    dir: Option<String>,
    /// More arguments for git clone
    #[arg(last = true)]
    git: Vec<String>,
}

pub(super) fn run(args: CloneArgs) -> Result<(), Problem> {
    let (client, repo) = (args.target.client()?, args.target.repo(&args.of)?);
    let answer = client.get(&route(&repo, ""), &[])?;
    let remote = result(&answer).get("remote").and_then(Value::as_str).unwrap_or_default();
    // The server answers git where it answers REST, whatever name it has outside.
    let path = remote.find("/git/").map(|at| &remote[at..]);
    let path = path.ok_or_else(|| Problem::Failed(format!("the server names no remote for {repo}")))?;
    let mut git = Command::new("git");
    git.arg("clone");
    for (key, value) in settings(&args.target)? {
        git.arg("-c").arg(format!("{key}={value}"));
    }
    git.args(&args.git).arg("--").arg(format!("{}{path}", client.origin)).args(&args.dir);
    let done = git.status().map_err(|error| Problem::Failed(format!("git cannot be run: {error}")))?;
    match done.code() {
        Some(0) => Ok(()),
        code => Err(Problem::Exit(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))),
    }
}

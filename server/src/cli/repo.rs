//! `cairn repo …`, `cairn fork` and `cairn import`.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::http::{Client, Payload, Problem, part, result, route};
use super::show;
use super::target::Target;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  cairn repo create team/site --description 'the site'\n  cairn repo list team --sort name\n  \
    cairn repo get team/site --json\n  cairn repo edit team/site --read-only true\n  cairn repo delete team/site"
)]
pub(super) struct RepoArgs {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make an empty repository and print its remote and a write token
    Create(Create),
    /// List a namespace's repositories, newest first
    List(List),
    /// Show a repository
    Get {
        /// NAMESPACE/NAME
        name: String,
    },
    /// Change a repository
    Edit(Edit),
    /// Fork a repository: at once, whatever its size
    Fork(Fork),
    /// Delete a repository and its tokens
    Delete {
        /// NAMESPACE/NAME
        name: String,
    },
}

#[derive(Args)]
struct Create {
    /// NAMESPACE/NAME
    name: String,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// The branch that HEAD names
    #[arg(long)]
    default_branch: Option<String>,
    /// sha1 or sha256
    #[arg(long)]
    object_format: Option<String>,
    /// Refuse pushes
    #[arg(long)]
    read_only: bool,
}

#[derive(Args)]
struct List {
    /// The namespace, where it is not that of --namespace
    #[arg(value_name = "NAMESPACE")]
    of: Option<String>,
    /// Part of the name
    #[arg(long)]
    search: Option<String>,
    /// created_at, updated_at, last_push_at or name
    #[arg(long)]
    sort: Option<String>,
    /// asc or desc
    #[arg(long)]
    direction: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
}

#[derive(Args)]
struct Edit {
    /// NAMESPACE/NAME
    name: String,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// The branch that HEAD names
    #[arg(long)]
    default_branch: Option<String>,
    /// true refuses pushes, false takes them
    #[arg(long)]
    read_only: Option<bool>,
}

#[derive(Args)]
pub(super) struct Fork {
    /// NAMESPACE/NAME of the base
    base: String,
    /// NAMESPACE/NAME of the fork
    name: String,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// The moment of the base that the fork sees: the number of an entry, an RFC 3339 time or a commit
    #[arg(long)]
    at: Option<String>,
    /// Only the default branch
    #[arg(long)]
    default_branch_only: bool,
    /// Refuse pushes
    #[arg(long)]
    read_only: bool,
}

#[derive(Args)]
#[command(
    after_help = "Examples:\n  cairn fork team/site team/site-draft\n  cairn fork team/site me/yesterday --at 2026-01-31T12:00:00Z\n  \
    cairn fork team/site me/then --at 17 --default-branch-only"
)]
pub(super) struct ForkArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    fork: Fork,
}

#[derive(Args)]
#[command(after_help = "Examples:\n  cairn import https://example.com/site.git team/site\n  \
    cairn import https://example.com/big.git team/big --branch main --depth 1\n  \
    cairn import https://example.com/secret.git team/secret --remote-token-file ./their-token")]
pub(super) struct ImportArgs {
    #[command(flatten)]
    target: Target,
    /// The HTTPS URL of any git remote
    #[arg(value_name = "URL")]
    remote: String,
    /// NAMESPACE/NAME of the repository that is made
    name: String,
    /// Only this branch; all branches and tags if absent
    #[arg(long)]
    branch: Option<String>,
    /// Only so many commits of history
    #[arg(long)]
    depth: Option<u32>,
    /// Refuse pushes afterwards
    #[arg(long)]
    read_only: bool,
    /// A file that holds a token of the remote
    #[arg(long, value_name = "FILE")]
    remote_token_file: Option<std::path::PathBuf>,
    /// Do not wait until a large import is done
    #[arg(long)]
    no_wait: bool,
}

/// Leaves out what was not given.
fn given(fields: Value) -> Value {
    let Value::Object(fields) = fields else { return fields };
    Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>())
}

pub(super) fn run(args: RepoArgs) -> Result<(), Problem> {
    let (target, client) = (&args.target, args.target.client()?);
    match args.what {
        What::Create(wish) => {
            let repo = target.repo(&wish.name)?;
            let body = given(json!({
                "name": repo.name, "description": wish.description, "default_branch": wish.default_branch,
                "object_format": wish.object_format, "read_only": wish.read_only.then_some(true),
            }));
            let path = format!("/namespaces/{}/repos", part(&repo.namespace));
            show::fields(target.json, result(&client.post(&path, &body)?))
        }
        What::List(wish) => list(target, &client, &wish),
        What::Get { name } => {
            show::fields(target.json, result(&client.get(&route(&target.repo(&name)?, ""), &[])?))
        }
        What::Edit(wish) => {
            let body = given(json!({
                "description": wish.description, "default_branch": wish.default_branch, "read_only": wish.read_only,
            }));
            if body.as_object().is_none_or(Map::is_empty) {
                return Err(Problem::Usage("change what? See `cairn repo edit --help`".into()));
            }
            let path = route(&target.repo(&wish.name)?, "");
            show::fields(target.json, result(&client.send("PATCH", &path, &[], Payload::Json(&body))?))
        }
        What::Fork(wish) => make_fork(target, &client, wish),
        What::Delete { name } => {
            let path = route(&target.repo(&name)?, "");
            show::fields(target.json, result(&client.send("DELETE", &path, &[], Payload::None)?))
        }
    }
}

fn list(target: &Target, client: &Client, wish: &List) -> Result<(), Problem> {
    let namespace = wish.of.as_deref().unwrap_or(target.namespace());
    let mut query = vec![("limit", "200")];
    let asked = [("search", &wish.search), ("sort", &wish.sort), ("direction", &wish.direction)];
    query.extend(asked.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?))));
    let items = client.all(&format!("/namespaces/{}/repos", part(namespace)), &query, wish.limit)?;
    let fields = ["name", "status", "default_branch", "read_only", "last_push_at", "source", "description"];
    show::list(target.json, &items, &fields)
}

pub(super) fn fork(args: ForkArgs) -> Result<(), Problem> {
    make_fork(&args.target, &args.target.client()?, args.fork)
}

fn make_fork(target: &Target, client: &Client, wish: Fork) -> Result<(), Problem> {
    let (base, fork) = (target.repo(&wish.base)?, target.repo(&wish.name)?);
    let body = given(json!({
        "namespace": fork.namespace, "name": fork.name, "description": wish.description, "at": wish.at,
        "default_branch_only": wish.default_branch_only.then_some(true),
        "read_only": wish.read_only.then_some(true),
    }));
    show::fields(target.json, result(&client.post(&route(&base, "/fork"), &body)?))
}

pub(super) fn import(args: ImportArgs) -> Result<(), Problem> {
    let (target, client) = (&args.target, args.target.client()?);
    let repo = target.repo(&args.name)?;
    let token = args.remote_token_file.as_ref().map(std::fs::read_to_string).transpose()?;
    let body = given(json!({
        "url": args.remote, "branch": args.branch, "depth": args.depth, "read_only": args.read_only.then_some(true),
        "token": token.map(|token| token.trim().to_owned()),
    }));
    let bar = show::progress(&format!("importing {repo}"), None);
    let made = client.post(&route(&repo, "/import"), &body)?;
    if !args.no_wait {
        wait_until_ready(&client, &route(&repo, ""))?;
    }
    bar.finish_and_clear();
    show::fields(target.json, result(&made))
}

/// Asks until the repository answers; an import that failed leaves none.
fn wait_until_ready(client: &Client, path: &str) -> Result<(), Problem> {
    const IMPORT_IN_PROGRESS: u64 = 10302;
    let mut pause = std::time::Duration::from_millis(100);
    loop {
        match client.get(path, &[]) {
            Err(Problem::Refused { code: IMPORT_IN_PROGRESS, .. }) => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(std::time::Duration::from_secs(2));
            }
            Err(Problem::Refused { status: 404, .. }) => {
                return Err(Problem::Failed(
                    "the import failed and left nothing; the server's log says why".into(),
                ));
            }
            answer => return answer.map(|_| ()),
        }
    }
}

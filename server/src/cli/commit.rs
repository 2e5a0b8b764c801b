//! `cairn commit`: a commit without a clone.

use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Map, Value, json};

use super::http::{Problem, result, route};
use super::read::one_line;
use super::show;
use super::target::Target;
use crate::limits::CLI_COMMIT_BYTES_MAX;

/// Who writes a commit; the server's own name where nothing is given.
#[derive(Args)]
pub(super) struct Author {
    /// The author, as 'Name <address>'
    #[arg(long, env = "CAIRN_AUTHOR", value_name = "NAME <EMAIL>", value_parser = person)]
    author: Option<Person>,
}

#[derive(Clone)]
struct Person {
    name: String,
    email: String,
}

fn person(text: &str) -> Result<Person, String> {
    let parts = text.trim().strip_suffix('>').and_then(|text| text.split_once('<'));
    let (name, email) = parts.ok_or("an author is written as 'Name <address>'")?;
    Ok(Person { name: name.trim().to_owned(), email: email.trim().to_owned() })
}

impl Author {
    /// As the server takes it.
    pub(super) fn json(&self) -> Option<Value> {
        self.author.as_ref().map(|person| json!({ "name": person.name, "email": person.email }))
    }
}

#[derive(Args)]
#[command(after_help = "Examples:\n  cairn commit team/site -b main -m 'a page' --add index.html\n  \
    date | cairn commit team/site -b main -m 'the time' --add now.txt=-\n  \
    cairn commit team/site -b main -m 'tidy up' --rm old.txt --mv a.txt=b.txt --expect $(git rev-parse HEAD)\n  \
    cairn commit team/site -b topic --from main -m 'start' --add docs/plan.md=./plan.md")]
pub(super) struct CommitArgs {
    #[command(flatten)]
    target: Target,
    /// NAMESPACE/NAME
    #[arg(value_name = "NS/NAME")]
    of: String,
    /// The branch that gets the commit; made if there is none
    #[arg(short, long)]
    branch: String,
    /// The message
    #[arg(short, long)]
    message: String,
    /// Write FILE to PATH; `-` is standard input. PATH alone is both
    #[arg(long, value_name = "PATH[=FILE]")]
    add: Vec<String>,
    /// Delete PATH
    #[arg(long, value_name = "PATH")]
    rm: Vec<String>,
    /// Move FROM to TO
    #[arg(long, value_name = "FROM=TO")]
    mv: Vec<String>,
    /// Only if the branch is at this commit
    #[arg(long, value_name = "OID")]
    expect: Option<String>,
    /// Where a branch that is made starts: a ref or a hash
    #[arg(long, value_name = "REF")]
    from: Option<String>,
    #[command(flatten)]
    author: Author,
}

pub(super) fn run(args: CommitArgs) -> Result<(), Problem> {
    let (client, repo) = (args.target.client()?, args.target.repo(&args.of)?);
    let mut changes = Vec::new();
    let mut left = CLI_COMMIT_BYTES_MAX;
    for spec in &args.add {
        changes.push(addition(spec, &mut left)?);
    }
    changes.extend(args.rm.iter().map(|path| json!({ "path": path, "delete": true })));
    for spec in &args.mv {
        let (from, to) =
            spec.split_once('=').ok_or_else(|| Problem::Usage(format!("--mv {spec} says no FROM=TO")))?;
        changes.push(json!({ "path": to, "from": from }));
    }
    if changes.is_empty() {
        return Err(Problem::Usage("nothing to commit: give --add, --rm or --mv".into()));
    }
    let mut body = Map::new();
    body.insert("branch".into(), args.branch.into());
    body.insert("message".into(), args.message.into());
    body.insert("changes".into(), changes.into());
    body.extend(args.expect.map(|oid| ("expected_head".into(), oid.into())));
    body.extend(args.from.map(|start| ("start_point".into(), start.into())));
    body.extend(args.author.json().map(|author| ("author".into(), author)));
    let bar = show::progress("committing", None);
    let answer = client.post(&route(&repo, "/commits"), &Value::Object(body))?;
    bar.finish_and_clear();
    match args.target.json {
        true => show::json(result(&answer)),
        false => show::line(&one_line(result(&answer))),
    }
}

/// `PATH=FILE` as a change; takes its bytes off what is left.
fn addition(spec: &str, left: &mut u64) -> Result<Value, Problem> {
    let (path, file) = spec.split_once('=').unwrap_or((spec, spec));
    let mut bytes = Vec::new();
    let read = match file {
        "-" => io::stdin().lock().take(*left + 1).read_to_end(&mut bytes),
        file => std::fs::File::open(file).and_then(|file| file.take(*left + 1).read_to_end(&mut bytes)),
    };
    read.map_err(|error| Problem::Failed(format!("{file}: {error}")))?;
    *left = left
        .checked_sub(bytes.len() as u64)
        .ok_or_else(|| Problem::Failed(format!("{file}: a commit may bring {CLI_COMMIT_BYTES_MAX} bytes")))?;
    let mut change = match String::from_utf8(bytes) {
        Ok(text) => json!({ "path": path, "content": text }),
        Err(error) => json!({ "path": path, "content_base64": STANDARD.encode(error.as_bytes()) }),
    };
    if let Some(fields) = change.as_object_mut().filter(|_| is_executable(Path::new(file))) {
        fields.insert("mode".into(), "100755".into());
    }
    Ok(change)
}

#[cfg(unix)]
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o100 != 0)
}

#[cfg(not(unix))]
fn is_executable(_file: &Path) -> bool {
    false
}

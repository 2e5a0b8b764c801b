//! `cairn commit`: a commit without a clone.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Map, Value, json};

use super::http::{Payload, Problem, result, route};
use super::read::one_line;
use super::show;
use super::target::Target;
use crate::limits::CLI_INLINE_BYTES_MAX;
use crate::random;

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
    let (mut parts, mut left) = (Vec::new(), CLI_INLINE_BYTES_MAX);
    for spec in &args.add {
        changes.push(addition(spec, &mut left, &mut parts)?);
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
    let (path, body) = (route(&repo, "/commits"), Value::Object(body));
    let total = parts.iter().map(|(_, bytes)| bytes).sum();
    let bar = show::progress("committing", (total > 0).then_some(total));
    let answer = match parts.is_empty() {
        true => client.post(&path, &body),
        false => {
            let (mut form, media_type, bytes) = form(&body, parts);
            let mut form = bar.wrap_read(&mut form);
            client.send("POST", &path, &[], Payload::Stream(&mut form, &media_type, bytes))
        }
    }?;
    bar.finish_and_clear();
    match args.target.json {
        true => show::json(result(&answer)),
        false => show::line(&one_line(result(&answer))),
    }
}

/// A file that goes as a part, and its bytes.
type Part = (File, u64);

/// `PATH=FILE` as a change. Small content stands in it and is taken off what is left, large content is a part.
fn addition(spec: &str, left: &mut u64, parts: &mut Vec<Part>) -> Result<Value, Problem> {
    let (path, file) = spec.split_once('=').unwrap_or((spec, spec));
    let failed = |error: io::Error| Problem::Failed(format!("{file}: {error}"));
    let (mut source, bytes) = opened(file).map_err(failed)?;
    let mut change = match left.checked_sub(bytes) {
        None => {
            parts.push((source, bytes));
            json!({ "path": path, "part": part_name(parts.len()) })
        }
        Some(rest) => {
            *left = rest;
            let mut content = Vec::new();
            (&mut source).take(bytes).read_to_end(&mut content).map_err(failed)?;
            match String::from_utf8(content) {
                Ok(text) => json!({ "path": path, "content": text }),
                Err(error) => json!({ "path": path, "content_base64": STANDARD.encode(error.as_bytes()) }),
            }
        }
    };
    if let Some(fields) = change.as_object_mut().filter(|_| is_executable(Path::new(file))) {
        fields.insert("mode".into(), "100755".into());
    }
    Ok(change)
}

/// A file and its bytes; what is no plain file is copied to one without a name first, whatever its size.
fn opened(file: &str) -> io::Result<Part> {
    let copy = tempfile::tempfile;
    let (mut from, mut to): (Box<dyn Read>, File) = match file {
        "-" => (Box::new(io::stdin().lock()), copy()?),
        file => {
            let (open, meta) = (File::open(file)?, std::fs::metadata(file)?);
            match meta.is_file() {
                true => return Ok((open, meta.len())),
                false => (Box::new(open), copy()?),
            }
        }
    };
    let bytes = io::copy(&mut from, &mut to)?;
    to.rewind()?;
    Ok((to, bytes))
}

fn part_name(number: usize) -> String {
    format!("file{number}")
}

/// `multipart/form-data` (RFC 7578): the JSON, then the files as they are read; its media type and its bytes.
fn form(json: &Value, parts: Vec<Part>) -> (Box<dyn Read>, String, u64) {
    let boundary = random::hex(&random::bytes::<32>());
    let head =
        |name: &str| format!("\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
    let first = format!("{}{json}", head("commit"));
    let mut bytes = first.len() as u64;
    let mut body: Box<dyn Read> = Box::new(Cursor::new(first));
    for (at, (file, count)) in parts.into_iter().enumerate() {
        let head = head(&part_name(at + 1));
        bytes += head.len() as u64 + count;
        body = Box::new(body.chain(Cursor::new(head)).chain(file.take(count)));
    }
    let end = format!("\r\n--{boundary}--\r\n");
    bytes += end.len() as u64;
    (Box::new(body.chain(Cursor::new(end))), format!("multipart/form-data; boundary={boundary}"), bytes)
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

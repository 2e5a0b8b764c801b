//! `cairn diff` and `cairn merge`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Map, Value, json};

use super::http::{Problem, parts, result, route};
use super::read::one_line;
use super::show;
use super::target::Target;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  cairn diff team/site main...topic | git apply\n  cairn diff team/site v1.0..v1.1 --stat\n  \
    cairn diff team/site main...topic --json"
)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    target: Target,
    /// NAMESPACE/NAME
    #[arg(value_name = "NS/NAME")]
    of: String,
    /// BASE...HEAD: what HEAD did since it left BASE; BASE..HEAD: from BASE itself to HEAD
    between: String,
    /// Names and counts of lines in place of patches
    #[arg(long)]
    stat: bool,
    /// As of the number of an entry or an RFC 3339 time
    #[arg(long, value_name = "SEQ|TIME")]
    at: Option<String>,
}

pub(super) fn diff(args: DiffArgs) -> Result<(), Problem> {
    let (client, repo) = (args.target.client()?, args.target.repo(&args.of)?);
    if !args.between.contains("..") {
        return Err(Problem::Usage(format!("{} is no range: BASE...HEAD or BASE..HEAD", args.between)));
    }
    let query: Vec<_> = args.at.as_deref().map(|at| ("at", at)).into_iter().collect();
    let answer = client.get(&route(&repo, &format!("/compare/{}", parts(&args.between))), &query)?;
    let found = result(&answer);
    if args.target.json {
        return show::json(found);
    }
    let files = found.get("files").and_then(Value::as_array).cloned().unwrap_or_default();
    match args.stat {
        true => stat(found, &files)?,
        false => files.iter().try_for_each(patch)?,
    }
    match found.get("truncated").and_then(Value::as_bool) {
        Some(true) => {
            Err(Problem::Failed(format!("the server left something out: {}", found["truncated_by"])))
        }
        _ => Ok(()),
    }
}

fn patch(file: &Value) -> Result<(), Problem> {
    if let Some(text) = file.get("patch").and_then(Value::as_str) {
        return show::bytes(text.as_bytes());
    }
    if let Some(bytes) =
        file.get("patch_base64").and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok())
    {
        return show::bytes(&bytes);
    }
    // Where there is no patch, people still see that the file changed.
    eprintln!("{} {}: no patch", show::text(file, "status"), show::text(file, "path"));
    Ok(())
}

fn stat(found: &Value, files: &[Value]) -> Result<(), Problem> {
    let rows = files.iter().map(|file| {
        let path = match show::text(file, "old_path") {
            old if old.is_empty() => show::text(file, "path"),
            old => format!("{old} → {}", show::text(file, "path")),
        };
        vec![show::text(file, "status"), show::text(file, "additions"), show::text(file, "deletions"), path]
    });
    show::table(&["status", "#added", "#deleted", "path"], rows)?;
    let [status, ahead, behind] = ["status", "ahead_by", "behind_by"].map(|field| show::text(found, field));
    show::line(&format!("{} files; {status}: {ahead} ahead, {behind} behind", files.len()))
}

#[derive(Args)]
#[command(
    after_help = "Examples:\n  cairn merge team/site --into main topic\n  cairn merge team/site --into main topic --squash -m 'the topic'\n  \
    cairn merge team/site --into main v2 --ff-only"
)]
pub(super) struct MergeArgs {
    #[command(flatten)]
    target: Target,
    /// NAMESPACE/NAME
    #[arg(value_name = "NS/NAME")]
    of: String,
    /// What is merged: a ref or a whole hash
    head: String,
    /// The branch that moves
    #[arg(long, value_name = "BRANCH")]
    into: String,
    /// The commit's message
    #[arg(short, long)]
    message: Option<String>,
    /// Only if the branch is at this commit
    #[arg(long, value_name = "OID")]
    expect: Option<String>,
    /// Only move the branch to the head
    #[arg(long, conflicts_with = "no_ff")]
    ff_only: bool,
    /// Make a commit also where moving the branch would do
    #[arg(long)]
    no_ff: bool,
    /// One commit without the head as a parent
    #[arg(long)]
    squash: bool,
    /// Where lines conflict, take those of `ours` (the branch) or `theirs` (the head)
    #[arg(long, value_parser = ["ours", "theirs"])]
    favor: Option<String>,
    #[command(flatten)]
    author: super::commit::Author,
}

pub(super) fn merge(args: MergeArgs) -> Result<(), Problem> {
    let (client, repo) = (args.target.client()?, args.target.repo(&args.of)?);
    let mut body = Map::new();
    body.insert("base".into(), args.into.into());
    body.insert("head".into(), args.head.into());
    body.extend(args.message.map(|text| ("message".into(), text.into())));
    body.extend(args.expect.map(|oid| ("expected_base".into(), oid.into())));
    body.extend(args.ff_only.then(|| ("fast_forward".into(), "only".into())));
    body.extend(args.no_ff.then(|| ("fast_forward".into(), "never".into())));
    body.extend(args.squash.then(|| ("strategy".into(), "squash".into())));
    body.extend(args.favor.map(|side| ("favor".into(), side.into())));
    body.extend(args.author.json().map(|author| ("author".into(), author)));
    let answer = client.post(&route(&repo, "/merges"), &json!(body));
    if let Err(Problem::Refused { details, .. }) = &answer {
        conflicts(details);
    }
    let answer = answer?;
    let done = result(&answer);
    match args.target.json {
        true => show::json(done),
        false => {
            let commit = done.get("commit").unwrap_or(&Value::Null);
            show::line(&format!("{}: {}", show::text(done, "status"), one_line(commit)))
        }
    }
}

/// Names the conflicted paths that the error lists.
fn conflicts(error: &Value) {
    for conflict in error.pointer("/meta/conflicts").and_then(Value::as_array).into_iter().flatten() {
        eprintln!("{}: {}", show::text(conflict, "kind"), show::text(conflict, "path"));
    }
}

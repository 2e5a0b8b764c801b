//! Commits without a clone.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use cairn_protocol::object::{HashAlgo, ObjectId};
use cairn_protocol::pack::PackBytes;
use cairn_protocol::refs::RefName;
use http_body_util::BodyExt;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body;
use super::envelope::{self, Envelope};
use super::log::Commit;
use super::multipart::{Multipart, append, boundary};
use super::path::Names;
use crate::app::App;
use crate::auth::{Edit, Grant};
use crate::budget::Wait;
use crate::error::{Error, Result, code};
use crate::limits::{
    COMMIT_CHANGES_MAX, COMMIT_JSON_BYTES_MAX, COMMIT_JSON_COPIES, COMMIT_MESSAGE_BYTES_MAX,
    COMMIT_UPLOAD_BYTES_MAX,
};
use crate::names::is_branch_name;
use crate::ops;
use crate::ops::commit::{Change, Content, Maker, Person, Put, Wish, check_path, signature};
use crate::ops::index::index_bytes;
use crate::ops::room::within;
use crate::ops::spool::Spool;
use crate::ops::write::Wanted;
use crate::store::catalog::RepoRow;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create))
}

/// A commit to be made.
#[derive(Deserialize, ToSchema)]
pub struct NewCommit {
    /// The branch, with or without `refs/heads/`; the default branch where absent.
    branch: Option<String>,
    /// The commit that the branch must be at; null where it must not exist. Where absent, a head that moves is followed.
    #[serde(default, deserialize_with = "given")]
    expected_head: Option<Option<String>>,
    /// A ref or a commit at which the branch is made.
    start_point: Option<String>,
    /// The message; a line break is added at its end where there is none.
    message: Option<String>,
    /// Who wrote the change; the committer where absent.
    author: Option<NewPerson>,
    /// Who makes the commit; the caller where absent.
    committer: Option<NewPerson>,
    /// What changes, all at once.
    changes: Option<Vec<NewChange>>,
    /// Whether a commit is made that changes nothing.
    allow_empty: Option<bool>,
}

/// An author or committer.
#[derive(Clone, Deserialize, ToSchema)]
pub struct NewPerson {
    /// Name.
    name: String,
    /// Address.
    email: String,
    /// RFC 3339 with an offset; now where absent.
    date: Option<String>,
}

/// One change: content, or `blob`, or `part`, or `from`, or `mode` alone, or `delete`.
#[derive(Default, Deserialize, ToSchema)]
pub struct NewChange {
    /// The path, without a slash at either end.
    path: String,
    /// New content, as text.
    content: Option<String>,
    /// New content, in base64; line breaks are passed over.
    content_base64: Option<String>,
    /// A blob that the repository shows; for mode 160000, the commit of the submodule.
    blob: Option<String>,
    /// Name of the part of a multipart body that holds the content.
    part: Option<String>,
    /// 100644, 100755, 120000 (the content is the target) or 160000.
    mode: Option<String>,
    /// True takes the file or the whole folder away.
    delete: Option<bool>,
    /// A file or folder that is moved here; content may come with a file.
    from: Option<String>,
    /// True leaves what `from` names where it is, too.
    copy: Option<bool>,
}

/// Tells null from absent.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Makes a commit on a branch. A JSON body may have 32 MiB. For more, `multipart/form-data`: a first part `commit` with the
/// JSON, then a part for each file, whose name is the `part` of a change, or else the path of the file.
#[utoipa::path(post, path = "/namespaces/{ns}/repos/{name}/commits", tag = "commits", request_body = NewCommit,
    params(("ns" = String, Path), ("name" = String, Path)),
    responses((status = 201, body = Envelope<Commit>),
        (status = 400, description = "10100: the pointer says which change cannot be made"),
        (status = 404, description = "10200: there is no such repository, branch or start point"),
        (status = 409, description = "10304: the head is another; errors[0].meta.current is it. 10201: the branch exists")))]
async fn create(
    State(app): State<App>,
    grant: Grant<Edit>,
    names: Names,
    request: Request,
) -> Result<Response<Body>> {
    let row = ops::edited(&app, &grant, &names.ns, &names.name).await?;
    let (json, files, parts) = taken(&app, request).await?;
    // A large body is whole on disk before it waits for its share of memory.
    let bytes = match json.is_on_disk(0) {
        true => json.len() * COMMIT_JSON_COPIES,
        false => 0,
    };
    let bytes = bytes + index_bytes(&files);
    let _turn = match bytes == 0 {
        true => Some(app.commit_turns.of(&app.memory, row.id).await?),
        false => None,
    };
    let now_ms = app.clock.now_ms();
    let actor = grant.caller().actor.clone();
    let (inside, id, files) = (app.clone(), row.id, Arc::new(files));
    let work = move |room| {
        let bytes = json.front(json.len()).map_err(ops::OpError::from)?;
        let wish = wish(&row, body::parse(&bytes)?, (&files, &parts), &actor, now_ms)?;
        drop(bytes);
        let maker = Maker { actor: actor.clone(), time_ms: now_ms, nonce: None };
        Ok::<_, Error>(Commit::from(&ops::commit::commit(&inside, &row, &wish, &maker, room)?))
    };
    let made = within(&app, Wait::Request, bytes, work).await?;
    app.noted(id).await;
    Ok(envelope::one(StatusCode::CREATED, made))
}

/// A part of a multipart body: its name, where it starts in the spool, its length.
type Part = (String, u64, u64);

/// Reads the body: the JSON, the bytes of files, and which part has which.
async fn taken(app: &App, request: Request) -> Result<(Spool, Spool, Vec<Part>)> {
    let (head, mut body) = request.into_parts();
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let folder = app.spool_dir();
    let mut json = Spool::default();
    let Some(boundary) = kind.and_then(boundary) else {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Error::new(code::INVALID_INPUT, "the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            if json.len() + data.len() as u64 > COMMIT_JSON_BYTES_MAX {
                let text =
                    format!("a JSON body may have {COMMIT_JSON_BYTES_MAX} bytes; send files as multipart");
                return Err(Error::new(code::INVALID_INPUT, text).with_status(413));
            }
            append(&mut json, &folder, data).await?;
        }
        return Ok((json, Spool::default(), Vec::new()));
    };
    let mut body = Multipart::new(body, &boundary?);
    if body.next_part().await?.as_deref() != Some("commit") {
        return Err(Error::new(code::INVALID_INPUT, "the first part must be named commit and hold the JSON"));
    }
    body.spool(&mut json, &folder, COMMIT_JSON_BYTES_MAX).await?;
    let (mut files, mut parts) = (Spool::default(), Vec::new());
    while let Some(name) = body.next_part().await? {
        if parts.len() == COMMIT_CHANGES_MAX {
            return Err(Error::new(code::INVALID_INPUT, format!("at most {COMMIT_CHANGES_MAX} parts")));
        }
        let at = files.len();
        let len = body.spool(&mut files, &folder, COMMIT_UPLOAD_BYTES_MAX).await?;
        parts.push((name, at, len));
    }
    Ok((json, files, parts))
}

/// Checks everything that can be checked without the repository.
fn wish(
    row: &RepoRow,
    new: NewCommit,
    (files, parts): (&Arc<Spool>, &[Part]),
    actor: &str,
    now_ms: i64,
) -> Result<Wish> {
    let branch = new.branch.as_deref().unwrap_or(&row.default_branch);
    let short = branch.strip_prefix("refs/heads/").unwrap_or(branch);
    let name = RefName::new(format!("refs/heads/{short}").as_bytes()).ok().filter(|_| is_branch_name(short));
    let branch = name.ok_or_else(|| Error::input("/branch", "Invalid branch name"))?;
    let expected_head = match new.expected_head {
        None => Wanted::Any,
        Some(None) => Wanted::Absent,
        Some(Some(hex)) => Wanted::At(object_id(row.object_format, "/expected_head", &hex)?),
    };
    let caller = || {
        let email =
            format!("{}@cairn.invalid", actor.replace(|char: char| !char.is_ascii_alphanumeric(), "-"));
        Person { name: actor.to_owned(), email, date: None }
    };
    let person = |new: NewPerson| Person { name: new.name, email: new.email, date: new.date };
    let (author, committer) = (new.author.map(person), new.committer.map(person));
    let author_or = author.clone().or_else(|| committer.clone()).unwrap_or_else(caller);
    // The time of an author may be long past; that of the committer is when the commit is made.
    let committer_or =
        committer.unwrap_or_else(|| author.map_or_else(caller, |one| Person { date: None, ..one }));
    let changes = changes(row.object_format, new.changes.unwrap_or_default(), parts)?;
    Ok(Wish {
        branch,
        expected_head,
        start_point: new.start_point,
        message: message(new.message)?,
        author: signature("/author", &author_or, now_ms)?,
        committer: signature("/committer", &committer_or, now_ms)?,
        changes,
        files: Arc::clone(files),
        allow_empty: new.allow_empty.unwrap_or(false),
    })
}

fn message(text: Option<String>) -> Result<Vec<u8>> {
    let text = text.filter(|text| !text.trim().is_empty());
    let mut text = text.ok_or_else(|| Error::input("/message", "must not be empty"))?;
    if text.len() > COMMIT_MESSAGE_BYTES_MAX {
        return Err(Error::input("/message", format!("a message may have {COMMIT_MESSAGE_BYTES_MAX} bytes")));
    }
    if text.contains('\0') {
        return Err(Error::input("/message", "a message may not hold NUL"));
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text.into_bytes())
}

/// An id of the repository's object format; the null id is none.
pub fn object_id(algo: HashAlgo, pointer: &'static str, hex: &str) -> Result<ObjectId> {
    let id = ObjectId::from_hex(algo, hex.as_bytes()).filter(|id| !id.is_null());
    id.ok_or_else(|| Error::input(pointer, format!("must be a whole {} id in hex", algo.name())))
}

fn changes(algo: HashAlgo, new: Vec<NewChange>, parts: &[Part]) -> Result<Vec<Change>> {
    if new.len() + parts.len() > COMMIT_CHANGES_MAX {
        return Err(Error::input("/changes", format!("a commit may have {COMMIT_CHANGES_MAX} changes")));
    }
    let mut by_name = std::collections::HashMap::new();
    for (name, at, len) in parts {
        if by_name.insert(name.as_str(), (*at, *len, false)).is_some() {
            return Err(Error::new(code::INVALID_INPUT, format!("two parts are named '{name}'")));
        }
    }
    let mut made = Vec::with_capacity(new.len() + parts.len());
    for (number, new) in new.into_iter().enumerate() {
        let spooled = match &new.part {
            None => None,
            Some(name) => {
                let at = format!("/changes/{number}/part");
                let part = by_name.get_mut(name.as_str());
                let part = part.ok_or_else(|| Error::input(at, format!("no part is named '{name}'")))?;
                part.2 = true;
                Some(Content::Spooled { at: part.0, len: part.1 })
            }
        };
        made.push(change(algo, format!("/changes/{number}"), new, spooled)?);
    }
    // Parts that no change names are files of their own: their names are their paths.
    for (number, (name, at, len)) in parts.iter().enumerate() {
        if by_name.get(name.as_str()).is_some_and(|(_, _, used)| !used) {
            let content = Content::Spooled { at: *at, len: *len };
            let new = NewChange { path: name.clone(), ..NewChange::default() };
            made.push(change(algo, format!("/parts/{number}"), new, Some(content))?);
        }
    }
    Ok(made)
}

/// base64 as people paste it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn change(algo: HashAlgo, pointer: String, new: NewChange, spooled: Option<Content>) -> Result<Change> {
    let at = |field: &str| format!("{pointer}/{field}");
    let mode = match new.mode.as_deref() {
        None => None,
        Some(text @ ("100644" | "100755" | "120000" | "160000")) => u32::from_str_radix(text, 8).ok(),
        Some(_) => return Err(Error::input(at("mode"), "mode is 100644, 100755, 120000 or 160000")),
    };
    let path = check_path(algo, &new.path, mode.unwrap_or(0o100_644));
    let path = path.map_err(|why| Error::input(at("path"), why))?;
    let mut contents = Vec::from_iter(spooled);
    contents.extend(new.content.map(|text| Content::Inline(text.into_bytes())));
    if let Some(mut text) = new.content_base64 {
        text.retain(|char| !char.is_ascii_whitespace());
        let bytes =
            LENIENT.decode(text).map_err(|why| Error::input(at("content_base64"), why.to_string()))?;
        contents.push(Content::Inline(bytes));
    }
    if let Some(hex) = &new.blob {
        let id = ObjectId::from_hex(algo, hex.as_bytes()).filter(|id| !id.is_null());
        let bad = || Error::input(at("blob"), format!("must be a whole {} id in hex", algo.name()));
        contents.push(Content::Stored(id.ok_or_else(bad)?));
    }
    if contents.len() > 1 {
        return Err(Error::input(pointer, "a change has one of content, content_base64, blob and part"));
    }
    let content = contents.pop();
    let from = match &new.from {
        None => None,
        Some(from) => Some(check_path(algo, from, 0o100_644).map_err(|why| Error::input(at("from"), why))?),
    };
    if new.delete == Some(true) {
        if content.is_some() || from.is_some() || mode.is_some() {
            return Err(Error::input(at("delete"), "what is deleted has no content, mode or from"));
        }
        return Ok(Change { pointer, path, put: None });
    }
    if content.is_none() && from.is_none() && mode.is_none() {
        let text = "a change needs content, content_base64, blob, part, from, mode or delete";
        return Err(Error::input(pointer, text));
    }
    if mode == Some(0o160_000) && !matches!(content, Some(Content::Stored(_))) {
        return Err(Error::input(at("blob"), "mode 160000 needs the id of a commit"));
    }
    let copy = new.copy.unwrap_or(false);
    Ok(Change { pointer, path, put: Some(Put { content, mode, from, copy }) })
}

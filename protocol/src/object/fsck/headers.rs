//! Commits and tags.

use super::{Finding, MsgId};
use crate::object::parse::{id_line, line};
use crate::object::{HashAlgo, Kind};

/// Checks a commit; like git it stops at the first broken rule, since what follows makes no sense then.
pub(super) fn check_commit(algo: HashAlgo, data: &[u8], found: &mut dyn FnMut(Finding)) {
    if let Err(finding) = commit(algo, data) {
        found(finding);
    }
}

/// Checks a tag; only infos let it go on.
pub(super) fn check_tag(algo: HashAlgo, data: &[u8], found: &mut dyn FnMut(Finding)) {
    if let Err(finding) = tag(algo, data, found) {
        found(finding);
    }
}

fn commit(algo: HashAlgo, data: &[u8]) -> Result<(), Finding> {
    headers(data)?;
    if !data.starts_with(b"tree ") {
        return Err(Finding::new(MsgId::MissingTree, "invalid format - expected 'tree' line"));
    }
    let (_, mut rest) = id_line(algo, data, b"tree ")
        .ok_or(Finding::new(MsgId::BadTreeSha1, "invalid 'tree' line format - bad sha1"))?;
    while rest.starts_with(b"parent ") {
        (_, rest) = id_line(algo, rest, b"parent ")
            .ok_or(Finding::new(MsgId::BadParentSha1, "invalid 'parent' line format - bad sha1"))?;
    }
    let mut authors = 0_usize;
    while let Some(author) = rest.strip_prefix(b"author ") {
        authors += 1;
        rest = ident(author)?;
    }
    match authors {
        0 => {
            return Err(Finding::new(MsgId::MissingAuthor, "invalid format - expected 'author' line"));
        }
        1 => {}
        _ => {
            return Err(Finding::new(MsgId::MultipleAuthors, "invalid format - multiple 'author' lines"));
        }
    }
    let committer = rest
        .strip_prefix(b"committer ")
        .ok_or(Finding::new(MsgId::MissingCommitter, "invalid format - expected 'committer' line"))?;
    ident(committer)?;
    if data.contains(&0) {
        return Err(Finding::new(MsgId::NulInCommit, "NUL byte in the commit object body"));
    }
    Ok(())
}

fn tag(algo: HashAlgo, data: &[u8], found: &mut dyn FnMut(Finding)) -> Result<(), Finding> {
    headers(data)?;
    if !data.starts_with(b"object ") {
        return Err(Finding::new(MsgId::MissingObject, "invalid format - expected 'object' line"));
    }
    let (_, rest) = id_line(algo, data, b"object ")
        .ok_or(Finding::new(MsgId::BadObjectSha1, "invalid 'object' line format - bad sha1"))?;
    let rest = rest
        .strip_prefix(b"type ")
        .ok_or(Finding::new(MsgId::MissingTypeEntry, "invalid format - expected 'type' line"))?;
    let (kind, rest) = line(rest)
        .ok_or(Finding::new(MsgId::MissingType, "invalid format - unexpected end after 'type' line"))?;
    if Kind::from_name(kind).is_none() {
        return Err(Finding::new(MsgId::BadType, "invalid 'type' value"));
    }
    let rest = rest
        .strip_prefix(b"tag ")
        .ok_or(Finding::new(MsgId::MissingTagEntry, "invalid format - expected 'tag' line"))?;
    let (name, rest) = line(rest)
        .ok_or(Finding::new(MsgId::MissingTag, "invalid format - unexpected end after 'tag' line"))?;
    if !is_tag_name(name) {
        found(Finding::quoting(MsgId::BadTagName, "invalid 'tag' name", name));
    }
    match rest.strip_prefix(b"tagger ") {
        Some(tagger) => ident(tagger).map(|_| ()),
        None => {
            found(Finding::new(MsgId::MissingTaggerEntry, "invalid format - expected 'tagger' line"));
            Ok(())
        }
    }
}

/// No NUL may stand in the headers, and they must end with an empty line or at least with a line feed.
fn headers(data: &[u8]) -> Result<(), Finding> {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    if data.iter().take(end).any(|byte| *byte == 0) {
        return Err(Finding::new(MsgId::NulInHeader, "unterminated header: NUL in the header"));
    }
    if end == data.len() && !data.ends_with(b"\n") {
        return Err(Finding::new(MsgId::UnterminatedHeader, "unterminated header"));
    }
    Ok(())
}

/// Checks `name <email> time zone` and gives what follows its line.
fn ident(data: &[u8]) -> Result<&[u8], Finding> {
    let broken = |id, detail| Err(Finding::new(id, detail));
    let Some((line, after)) = line(data) else {
        return broken(MsgId::UnterminatedHeader, "unterminated header");
    };
    let bracket = |byte: &u8| matches!(byte, b'<' | b'>');
    if line.starts_with(b"<") {
        return broken(
            MsgId::MissingNameBeforeEmail,
            "invalid author/committer line - missing name before email",
        );
    }
    let (name, rest) = line.split_at(line.iter().position(bracket).unwrap_or(line.len()));
    let email = match rest {
        [] => {
            return broken(MsgId::MissingEmail, "invalid author/committer line - missing email");
        }
        [b'<', email @ ..] => email,
        _ => return broken(MsgId::BadName, "invalid author/committer line - bad name"),
    };
    if !name.ends_with(b" ") {
        return broken(
            MsgId::MissingSpaceBeforeEmail,
            "invalid author/committer line - missing space before email",
        );
    }
    let (_, rest) = email.split_at(email.iter().position(bracket).unwrap_or(email.len()));
    let Some(rest) = rest.strip_prefix(b">") else {
        return broken(MsgId::BadEmail, "invalid author/committer line - bad email");
    };
    let Some(date) = rest.strip_prefix(b" ") else {
        return broken(
            MsgId::MissingSpaceBeforeDate,
            "invalid author/committer line - missing space before date",
        );
    };
    date_and_zone(date).map(|()| after)
}

fn date_and_zone(data: &[u8]) -> Result<(), Finding> {
    let broken = |id, detail| Err(Finding::new(id, detail));
    let blank = data.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let date = data.get(blank..).unwrap_or_default();
    let (digits, rest) = date.split_at(date.iter().take_while(|byte| byte.is_ascii_digit()).count());
    if digits.is_empty() {
        return broken(MsgId::BadDate, "invalid author/committer line - bad date");
    }
    if digits.starts_with(b"0") && date.get(1) != Some(&b' ') {
        return broken(MsgId::ZeroPaddedDate, "invalid author/committer line - zero-padded date");
    }
    let add = |sum: i64, digit: &u8| sum.checked_mul(10)?.checked_add(i64::from(digit - b'0'));
    if digits.iter().try_fold(0_i64, add).is_none() {
        return broken(
            MsgId::BadDateOverflow,
            "invalid author/committer line - date causes integer overflow",
        );
    }
    match rest.strip_prefix(b" ") {
        None => broken(MsgId::BadDate, "invalid author/committer line - bad date"),
        Some([b'+' | b'-', zone @ ..]) if zone.len() == 4 && zone.iter().all(u8::is_ascii_digit) => Ok(()),
        Some(_) => broken(MsgId::BadTimezone, "invalid author/committer line - bad time zone"),
    }
}

/// Whether `refs/tags/<name>` is a well-formed ref name.
fn is_tag_name(name: &[u8]) -> bool {
    let bad_byte = |byte: &u8| *byte <= b' ' || b"~^:?*[\\\x7f".contains(byte);
    let bad_pair = |pair: &[u8]| pair == b".." || pair == b"@{";
    let bad_part = |part: &[u8]| part.is_empty() || part.starts_with(b".") || part.ends_with(b".lock");
    !name.iter().any(bad_byte)
        && !name.windows(2).any(bad_pair)
        && !name.ends_with(b".")
        && !name.split(|byte| *byte == b'/').any(bad_part)
}

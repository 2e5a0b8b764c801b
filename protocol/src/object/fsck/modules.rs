//! Contents of `.gitmodules` and `.gitattributes`.

use super::config::for_each_variable;
use super::{Finding, GITATTRIBUTES_BYTES_MAX, GITATTRIBUTES_LINE_BYTES, GITMODULES_BYTES_MAX, MsgId, url};

/// Checks the content of a `.gitmodules`.
pub fn check_gitmodules(data: &[u8], found: &mut dyn FnMut(Finding)) {
    if data.len() > GITMODULES_BYTES_MAX {
        found(Finding::new(MsgId::GitmodulesLarge, ".gitmodules too large to parse"));
        return;
    }
    let end = for_each_variable(data, |name, value| check_variable(name, value, found));
    if end.is_err() {
        found(Finding::new(MsgId::GitmodulesParse, "could not parse gitmodules blob"));
    }
}

fn check_variable(variable: &[u8], value: Option<&[u8]>, found: &mut dyn FnMut(Finding)) {
    let Some(rest) = variable.strip_prefix(b"submodule.") else {
        return;
    };
    // The subsection may hold dots, the key cannot.
    let Some(dot) = rest.iter().rposition(|byte| *byte == b'.') else {
        return;
    };
    let (name, key) = rest.split_at(dot);
    if is_bad_name(name) {
        found(Finding::quoting(MsgId::GitmodulesName, "disallowed submodule name", name));
    }
    let Some(value) = value else { return };
    match key {
        b".url" if url::is_bad(value) => {
            found(Finding::quoting(MsgId::GitmodulesUrl, "disallowed submodule url", value));
        }
        b".path" if value.starts_with(b"-") => {
            found(Finding::quoting(MsgId::GitmodulesPath, "disallowed submodule path", value));
        }
        b".update" if value.starts_with(b"!") => {
            found(Finding::quoting(MsgId::GitmodulesUpdate, "disallowed submodule update setting", value));
        }
        _ => {}
    }
}

/// The name becomes a path below `.git/modules`, which it must not leave.
fn is_bad_name(name: &[u8]) -> bool {
    name.is_empty() || name.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| part == b"..")
}

/// Checks the content of a `.gitattributes`.
pub fn check_gitattributes(data: &[u8], found: &mut dyn FnMut(Finding)) {
    if data.len() > GITATTRIBUTES_BYTES_MAX {
        found(Finding::new(MsgId::GitattributesLarge, ".gitattributes too large to parse"));
        return;
    }
    // git reads it as a C string.
    let text = data.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.split(|byte| *byte == b'\n').any(|line| line.len() >= GITATTRIBUTES_LINE_BYTES) {
        let detail = ".gitattributes has too long lines to parse";
        found(Finding::new(MsgId::GitattributesLineLength, detail));
    }
}

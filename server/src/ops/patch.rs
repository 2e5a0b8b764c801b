//! The patch of one changed file, in the form that `git apply` takes.

use std::io;

use bstr::BStr;
use cairn_protocol::object::ObjectId;
use gix_diff::blob::unified_diff::{ConsumeHunk, ContextSize, DiffLineKind, HunkHeader};
use gix_diff::blob::{
    Algorithm, InternedInput, UnifiedDiff, diff_with_slider_heuristics, sources::byte_lines,
};

use super::OpError;
use super::changes::{Change, Side, Status};
use super::engine::{Objects, gix_id};
use crate::limits::{
    BINARY_PROBE_BYTES, COMPARE_BLOB_BYTES_MAX, COMPARE_DIFFED_BYTES_MAX, COMPARE_PATCH_BYTES_MAX,
    COMPARE_PATCHES_BYTES_MAX,
};

/// Unchanged lines around a change: git's number.
const CONTEXT_LINES: u32 = 3;
/// The type of a file in git's mode.
const TYPE_MASK: u32 = 0o170_000;
/// The type of a submodule.
const SUBMODULE: u32 = 0o160_000;

/// What one comparison may still spend.
pub struct Budget {
    diffed_bytes: u64,
    patch_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { diffed_bytes: COMPARE_DIFFED_BYTES_MAX, patch_bytes: COMPARE_PATCHES_BYTES_MAX }
    }
}

/// Why something was left out: the limit's name in answers.
pub type Cut = &'static str;

/// A file's patch, and what it counts.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// Lines added and deleted; `None` where the file was not diffed.
    pub lines: Option<(u64, u64)>,
    /// Whether one side is binary: then there is no patch.
    pub is_binary: bool,
    /// The text. Bytes, since files need not be UTF-8.
    pub text: Option<Vec<u8>>,
    /// The limit that left something out.
    pub cut: Option<Cut>,
}

/// Makes the patch of one change.
pub fn patch(objects: &Objects<'_>, change: &Change, budget: &mut Budget) -> Result<Patch, OpError> {
    let (old, new) = (change.old.as_ref(), change.new.as_ref());
    if change.status != Status::TypeChanged {
        return section(objects, old, new, change.similarity, budget);
    }
    // git knows no patch from one type to another: the old file goes, the new one comes.
    let gone = section(objects, old, None, None, budget)?;
    let came = section(objects, None, new, None, budget)?;
    let lines = gone.lines.zip(came.lines).map(|(gone, came)| (gone.0 + came.0, gone.1 + came.1));
    Ok(Patch {
        lines,
        is_binary: gone.is_binary || came.is_binary,
        text: gone.text.zip(came.text).map(|(gone, came)| [gone, came].concat()),
        cut: gone.cut.or(came.cut),
    })
}

fn section(
    objects: &Objects<'_>,
    old: Option<&Side>,
    new: Option<&Side>,
    similarity: Option<u32>,
    budget: &mut Budget,
) -> Result<Patch, OpError> {
    let mut text = header(objects, old, new, similarity);
    let ids = |side: Option<&Side>| side.map(|side| side.id);
    if ids(old) == ids(new) {
        return Ok(spent(Patch { lines: Some((0, 0)), text: Some(text), ..Patch::default() }, budget));
    }
    let (mut data, mut sum) = (Vec::new(), 0);
    for side in [old, new] {
        match content(objects, side)? {
            Some(bytes) => {
                sum += bytes.len() as u64;
                data.push(bytes);
            }
            None => return Ok(Patch { cut: Some("blob_bytes"), ..Patch::default() }),
        }
    }
    let [before, after] = data.as_slice() else { return Ok(Patch::default()) };
    if [before, after].iter().any(|data| data.iter().take(BINARY_PROBE_BYTES).any(|byte| *byte == 0)) {
        return Ok(Patch { is_binary: true, ..Patch::default() });
    }
    if sum > budget.diffed_bytes {
        return Ok(Patch { cut: Some("diffed_bytes"), ..Patch::default() });
    }
    budget.diffed_bytes -= sum;
    let input = InternedInput::new(byte_lines(before), byte_lines(after));
    let diff = diff_with_slider_heuristics(Algorithm::Myers, &input);
    let lines = Some((u64::from(diff.count_additions()), u64::from(diff.count_removals())));
    text.extend_from_slice(&file_lines(old, new));
    let hunks = Hunks { text, is_over: false };
    let context = ContextSize::symmetrical(CONTEXT_LINES);
    let hunks = UnifiedDiff::new(&diff, &input, hunks, context).consume()?;
    if hunks.is_over {
        return Ok(Patch { lines, cut: Some("patch_bytes"), ..Patch::default() });
    }
    Ok(spent(Patch { lines, text: Some(hunks.text), ..Patch::default() }, budget))
}

/// Takes the text's bytes out of the budget, or the text out of the patch.
fn spent(mut patch: Patch, budget: &mut Budget) -> Patch {
    let bytes = patch.text.as_ref().map_or(0, Vec::len);
    match budget.patch_bytes.checked_sub(bytes) {
        Some(left) => budget.patch_bytes = left,
        None => {
            patch.text = None;
            patch.cut = Some("patches_bytes");
        }
    }
    patch
}

/// The bytes of one side, none where there is no such side; `None` where they are too many.
fn content(objects: &Objects<'_>, side: Option<&Side>) -> Result<Option<Vec<u8>>, OpError> {
    match side {
        None => Ok(Some(Vec::new())),
        Some(side) if side.mode & TYPE_MASK == SUBMODULE => {
            Ok(Some(format!("Subproject commit {}\n", side.id).into_bytes()))
        }
        Some(side) => objects.blob(&gix_id(&side.id), COMPARE_BLOB_BYTES_MAX),
    }
}

fn header(objects: &Objects<'_>, old: Option<&Side>, new: Option<&Side>, similarity: Option<u32>) -> Vec<u8> {
    let path = |side: Option<&Side>, other: Option<&Side>, prefix| {
        side.or(other).map_or(String::new(), |side| quoted(prefix, side.path.as_ref()))
    };
    let mut out = format!("diff --git {} {}\n", path(old, new, "a/"), path(new, old, "b/"));
    let null = ObjectId::null(objects.algo());
    let ids = [old, new].map(|side| side.map_or(null, |side| side.id));
    match (old, new) {
        (None, Some(new)) => out += &format!("new file mode {:06o}\n", new.mode),
        (Some(old), None) => out += &format!("deleted file mode {:06o}\n", old.mode),
        (Some(old), Some(new)) if old.mode != new.mode => {
            out += &format!("old mode {:06o}\nnew mode {:06o}\n", old.mode, new.mode);
        }
        _ => {}
    }
    if let (Some(similarity), Some(old), Some(new)) = (similarity, old, new) {
        let (from, to) = (quoted("", old.path.as_ref()), quoted("", new.path.as_ref()));
        out += &format!("similarity index {similarity}%\nrename from {from}\nrename to {to}\n");
    }
    let [before, after] = ids;
    if before != after {
        out += &format!("index {before}..{after}");
        if let (Some(old), Some(new)) = (old, new)
            && old.mode == new.mode
        {
            out += &format!(" {:06o}", new.mode);
        }
        out += "\n";
    }
    out.into_bytes()
}

/// `---` and `+++`. A tab ends a name with a blank in it, as git has it.
fn file_lines(old: Option<&Side>, new: Option<&Side>) -> Vec<u8> {
    let name = |side: Option<&Side>, prefix| {
        side.map_or("/dev/null".to_owned(), |side| {
            let tab = if side.path.contains(&b' ') { "\t" } else { "" };
            quoted(prefix, side.path.as_ref()) + tab
        })
    };
    format!("--- {}\n+++ {}\n", name(old, "a/"), name(new, "b/")).into_bytes()
}

/// A path as git writes it: in quotes, with escapes, where it holds anything but printable ASCII.
fn quoted(prefix: &str, path: &BStr) -> String {
    let is_plain = |byte: &u8| (b' '..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\';
    if path.iter().all(is_plain) {
        return format!("{prefix}{path}");
    }
    let mut out = format!("\"{prefix}");
    for byte in path.iter() {
        match byte {
            b'\n' => out += "\\n",
            b'\t' => out += "\\t",
            b'\r' => out += "\\r",
            b'"' => out += "\\\"",
            b'\\' => out += "\\\\",
            byte if is_plain(byte) => out.push(char::from(*byte)),
            byte => out += &format!("\\{byte:03o}"),
        }
    }
    out + "\""
}

/// Writes hunks until the patch is too long.
struct Hunks {
    text: Vec<u8>,
    is_over: bool,
}

impl ConsumeHunk for Hunks {
    type Out = Self;

    fn consume_hunk(&mut self, header: HunkHeader, lines: &[(DiffLineKind, &[u8])]) -> io::Result<()> {
        if self.is_over {
            return Ok(());
        }
        // An empty side starts at the line before it.
        let range = |start: u32, len: u32| match len {
            0 => format!("{},0", start.saturating_sub(1)),
            1 => start.to_string(),
            len => format!("{start},{len}"),
        };
        let before = range(header.before_hunk_start, header.before_hunk_len);
        let after = range(header.after_hunk_start, header.after_hunk_len);
        self.text.extend_from_slice(format!("@@ -{before} +{after} @@\n").as_bytes());
        for (kind, line) in lines {
            self.text.push(match kind {
                DiffLineKind::Context => b' ',
                DiffLineKind::Add => b'+',
                DiffLineKind::Remove => b'-',
            });
            self.text.extend_from_slice(line);
            if !line.ends_with(b"\n") {
                self.text.extend_from_slice(b"\n\\ No newline at end of file\n");
            }
            if self.text.len() > COMPARE_PATCH_BYTES_MAX {
                self.is_over = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn finish(self) -> Self {
        self
    }
}

//! One conversion: of which kind, and of which bytes. In git's order: `ident`, line ends, `working-tree-encoding`.

use std::borrow::Cow;
use std::io;

use cairn_protocol::object::{Kind, ObjectId, hash_object};
use encoding_rs::{EncoderResult, Encoding};
use gix_filter::eol::{AttributesDigest, AutoCrlf, Configuration, Mode, convert_to_worktree};

/// When line ends become CRLF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crlf {
    /// In any content.
    Always,
    /// In content that looks like text and has no CR yet.
    Auto,
}

/// What becomes of a file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversion {
    /// Line ends.
    pub crlf: Option<Crlf>,
    /// Whether `$Id$` is expanded.
    pub ident: bool,
    /// The encoding, as the attribute names it.
    pub encoding: Option<String>,
}

impl Conversion {
    /// Whether every content stays as it is.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// A name for a blob's converted content. It tells apart all conversions of all blobs, and never means an object.
    pub fn name(&self, id: &ObjectId) -> io::Result<ObjectId> {
        let text = format!("converted {id} {:?} {} {:?}", self.crlf, self.ident, self.encoding);
        // Too short a text for the collisions that are looked for.
        hash_object(id.algo(), Kind::Tag, text.as_bytes())
            .map_err(|_| io::Error::other("a hash that cannot be"))
    }

    /// The bytes that a checkout would write for `content`, which is the blob `id`.
    pub fn apply<'a>(&self, id: &ObjectId, content: &'a [u8]) -> Cow<'a, [u8]> {
        let mut now = Cow::Borrowed(content);
        if self.ident
            && let Some(expanded) = expand_ident(&now, id)
        {
            now = Cow::Owned(expanded);
        }
        if let Some(crlf) = self.crlf {
            let digest = match crlf {
                Crlf::Always => AttributesDigest::TextCrlf,
                Crlf::Auto => AttributesDigest::TextAutoCrlf,
            };
            let config = Configuration { auto_crlf: AutoCrlf::Disabled, eol: Some(Mode::CrLf) };
            let mut out = Vec::new();
            if convert_to_worktree(&now, digest, &mut out, config).is_ok_and(|is_changed| is_changed) {
                now = Cow::Owned(out);
            }
        }
        // What is empty or cannot be encoded is left as it is, as git does.
        if now.is_empty() {
            return now;
        }
        match self.encoding.as_deref().and_then(|encoding| encode(&now, encoding)) {
            Some(encoded) => Cow::Owned(encoded),
            None => now,
        }
    }
}

/// Puts the blob's id into each `$Id$`, and into each `$Id: ... $` that another git expanded. `None` where there is none.
fn expand_ident(content: &[u8], id: &ObjectId) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(content.len() + 64);
    let mut rest = content;
    let mut found = false;
    while let Some(dollar) = rest.iter().position(|byte| *byte == b'$') {
        let (before, after) = rest.split_at(dollar + 1);
        out.extend_from_slice(before);
        rest = after;
        let Some(tail) = rest.strip_prefix(b"Id") else { continue };
        if let Some(tail) = tail.strip_prefix(b"$") {
            rest = tail;
        } else if let Some(tail) = tail.strip_prefix(b":") {
            let Some(end) = tail.iter().position(|byte| *byte == b'$') else { break };
            let inside = &tail[..end];
            // A space inside means that another system wrote it.
            let space = inside.iter().skip(1).position(|byte| *byte == b' ').map(|at| at + 1);
            if inside.contains(&b'\n') || space.is_some_and(|at| at + 1 < end) {
                continue;
            }
            rest = &tail[end + 1..];
        } else {
            continue;
        }
        out.extend_from_slice(format!("Id: {id} $").as_bytes());
        found = true;
    }
    out.extend_from_slice(rest);
    found.then_some(out)
}

/// Whether files of this encoding can be shown in it.
pub fn is_known(encoding: &str) -> bool {
    encode(b"", encoding).is_some()
}

/// UTF-8 in another encoding. `None` where the content is no UTF-8, cannot be said in it, or it is not known.
fn encode(content: &[u8], encoding: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(content).ok()?;
    let name = encoding.to_ascii_uppercase();
    let name =
        name.strip_prefix("UTF").map_or(name.clone(), |tail| format!("UTF-{}", tail.trim_start_matches('-')));
    let words = |big: bool, mark: bool| {
        let marked = mark.then_some('\u{feff}').into_iter().chain(text.chars());
        let mut pair = [0; 2];
        let mut out = Vec::with_capacity(2 * text.len() + 2);
        for letter in marked {
            for unit in letter.encode_utf16(&mut pair) {
                out.extend_from_slice(&if big { unit.to_be_bytes() } else { unit.to_le_bytes() });
            }
        }
        out
    };
    let wide = |big: bool, mark: bool| {
        let marked = mark.then_some('\u{feff}').into_iter().chain(text.chars()).map(u32::from);
        marked.flat_map(|letter| if big { letter.to_be_bytes() } else { letter.to_le_bytes() }).collect()
    };
    match name.as_str() {
        // Without a word of the order, the C library writes a mark and the order of the machine.
        "UTF-16" => Some(words(cfg!(target_endian = "big"), true)),
        "UTF-16LE" => Some(words(false, false)),
        "UTF-16BE" => Some(words(true, false)),
        "UTF-16LE-BOM" => Some(words(false, true)),
        "UTF-16BE-BOM" => Some(words(true, true)),
        "UTF-32" => Some(wide(cfg!(target_endian = "big"), true)),
        "UTF-32LE" => Some(wide(false, false)),
        "UTF-32BE" => Some(wide(true, false)),
        "ISO-8859-1" | "LATIN1" | "LATIN-1" => text.chars().map(|letter| u8::try_from(letter).ok()).collect(),
        _ => by_table(text, encoding),
    }
}

fn by_table(text: &str, encoding: &str) -> Option<Vec<u8>> {
    let known = Encoding::for_label(encoding.as_bytes())?;
    // The tables have no encoder for these: they would give UTF-8.
    if known.output_encoding() != known {
        return None;
    }
    let mut encoder = known.new_encoder();
    let bytes = encoder.max_buffer_length_from_utf8_if_no_unmappables(text.len())?;
    let mut out = vec![0; bytes];
    let (outcome, _, written) = encoder.encode_from_utf8_without_replacement(text, &mut out, true);
    out.truncate(written);
    (outcome == EncoderResult::InputEmpty).then_some(out)
}

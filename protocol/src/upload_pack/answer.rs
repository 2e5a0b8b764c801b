//! The text parts of upload-pack's answers. Packs are framed by `pktline::write_band`.

use crate::{
    object::ObjectId,
    pktline::{Hex, write_data, write_flush, write_line, write_text},
    refs::RefName,
};

/// Writes one ref of an `ls-refs` answer; `id` is `None` for an unborn one. The caller ends the list with a flush.
pub fn write_ls_refs_line(
    out: &mut Vec<u8>,
    name: &(impl AsRef<[u8]> + ?Sized),
    id: Option<&ObjectId>,
    symref_target: Option<&[u8]>,
    peeled: Option<&ObjectId>,
) {
    let (id, peeled) = (id.map(Hex::new), peeled.map(Hex::new));
    let (peeled_key, peeled): (&[u8], _) = match &peeled {
        Some(peeled) => (b" peeled:", peeled.as_bytes()),
        None => (b"", &b""[..]),
    };
    let id = id.as_ref().map_or(&b"unborn"[..], Hex::as_bytes);
    let symref_key: &[u8] = if symref_target.is_some() { b" symref-target:" } else { b"" };
    let target = symref_target.unwrap_or_default();
    write_line(out, &[id, b" ", name.as_ref(), symref_key, target, peeled_key, peeled]);
}

/// Writes the header of a section of a v2 answer, such as `packfile`.
pub fn write_section(out: &mut Vec<u8>, name: &str) {
    write_text(out, name);
}

/// Writes the acknowledgments section of v2: `NAK` where nothing is common. The caller writes what ends it: a delim
/// where sections follow, which is so where `ready`, else a flush.
pub fn write_acknowledgments(out: &mut Vec<u8>, common: &[ObjectId], ready: bool) {
    write_section(out, "acknowledgments");
    if common.is_empty() {
        write_nak(out);
    }
    common.iter().for_each(|id| write_final_ack(out, id));
    if ready {
        write_text(out, "ready");
    }
}

/// Writes the shallow-info section of v2; the caller writes the delim that ends it.
pub fn write_shallow_info(out: &mut Vec<u8>, shallow: &[ObjectId], unshallow: &[ObjectId]) {
    write_section(out, "shallow-info");
    write_shallow_lines(out, shallow, unshallow);
}

/// Writes the shallow list of v0 and v1 with the flush that ends it. Due only where the request deepens.
pub fn write_shallow_v0(out: &mut Vec<u8>, shallow: &[ObjectId], unshallow: &[ObjectId]) {
    write_shallow_lines(out, shallow, unshallow);
    write_flush(out);
}

/// As in git, no newlines end these.
fn write_shallow_lines(out: &mut Vec<u8>, shallow: &[ObjectId], unshallow: &[ObjectId]) {
    for (word, ids) in [("shallow", shallow), ("unshallow", unshallow)] {
        ids.iter().for_each(|id| write_data(out, format!("{word} {id}").as_bytes()));
    }
}

/// Writes the wanted-refs section of v2; the caller writes the delim that ends it.
pub fn write_wanted_refs(out: &mut Vec<u8>, refs: &[(ObjectId, RefName)]) {
    write_section(out, "wanted-refs");
    for (id, name) in refs {
        write_line(out, &[Hex::new(id).as_bytes(), b" ", name.as_bytes()]);
    }
}

/// Writes a whole `object-info` answer with its flush, for `ObjectInfo { size: true, .. }`; an object that the
/// repository does not have gets an empty size. As in git, no newlines end these lines.
pub fn write_object_info(out: &mut Vec<u8>, sizes: &[(ObjectId, Option<u64>)]) {
    write_data(out, b"size");
    for (id, size) in sizes {
        let size = size.map(|size| size.to_string()).unwrap_or_default();
        write_data(out, format!("{id} {size}").as_bytes());
    }
    write_flush(out);
}

/// What an `ACK` of v0 and v1 says beyond the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// `multi_ack`: common, go on.
    Continue,
    /// `multi_ack_detailed`: common.
    Common,
    /// `multi_ack_detailed`: common, and enough is known.
    Ready,
}

/// Writes `ACK <id> continue|common|ready`.
pub fn write_ack(out: &mut Vec<u8>, id: &ObjectId, ack: Ack) {
    let word = match ack {
        Ack::Continue => "continue",
        Ack::Common => "common",
        Ack::Ready => "ready",
    };
    write_text(out, &format!("ACK {id} {word}"));
}

/// Writes `ACK <id>`, after which the pack follows in v0 and v1.
pub fn write_final_ack(out: &mut Vec<u8>, id: &ObjectId) {
    write_line(out, &[b"ACK ", Hex::new(id).as_bytes()]);
}

/// Writes `NAK`.
pub fn write_nak(out: &mut Vec<u8>) {
    write_text(out, "NAK");
}

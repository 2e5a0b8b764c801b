//! Request bodies in pkt-lines, and the pack out of a side-banded answer.
//!
//! Follows gitprotocol-v2 ("fetch", "ls-refs") and gitprotocol-pack ("receive-pack").

use std::io::{Read, Write};

use crate::Result;

/// One frame as read from a peer.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Flush,
    Delim,
    /// The payload is in the caller's buffer.
    Data,
}

/// What one `command=fetch` asks for.
#[derive(Default)]
pub struct FetchRequest<'a> {
    pub wants: &'a [String],
    pub haves: &'a [String],
    pub filter: Option<&'a str>,
    pub depth: Option<u32>,
}

impl FetchRequest<'_> {
    /// The whole request body; it says `done`, so one answer brings the pack.
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        line(&mut out, "command=fetch");
        line(&mut out, "agent=cairn-bench/1");
        line(&mut out, "object-format=sha1");
        out.extend_from_slice(b"0001");
        for word in ["thin-pack", "no-progress", "ofs-delta"] {
            line(&mut out, word);
        }
        if let Some(depth) = self.depth {
            line(&mut out, &format!("deepen {depth}"));
        }
        if let Some(filter) = self.filter {
            line(&mut out, &format!("filter {filter}"));
        }
        for want in self.wants {
            line(&mut out, &format!("want {want}"));
        }
        for have in self.haves {
            line(&mut out, &format!("have {have}"));
        }
        line(&mut out, "done");
        out.extend_from_slice(b"0000");
        out
    }
}

/// A `command=ls-refs` body for one prefix, as a clone would ask.
pub fn ls_refs_body(prefix: &str) -> Vec<u8> {
    let mut out = Vec::new();
    line(&mut out, "command=ls-refs");
    line(&mut out, "agent=cairn-bench/1");
    line(&mut out, "object-format=sha1");
    out.extend_from_slice(b"0001");
    line(&mut out, "peel");
    line(&mut out, "symrefs");
    line(&mut out, &format!("ref-prefix {prefix}"));
    out.extend_from_slice(b"0000");
    out
}

/// The commands of a push that creates each ref; the pack follows them.
pub fn create_commands<'a>(refs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let zero = "0".repeat(40);
    let mut out = Vec::new();
    for (name, oid) in refs {
        // The first line alone carries the capabilities.
        let capabilities = if out.is_empty() {
            "\0 report-status side-band-64k object-format=sha1 agent=cairn-bench/1"
        } else {
            ""
        };
        line(&mut out, &format!("{zero} {oid} {name}{capabilities}"));
    }
    out.extend_from_slice(b"0000");
    out
}

/// The command of a push that moves one ref; the pack follows it.
pub fn update_command(name: &str, old: &str, new: &str) -> Vec<u8> {
    let mut out = Vec::new();
    line(&mut out, &format!("{old} {new} {name}\0 report-status side-band-64k object-format=sha1"));
    out.extend_from_slice(b"0000");
    out
}

/// Appends one text line with its length and newline.
fn line(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(format!("{:04x}{text}\n", text.len() + 5).as_bytes());
}

/// Reads one frame; its payload replaces what was in `payload`.
pub fn read_frame(from: &mut impl Read, payload: &mut Vec<u8>) -> Result<Frame> {
    let mut head = [0_u8; 4];
    from.read_exact(&mut head)?;
    let text = std::str::from_utf8(&head)?;
    payload.clear();
    match usize::from_str_radix(text, 16)? {
        0 => Ok(Frame::Flush),
        1 | 2 => Ok(Frame::Delim),
        3 => Err("a pkt-line of length 3".into()),
        length => {
            payload.resize(length - 4, 0);
            from.read_exact(payload)?;
            Ok(Frame::Data)
        }
    }
}

/// Copies the pack of a fetch answer to `pack`, other sections skipped.
pub fn copy_pack(from: &mut impl Read, pack: &mut impl Write) -> Result<()> {
    let mut payload = Vec::new();
    loop {
        match read_frame(from, &mut payload)? {
            Frame::Data if payload == b"packfile\n" || payload == b"packfile" => break,
            Frame::Data if payload.starts_with(b"ERR ") => return Err(lossy(&payload).into()),
            Frame::Flush => return Err("the answer ends before a packfile section".into()),
            Frame::Data | Frame::Delim => {}
        }
    }
    copy_band(from, pack)
}

/// Copies side-band 1 up to the flush; band 3 is the peer's error.
pub fn copy_band(from: &mut impl Read, sink: &mut impl Write) -> Result<()> {
    let mut payload = Vec::new();
    while read_frame(from, &mut payload)? == Frame::Data {
        match payload.split_first() {
            Some((1, data)) => sink.write_all(data)?,
            Some((2, _)) => {}
            Some((3, text)) => return Err(lossy(text).into()),
            _ => return Err(format!("not a side-band: {}", lossy(&payload)).into()),
        }
    }
    Ok(())
}

/// Judges the report of a push: unpacked, and no ref refused.
pub fn check_report(answer: &[u8]) -> Result<()> {
    let mut report = Vec::new();
    let mut rest = answer;
    copy_band(&mut rest, &mut report)?;
    let refused = report.windows(8).any(|bytes| bytes == b"ng refs/");
    if report.windows(10).any(|bytes| bytes == b"unpack ok\n") && !refused {
        return Ok(());
    }
    Err(format!("the push was refused: {}", lossy(&report)).into())
}

/// The start of a peer's text, for a message.
fn lossy(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(200).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{FetchRequest, check_report, copy_pack, create_commands, ls_refs_body};

    #[test]
    fn fetch_body_has_lengths_that_match_its_lines() {
        let wants = vec!["a".repeat(40)];
        let body =
            FetchRequest { wants: &wants, filter: Some("blob:none"), ..FetchRequest::default() }.body();
        assert!(body.starts_with(b"0012command=fetch\n"));
        assert!(body.ends_with(b"0009done\n0000"));
        assert!(ls_refs_body("refs/heads/x").ends_with(b"001cref-prefix refs/heads/x\n0000"));
    }

    #[test]
    fn capabilities_stand_on_the_first_command_alone() {
        let oid = "b".repeat(40);
        let body = create_commands([("refs/heads/a", oid.as_str()), ("refs/heads/b", oid.as_str())]);
        assert_eq!(body.iter().filter(|byte| **byte == 0).count(), 1);
    }

    #[test]
    fn pack_bytes_are_found_behind_a_shallow_section() {
        let answer = b"0011shallow-info\n0001000dpackfile\n0009\x01PACK0007\x02hi0005\x010000";
        let answer = [&answer[..4], b"shallow-info\n", &answer[17..]].concat();
        let mut pack = Vec::new();
        copy_pack(&mut answer.as_slice(), &mut pack).unwrap();
        assert_eq!(pack, b"PACK");
    }

    #[test]
    fn report_with_a_refused_ref_is_an_error() {
        let good = b"0013\x01000eunpack ok\n0000";
        assert!(check_report(good).is_ok());
        let bad = b"002c\x01000eunpack ok\n0019ng refs/heads/a why\n0000";
        assert!(check_report(bad).is_err());
    }
}

//! The media type of a file, from its first bytes alone: names lie. Whatever a browser would run or render as a page is
//! plain text, so that no file of a repository can act in the name of the server.

/// Bytes that are looked at.
pub const SNIFF_BYTES: u64 = 1_024;
/// The type of what is not known and not text.
pub const UNKNOWN: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";

/// How a type is recognized: bytes at an offset.
const MAGIC: &[(usize, &[u8], &str)] = &[
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (4, b"ftypavif", "image/avif"),
    (0, b"\0\0\x01\0", "image/x-icon"),
    (0, b"BM", "image/bmp"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (8, b"WAVE", "audio/wav"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (257, b"ustar", "application/x-tar"),
    (0, b"\0asm", UNKNOWN),
];

/// The type of a file that starts with `head`. `is_whole`: there is no more of it.
pub fn media_type(head: &[u8], is_whole: bool) -> &'static str {
    if is_text(head, is_whole) {
        return TEXT;
    }
    let found =
        MAGIC.iter().find(|(at, magic, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    found.map_or(UNKNOWN, |(_, _, media_type)| media_type)
}

/// Whether a browser may show it in place.
pub fn is_shown(media_type: &str) -> bool {
    ["text/", "image/", "audio/", "video/"].iter().any(|start| media_type.starts_with(start))
}

/// UTF-8 without control characters that text does not have.
fn is_text(head: &[u8], is_whole: bool) -> bool {
    let is_control = |byte: &u8| *byte < 0x20 && !b"\t\n\r\x0c\x1b\x08".contains(byte);
    if head.iter().any(is_control) {
        return false;
    }
    match std::str::from_utf8(head) {
        Ok(_) => true,
        // The last character may be cut.
        Err(error) => error.error_len().is_none() && !is_whole,
    }
}

/// `Content-Disposition` for a file of this name, which may hold anything.
pub fn disposition(media_type: &str, name: &[u8]) -> String {
    let kind = if is_shown(media_type) { "inline" } else { "attachment" };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._- +@()".contains(byte);
    let plain: String =
        name.iter().map(|byte| if is_plain(byte) { char::from(*byte) } else { '_' }).collect();
    if name.iter().all(is_plain) {
        return format!("{kind}; filename=\"{plain}\"");
    }
    let encoded = percent_encoding::percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::{UNKNOWN, disposition, media_type};

    #[test]
    fn what_a_browser_would_run_is_plain_text() {
        let cases: [&[u8]; 7] = [
            b"<!doctype html><script>alert(1)</script>",
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>",
            b"<?xml version='1.0'?><x/>",
            b"alert(1)",
            b"body { color: red }",
            b"GIF89a=1;alert(1)//",
            b"",
        ];
        for head in cases {
            assert_eq!(media_type(head, true), "text/plain; charset=utf-8", "{head:?}");
        }
    }

    #[test]
    fn media_are_known_by_their_first_bytes() {
        let cases: [(&[u8], &str); 6] = [
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"\0\0\0\x20ftypisom", "video/mp4"),
            (b"\0asm\x01\0\0\0", UNKNOWN),
            (b"\0\x01\x02", UNKNOWN),
        ];
        for (head, want) in cases {
            assert_eq!(media_type(head, true), want);
        }
        assert_eq!(media_type(b"gr\xc3", false), "text/plain; charset=utf-8", "a character may be cut");
        assert_eq!(media_type(b"gr\xc3", true), UNKNOWN);
    }

    #[test]
    fn no_name_breaks_out_of_the_header() {
        assert_eq!(disposition("image/png", b"a b.png"), "inline; filename=\"a b.png\"");
        assert_eq!(
            disposition("application/zip", b"\"\r\nX: y\xff"),
            "attachment; filename=\"___X_ y_\"; filename*=UTF-8''%22%0D%0AX%3A%20y%FF"
        );
    }
}

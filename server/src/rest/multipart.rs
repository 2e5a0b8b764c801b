//! `multipart/form-data` (RFC 7578) read piece by piece: what is buffered is one frame of the body and one part's header,
//! however fast the client sends. The libraries for it take in all that is there to be read, which is no bound.

use std::path::Path;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;

use crate::error::{Error, code};
use crate::limits::{BOUNDARY_BYTES_MAX, COMMIT_UPLOAD_BYTES_MAX, PART_HEADER_BYTES_MAX};
use crate::ops::OpError;
use crate::ops::spool::Spool;

/// A body under way, with what of it has been read.
pub struct Multipart {
    body: Body,
    /// Line break, two dashes, the boundary.
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    /// Bytes of the body that were read.
    taken: u64,
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(code::INVALID_INPUT, message)
}

fn too_large() -> Error {
    bad(format!("a multipart body may have {COMMIT_UPLOAD_BYTES_MAX} bytes")).with_status(413)
}

/// The boundary of a `multipart/form-data` content type; `None` for other types.
pub fn boundary(content_type: &str) -> Option<Result<String, Error>> {
    let mut fields = content_type.split(';').map(str::trim);
    if !fields.next()?.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = fields.find_map(|field| {
        let (name, value) = field.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    });
    let good = value.filter(|value| (1..=BOUNDARY_BYTES_MAX).contains(&value.len()) && value.is_ascii());
    Some(
        good.ok_or_else(|| {
            bad(format!("multipart needs a boundary of 1 to {BOUNDARY_BYTES_MAX} characters"))
        }),
    )
}

impl Multipart {
    /// The parts of `body`.
    pub fn new(body: Body, boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The first delimiter may stand at the very start, without a line break before it.
        Self { body, delimiter, buffer: b"\r\n".to_vec(), taken: 0 }
    }

    async fn more(&mut self) -> Result<(), Error> {
        loop {
            let frame = self.body.frame().await.ok_or_else(|| bad("the multipart body ends early"))?;
            let frame = frame.map_err(|_| bad("the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            self.taken += data.len() as u64;
            if self.taken > COMMIT_UPLOAD_BYTES_MAX {
                return Err(too_large());
            }
            self.buffer.extend_from_slice(&data);
            if !data.is_empty() {
                return Ok(());
            }
        }
    }

    /// Goes to the next part and answers its name; `None` at the end of the body, which is read to its last byte.
    pub async fn next_part(&mut self) -> Result<Option<String>, Error> {
        while self.chunk().await?.is_some() {}
        self.buffer.drain(..self.delimiter.len());
        while self.buffer.len() < 2 {
            self.more().await?;
        }
        if self.buffer.starts_with(b"--") {
            self.buffer.clear();
            while let Some(frame) = self.body.frame().await {
                let frame = frame.map_err(|_| bad("the body broke off"))?;
                self.taken += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.taken > COMMIT_UPLOAD_BYTES_MAX {
                    return Err(too_large());
                }
            }
            return Ok(None);
        }
        loop {
            let end = find(&self.buffer, b"\r\n\r\n");
            if let Some(end) = end.filter(|end| end + 4 <= PART_HEADER_BYTES_MAX) {
                let header: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return name(&header).map(Some);
            }
            if end.is_some() || self.buffer.len() >= PART_HEADER_BYTES_MAX {
                let text = format!("the header of a part has more than {PART_HEADER_BYTES_MAX} bytes");
                return Err(bad(text));
            }
            self.more().await?;
        }
    }

    /// The next bytes of the part; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(end) = find(&self.buffer, &self.delimiter) {
                return Ok((end > 0).then(|| self.buffer.drain(..end).collect::<Vec<u8>>().into()));
            }
            // The end of the buffer may be the start of the delimiter.
            let sure = (self.buffer.len() + 1).saturating_sub(self.delimiter.len());
            if sure > 0 {
                return Ok(Some(self.buffer.drain(..sure).collect::<Vec<u8>>().into()));
            }
            self.more().await?;
        }
    }

    /// Appends the rest of the part to `spool`; answers its length, which may be `bytes_max` at most.
    pub async fn spool(&mut self, spool: &mut Spool, folder: &Path, bytes_max: u64) -> Result<u64, Error> {
        let mut len = 0;
        while let Some(data) = self.chunk().await? {
            len += data.len() as u64;
            if len > bytes_max {
                return Err(bad(format!("the part may have {bytes_max} bytes")).with_status(413));
            }
            append(spool, folder, data).await?;
        }
        Ok(len)
    }
}

/// Appends to a spool, on a blocking thread where that may block.
pub async fn append(spool: &mut Spool, folder: &Path, data: Bytes) -> Result<(), Error> {
    if !spool.is_on_disk(data.len()) {
        return spool.write(folder, &data).map_err(|error| OpError::from(error).into());
    }
    let (mut taken, folder) = (std::mem::take(spool), folder.to_owned());
    *spool = crate::ops::blocking(move || {
        taken.write(&folder, &data)?;
        Ok(taken)
    })
    .await?;
    Ok(())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        at += rest.iter().position(|byte| *byte == b'\r')?;
        if bytes.get(at..)?.starts_with(what) {
            return Some(at);
        }
        at += 1;
    }
}

/// The `name` of a part, out of its header.
fn name(header: &[u8]) -> Result<String, Error> {
    let header = std::str::from_utf8(header).map_err(|_| bad("the header of a part is not UTF-8"))?;
    let disposition = header.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.trim().eq_ignore_ascii_case("content-disposition").then(|| value.trim())
    });
    let fields = disposition.and_then(|value| value.split_once(';')).map(|(_, fields)| fields);
    let name = fields.and_then(|fields| field(fields, "name")).filter(|name| !name.is_empty());
    name.ok_or_else(|| bad("a part needs Content-Disposition: form-data; name=\"...\""))
}

/// The value of one `name=value` or `name="value"`, in which a backslash escapes quotes and backslashes.
fn field(mut rest: &str, wanted: &str) -> Option<String> {
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_start_matches([';', ' ', '\t']).trim();
        let (mut value, mut chars) = (String::new(), after.trim_start().char_indices().peekable());
        let quoted = chars.next_if(|(_, char)| *char == '"').is_some();
        let mut end = after.trim_start().len();
        while let Some((at, char)) = chars.next() {
            match char {
                '\\' if quoted && chars.peek().is_some_and(|(_, next)| matches!(next, '"' | '\\')) => {
                    value.extend(chars.next().map(|(_, char)| char));
                }
                '"' if quoted => {
                    end = at + 1;
                    break;
                }
                ';' if !quoted => {
                    end = at;
                    break;
                }
                char => value.push(char),
            }
        }
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after.trim_start().get(end..)?;
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::StreamBody;

    use super::{Multipart, boundary, field};
    use crate::limits::{BOUNDARY_BYTES_MAX, COMMIT_UPLOAD_BYTES_MAX, PART_HEADER_BYTES_MAX};

    fn in_pieces(text: &[u8], step: usize) -> Body {
        let pieces: Vec<_> = text.chunks(step).map(<[u8]>::to_vec).collect();
        let frames = pieces.into_iter().map(|piece| {
            Ok::<_, std::convert::Infallible>(http_body::Frame::data(axum::body::Bytes::from(piece)))
        });
        Body::new(StreamBody::new(Frames(frames)))
    }

    #[test]
    fn fields_of_a_disposition_are_found_whatever_stands_before() {
        let cases = [
            (r#" name="a/b.txt"; filename="x""#, Some("a/b.txt")),
            (r#" filename="name=\"no\"; x"; name="yes""#, Some("yes")),
            (r#" name="q\"\\w""#, Some("q\"\\w")),
            (" name=token; x=y", Some("token")),
            (" filename=\"x\"", None),
        ];
        for (text, want) in cases {
            assert_eq!(field(text, "name").as_deref(), want, "{text}");
        }
    }

    #[test]
    fn only_form_data_has_a_boundary() {
        let of = |text| boundary(text).map(|found| found.ok());
        assert_eq!(of("application/json"), None);
        assert_eq!(of("Multipart/Form-Data; charset=x; boundary=\"a b\""), Some(Some("a b".into())));
        assert_eq!(of("multipart/form-data"), Some(None));
    }

    #[test]
    fn boundaries_stop_at_their_limit() {
        let of = |count| {
            boundary(&format!("multipart/form-data; boundary={}", "x".repeat(count)))
                .map(|found| found.is_ok())
        };
        assert_eq!((of(BOUNDARY_BYTES_MAX), of(BOUNDARY_BYTES_MAX + 1)), (Some(true), Some(false)));
    }

    /// However it is cut: the limit is of the header, not of what came with it.
    #[tokio::test]
    async fn the_header_of_a_part_stops_at_its_limit() {
        let with = |bytes: usize| {
            let (start, end) = ("\r\nContent-Disposition: form-data; name=a\r\nX: ", "\r\n\r\n");
            let header = format!("{start}{}{end}", "x".repeat(bytes - start.len() - end.len()));
            format!("--b{header}data\r\n--b--").into_bytes()
        };
        for step in [7, 1 << 20] {
            let name = async |bytes| Multipart::new(in_pieces(&with(bytes), step), "b").next_part().await;
            assert_eq!(name(PART_HEADER_BYTES_MAX).await.expect("a part").as_deref(), Some("a"), "{step}");
            let past = name(PART_HEADER_BYTES_MAX + 1).await.expect_err("one byte past it");
            assert!(past.message.contains(&PART_HEADER_BYTES_MAX.to_string()), "{}", past.message);
        }
    }

    #[tokio::test]
    async fn a_body_of_parts_stops_at_its_limit() {
        let text = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--end";
        for (past, fits) in [(0, true), (1, false)] {
            let mut parts = Multipart::new(in_pieces(text, 7), "b");
            // All that came before, without sending it.
            parts.taken = COMMIT_UPLOAD_BYTES_MAX - text.len() as u64 + past;
            assert_eq!(parts.next_part().await.expect("a part").as_deref(), Some("a"));
            match parts.next_part().await {
                Ok(None) => assert!(fits),
                Ok(Some(name)) => panic!("a part {name}"),
                Err(error) => assert!(!fits && error.message.contains(&COMMIT_UPLOAD_BYTES_MAX.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn parts_come_out_the_same_however_the_body_is_cut() {
        let text = "skipped\r\n--b\r\nContent-Disposition: form-data; name=\"one\"\r\n\r\n1\r\n--\r\n-b\r\r\n--b\r\n\
            X: y\r\ncontent-disposition: form-data; name=two\r\n\r\n\r\n--b--\r\nand more";
        for step in 1..text.len() {
            let mut parts = Multipart::new(in_pieces(text.as_bytes(), step), "b");
            let mut got = Vec::new();
            while let Some(name) = parts.next_part().await.expect("parts") {
                let mut data = Vec::new();
                while let Some(chunk) = parts.chunk().await.expect("data") {
                    data.extend_from_slice(&chunk);
                }
                got.push((name, String::from_utf8(data).expect("text")));
            }
            let want = [("one".to_owned(), "1\r\n--\r\n-b\r".to_owned()), ("two".to_owned(), String::new())];
            assert_eq!(got, want, "in pieces of {step}");
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_early_is_an_error() {
        let mut parts =
            Multipart::new(Body::from("--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx"), "b");
        assert_eq!(parts.next_part().await.expect("a part").as_deref(), Some("a"));
        assert!(parts.chunk().await.is_err() || parts.chunk().await.is_err());
        let mut endless = Multipart::new(Body::from(format!("--b\r\n{}", "x".repeat(1 << 20))), "b");
        assert!(endless.next_part().await.is_err(), "a header without end");
    }

    struct Frames<I>(I);

    impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
        type Item = I::Item;

        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<I::Item>> {
            std::task::Poll::Ready(self.0.next())
        }
    }
}

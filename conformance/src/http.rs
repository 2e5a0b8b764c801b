//! A small HTTP/1.1 client over `std::net`: enough to speak raw git and REST to a server on loopback.
//!
//! In: method, URL, headers, body. Out: status, headers, the whole body with `chunked` undone. It speaks
//! `http://host:port/…` only, never follows a redirect, and opens one connection a request.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long one read or write may stand still.
pub const STALL_SECONDS_MAX: u64 = 60;

/// How a request body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`, in chunks of this many bytes.
    Chunked(usize),
    /// `Content-Length` and `Expect: 100-continue`; the body is sent after the interim answer.
    Expect,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Names in lower case, in the order of the wire.
    pub headers: Vec<(String, String)>,
    /// Decoded body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text, with foreign bytes replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The hundred of the status: `2` for success, `4` for the client's fault.
    pub fn class(&self) -> u16 {
        self.status / 100
    }
}

/// Splits `http://authority/path` into the authority and the path with its query.
pub fn split_url(url: &str) -> io::Result<(&str, &str)> {
    let rest = url.strip_prefix("http://").ok_or_else(|| bad("only http:// is spoken"))?;
    Ok(match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    })
}

/// Connects with the stall limit set.
pub fn connect(authority: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(Duration::from_secs(STALL_SECONDS_MAX)))?;
    stream.set_write_timeout(Some(Duration::from_secs(STALL_SECONDS_MAX)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends one request with a `Content-Length` body and reads the whole answer.
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
    request_framed(method, url, headers, body, Framing::Length)
}

/// Sends one request, its body framed as asked, and reads the whole answer.
///
/// A server may answer and close before it has read a body it does not want; then the answer counts, not
/// the broken write.
pub fn request_framed(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    framing: Framing,
) -> io::Result<Response> {
    let (authority, path) = split_url(url)?;
    let mut stream = connect(authority)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match framing {
        Framing::Chunked(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
        Framing::Expect => {
            head.push_str(&format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len()));
        }
        Framing::Length if method == "GET" && body.is_empty() => {}
        Framing::Length => head.push_str(&format!("Content-Length: {}\r\n", body.len())),
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    let mut reader = BufReader::new(stream.try_clone()?);
    if framing == Framing::Expect {
        let interim = read_head(&mut reader)?;
        if interim.status != 100 {
            return finish(interim, &mut reader);
        }
    }
    let sent = send_body(&mut stream, body, framing);
    match (read_response(&mut reader), sent) {
        (Ok(answer), _) => Ok(answer),
        (Err(_), Err(broken)) => Err(broken),
        (Err(error), Ok(())) => Err(error),
    }
}

fn send_body(stream: &mut TcpStream, body: &[u8], framing: Framing) -> io::Result<()> {
    if let Framing::Chunked(size) = framing {
        for chunk in body.chunks(size.max(1)) {
            write!(stream, "{:x}\r\n", chunk.len())?;
            stream.write_all(chunk)?;
            stream.write_all(b"\r\n")?;
        }
        stream.write_all(b"0\r\n\r\n")?;
    } else {
        stream.write_all(body)?;
    }
    stream.flush()
}

/// Sends bytes as they are and reads an answer.
pub fn raw(authority: &str, bytes: &[u8]) -> io::Result<Response> {
    let mut stream = connect(authority)?;
    stream.write_all(bytes)?;
    read_response(&mut BufReader::new(stream))
}

/// Reads a whole answer, skipping interim ones.
pub fn read_response(reader: &mut impl BufRead) -> io::Result<Response> {
    loop {
        let head = read_head(reader)?;
        if head.status >= 200 {
            return finish(head, reader);
        }
    }
}

/// Reads a status line and headers; the body stays unread.
pub fn read_head(reader: &mut impl BufRead) -> io::Result<Response> {
    let line = read_line(reader)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| bad("no status line"))?;
    let headers = read_headers(reader)?;
    Ok(Response { status, headers, body: Vec::new() })
}

/// Reads header lines up to the empty one; names come back in lower case.
pub fn read_headers(reader: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("header without colon"))?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// One line without its line ending; the end of the stream is an error.
pub fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    while line.last().is_some_and(|b| *b == b'\n' || *b == b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn finish(mut head: Response, reader: &mut impl BufRead) -> io::Result<Response> {
    if head.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        Chunks::new(reader).read_to_end(&mut head.body)?;
    } else if let Some(length) = head.header("content-length").and_then(|v| v.parse::<u64>().ok()) {
        reader.take(length).read_to_end(&mut head.body)?;
        if head.body.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    } else if head.status != 204 && head.status != 304 {
        reader.read_to_end(&mut head.body)?;
    }
    Ok(head)
}

/// Undoes `Transfer-Encoding: chunked`.
pub struct Chunks<'a, R> {
    reader: &'a mut R,
    left: u64,
    ended: bool,
}

impl<'a, R: BufRead> Chunks<'a, R> {
    /// Reads chunks from where the head ended.
    pub fn new(reader: &'a mut R) -> Self {
        Self { reader, left: 0, ended: false }
    }
}

impl<R: BufRead> Read for Chunks<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ended || out.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            let line = read_line(self.reader)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            self.left = u64::from_str_radix(size, 16).map_err(|_| bad("chunk size"))?;
            if self.left == 0 {
                while !read_line(self.reader)?.is_empty() {}
                self.ended = true;
                return Ok(0);
            }
        }
        let want = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let got = self.reader.read(out.get_mut(..want).expect("want is at most the length"))?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= got as u64;
        if self.left == 0 {
            read_line(self.reader)?;
        }
        Ok(got)
    }
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

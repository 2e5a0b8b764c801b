//! A keep-alive HTTP/1.1 client over one plain socket, cheap enough that the server is what is measured.
//!
//! Bodies come with a length, chunked, or up to the end of the connection (RFC 9112, section 6). No TLS, no redirects.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::Result;

/// How long one read may hang: a cold push of a large repository checks everything before it answers.
const READ_SECONDS_MAX: u64 = 900;
/// Receive buffer; a pack arrives in large pieces.
const BUFFER_BYTES: usize = 256 * 1024;
/// One chunk of an upload, as stock git sends them.
const CHUNK_BYTES: usize = 64 * 1024;
/// Largest header block that is accepted.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What goes up with a request.
pub enum Payload<'a> {
    None,
    Json(&'a str),
    /// Whole body in memory, sent with its length.
    Bytes(&'a str, &'a [u8]),
    /// Streamed from a file in chunks, like a push beyond `http.postBuffer`.
    File(&'a str, &'a Path),
}

/// What is left of the answer on the wire.
enum Left {
    Nothing,
    Length(u64),
    /// Inside a chunk with so many bytes to go; `None` before the next size line.
    Chunk(Option<u64>),
    UntilClose,
}

/// One connection, opened on first use and again after the server closed it.
pub struct Client {
    addr: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
    left: Left,
    closes: bool,
}

/// An answer whose body is still on the wire; reading it is the caller's.
pub struct Response<'a> {
    pub status: u16,
    client: &'a mut Client,
}

impl Client {
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, stream: None, left: Left::Nothing, closes: false }
    }

    /// Sends one request and reads the head of its answer.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        bearer: &str,
        extra: &str,
        payload: &Payload<'_>,
    ) -> Result<Response<'_>> {
        // An unread body or a promised close makes the connection useless.
        if self.closes || !matches!(self.left, Left::Nothing) {
            self.stream = None;
        }
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {bearer}\r\n{extra}",
            self.addr
        );
        match payload {
            Payload::None => {}
            Payload::Json(text) => {
                head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", text.len());
            }
            Payload::Bytes(kind, body) => {
                head += &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
            }
            Payload::File(kind, _) => {
                head += &format!("Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n")
            }
        }
        head += "\r\n";
        let sent = self.write_request(head, payload);
        // A server may refuse early and stop reading: its answer says more than our broken pipe.
        match (self.read_head(), sent) {
            (Ok(status), _) => Ok(Response { status, client: self }),
            (Err(read), Ok(())) => Err(read),
            (Err(_), Err(write)) => Err(write),
        }
    }

    fn write_request(&mut self, head: String, payload: &Payload<'_>) -> Result<()> {
        let socket = self.socket()?.get_mut();
        let mut first = head.into_bytes();
        match payload {
            Payload::None => socket.write_all(&first)?,
            Payload::Json(text) => {
                first.extend_from_slice(text.as_bytes());
                socket.write_all(&first)?;
            }
            Payload::Bytes(_, body) => {
                first.extend_from_slice(body);
                socket.write_all(&first)?;
            }
            Payload::File(_, path) => {
                socket.write_all(&first)?;
                send_chunked(socket, path)?;
            }
        }
        Ok(())
    }

    fn socket(&mut self) -> Result<&mut BufReader<TcpStream>> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.addr)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(READ_SECONDS_MAX)))?;
            self.stream = Some(BufReader::with_capacity(BUFFER_BYTES, stream));
            self.left = Left::Nothing;
            self.closes = false;
        }
        Ok(self.stream.as_mut().expect("was opened just above"))
    }

    fn read_head(&mut self) -> Result<u16> {
        loop {
            let lines = self.read_head_lines()?;
            let status: u16 = lines
                .first()
                .and_then(|line| line.split(' ').nth(1)?.parse().ok())
                .ok_or("not an HTTP status line")?;
            if (100..200).contains(&status) {
                continue;
            }
            self.left = if status == 204 || status == 304 { Left::Nothing } else { Left::UntilClose };
            for (name, value) in lines.iter().filter_map(|line| line.split_once(':')) {
                let value = value.trim();
                if name.eq_ignore_ascii_case("content-length") {
                    self.left = Left::Length(value.parse()?);
                } else if name.eq_ignore_ascii_case("transfer-encoding")
                    && value.eq_ignore_ascii_case("chunked")
                {
                    self.left = Left::Chunk(None);
                } else if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
                    self.closes = true;
                }
            }
            if matches!(self.left, Left::Length(0)) {
                self.left = Left::Nothing;
            }
            return Ok(status);
        }
    }

    fn read_head_lines(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        loop {
            let line = self.read_line()?;
            bytes += line.len();
            if line.is_empty() {
                return Ok(lines);
            }
            if bytes > HEAD_BYTES_MAX {
                return Err("the answer's head is too large".into());
            }
            lines.push(line);
        }
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.socket()?.read_line(&mut line)? == 0 {
            self.stream = None;
            return Err("the server closed the connection".into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Left::Chunk(None) = self.left {
            let line = self.read_line().map_err(io::Error::other)?;
            let size = line.split(';').next().and_then(|word| u64::from_str_radix(word.trim(), 16).ok());
            let size = size.ok_or_else(|| io::Error::other(format!("not a chunk size: {line}")))?;
            if size == 0 {
                while !self.read_line().map_err(io::Error::other)?.is_empty() {}
                self.left = Left::Nothing;
                return Ok(0);
            }
            self.left = Left::Chunk(Some(size));
        }
        let room = match self.left {
            Left::Nothing | Left::Chunk(None) => return Ok(0),
            Left::Length(left) | Left::Chunk(Some(left)) => {
                buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX))
            }
            Left::UntilClose => buffer.len(),
        };
        let Some(stream) = self.stream.as_mut() else {
            return Ok(0);
        };
        let Some(target) = buffer.get_mut(..room) else {
            return Ok(0);
        };
        let got = stream.read(target)?;
        if got == 0 && room > 0 {
            self.stream = None;
            return match std::mem::replace(&mut self.left, Left::Nothing) {
                Left::UntilClose => Ok(0),
                _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body ends early")),
            };
        }
        self.consume_left(got)?;
        Ok(got)
    }

    fn consume_left(&mut self, got: usize) -> io::Result<()> {
        self.left = match self.left {
            Left::Length(left) if left == got as u64 => Left::Nothing,
            Left::Length(left) => Left::Length(left - got as u64),
            Left::Chunk(Some(left)) if left == got as u64 => {
                self.read_line().map_err(io::Error::other)?;
                Left::Chunk(None)
            }
            Left::Chunk(Some(left)) => Left::Chunk(Some(left - got as u64)),
            Left::Nothing | Left::Chunk(None) | Left::UntilClose => return Ok(()),
        };
        Ok(())
    }
}

impl Read for Response<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.client.read_body(buffer)
    }
}

impl Response<'_> {
    /// The rest of the body.
    pub fn body(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.read_to_end(&mut out)?;
        Ok(out)
    }

    /// Throws the rest of the body away and says how long it was.
    pub fn discard(&mut self) -> Result<u64> {
        discard(self)
    }

    /// Refuses any other status, with the start of the body in the message.
    pub fn expect_status(mut self, wanted: u16) -> Result<Self> {
        if self.status == wanted {
            return Ok(self);
        }
        let body = self.body().unwrap_or_default();
        let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
        Err(format!("HTTP {} where {wanted} was expected: {text}", self.status).into())
    }
}

/// Reads to the end without keeping anything; returns the bytes seen.
pub fn discard(from: &mut impl Read) -> Result<u64> {
    let mut buffer = vec![0_u8; BUFFER_BYTES];
    let mut total = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(total),
            got => total += got as u64,
        }
    }
}

fn send_chunked(socket: &mut TcpStream, path: &Path) -> Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0_u8; CHUNK_BYTES];
    loop {
        let got = file.read(&mut buffer)?;
        if got == 0 {
            socket.write_all(b"0\r\n\r\n")?;
            return Ok(());
        }
        let mut chunk = format!("{got:x}\r\n").into_bytes();
        chunk.extend(buffer.iter().take(got));
        chunk.extend_from_slice(b"\r\n");
        socket.write_all(&chunk)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::{Client, Payload};

    /// Answers each request head on one connection with the next of `answers`.
    fn serve(answers: Vec<&'static [u8]>) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            for answer in answers {
                let mut line = String::new();
                while reader.read_line(&mut line).unwrap() > 2 {
                    line.clear();
                }
                reader.get_mut().write_all(answer).unwrap();
            }
        });
        addr
    }

    #[test]
    fn bodies_of_every_framing_end_where_they_should() {
        let addr = serve(vec![
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n5;x=1\r\npedia\r\n0\r\n\r\n",
            b"HTTP/1.1 201 Created\r\ncontent-length: 3\r\n\r\nabc",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ntail",
        ]);
        let mut client = Client::new(addr);
        for (status, body) in [(200, "wikipedia"), (201, "abc"), (204, ""), (200, "tail")] {
            let mut response = client.send("GET", "/", "t", "", &Payload::None).unwrap();
            assert_eq!(response.status, status);
            assert_eq!(response.body().unwrap(), body.as_bytes());
        }
    }
}

//! A threaded HTTP/1.1 host on loopback that serves stock `git http-backend` as a CGI program.
//!
//! It exists so that stock git can be asked the same questions as Cairn, with nothing in between that has
//! opinions: it understands `Content-Length` and chunked bodies, `Expect: 100-continue` and keep-alive, and
//! hands everything else (`Git-Protocol`, `Content-Encoding`) to the program. Answers stream, chunked.

use crate::http::{self, Chunks};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Copy buffer between the socket and the program.
const COPY_BYTES: usize = 64 << 10;

/// A running host; dropping it stops accepting.
pub struct CgiHost {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
}

struct Settings {
    backend: PathBuf,
    root: PathBuf,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
}

impl CgiHost {
    /// Serves the repositories below `root` on a free port of loopback, each at `/git/<path below root>`.
    pub fn start(root: &Path) -> io::Result<Self> {
        let exec = Command::new("git").arg("--exec-path").output()?;
        let exec = String::from_utf8_lossy(&exec.stdout).trim().to_owned();
        let settings =
            Arc::new(Settings { backend: Path::new(&exec).join("git-http-backend"), root: root.to_owned() });
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let settings = Arc::clone(&settings);
                if let Ok(stream) = stream {
                    // A broken connection is the client's affair; it sees it by itself.
                    thread::spawn(move || serve(&stream, &settings).ok());
                }
            }
        });
        Ok(Self { address, stopping })
    }

    /// `http://127.0.0.1:port`, without a slash at the end.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for CgiHost {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; a failure means that it is gone already.
        TcpStream::connect(self.address).ok();
    }
}

fn serve(stream: &TcpStream, settings: &Settings) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(COPY_BYTES, stream.try_clone()?);
    let mut writer = stream.try_clone()?;
    while !reader.fill_buf()?.is_empty() {
        let Some(request) = read_request(&mut reader)? else {
            return respond(&mut writer, 400, "Bad Request");
        };
        let close = request.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
        if request.header("expect").is_some_and(|v| v.eq_ignore_ascii_case("100-continue")) {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let Some(inside) = request.path.strip_prefix("/git") else {
            return respond(&mut writer, 404, "Not Found");
        };
        run(&request, inside, settings, &mut reader, &mut writer)?;
        if close {
            break;
        }
    }
    Ok(())
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let line = http::read_line(reader)?;
    let headers = http::read_headers(reader)?;
    let mut parts = line.split(' ');
    let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
        return Ok(None);
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Some(Request {
        method: method.to_owned(),
        path: percent_decode(path),
        query: query.to_owned(),
        headers,
    }))
}

fn percent_decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        let byte = hex.filter(|_| *first == b'%').and_then(|h| u8::from_str_radix(h, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn spawn(request: &Request, inside: &str, settings: &Settings) -> io::Result<Child> {
    let mut command = Command::new(&settings.backend);
    command.env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", &settings.root).env("LC_ALL", "C");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_PROJECT_ROOT", &settings.root).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("GATEWAY_INTERFACE", "CGI/1.1").env("SERVER_PROTOCOL", "HTTP/1.1");
    command.env("REQUEST_METHOD", &request.method).env("PATH_INFO", inside);
    command.env("QUERY_STRING", &request.query).env("REMOTE_ADDR", "127.0.0.1").env("REMOTE_USER", "judge");
    let handed = [
        ("content-type", "CONTENT_TYPE"),
        ("content-length", "CONTENT_LENGTH"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "HTTP_GIT_PROTOCOL"),
    ];
    for (header, variable) in handed {
        if let Some(value) = request.header(header) {
            command.env(variable, value);
        }
    }
    if let Some(version) = request.header("git-protocol") {
        command.env("GIT_PROTOCOL", version);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

fn run(
    request: &Request,
    inside: &str,
    settings: &Settings,
    reader: &mut BufReader<TcpStream>,
    writer: &mut TcpStream,
) -> io::Result<()> {
    let mut child = spawn(request, inside, settings)?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let chunked = request.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
    let length = request.header("content-length").and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
    // The program may answer while it still reads, so both directions run at once.
    let (fed, answered) = thread::scope(|scope| {
        let feeding = scope.spawn(move || match chunked {
            true => feed(&mut Chunks::new(reader), &mut stdin),
            false => feed(&mut reader.take(length), &mut stdin),
        });
        let answered = answer(&mut stdout, writer);
        (feeding.join(), answered)
    });
    child.wait()?;
    answered?;
    fed.map_err(|_| io::Error::other("feeding thread panicked"))?
}

/// Copies the request body to the program; a program that stops reading still has its body drained, since
/// the next request on the connection comes after it.
fn feed(body: &mut impl Read, stdin: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut open = true;
    loop {
        let got = body.read(&mut buffer)?;
        if got == 0 {
            return Ok(());
        }
        open = open && stdin.write_all(buffer.get(..got).expect("read within the buffer")).is_ok();
    }
}

fn answer(stdout: &mut impl BufRead, writer: &mut TcpStream) -> io::Result<()> {
    let Ok(headers) = http::read_headers(stdout) else {
        return respond(writer, 500, "Internal Server Error");
    };
    let status = headers.iter().find(|(name, _)| name == "status").map_or("200 OK", |(_, v)| v.as_str());
    let mut head = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n");
    for (name, value) in headers.iter().filter(|(name, _)| name != "status" && name != "content-length") {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    writer.write_all(head.as_bytes())?;
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let got = stdout.read(&mut buffer)?;
        if got == 0 {
            return writer.write_all(b"0\r\n\r\n");
        }
        let mut chunk = format!("{got:x}\r\n").into_bytes();
        chunk.extend_from_slice(buffer.get(..got).expect("read within the buffer"));
        chunk.extend_from_slice(b"\r\n");
        writer.write_all(&chunk)?;
    }
}

fn respond(writer: &mut TcpStream, status: u16, reason: &str) -> io::Result<()> {
    write!(writer, "HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\n\r\n")
}

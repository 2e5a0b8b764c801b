//! A host in front of another host on loopback: it adds TLS, and does to requests and answers what a test says.
//!
//! One request a connection. What it was asked is kept, so that a test can see which headers came.

use crate::http;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Copy buffer between the two sides.
const COPY_BYTES: usize = 16 << 10;

/// A certificate authority of a test's own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("the machine has randomness");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("the key fits").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes its certificate to a file in `dir`.
    pub fn write_to(&self, dir: &Path) -> PathBuf {
        let path = dir.join("ca.pem");
        std::fs::write(&path, &self.pem).expect("the directory is the test's");
        path
    }

    fn serve_as(&self, names: &[&str]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("the machine has randomness");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("the test gives proper names");
        let cert = params.signed_by(&key, &self.issuer).expect("the keys fit");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key);
        Arc::new(config.expect("certificate and key belong together"))
    }
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET` or `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Asked {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Whether it is this command of protocol version 2.
    pub fn is_command(&self, name: &str) -> bool {
        let command = format!("command={name}\n").into_bytes();
        self.body.windows(command.len()).any(|window| window == command)
    }
}

/// What is done about a request.
#[derive(Clone, Debug)]
pub enum Deed {
    /// The host behind answers.
    Pass,
    /// The same, after another `Git-Protocol` was put in, or none.
    Speak(Option<&'static str>),
    /// This is answered: status, headers and body.
    Say(u16, Vec<(String, String)>, Vec<u8>),
    /// The host behind answers, of which so many bytes are passed on; then the connection is closed.
    Cut(usize),
    /// The same, and then nothing more comes; the connection stays open for as long as the peer wants it.
    Stall(usize),
    /// The host behind answers; the first such bytes are replaced by others of the same length.
    Swap(&'static [u8], &'static [u8]),
}

impl Deed {
    /// A redirect.
    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::Say(status, vec![("Location".to_owned(), location.into())], Vec::new())
    }

    /// A body of a type.
    pub fn answer(kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Say(200, vec![("Content-Type".to_owned(), kind.to_owned())], body.into())
    }
}

type Rule = Box<dyn Fn(&Asked) -> Deed + Send + Sync>;

/// A running front; dropping it stops accepting and closes all connections.
pub struct Front {
    address: SocketAddr,
    is_tls: bool,
    stopping: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Asked>>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

struct Settings {
    behind: String,
    tls: Option<Arc<ServerConfig>>,
    rule: Rule,
    asked: Arc<Mutex<Vec<Asked>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

impl Front {
    /// Plain HTTP in front of `behind` (`http://host:port`).
    pub fn plain(behind: &str, rule: impl Fn(&Asked) -> Deed + Send + Sync + 'static) -> Self {
        Self::start(behind, None, Box::new(rule))
    }

    /// TLS for 127.0.0.1 and localhost.
    pub fn tls(
        behind: &str,
        authority: &Authority,
        rule: impl Fn(&Asked) -> Deed + Send + Sync + 'static,
    ) -> Self {
        Self::tls_as(behind, authority, &["127.0.0.1", "localhost"], rule)
    }

    /// TLS with a certificate for other names.
    pub fn tls_as(
        behind: &str,
        authority: &Authority,
        names: &[&str],
        rule: impl Fn(&Asked) -> Deed + Send + Sync + 'static,
    ) -> Self {
        Self::start(behind, Some(authority.serve_as(names)), Box::new(rule))
    }

    fn start(behind: &str, tls: Option<Arc<ServerConfig>>, rule: Rule) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let (stopping, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let is_tls = tls.is_some();
        let behind = behind.trim_start_matches("http://").to_owned();
        let settings = Arc::new(Settings { behind, tls, rule, asked: Arc::clone(&asked) });
        let stop = Arc::clone(&stopping);
        let open = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&open);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let settings = Arc::clone(&settings);
                if let Ok(stream) = stream
                    && let (Ok(kept_open), Ok(end)) = (stream.try_clone(), stream.try_clone())
                {
                    locked(&kept).push(kept_open);
                    thread::spawn(move || {
                        // A broken connection is the client's affair; it sees it by itself.
                        serve(stream, &settings).ok();
                        // The other handles would keep it open.
                        end.shutdown(Shutdown::Both).ok();
                    });
                }
            }
        });
        Self { address, is_tls, stopping, asked, open }
    }

    /// `https://127.0.0.1:port`, or with `http`.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.address)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// All that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        locked(&self.asked).clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; a failure means that it is gone already.
        TcpStream::connect(self.address).ok();
        for stream in locked(&self.open).drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

fn serve(stream: TcpStream, settings: &Settings) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(http::STALL_SECONDS_MAX)))?;
    let Some(config) = &settings.tls else {
        return answer(&mut BufReader::new(stream), settings);
    };
    let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut reader = BufReader::new(StreamOwned::new(session, stream));
    let done = answer(&mut reader, settings);
    if done.is_ok() {
        let stream = reader.get_mut();
        stream.conn.send_close_notify();
        stream.flush()?;
    }
    done
}

fn answer<W: Wire>(wire: &mut BufReader<W>, settings: &Settings) -> io::Result<()> {
    let line = http::read_line(wire)?;
    let headers = http::read_headers(wire)?;
    let mut parts = line.split(' ');
    let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut asked = Asked { method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new() };
    let length = asked.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    asked.body.resize(length, 0);
    wire.read_exact(&mut asked.body)?;
    locked(&settings.asked).push(asked.clone());
    let git = asked.header("git-protocol").map(str::to_owned);
    match (settings.rule)(&asked) {
        Deed::Pass => copy(&mut ask(settings, &asked, git.as_deref())?, wire.get_mut(), None),
        Deed::Speak(git) => copy(&mut ask(settings, &asked, git)?, wire.get_mut(), None),
        Deed::Say(status, headers, body) => say(wire.get_mut(), status, &headers, &body),
        Deed::Cut(bytes) => {
            copy(&mut ask(settings, &asked, git.as_deref())?, wire.get_mut(), Some(bytes))?;
            // No farewell: the peer is to see that it was cut off.
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Deed::Stall(bytes) => {
            copy(&mut ask(settings, &asked, git.as_deref())?, wire.get_mut(), Some(bytes))?;
            // Ends when the peer has had enough.
            wire.read(&mut [0]).map(|_| ())
        }
        Deed::Swap(from, to) => {
            let mut whole = Vec::new();
            ask(settings, &asked, git.as_deref())?.read_to_end(&mut whole)?;
            let at = whole.windows(from.len()).position(|window| window == from);
            if let Some(there) = at.and_then(|at| whole.get_mut(at..at + from.len())) {
                there.copy_from_slice(to);
            }
            copy(&mut &whole[..], wire.get_mut(), None)
        }
    }
}

/// Asks the host behind. What comes back is told to close, since each connection is for one request.
fn ask(settings: &Settings, asked: &Asked, git: Option<&str>) -> io::Result<Box<dyn BufRead>> {
    let mut behind = http::connect(&settings.behind)?;
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        asked.method, asked.target, settings.behind
    );
    let dropped = ["host", "connection", "git-protocol", "authorization"];
    for (name, value) in asked.headers.iter().filter(|(name, _)| !dropped.contains(&name.as_str())) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(git) = git {
        head.push_str(&format!("Git-Protocol: {git}\r\n"));
    }
    behind.write_all(format!("{head}\r\n").as_bytes())?;
    behind.write_all(&asked.body)?;
    let mut reader = BufReader::new(behind);
    let status = http::read_line(&mut reader)?;
    let start = format!("{status}\r\nConnection: close\r\n").into_bytes();
    Ok(Box::new(BufReader::new(io::Cursor::new(start).chain(reader))))
}

fn copy(from: &mut dyn Read, to: &mut impl Write, bytes_max: Option<usize>) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut left = bytes_max.unwrap_or(usize::MAX);
    while left > 0 {
        let want = left.min(COPY_BYTES);
        let got = from.read(buffer.get_mut(..want).expect("want is at most the length"))?;
        if got == 0 {
            break;
        }
        to.write_all(buffer.get(..got).expect("read within the buffer"))?;
        left -= got;
    }
    to.flush()
}

fn say(to: &mut impl Write, status: u16, headers: &[(String, String)], body: &[u8]) -> io::Result<()> {
    let mut head =
        format!("HTTP/1.1 {status} Said\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    to.write_all(format!("{head}\r\n").as_bytes())?;
    to.write_all(body)?;
    to.flush()
}

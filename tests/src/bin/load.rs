//! Many agents against the real server, which is killed every so often: what was acknowledged must be there, and the
//! only errors are those that a client may try again.
//!
//! ```text
//! cargo run --release -p cairn-tests --bin load -- --agents 64 --seconds 600 --kill-every 30
//! ```
//!
//! Each agent has a repository of its own and a client that talks to the server by hand, sometimes stock git; at the end
//! stock git clones and checks all of them. `CAIRN_BIN` names the server.

#![allow(clippy::print_stdout, reason = "this program is its report")]

use cairn_conformance::host::{self, Remote};
use cairn_conformance::pack::{self, DELIM, FLUSH, ZERO, pkt, pkt_lines};
use cairn_conformance::wire::{self, Command};
use cairn_conformance::{git::Git, http};
use cairn_tests::Server;
use cairn_tests::chain::{Chain, Step};
use cairn_tests::server::{Random, assert_sound};
use clap::Parser;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long an agent waits before it tries again.
const PAUSE_MS: u64 = 20;
/// Between two looks at the server's memory.
const SAMPLE_MS: u64 = 1_000;
/// Tries of one operation before the server counts as gone.
const TRIES_MAX: u32 = 3_000;

/// Stands for the commit that the server made, or did not make, in an answer that never came.
const UNKNOWN: &str = "the commit that was asked for";

#[derive(Parser)]
struct Args {
    /// How many agents.
    #[arg(long, default_value_t = 64)]
    agents: u64,
    /// How long.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Seconds from one kill to the next.
    #[arg(long, default_value_t = 30)]
    kill_every: u64,
    /// Bytes of the blob of one push.
    #[arg(long, default_value_t = 2_000)]
    blob_bytes: usize,
    /// One operation alone, once there is something to do it on: push, commit, fork (with delete), read or clone.
    #[arg(long)]
    only: Option<String>,
}

/// What all agents share.
#[derive(Default)]
struct Shared {
    /// Where the server is now.
    origin: RwLock<String>,
    /// Times that it went or came: odd while it is away.
    turns: AtomicU64,
    /// Microseconds of each operation that went well.
    times: Mutex<BTreeMap<&'static str, Vec<u64>>>,
    /// Errors by operation and kind.
    errors: Mutex<BTreeMap<(&'static str, String), u64>>,
    /// What must not be.
    faults: Mutex<Vec<String>>,
}

/// Why an operation did not go well.
enum Failed {
    /// It may be tried again, and may have been done.
    Again(String),
    /// It must not be.
    Fault(String),
}

type Done<T> = Result<T, Failed>;

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn origin(&self) -> String {
        self.origin.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn turn(&self) -> u64 {
        self.turns.load(Ordering::SeqCst)
    }

    fn goes_or_comes(&self) {
        self.turns.fetch_add(1, Ordering::SeqCst);
    }

    fn move_to(&self, origin: &str) {
        origin.clone_into(&mut self.origin.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn fault(&self, what: String) {
        lock(&self.faults).push(what);
    }

    /// Counts what came of an operation; its value where it went well.
    fn count<T>(&self, what: &'static str, start: Instant, done: Done<T>) -> Option<T> {
        match done {
            Ok(value) => {
                let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                lock(&self.times).entry(what).or_default().push(micros);
                Some(value)
            }
            Err(Failed::Again(kind)) => {
                *lock(&self.errors).entry((what, kind)).or_default() += 1;
                std::thread::sleep(Duration::from_millis(PAUSE_MS));
                None
            }
            Err(Failed::Fault(why)) => {
                self.fault(format!("{what}: {why}"));
                None
            }
        }
    }
}

/// Only a server that goes or is away, or says that it is busy, may fail.
fn broken(error: &io::Error) -> Failed {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof};
    match error.kind() {
        kind @ (BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset | UnexpectedEof) => {
            Failed::Again(kind.to_string())
        }
        // The conformance client reports an answer that ends before its head so.
        ErrorKind::InvalidData => Failed::Again("an answer that breaks off".into()),
        kind => Failed::Fault(format!("{kind}: {error}")),
    }
}

fn answered(answer: io::Result<http::Response>, wanted: &[u16]) -> Done<http::Response> {
    let answer = answer.map_err(|error| broken(&error))?;
    match answer.status {
        503 => Err(Failed::Again("503".into())),
        status if wanted.contains(&status) => Ok(answer),
        status => Err(Failed::Fault(format!("{status}: {}", String::from_utf8_lossy(&answer.body)))),
    }
}

struct Agent<'a> {
    shared: &'a Shared,
    name: String,
    remote: Remote,
    chain: Chain,
    random: Random,
    /// Where `main` is, as far as was acknowledged.
    main: String,
    /// Where it may be too: what was sent, and not answered.
    maybe: Option<String>,
    /// The fork, and where it was made.
    fork: Option<(Remote, String)>,
    forks: u64,
    /// Where stock git works.
    dir: &'a Path,
}

impl Agent<'_> {
    fn rest(&self, method: &str, path: &str, body: &Value, wanted: &[u16]) -> Done<(u16, Value)> {
        let url =
            format!("{}/client/v4/accounts/local/artifacts/namespaces/t/repos{path}", self.shared.origin());
        let authorization = format!("Bearer {}", host::API_TOKEN);
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = answered(http::request(method, &url, &headers, &body), wanted)?;
        let whole = serde_json::from_slice(&answer.body);
        whole
            .map(|value| (answer.status, value))
            .map_err(|_| Failed::Again("an answer that breaks off".into()))
    }

    fn here(&self, remote: &Remote) -> Remote {
        let path = remote.url.find("/git/").and_then(|at| remote.url.get(at..)).unwrap_or_default();
        Remote { url: format!("{}{path}", self.shared.origin()), token: remote.token.clone() }
    }

    /// What `main` is at.
    fn tip(&self, remote: &Remote) -> Done<String> {
        let body =
            [pkt("command=ls-refs\n"), DELIM.to_vec(), pkt("ref-prefix refs/heads/main\n"), FLUSH.to_vec()];
        let answer = answered(wire::post(&self.here(remote), "upload-pack", 2, &body.concat()), &[200])?;
        let line = pkt_lines(&answer.body).into_iter().find(|line| line.ends_with(b" refs/heads/main\n"));
        Ok(line.map_or_else(|| ZERO.to_owned(), |line| String::from_utf8_lossy(&line[..40]).into_owned()))
    }

    /// After an operation that was not answered: it is done whole, or not at all.
    fn settle(&mut self) -> Done<()> {
        let tip = self.tip(&self.remote)?;
        if tip != self.main && self.maybe.as_deref() == Some(UNKNOWN) {
            // The id is the server's to know, but it must stand on what was there.
            let (_, answer) =
                self.rest("GET", &format!("/{}/commit/{tip}", self.name), &Value::Null, &[200])?;
            let parents: Vec<&str> = if self.main == ZERO { Vec::new() } else { vec![&self.main] };
            if answer["result"]["parents"] == json!(parents) {
                self.maybe = Some(tip.clone());
            }
        }
        if tip != self.main && Some(&tip) != self.maybe.as_ref() {
            return Err(Failed::Fault(format!(
                "{} is at {tip}, not at {} that was acknowledged, nor at {:?}",
                self.name, self.main, self.maybe
            )));
        }
        self.main = tip;
        self.maybe = None;
        self.chain.stands_at(&self.main);
        Ok(())
    }

    fn push(&mut self) -> Done<()> {
        self.chain.stands_at(&self.main);
        let Step { old, new, pack } = self.chain.next_step();
        self.maybe = Some(new.clone());
        let command = Command { old: &old, new: &new, name: b"refs/heads/main" };
        let report =
            wire::push(&self.here(&self.remote), &[command], &pack).map_err(|error| broken(&error))?;
        match report.status {
            503 => return Err(Failed::Again("503".into())),
            200 if report.unpack == "none" => return Err(Failed::Again("an answer that breaks off".into())),
            _ => {}
        }
        if report.refs != ["ok refs/heads/main"] {
            return Err(Failed::Fault(format!("{report:?}")));
        }
        self.main = new;
        self.maybe = None;
        Ok(())
    }

    fn commit(&mut self) -> Done<()> {
        let content = format!("{}", self.random.below(u64::MAX));
        let expected = if self.main == ZERO { Value::Null } else { json!(self.main) };
        let body = json!({ "branch": "main", "message": "m", "expected_head": expected,
            "changes": [{ "path": "rest", "content": content }] });
        let path = format!("/{}/commits", self.name);
        self.maybe = Some(UNKNOWN.to_owned());
        let (_, answer) = self.rest("POST", &path, &body, &[201])?;
        self.main = answer["result"]["hash"].as_str().unwrap_or_default().to_owned();
        self.maybe = None;
        Ok(())
    }

    /// The pack is whole, and holds the commit.
    fn clone(&self, remote: &Remote, tip: &str) -> Done<()> {
        let body = [
            pkt("command=fetch\n"),
            DELIM.to_vec(),
            pkt("no-progress\n"),
            pkt("ofs-delta\n"),
            pkt(format!("want {tip}\n")),
            pkt("done\n"),
            FLUSH.to_vec(),
        ];
        let answer = answered(wire::post(&self.here(remote), "upload-pack", 2, &body.concat()), &[200])?;
        let mut sent = Vec::new();
        for line in pkt_lines(&answer.body) {
            match line.split_first() {
                Some((1, data)) => sent.extend_from_slice(data),
                Some((3, why)) => return Err(Failed::Fault(String::from_utf8_lossy(why).into_owned())),
                _ => {}
            }
        }
        if !answer.body.ends_with(FLUSH) {
            return Err(Failed::Again("an answer that breaks off".into()));
        }
        match sent.split_last_chunk::<20>() {
            Some((body, sum)) if pack::sha1(body) == sum && body.starts_with(b"PACK") => Ok(()),
            _ => Err(Failed::Fault(format!("a pack of {} bytes with a wrong checksum", sent.len()))),
        }
    }

    /// The same by stock git.
    fn clone_by_git(&self) -> Done<()> {
        let (url, to) = (self.here(&self.remote).url_with_password(), self.dir.join(&self.name));
        let (git, turn) = (Git::new(self.dir), self.shared.turn());
        let out = git.run(self.dir, &["clone", "--quiet", "--bare", &url, &self.name]);
        let went = turn % 2 == 1 || turn != self.shared.turn();
        let stands = match out.ok() {
            true => git.run(&to, &["rev-parse", "refs/heads/main"]).text(),
            false => String::new(),
        };
        std::fs::remove_dir_all(&to).ok();
        let said = out.errors();
        let again = [
            "Failed to connect",
            "Could not connect",
            "Empty reply",
            "Recv failure",
            "early EOF",
            "disconnect",
            "503",
        ];
        // A connection that ends between the 401 that asks for the password and the next answer leaves git with that 401.
        let refused = "Authentication failed";
        let again = again.into_iter().chain(went.then_some(refused)).find(|word| said.contains(word));
        match (out.ok(), again) {
            (true, _) if stands == self.main => Ok(()),
            (false, Some(word)) => Err(Failed::Again(word.to_owned())),
            _ => Err(Failed::Fault(format!("at {stands:?} instead of {}: {said}", self.main))),
        }
    }

    fn make_fork(&mut self) -> Done<()> {
        self.forks += 1;
        let body = json!({ "name": format!("{}-f{}", self.name, self.forks) });
        let (_, answer) = self.rest("POST", &format!("/{}/fork", self.name), &body, &[201])?;
        self.fork = Some((host::remote_of(&answer), self.main.clone()));
        Ok(())
    }

    fn read(&self) -> Done<()> {
        let (_, answer) =
            self.rest("GET", &format!("/{}/log?ref=main&limit=1", self.name), &Value::Null, &[200])?;
        let hash = answer["result"][0]["hash"].as_str().unwrap_or(ZERO);
        match hash == self.main {
            true => Ok(()),
            false => Err(Failed::Fault(format!("the log begins at {hash}, {} was acknowledged", self.main))),
        }
    }

    fn drop_fork(&mut self) -> Done<()> {
        let name = format!("/{}-f{}", self.name, self.forks);
        // Without an answer it may be there still, or not.
        self.fork = None;
        self.rest("DELETE", &name, &Value::Null, &[202])?;
        self.rest("GET", &name, &Value::Null, &[404]).map(|_| ())
    }

    /// Which operation is next, in tenths of all.
    fn roll(&mut self, only: Option<&str>) -> u64 {
        match only {
            Some(_) if self.main == ZERO => 0,
            Some("push") => 0,
            Some("commit") => 3,
            Some("fork") => 5,
            Some("clone") => 7,
            Some("read") => 8,
            _ => self.random.below(10),
        }
    }

    fn run(&mut self, until: Instant, only: Option<&str>) {
        while Instant::now() < until && lock(&self.shared.faults).is_empty() {
            let start = Instant::now();
            if self.maybe.is_some() {
                let done = self.settle();
                self.shared.count("look after an error", start, done);
                continue;
            }
            let fork = self.fork.clone();
            match (self.roll(only), fork) {
                (0..3, _) => {
                    let done = self.push();
                    self.shared.count("push", start, done);
                }
                (3 | 4, _) => {
                    let done = self.commit();
                    self.shared.count("commit", start, done);
                }
                (5, Some(_)) => {
                    let done = self.drop_fork();
                    self.shared.count("delete", start, done);
                }
                (5, None) if self.main != ZERO => {
                    let done = self.make_fork();
                    self.shared.count("fork", start, done);
                }
                (6, Some((remote, tip))) => {
                    let done = self.clone(&remote, &tip);
                    self.shared.count("clone of a fork", start, done);
                }
                (7, _) if self.main != ZERO && self.random.below(20) == 0 => {
                    let done = self.clone_by_git();
                    self.shared.count("clone by stock git", start, done);
                }
                (7, _) if self.main != ZERO => {
                    let done = self.clone(&self.remote, &self.main);
                    self.shared.count("clone", start, done);
                }
                (_, _) if self.main != ZERO => {
                    let done = self.read();
                    self.shared.count("read", start, done);
                }
                _ => {}
            }
        }
    }

    /// The last look: where the repository and its fork are, and stock git's judgement.
    fn judge(&mut self, git: &Git) {
        let dir = self.dir;
        for _ in 0..TRIES_MAX {
            match self.settle() {
                Ok(()) => break,
                Err(Failed::Again(_)) => std::thread::sleep(Duration::from_millis(PAUSE_MS)),
                Err(Failed::Fault(why)) => return self.shared.fault(why),
            }
        }
        let mut all = vec![(self.remote.clone(), self.main.clone())];
        all.extend(self.fork.clone());
        for (at, (remote, tip)) in all.into_iter().enumerate().filter(|(_, (_, tip))| tip != ZERO) {
            let (url, name) = (self.here(&remote).url_with_password(), format!("{}-{at}", self.name));
            let cloned = git.run(dir, &["clone", "--quiet", "--mirror", &url, &name]);
            if !cloned.ok() {
                self.shared.fault(format!("{name}: {}", cloned.errors()));
                continue;
            }
            let checked = git.run(&dir.join(&name), &["fsck", "--strict", "--no-dangling"]);
            let stands = git.run(&dir.join(&name), &["rev-parse", "refs/heads/main"]).text();
            if !checked.ok() || stands != tip {
                self.shared.fault(format!("{name}: {} at {stands}, not {tip}", checked.errors()));
            }
            std::fs::remove_dir_all(dir.join(&name)).ok();
        }
    }
}

fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// Kills and restarts until the end; the memory of each life as time goes by, in KiB.
fn disturb(server: &mut Server, shared: &Shared, until: Instant, every: Duration) -> Vec<Vec<u64>> {
    let mut lives = vec![Vec::new()];
    let mut next = Instant::now() + every;
    while Instant::now() < until && lock(&shared.faults).is_empty() {
        std::thread::sleep(Duration::from_millis(SAMPLE_MS));
        if let Some(samples) = lives.last_mut() {
            samples.push(rss_kib(server.pid()));
        }
        if Instant::now() >= next {
            shared.goes_or_comes();
            server.kill();
            server.restart();
            shared.move_to(server.origin());
            shared.goes_or_comes();
            lives.push(Vec::new());
            next = Instant::now() + every;
        }
    }
    lives
}

fn report(shared: &Shared, seconds: u64, lives: &[Vec<u64>]) {
    println!(
        "{:<22}{:>9}{:>9}{:>10}{:>10}{:>10}",
        "operation", "count", "per s", "p50 ms", "p99 ms", "p99.9 ms"
    );
    for (what, times) in lock(&shared.times).iter_mut() {
        times.sort_unstable();
        let at = |part: usize| {
            let index = (times.len() * part / 1_000).min(times.len().saturating_sub(1));
            times.get(index).map_or(0.0, |micros| *micros as f64 / 1_000.0)
        };
        let rate = times.len() as f64 / seconds as f64;
        let (half, most, nearly) = (at(500), at(990), at(999));
        println!("{what:<22}{:>9}{rate:>9.1}{half:>10.1}{most:>10.1}{nearly:>10.1}", times.len());
    }
    println!("\nerrors that a client may try again:");
    for ((what, kind), count) in lock(&shared.errors).iter() {
        println!("  {what:<22}{kind:<36}{count:>8}");
    }
    println!("\nRSS in MiB, a line from one start of the server to the next, ten looks each:");
    for samples in lives {
        let step = (samples.len() / 10).max(1);
        let some: Vec<String> = samples.iter().step_by(step).map(|kib| (kib / 1_024).to_string()).collect();
        println!("  {}", some.join(" "));
    }
}

fn main() {
    let args = Args::parse();
    let mut server = Server::start();
    let shared = Shared::default();
    shared.move_to(server.origin());
    let dir = tempfile::tempdir().expect("a temporary directory");
    let agents: Vec<Agent> = (0..args.agents)
        .map(|at| Agent {
            shared: &shared,
            name: format!("agent{at}"),
            remote: server.create(&format!("agent{at}")),
            chain: Chain::new("refs/heads/main", at, args.blob_bytes),
            random: Random::new(at + 1_000),
            main: ZERO.to_owned(),
            maybe: None,
            fork: None,
            forks: 0,
            dir: dir.path(),
        })
        .collect();
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let only = args.only.as_deref();
    let (agents, lives) = std::thread::scope(|scope| {
        let running: Vec<_> = agents
            .into_iter()
            .map(|mut agent| {
                scope.spawn(move || {
                    agent.run(until, only);
                    agent
                })
            })
            .collect();
        let lives = disturb(&mut server, &shared, until, Duration::from_secs(args.kill_every));
        let agents: Vec<Agent> = running.into_iter().filter_map(|agent| agent.join().ok()).collect();
        (agents, lives)
    });
    let died = args.agents - agents.len() as u64;
    let git = Git::new(dir.path());
    for mut agent in agents {
        agent.judge(&git);
    }
    server.kill();
    assert_sound(server.data());
    report(&shared, args.seconds, &lives);
    let faults = lock(&shared.faults);
    println!("\nfaults: {}", faults.len());
    faults.iter().take(20).for_each(|fault| println!("  {fault}"));
    assert!(faults.is_empty() && died == 0, "{} faults, {died} agents died", faults.len());
}

//! The mount beside a native clone on the same disk, on any local repository, in one run: a table of figures and bars.
//!
//! Measures and never asserts. Stock git serves both, through a proxy that counts requests. The bars are ratios, since
//! both sides run on the same machine in the same minute; each figure is the best of the rounds.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cairn_conformance::front::{Deed, Front};
use cairn_conformance::git::Git;
use cairn_conformance::host::{Format, Host, StockHost};
use clap::Parser;

#[path = "mount/cairn.rs"]
mod cairn;
#[path = "mount/scale.rs"]
mod scale;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
/// Measures some rows and prints them.
type Group = fn(&Bench) -> Result<()>;

/// Reads that hang while the others are timed.
const HANGING_READS: usize = 32;
/// For how long.
const HANG: Duration = Duration::from_secs(3);
/// Files that are touched before a status.
const TOUCHED_FILES: usize = 10;
/// Files of at least this many bytes are read by the kernel itself where it can.
const LARGE_BYTES_MIN: u64 = 128 << 10;
/// Bytes that are read from one open file in each round.
const STREAM_BYTES: u64 = 1 << 30;
/// Bytes of each read(2).
const READ_BYTES: usize = 1 << 17;
/// To wait for the background to have brought all.
const HYDRATION_DEADLINE: Duration = Duration::from_secs(600);

/// Measures the mount beside a native clone.
#[derive(Parser)]
struct Args {
    /// A bare repository; it is only read.
    #[arg(long)]
    repo: PathBuf,
    /// The mount's binary; by default the one beside this.
    #[arg(long)]
    cairn_fs: Option<PathBuf>,
    /// Folder for all data of the run; its disk is what is measured.
    #[arg(long)]
    temp: Option<PathBuf>,
    /// Rounds of the rows that leave all as it was.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Only the groups of rows with these names: first, cairn, read-all, warm, hanging, scale.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Files of the made trees whose mounts are weighed, in thousands.
    #[arg(long, value_delimiter = ',', default_values_t = [50])]
    kilofiles: Vec<u32>,
}

struct Bench {
    git: Git,
    front: Front,
    hangs: Arc<AtomicBool>,
    program: PathBuf,
    dir: PathBuf,
    rounds: u32,
    kilofiles: Vec<u32>,
    host: StockHost,
}

/// One line of the table.
fn row(name: &str, mount: f64, native: Option<f64>, unit: &str, bar: &str) {
    let native_text = native.map_or_else(|| "-".to_owned(), |native| format!("{native:.3}"));
    let ratio = native.map_or_else(|| "-".to_owned(), |native| format!("{:.2}", mount / native));
    println!("{name:<44} {mount:>11.3} {native_text:>11} {unit:<9} {ratio:>6}  {bar}");
}

fn timed<T>(run: impl FnOnce() -> Result<T>) -> Result<f64> {
    let started = Instant::now();
    run()?;
    Ok(started.elapsed().as_secs_f64())
}

/// Runs a program whose output nobody wants.
fn tool(dir: &Path, program: &str, args: &[&str]) -> Result<()> {
    let status = Command::new(program).args(args).current_dir(dir).stdout(Stdio::null()).status()?;
    // grep answers 1 where it finds nothing.
    match status.code() {
        Some(0 | 1) => Ok(()),
        code => Err(format!("{program} {args:?}: ended with {code:?}").into()),
    }
}

impl Bench {
    fn new(args: &Args, dir: &Path) -> Result<Self> {
        let host = StockHost::start()?;
        host.create("r", Format::Sha1);
        let served = host.path("r");
        let source = args.repo.canonicalize()?;
        fs::create_dir_all(served.join("objects/info"))?;
        fs::write(served.join("objects/info/alternates"), format!("{}\n", source.join("objects").display()))?;
        let git = Git::new(dir);
        let branch = git.run(&source, &["symbolic-ref", "HEAD"]).text();
        let tip = git.run(&source, &["rev-parse", "HEAD"]).text();
        for args in [vec!["update-ref", &branch, &tip], vec!["symbolic-ref", "HEAD", &branch]] {
            let out = git.run(&served, &args);
            if !out.ok() {
                return Err(out.errors().into());
            }
        }
        let hangs = Arc::new(AtomicBool::new(false));
        let hanging = Arc::clone(&hangs);
        let front = Front::plain(&host.origin(), move |asked| {
            let holds = hanging.load(Ordering::SeqCst) && asked.is_command("fetch");
            if holds { Deed::Stall(0) } else { Deed::Pass }
        });
        let program = match &args.cairn_fs {
            Some(path) => path.canonicalize()?,
            None => std::env::current_exe()?.with_file_name("cairn-fs"),
        };
        Ok(Self {
            git,
            front,
            hangs,
            program,
            dir: dir.to_owned(),
            rounds: args.rounds,
            kilofiles: args.kilofiles.clone(),
            host,
        })
    }

    fn url(&self) -> String {
        self.url_of("r")
    }

    fn url_of(&self, name: &str) -> String {
        format!("{}/git/t/{name}.git", self.front.origin())
    }

    fn driver(&self, cache: &str, args: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.dir).env("CAIRN_FS_CACHE", self.dir.join(cache));
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        let out = command.stdin(Stdio::null()).output()?;
        match out.status.success() {
            true => Ok(String::from_utf8(out.stdout)?),
            false => Err(format!("cairn-fs {args:?}: {}", String::from_utf8_lossy(&out.stderr)).into()),
        }
    }

    fn git(&self, dir: &Path, args: &[&str]) -> Result<String> {
        let out = self.git.run(dir, args);
        if out.ok() { Ok(out.text()) } else { Err(format!("git {args:?}: {}", out.errors()).into()) }
    }

    fn mount(&self, cache: &str, more: &[&str]) -> Result<Mounted<'_>> {
        self.mount_of("r", cache, more)
    }

    fn mount_of(&self, name: &str, cache: &str, more: &[&str]) -> Result<Mounted<'_>> {
        self.mount_at(&self.url_of(name), &format!("m-{name}-{cache}"), cache, more)
    }

    fn mount_at(&self, url: &str, folder: &str, cache: &str, more: &[&str]) -> Result<Mounted<'_>> {
        let dir = self.dir.join(folder);
        let place = dir.to_string_lossy().into_owned();
        self.driver(cache, &[&["mount", url, &place], more].concat())?;
        Ok(Mounted { bench: self, cache: cache.to_owned(), dir })
    }

    /// The best of the rounds, the two sides in turn.
    fn paired(&self, mount: &Path, native: &Path, run: impl Fn(&Path) -> Result<()>) -> Result<(f64, f64)> {
        let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
        for _ in 0..self.rounds {
            ours = ours.min(timed(|| run(mount))?);
            theirs = theirs.min(timed(|| run(native))?);
        }
        Ok((ours, theirs))
    }
}

struct Mounted<'a> {
    bench: &'a Bench,
    cache: String,
    dir: PathBuf,
}

impl Mounted<'_> {
    fn status(&self) -> Result<serde_json::Value> {
        let place = self.dir.to_string_lossy().into_owned();
        Ok(serde_json::from_str(&self.bench.driver(&self.cache, &["status", "--json", &place])?)?)
    }

    /// Megabytes that the daemon holds in memory.
    fn resident(&self) -> Result<f64> {
        self.memory("VmRSS:")
    }

    /// The most that it ever held.
    fn resident_at_most(&self) -> Result<f64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, which: &str) -> Result<f64> {
        let pid = self.status()?["pid"].as_u64().unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find(|line| line.starts_with(which)).ok_or(which)?;
        let kib: f64 = line.split_whitespace().nth(1).ok_or(which)?.parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let place = self.dir.to_string_lossy().into_owned();
        if let Err(error) = self.bench.driver(&self.cache, &["unmount", &place]) {
            eprintln!("{error}");
        }
    }
}

/// Regular files below a folder but those of git, with their sizes.
fn files(root: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let (mut all, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if entry.file_name() == ".git" {
                continue;
            }
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() {
                all.push((entry.path().strip_prefix(root)?.to_owned(), entry.metadata()?.len()));
            }
        }
    }
    all.sort();
    Ok(all)
}

fn read(root: &Path, files: &[(PathBuf, u64)]) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    for (path, _) in files {
        let mut file = File::open(root.join(path))?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(())
}

/// Reads an open file from its start to its end, again and again, until `STREAM_BYTES` are read.
fn stream(file: &mut File, len: u64) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    for _ in 0..STREAM_BYTES.div_ceil(len.max(1)) {
        file.rewind()?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(())
}

fn touch(root: &Path, files: &[(PathBuf, u64)]) -> Result<()> {
    for (path, _) in files.iter().step_by((files.len() / TOUCHED_FILES).max(1)).take(TOUCHED_FILES) {
        let mut content = fs::read(root.join(path))?;
        content.extend_from_slice(b"\n");
        fs::write(root.join(path), content)?;
    }
    Ok(())
}

/// A mount that brings nothing that nobody waits for.
const FOREGROUND: [&str; 4] = ["--history", "lazy", "--background-rate", "1"];

/// From nothing to a listing, and what a cold listing with sizes asks of the remote.
fn first_rows(bench: &Bench) -> Result<()> {
    let native = timed(|| {
        bench.git(&bench.dir, &["clone", "--quiet", &bench.url(), "first"])?;
        tool(&bench.dir.join("first"), "ls", &["-R"])
    })?;
    let started = Instant::now();
    let mount = bench.mount("first-cache", &[])?;
    tool(&mount.dir, "ls", &["-R"])?;
    row(
        "mount and ls -R | git clone and ls -R",
        started.elapsed().as_secs_f64(),
        Some(native),
        "s",
        "<= 0.5 s, 0.1 x",
    );
    drop(mount);
    let started = Instant::now();
    let mount = bench.mount("first-cache", &[])?;
    tool(&mount.dir, "ls", &["-R"])?;
    row("mount again and ls -R", started.elapsed().as_secs_f64(), None, "s", "<= 0.15 s");
    drop(mount);
    let mount = bench.mount("cold-cache", &FOREGROUND)?;
    let before = bench.front.asked().len();
    tool(&mount.dir, "ls", &["-lR"])?;
    row("cold ls -lR, requests", (bench.front.asked().len() - before) as f64, None, "", "<= 2");
    let before = bench.front.asked().len();
    let status = timed(|| bench.git(&mount.dir, &["status", "--porcelain"]).map(drop))?;
    row("first status, cold", status, None, "s", "<= 0.3 s");
    row("first status, requests", (bench.front.asked().len() - before) as f64, None, "", "0");
    drop(mount);
    let before = bench.front.asked().len();
    let mount = bench.mount("cold-cache", &FOREGROUND)?;
    tool(&mount.dir, "ls", &["-lR"])?;
    // The background may be at work by then; it asks for no sizes.
    let asked = bench.front.asked().split_off(before);
    let sizes = asked.iter().filter(|asked| asked.is_command("object-info")).count();
    row("mount again and ls -lR, asked for sizes", sizes as f64, None, "", "0");
    Ok(())
}

fn read_all_row(bench: &Bench) -> Result<()> {
    bench.git(
        &bench.dir,
        &["clone", "--quiet", "--filter=blob:none", "--no-checkout", &bench.url(), "batch"],
    )?;
    let native = timed(|| bench.git(&bench.dir.join("batch"), &["checkout", "--quiet"]))?;
    let mount = bench.mount("read-cache", &[])?;
    let ours = timed(|| read(&mount.dir, &files(&mount.dir)?))?;
    row("read all, cold | one batched checkout", ours, Some(native), "s", "<= 1.5 x");
    Ok(())
}

fn hang_rows(bench: &Bench) -> Result<()> {
    let mount = bench.mount("hang-cache", &FOREGROUND)?;
    let all = files(&mount.dir)?;
    // A folder comes as a whole: what is cold is in others.
    let (mut warm, mut cold, mut folders) = (Vec::new(), Vec::new(), HashSet::new());
    for file in &all {
        let is_new = file.0.parent().is_some_and(|folder| folders.insert(folder.to_owned()));
        match is_new {
            true if warm.len() < cold.len() && warm.len() < HANGING_READS => warm.push(file.clone()),
            true => cold.push(mount.dir.join(&file.0)),
            false => {}
        }
    }
    read(&mount.dir, &warm)?;
    bench.hangs.store(true, Ordering::SeqCst);
    // What came along with the others is at hand: readers are added until enough wait.
    let waiting = || -> Result<usize> {
        Ok(mount.status()?["hydration"]["waiting"].as_u64().unwrap_or_default() as usize)
    };
    let mut readers = Vec::new();
    for path in cold.into_iter().rev() {
        if readers.len() >= HANGING_READS && waiting()? >= HANGING_READS {
            break;
        }
        readers.push(std::thread::spawn(move || drop(fs::read(path))));
    }
    let (seconds, blobs) = (latencies(&mount.dir, &warm)?, waiting()?);
    let p99 = seconds.get(seconds.len() * 99 / 100).copied().unwrap_or_default();
    let name = format!("p99 while {blobs} cold reads hang");
    row(&name, p99 * 1000.0, None, "ms", "< 50 ms");
    // They end with an error, or with the content where a new attempt is made.
    bench.hangs.store(false, Ordering::SeqCst);
    for reader in readers {
        reader.join().map_err(|_| "a reader panicked")?;
    }
    Ok(())
}

/// What questions of all kinds take for as long as the others hang, in seconds, the shortest first.
fn latencies(root: &Path, warm: &[(PathBuf, u64)]) -> Result<Vec<f64>> {
    let (mut seconds, started) = (Vec::new(), Instant::now());
    while started.elapsed() < HANG {
        for one in warm {
            seconds.push(timed(|| Ok(fs::metadata(root.join(&one.0))?))?);
            seconds.push(timed(|| read(root, std::slice::from_ref(one)))?);
            // A name that was never asked for is a question to the daemon.
            let name = format!("none-{}", seconds.len());
            seconds.push(timed(|| Ok(fs::metadata(root.join(name)).is_ok()))?);
        }
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds)
}

fn warm_rows(bench: &Bench) -> Result<()> {
    let native = bench.dir.join("warm-native");
    bench.git(&bench.dir, &["clone", "--quiet", &bench.url(), "warm-native"])?;
    let mount = bench.mount("warm-cache", &[])?;
    let all = files(&native)?;
    let deadline = Instant::now() + HYDRATION_DEADLINE;
    read(&mount.dir, &all)?;
    while mount.status()?["hydration"]["background"].as_u64() != Some(0) {
        if Instant::now() > deadline {
            return Err("the background does not end".into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let status = |dir: &Path| bench.git(dir, &["status", "--porcelain"]).map(drop);
    row("first status", timed(|| status(&mount.dir))?, Some(timed(|| status(&native))?), "s", "<= 0.2 s");
    let (ours, theirs) = bench.paired(&mount.dir, &native, status)?;
    row("warm status", ours, Some(theirs), "s", "<= 0.03 s");
    let commands: [(&str, &str, &[&str], &str); 3] = [
        ("warm find", "find", &[".", "-path", "./.git", "-prune", "-o", "-print"], "<= 2 x"),
        ("warm ls -lR", "ls", &["-lR"], ""),
        ("warm grep -r", "grep", &["-r", "--exclude-dir=.git", "unlikely-needle", "."], "<= 1.2 x"),
    ];
    for (name, program, args, bar) in commands {
        let (ours, theirs) = bench.paired(&mount.dir, &native, |dir| tool(dir, program, args))?;
        row(name, ours, Some(theirs), "s", bar);
    }
    let (large, small): (Vec<_>, Vec<_>) =
        all.iter().cloned().partition(|(_, size)| *size >= LARGE_BYTES_MIN);
    for (name, group) in
        [("open, read, close: small files", &small), ("open, read, close: large files", &large)]
    {
        let megabytes = group.iter().map(|(_, size)| *size).sum::<u64>() as f64 / 1e6;
        let (ours, theirs) = bench.paired(&mount.dir, &native, |dir| read(dir, group))?;
        row(name, megabytes / ours, Some(megabytes / theirs), "MB/s", "");
    }
    if let Some((path, len)) = large.iter().max_by_key(|(_, size)| *size) {
        let open = |dir: &Path| -> Result<_> { Ok(RefCell::new(File::open(dir.join(path))?)) };
        let (mine, other) = (open(&mount.dir)?, open(&native)?);
        let run = |dir: &Path| {
            let file = if dir == native { &other } else { &mine };
            stream(&mut file.borrow_mut(), *len)
        };
        let (ours, theirs) = bench.paired(&mount.dir, &native, run)?;
        let megabytes = (STREAM_BYTES.div_ceil(*len) * len) as f64 / 1e6;
        row("read(2) of a large open file", megabytes / ours, Some(megabytes / theirs), "MB/s", ">= 0.9 x");
    }
    let commit = |dir: &Path| {
        let who = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com"];
        bench.git(dir, &[&who[..], &["commit", "--quiet", "--all", "--message", "touch"]].concat())
    };
    let both = |run: &dyn Fn(&Path) -> Result<()>| -> Result<_> {
        Ok((timed(|| run(&mount.dir))?, timed(|| run(&native))?))
    };
    for dir in [&mount.dir, &native] {
        touch(dir, all.get(..1).unwrap_or_default())?;
    }
    let (ours, theirs) = both(&|dir| commit(dir).map(drop))?;
    row("commit of one file", ours, Some(theirs), "s", "<= 0.2 s");
    for dir in [&mount.dir, &native] {
        touch(dir, &all)?;
    }
    let (ours, theirs) = both(&status)?;
    row("status, ten files touched", ours, Some(theirs), "s", "");
    let (ours, theirs) = both(&|dir| commit(dir).map(drop))?;
    row("commit of ten files", ours, Some(theirs), "s", "");
    row("resident memory of the daemon", mount.resident()?, None, "MB", "");
    Ok(())
}

fn main() -> Result<()> {
    let args = Args::parse();
    let parent = args.temp.clone().unwrap_or_else(std::env::temp_dir);
    let temp = tempfile::Builder::new().prefix("cairn-mount-").tempdir_in(parent)?;
    let bench = Bench::new(&args, temp.path())?;
    println!("{:<44} {:>11} {:>11} {:<9} {:>6}  bar", "", "mount", "native", "", "ratio");
    let groups: [(&str, Group); 6] = [
        ("first", first_rows),
        ("cairn", cairn::rows),
        ("read-all", read_all_row),
        ("warm", warm_rows),
        ("hanging", hang_rows),
        ("scale", scale::rows),
    ];
    for (name, group) in groups {
        let is_wanted = args.only.is_empty() || args.only.iter().any(|only| only == name);
        if is_wanted && let Err(error) = group(&bench) {
            println!("{name:<44} {error}");
        }
    }
    Ok(())
}

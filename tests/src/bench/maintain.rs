//! Rows of upkeep: a repository of many small pushes, before and after it was maintained, beside the same history in one push
//! and beside stock git after `git repack -adf`.

use std::fmt::Write as _;
use std::fs::File;

use cairn_conformance::pack::{self, Kind, Pack, ZERO};
use cairn_protocol::pack::inflate::deflate;

use crate::Result;
use crate::context::{Context, push_body, utf8};
use crate::fetch::repeats;
use crate::http::Client;
use crate::pkt::{FetchRequest, copy_pack, update_command};
use crate::proc::{disk_usage, status_bytes};
use crate::report::{Bar, Figure, Row, Unit};
use crate::server::{self, Remote, Server};
use crate::stock::Input;

const BRANCH: &str = "refs/heads/main";
const FOLDERS: u32 = 8;
const FILES_PER_FOLDER: u32 = 8;
const FILES: u32 = FOLDERS * FILES_PER_FOLDER;
const LINES_PER_FILE: u32 = 40;
/// Of the file after upkeep, against that of one push.
const DISK_RATIO_MAX: f64 = 1.5;
const CLONE_RATIO_MAX: f64 = 1.5;
const RSS_BYTES_MAX: f64 = 96.0 * 1_048_576.0;
const ONE_PUSH: &str = "one push of the repacked history";
const REPACKED: &str = "git repack -adf, pack and index";
const BEFORE: &str = "before upkeep";

/// A history in which each commit changes two lines of one of 64 files: what an agent at work pushes.
struct History {
    files: Vec<Vec<String>>,
    trees: Vec<Vec<u8>>,
    tip: String,
    commits: u32,
    random: u64,
}

impl History {
    fn new() -> Self {
        let mut history = Self {
            files: Vec::new(),
            trees: vec![Vec::new(); FOLDERS as usize],
            tip: ZERO.to_owned(),
            commits: 0,
            random: 0x5eed_cafe_f00d_d00d,
        };
        for _ in 0..FILES {
            let lines = (0..LINES_PER_FILE).map(|_| history.line()).collect();
            history.files.push(lines);
        }
        history
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn line(&mut self) -> String {
        let mut line = String::from("    let ");
        for _ in 0..3 {
            // Words of few letters: as compressible as source text.
            let _ = write!(line, "{:03x} + ", self.next() % 4_096);
        }
        line.push_str("value;\n");
        line
    }

    /// The body of the next push: a pack of the new blobs, trees and commit, none of them a delta.
    fn next_push(&mut self) -> Result<Vec<u8>> {
        let mut made = Pack::default();
        let touched = if self.commits == 0 { (0..FILES).collect() } else { vec![self.change_a_file()?] };
        for file in &touched {
            add(&mut made, Kind::Blob, self.content(*file).as_bytes());
        }
        let mut folders: Vec<u32> = touched.iter().map(|file| file / FILES_PER_FOLDER).collect();
        folders.dedup();
        for folder in folders {
            let mut tree = Vec::new();
            for nth in 0..FILES_PER_FOLDER {
                let content = self.content(folder * FILES_PER_FOLDER + nth);
                let id = pack::raw_oid(Kind::Blob, content.as_bytes());
                tree.extend(pack::tree_entry("100644", format!("file{nth}.rs").as_bytes(), &id));
            }
            add(&mut made, Kind::Tree, &tree);
            *self.trees.get_mut(folder as usize).ok_or("no such folder")? = tree;
        }
        let root: Vec<u8> = (0..)
            .zip(&self.trees)
            .flat_map(|(nth, tree): (u32, _)| {
                let id = pack::raw_oid(Kind::Tree, tree);
                pack::tree_entry("40000", format!("folder{nth}").as_bytes(), &id)
            })
            .collect();
        let root = add(&mut made, Kind::Tree, &root);
        let parents: &[&str] = if self.commits == 0 { &[] } else { &[&self.tip] };
        let commit = pack::commit(&root, parents, &format!("change {}", self.commits));
        let new = add(&mut made, Kind::Commit, &commit);
        let body = [update_command(BRANCH, &self.tip, &new), made.bytes()].concat();
        self.tip = new;
        self.commits += 1;
        Ok(body)
    }

    /// Changes two lines of one file and says which.
    fn change_a_file(&mut self) -> Result<u32> {
        let file = (self.next() % u64::from(FILES)) as u32;
        for _ in 0..2 {
            let (line, at) = (self.line(), self.next() as usize % LINES_PER_FILE as usize);
            let lines = self.files.get_mut(file as usize).ok_or("no such file")?;
            *lines.get_mut(at).ok_or("no such line")? = line;
        }
        Ok(file)
    }

    fn content(&self, file: u32) -> String {
        self.files.get(file as usize).map(|lines| lines.concat()).unwrap_or_default()
    }
}

/// Adds an object, compressed as clients do.
fn add(to: &mut Pack, kind: Kind, body: &[u8]) -> String {
    to.raw_entry(kind as u8, body.len() as u64, &deflate(body));
    pack::oid(kind, body)
}

/// What one way to hold the history costs.
struct Held {
    file_bytes: f64,
    first_clones: Vec<f64>,
    next_clones: Vec<f64>,
}

/// Many small pushes, upkeep, and what it costs and brings.
pub fn rows(context: &mut Context) -> Result<Vec<Row>> {
    let pushes = context.pushes;
    let mut server = context.fresh_server_with(&["--maintenance", "off"])?;
    let mut history = History::new();
    let remote = server::create(&mut server.client(), "many", "main")?;
    eprintln!("pushing {pushes} small packs");
    let mut client = server.client();
    for _ in 0..pushes {
        let body = history.next_push()?;
        server::push(&mut client, &remote, &server::push_bytes(&body))?;
    }
    let before = held(context, &mut server, &remote, &history.tip)?;
    context.restart(&mut server)?;
    eprintln!("measuring upkeep");
    let mut packs = (0.0, 0.0);
    let upkeep = server.measure(1, || {
        let done = server::post(&mut server.client(), "many", "maintenance", "{}", 200)?;
        let number = |key: &str| done.get(key).and_then(serde_json::Value::as_f64).unwrap_or_default();
        packs = (number("pack_bytes_in"), number("pack_bytes_out"));
        Ok(0)
    })?;
    let rss = status_bytes(server.pid(), "VmHWM")?;
    let after = held(context, &mut server, &remote, &history.tip)?;
    let (repacked, fresh) = one_push(context, &server, &remote, &history.tip)?;

    let mut disk = row("maintain-disk", Unit::Bytes, ONE_PUSH, DISK_RATIO_MAX);
    disk.cairn.push(Ok(after.file_bytes));
    for (name, bytes) in [(BEFORE, before.file_bytes), (ONE_PUSH, fresh.file_bytes), (REPACKED, repacked)] {
        disk.stock.push(Figure::one(name, Ok(bytes)));
    }
    disk.notes.push(format!("{pushes} pushes; packs of {} bytes became {}", packs.0, packs.1));
    let mut first = row("maintain-clone-first", Unit::Seconds, ONE_PUSH, CLONE_RATIO_MAX);
    let mut next = row("maintain-clone-next", Unit::Seconds, ONE_PUSH, CLONE_RATIO_MAX);
    first.notes.push("server CPU; the first clone after a start, and one whose plan is known".into());
    first.cairn.samples = after.first_clones;
    next.cairn.samples = after.next_clones;
    for (name, held) in [(BEFORE, before), (ONE_PUSH, fresh)] {
        first.stock.push(Figure { samples: held.first_clones, ..Figure::named(name) });
        next.stock.push(Figure { samples: held.next_clones, ..Figure::named(name) });
    }
    let mut time = Row::new("maintain-cpu", Unit::Seconds, &[]);
    time.cairn.push(Ok(upkeep.cpu.as_secs_f64()));
    time.notes.push(format!("{:.2} s on the clock", upkeep.wall.as_secs_f64()));
    let mut memory = Row::new("maintain-rss", Unit::Bytes, &[Bar::AtMost(RSS_BYTES_MAX)]);
    memory.cairn.push(Ok(rss as f64));
    Ok(vec![disk, first, next, time, memory])
}

fn row(id: &str, unit: Unit, against: &'static str, at_most: f64) -> Row {
    Row::new(id, unit, &[Bar::Ratio { against, at_most }])
}

fn clone(client: &mut Client, remote: &Remote, tip: &str) -> Result<u64> {
    let wants = [tip.to_owned()];
    let body = FetchRequest { wants: &wants, ..FetchRequest::default() }.body();
    server::upload_pack(client, remote, &body)?.discard()
}

fn held(context: &Context, server: &mut Server, remote: &Remote, tip: &str) -> Result<Held> {
    context.restart(server)?;
    let file_bytes = disk_usage(&server.data.join("repos"))?.0 as f64;
    let (mut first_clones, mut next_clones) = (Vec::new(), Vec::new());
    for _ in 0..context.rounds {
        context.restart(server)?;
        let mut client = server.client();
        let first = server.measure(1, || clone(&mut client, remote, tip))?;
        let runs = repeats(server.measure(1, || clone(&mut client, remote, tip))?);
        let next = server.measure(runs, || clone(&mut client, remote, tip))?;
        first_clones.push(first.cpu.as_secs_f64());
        next_clones.push(next.cpu.as_secs_f64());
    }
    Ok(Held { file_bytes, first_clones, next_clones })
}

/// The same history as `git repack -adf` packs it: the bytes of its pack and index, and what one push of it makes.
fn one_push(context: &mut Context, many: &Server, remote: &Remote, tip: &str) -> Result<(f64, Held)> {
    eprintln!("measuring one push of the repacked history");
    let repo = context.empty_stock()?;
    let path = context.fresh("cloned");
    let wants = [tip.to_owned()];
    let body = FetchRequest { wants: &wants, ..FetchRequest::default() }.body();
    copy_pack(&mut server::upload_pack(&mut many.client(), remote, &body)?, &mut File::create(&path)?)?;
    let args = ["-C", &repo, "index-pack", "--stdin", "--strict"];
    context.git.output(&args, Input::File(&path))?;
    context.git.output(&["-C", &repo, "update-ref", BRANCH, tip], Input::Nothing)?;
    context.git.output(&["-C", &repo, "repack", "-adfq", "--no-write-bitmap-index"], Input::Nothing)?;
    let mut repacked = 0;
    for entry in std::fs::read_dir(std::path::Path::new(&repo).join("objects/pack"))? {
        let path = utf8(&entry?.path())?;
        if path.ends_with(".pack") || path.ends_with(".idx") {
            repacked += std::fs::metadata(path)?.len();
        }
    }
    let body = push_body(&context.git, &repo, &[(BRANCH, tip)])?;
    let mut server = context.fresh_server_with(&["--maintenance", "off"])?;
    let remote = server::create(&mut server.client(), "one", "main")?;
    server::push(&mut server.client(), &remote, &server::push_bytes(&body))?;
    let fresh = held(context, &mut server, &remote, tip)?;
    Ok((repacked as f64, fresh))
}

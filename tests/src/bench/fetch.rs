//! Rows of the reading side: what a clone or fetch costs the server.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use crate::Result;
use crate::context::{Context, Loaded, Source};
use crate::http::Client;
use crate::pkt::{FetchRequest, copy_pack};
use crate::report::{Bar, Figure, Row, Unit};
use crate::server;
use crate::stock::{Git, Input, Usage};

/// Repeat cheap requests until one sample holds so many seconds of CPU.
const SAMPLE_SECONDS: f64 = 0.4;
const REPEATS_MAX: u32 = 200;
/// The checksum at a pack's end.
const TRAILER_BYTES: u64 = 20;
pub const BITMAP: &str = "git, bitmap";
pub const PLAIN: &str = "git, plain";

/// One kind of fetch and what is demanded of it.
struct Shape {
    id: &'static str,
    body: Vec<u8>,
    /// Everything the pack's objects name is in the pack.
    complete: bool,
    first: Vec<Bar>,
    repeated: Vec<Bar>,
}

/// Ids of all fetch rows; `ID-repeat` is the second and later time.
pub const IDS: [&str; 6] = ["full", "blobless", "depth1", "blobless-depth1", "incremental", "single-branch"];

fn shapes(source: &Source) -> Vec<Shape> {
    let against = |against, at_most| Bar::Ratio { against, at_most };
    let tip = std::slice::from_ref(&source.tip);
    let all = || FetchRequest { wants: &source.wants, ..FetchRequest::default() };
    let one = || FetchRequest { wants: tip, ..FetchRequest::default() };
    let none = Some("blob:none");
    let mut shapes = Vec::new();
    let mut add = |id, request: FetchRequest<'_>, complete, first: &[Bar], repeated: &[Bar]| {
        shapes.push(Shape {
            id,
            body: request.body(),
            complete,
            first: first.to_vec(),
            repeated: repeated.to_vec(),
        });
    };
    add("full", all(), true, &[against(BITMAP, 0.35), against(PLAIN, 0.15)], &[against(BITMAP, 0.2)]);
    add(
        "blobless",
        FetchRequest { filter: none, ..all() },
        false,
        &[against(BITMAP, 0.5)],
        &[against(BITMAP, 0.5)],
    );
    add("depth1", FetchRequest { depth: Some(1), ..one() }, false, &[], &[against(BITMAP, 0.1)]);
    add(
        "blobless-depth1",
        FetchRequest { depth: Some(1), filter: none, ..one() },
        false,
        &[],
        &[against(BITMAP, 0.1)],
    );
    if let Some(behind) = &source.behind {
        let request = FetchRequest { haves: std::slice::from_ref(behind), ..one() };
        add("incremental", request, false, &[against(BITMAP, 0.5)], &[against(BITMAP, 0.5)]);
    }
    add("single-branch", one(), true, &[], &[]);
    shapes
}

/// Measures the fetch rows whose id, or whose repeated row's id, is wanted.
pub fn rows(context: &mut Context, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Row>> {
    let source = context.source()?;
    let mut loaded = context.take_loaded();
    let mut rows = Vec::new();
    for shape in shapes(&source) {
        let (first, again) = (shape.id.to_owned(), format!("{}-repeat", shape.id));
        if wanted(&first) || wanted(&again) {
            eprintln!("measuring {first}");
            rows.extend(shape_rows(context, &source, &mut loaded, &shape)?);
        }
    }
    if let Ok(loaded) = loaded {
        context.put_back(loaded);
    }
    rows.retain(|row| wanted(&row.id) || row.id == "full-after-push");
    Ok(rows)
}

fn shape_rows(
    context: &mut Context,
    source: &Source,
    loaded: &mut Result<Loaded>,
    shape: &Shape,
) -> Result<Vec<Row>> {
    let mut rows = vec![Row::new(shape.id, Unit::Seconds, &shape.first)];
    let mut again = Row::new(&format!("{}-repeat", shape.id), Unit::Seconds, &shape.repeated);
    let mut stock = [Figure::named(BITMAP), Figure::named(PLAIN)];
    let (mut walls, mut bytes) = (Vec::new(), [0; 2]);
    let after_push =
        loaded.as_mut().ok().filter(|loaded| shape.id == "full" && loaded.untouched).map(fetch_once(shape));
    for _ in 0..context.rounds {
        let (first, repeated) = cairn_round(context, loaded, shape);
        if let Ok(usage) = &first {
            walls.push(format!("cairn {:.3}", usage.wall.as_secs_f64()));
            bytes[0] = usage.bytes;
        }
        rows[0].cairn.push(first.map(seconds));
        again.cairn.push(repeated.map(seconds));
        for (figure, repo) in stock.iter_mut().zip([&source.bitmap, &source.plain]) {
            let usage = stock_sample(&context.git, repo, &shape.body);
            if let Ok(usage) = &usage {
                walls.push(format!("{} {:.3}", figure.name, usage.wall.as_secs_f64()));
                bytes[1] = usage.bytes;
            }
            figure.push(usage.map(seconds));
        }
    }
    again.stock = stock.to_vec();
    rows[0].stock = stock.to_vec();
    rows[0].notes.push(format!(
        "wall seconds: {}; answer bytes: cairn {}, git {}",
        walls.join(", "),
        bytes[0],
        bytes[1]
    ));
    if let Ok(loaded) = loaded {
        rows[0].notes.push(match judge(context, source, loaded, shape) {
            Ok(note) => note,
            Err(error) => format!("WRONG ANSWER: {error}"),
        });
    }
    if let Some(usage) = after_push {
        let mut row = Row::new("full-after-push", Unit::Seconds, &shape.first);
        row.cairn.push(usage.map(seconds));
        row.stock = stock.to_vec();
        rows.insert(0, row);
    }
    rows.push(again);
    Ok(rows)
}

fn seconds(usage: Usage) -> f64 {
    usage.cpu.as_secs_f64()
}

/// A measurement of one fetch on the server as it is.
fn fetch_once(shape: &Shape) -> impl Fn(&mut Loaded) -> Result<Usage> {
    |loaded| {
        loaded.untouched = false;
        let mut client = loaded.server.client();
        loaded.server.measure(1, || fetch(&mut client, loaded, &shape.body))
    }
}

fn fetch(client: &mut Client, loaded: &Loaded, body: &[u8]) -> Result<u64> {
    server::upload_pack(client, &loaded.remote, body)?.discard()
}

/// The first fetch of a new process, then the repeated one.
fn cairn_round(
    context: &Context,
    loaded: &mut Result<Loaded>,
    shape: &Shape,
) -> (Result<Usage>, Result<Usage>) {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return (Err(error.to_string().into()), Err(error.to_string().into())),
    };
    let first = context.restart(&mut loaded.server).and_then(|()| fetch_once(shape)(loaded));
    let repeated = || {
        let mut client = loaded.server.client();
        let probe = loaded.server.measure(1, || fetch(&mut client, loaded, &shape.body))?;
        loaded.server.measure(repeats(probe), || fetch(&mut client, loaded, &shape.body))
    };
    (first, repeated())
}

/// How many runs make one sample.
pub fn repeats(probe: Usage) -> u32 {
    let runs = (SAMPLE_SECONDS / probe.cpu.as_secs_f64().max(0.001)).ceil();
    // Between 1 and 400 by the line above; the cast cannot lose anything.
    (runs as u32).clamp(1, REPEATS_MAX)
}

/// One sample of stock git; a dear one is the probe itself.
fn stock_sample(git: &Git, repo: &str, body: &[u8]) -> Result<Usage> {
    let args = ["upload-pack", "--stateless-rpc", repo];
    let probe = git.measure(&args, Input::Bytes(body), 1)?;
    match repeats(probe) {
        1 => Ok(probe),
        runs => git.measure(&args, Input::Bytes(body), runs),
    }
}

/// Feeds both packs to `index-pack --strict` and compares which objects came.
fn judge(context: &mut Context, source: &Source, loaded: &Loaded, shape: &Shape) -> Result<String> {
    let ours_path = context.fresh("answer");
    let mut client = loaded.server.client();
    let mut response = BufReader::new(server::upload_pack(&mut client, &loaded.remote, &shape.body)?);
    let mut file = BufWriter::new(File::create(&ours_path)?);
    copy_pack(&mut response, &mut file)?;
    file.flush()?;

    let answer =
        context.git.output(&["upload-pack", "--stateless-rpc", &source.bitmap], Input::Bytes(&shape.body))?;
    let theirs_path = context.fresh("answer");
    let mut file = BufWriter::new(File::create(&theirs_path)?);
    copy_pack(&mut answer.as_slice(), &mut file)?;
    file.flush()?;
    drop(answer);

    let ours = indexed(context, source, &ours_path, shape.complete)?;
    let theirs = indexed(context, source, &theirs_path, shape.complete)?;
    let (missing, extra) = (theirs.difference(&ours).count(), ours.difference(&theirs).count());
    let sizes = (ours_path.metadata()?.len(), theirs_path.metadata()?.len());
    std::fs::remove_file(ours_path)?;
    std::fs::remove_file(theirs_path)?;
    Ok(format!(
        "index-pack --strict takes the answer: {} objects, {missing} missing and {extra} extra beside git's; \
         pack bytes {} to {}",
        ours.len(),
        sizes.0,
        sizes.1
    ))
}

/// The objects of a pack after a strict check. What an incomplete one leans on comes from the plain copy.
fn indexed(context: &mut Context, source: &Source, pack: &Path, complete: bool) -> Result<BTreeSet<String>> {
    let scratch = context.empty_stock()?;
    if !complete {
        std::fs::write(format!("{scratch}/objects/info/alternates"), format!("{}/objects\n", source.plain))?;
    }
    let args = ["-C", &scratch, "index-pack", "--stdin", "--strict", "--fix-thin"];
    let named = String::from_utf8(context.git.output(&args, Input::File(pack))?)?;
    let hash = named.split_whitespace().last().ok_or("index-pack names no pack")?;
    let index = format!("{scratch}/objects/pack/pack-{hash}.idx");
    let listed = String::from_utf8(context.git.output(&["show-index"], Input::File(index.as_ref()))?)?;
    // Bases that --fix-thin appended stand where the trailing checksum was; they were not sent.
    let sent_bytes = pack.metadata()?.len() - TRAILER_BYTES;
    let sent = listed.lines().filter_map(|line| {
        let (offset, rest) = line.split_once(' ')?;
        let oid = rest.split(' ').next()?;
        (offset.parse::<u64>().ok()? < sent_bytes).then(|| oid.to_owned())
    });
    let oids = sent.collect();
    std::fs::remove_dir_all(scratch)?;
    Ok(oids)
}

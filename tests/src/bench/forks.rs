//! Rows of forks: ten thousand of a real repository, and whether each of a hundred is the whole of it.

use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Write};
use std::time::Instant;

use crate::Result;
use crate::context::{Context, Loaded, Source};
use crate::http::Client;
use crate::pkt::{FetchRequest, copy_pack, ls_refs_body};
use crate::proc::disk_usage;
use crate::rates::rate;
use crate::report::{Bar, Row, Unit};
use crate::server::{self, Remote};

const FORKS: u32 = 10_000;
const CLONES: u32 = 100;

/// Makes the forks over many connections, then clones some and compares them with the base.
pub fn rows(context: &mut Context) -> Result<Vec<Row>> {
    eprintln!("measuring {FORKS} forks");
    let source = context.source()?;
    let mut loaded = context.take_loaded()?;
    let measured = measure(context, &source, &mut loaded);
    loaded.untouched = false;
    context.put_back(loaded);
    measured
}

fn measure(context: &Context, source: &Source, loaded: &mut Loaded) -> Result<Vec<Row>> {
    context.restart(&mut loaded.server)?;
    let before = disk_usage(&loaded.server.data)?;
    let server = &loaded.server;
    let made = std::sync::Mutex::new(Vec::new());
    let began = Instant::now();
    rate(server, FORKS, |client, number| {
        let fork = server::fork(client, &loaded.remote.name, &format!("many-{number:05}"))?;
        if number % (FORKS / CLONES) == 0 {
            made.lock().map_err(|_| "a client thread panicked")?.push(fork);
        }
        Ok(())
    })?;
    let seconds = began.elapsed().as_secs_f64();
    context.restart(&mut loaded.server)?;
    let after = disk_usage(&loaded.server.data)?;

    let mut client = loaded.server.client();
    let base = seen(&mut client, &loaded.remote, source)?;
    let forks = made.into_inner().map_err(|_| "a client thread panicked")?;
    let began = Instant::now();
    let mut different = 0;
    for fork in &forks {
        different += u32::from(seen(&mut client, fork, source)? != base);
    }
    let cloning = began.elapsed().as_secs_f64();

    let mut time = Row::new("forks-10000", Unit::Seconds, &[]);
    time.cairn.push(Ok(seconds));
    time.notes.push(format!("{:.0} forks a second of {}", f64::from(FORKS) / seconds, source.about));
    let mut bytes = Row::new("forks-bytes-each", Unit::Count, &[]);
    bytes.cairn.push(Ok(after.0.saturating_sub(before.0) as f64 / f64::from(FORKS)));
    bytes.notes.push(
        "bytes on disk for a fork and its first token; the catalog's journal of some 4 MiB is in it".into(),
    );
    let mut files = Row::new("forks-files", Unit::Count, &[Bar::AtMost(0.0)]);
    files.cairn.push(Ok(after.1.saturating_sub(before.1) as f64));
    let mut wrong = Row::new("forks-different", Unit::Count, &[Bar::AtMost(0.0)]);
    wrong.cairn.push(Ok(f64::from(different)));
    wrong
        .notes
        .push(format!("{} forks listed and cloned in {cloning:.1} s, each beside the base", forks.len()));
    Ok(vec![time, bytes, files, wrong])
}

/// What a repository shows: its refs and the pack of a full clone, as hashes, and the pack's length.
fn seen(client: &mut Client, remote: &Remote, source: &Source) -> Result<(u64, u64, u64)> {
    let mut refs = DefaultHasher::new();
    refs.write(&server::upload_pack(client, remote, &ls_refs_body(""))?.body()?);
    let body = FetchRequest { wants: &source.wants, ..FetchRequest::default() }.body();
    let mut pack = Hashing { state: DefaultHasher::new(), bytes: 0 };
    copy_pack(&mut server::upload_pack(client, remote, &body)?, &mut pack)?;
    Ok((refs.finish(), pack.state.finish(), pack.bytes))
}

/// Hashes what is written to it, whatever the size of the writes.
struct Hashing {
    state: DefaultHasher,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.state.write(data);
        self.bytes += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

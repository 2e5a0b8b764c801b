//! Memory and time of mounts of large made trees.

use std::io::{BufWriter, Write};
use std::process::Stdio;

use cairn_conformance::host::{Format, Host};

use super::{Bench, FOREGROUND, Result, row, timed, tool};

/// Files of each folder.
const FOLDER_FILES: u32 = 100;
/// What the daemon may hold, in MiB, from so many thousands of files on.
const RESIDENT_BARS: [(u32, &str); 2] = [(1_000, "<= 1024 MiB"), (50, "<= 150 MiB")];

/// A row for each size of a tree.
pub(super) fn rows(bench: &Bench) -> Result<()> {
    for kilofiles in &bench.kilofiles {
        let name = format!("made-{kilofiles}");
        make(bench, &name, kilofiles * 1_000)?;
        let bar = RESIDENT_BARS.iter().find(|(from, _)| *kilofiles == *from).map_or("", |(_, bar)| bar);
        let ls = |dir: &std::path::Path| tool(dir, "ls", &["-lR"]);
        let mut mount = None;
        let ready = timed(|| {
            mount = Some(bench.mount_of(&name, "scale", &FOREGROUND)?);
            Ok(())
        })?;
        let mount = mount.ok_or("not mounted")?;
        row(&format!("{kilofiles},000 files: mount"), ready, None, "s", "");
        row(&format!("{kilofiles},000 files: ls -lR"), timed(|| ls(&mount.dir))?, None, "s", "");
        let status = || timed(|| bench.git(&mount.dir, &["status", "--porcelain"]).map(drop));
        row(&format!("{kilofiles},000 files: first status"), status()?, None, "s", "");
        let bar_of_status = if *kilofiles == 50 { "<= 0.1 s" } else { "" };
        row(&format!("{kilofiles},000 files: warm status"), status()?, None, "s", bar_of_status);
        row(&format!("{kilofiles},000 files: memory of the daemon"), mount.resident()?, None, "MiB", bar);
        let most = mount.resident_at_most()?;
        row(&format!("{kilofiles},000 files: its memory at most"), most, None, "MiB", bar);
        drop(mount);
        // All sizes are known by now, and git has its index.
        let mut mount = None;
        let ready = timed(|| {
            mount = Some(bench.mount_of(&name, "scale", &FOREGROUND)?);
            Ok(())
        })?;
        let mount = mount.ok_or("not mounted")?;
        row(&format!("{kilofiles},000 files: mount again"), ready, None, "s", "");
        row(&format!("{kilofiles},000 files: ls -lR"), timed(|| ls(&mount.dir))?, None, "s", "");
    }
    Ok(())
}

/// One commit of so many files in folders of folders. Each has a content of its own.
fn make(bench: &Bench, name: &str, files: u32) -> Result<()> {
    bench.host.create(name, Format::Sha1);
    let mut command = bench.git.command(&bench.host.path(name), &["fast-import", "--quiet"]);
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let mut input = BufWriter::new(child.stdin.take().ok_or("no input")?);
    write!(input, "commit refs/heads/main\ncommitter B <b@example.com> 1700000000 +0000\ndata 1\nm\n")?;
    for file in 0..files {
        let folder = file / FOLDER_FILES;
        let content = format!("content of {file}\n");
        let path = format!("part{:03}/folder{folder:05}/file-{file:07}.txt", folder / FOLDER_FILES);
        write!(input, "M 100644 inline {path}\ndata {}\n{content}", content.len())?;
    }
    drop(input.into_inner().map_err(std::io::IntoInnerError::into_error)?);
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("git fast-import: {status}").into()) }
}

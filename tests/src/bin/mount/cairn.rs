//! Mounts from a real Cairn server: a first one, the same one again, and another folder with the same cache.

use std::fs;
use std::time::Instant;

use cairn_tests::server::Server;

use super::{Bench, Result, row, tool};

/// A row for each mount.
pub(super) fn rows(bench: &Bench) -> Result<()> {
    let server = Server::start_on(tempfile::tempdir_in(&bench.dir)?);
    let remote = server.create("mounted");
    let git = server.git(&bench.dir, &[&remote]);
    let pushed = git.run(&bench.host.path("r"), &["push", "--quiet", &remote.url, "HEAD:refs/heads/main"]);
    if !pushed.ok() {
        return Err(pushed.errors().into());
    }
    let token = bench.dir.join("cairn-token");
    fs::write(&token, remote.token.as_deref().unwrap_or_default())?;
    let more = ["--token-file", &token.to_string_lossy()];
    let cases = [
        ("Cairn: mount and ls -R", "m-cairn", "<= 0.5 s"),
        ("Cairn: mount again and ls -R", "m-cairn", "<= 0.15 s"),
        ("Cairn: mount of another folder and ls -R", "m-cairn-other", ""),
    ];
    for (name, folder, bar) in cases {
        let started = Instant::now();
        let mount = bench.mount_at(&remote.url, folder, "cairn-cache", &more)?;
        tool(&mount.dir, "ls", &["-R"])?;
        row(name, started.elapsed().as_secs_f64(), None, "s", bar);
    }
    Ok(())
}

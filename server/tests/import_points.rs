//! Every step of an import: the n-th call that changes the disk is the last one, for each n until the import is done. Then
//! power is lost in one of three ways, and the next start goes on with what is left of it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "support/faulty.rs"]
mod faulty;
#[path = "support/remote.rs"]
mod remote;
#[path = "support/server.rs"]
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_conformance::front::{Deed, Front};
use cairn_faults::fault::When;
use cairn_faults::{Disk, Fault, Harm, Loss, Random};
use cairn_server::jobs::import::resume;
use cairn_server::store::{maintain, repo::fsck};
use faulty::Faulty;
use remote::{PATH, Remote};
use serde_json::{Value, json};
use server::{Answer, Server};
use tempfile::TempDir;

const REPO: &str = "/namespaces/new/repos/r";
const LOSSES: [Loss; 3] = [Loss::Nothing, Loss::All, Loss::Torn];
/// Calls that an import takes at most.
const CALLS_MAX: u64 = 20_000;
const END_SECONDS_MAX: u64 = 60;

/// A remote, and a front of it that passes everything on.
struct World {
    remote: Remote,
    front: Front,
}

impl World {
    fn new() -> Self {
        let remote = Remote::new();
        Self { front: remote.front(|_| Deed::Pass), remote }
    }

    fn server_on(&self, disk: &Disk, folder: TempDir) -> Server {
        let imports = self.remote.imports(true);
        Server::importing_over(Arc::new(Faulty(disk.clone())), folder, imports).unwrap()
    }

    async fn import(&self, server: &Server) -> Answer {
        let url = format!("{}{PATH}", self.front.origin());
        server.post(&format!("{REPO}/import"), &json!({ "url": url }).to_string()).await
    }
}

fn begun() -> (TempDir, Disk) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(folder.path());
    (folder, disk)
}

async fn refs(server: &Server) -> Value {
    let shown = server.get(&format!("{REPO}/refs")).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    shown.result().clone()
}

async fn all_ended(server: &Server) {
    let deadline = Instant::now() + Duration::from_secs(END_SECONDS_MAX);
    while server.app.imports.count() > 0 {
        assert!(Instant::now() < deadline, "the import ends");
        tokio::task::yield_now().await;
    }
}

/// The repository is there with all its refs, or not at all, and then it can be imported; answers which.
async fn is_whole(world: &World, server: &Server, want: &Value, why: &str) -> bool {
    let found = server.get(REPO).await;
    assert!(matches!(found.status, 200 | 404), "{why}: {}", found.body);
    if found.status == 404 {
        let again = world.import(server).await;
        assert!(again.status < 300, "{why}: {}", again.body);
    }
    assert_eq!(&refs(server).await, want, "{why}");
    let app = &server.app;
    let check = |row: &cairn_server::store::catalog::RepoRow| {
        Ok(fsck::fsck(&app.files, row.object_format, &row.pins))
    };
    let report = maintain::fsck_all(&app.catalog, check).await.unwrap();
    assert_eq!((report.repo_count, &report.findings), (1, &Vec::new()), "{why}");
    found.status == 200
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_crash_at_every_step_of_an_import() {
    let world = World::new();
    let (folder, disk) = begun();
    let server = world.server_on(&disk, folder);
    let made = world.import(&server).await;
    assert!(made.status < 300, "{}", made.body);
    let want = refs(&server).await;
    assert_eq!(want.as_array().unwrap().len(), 4, "HEAD, two branches and a tag: {want}");
    disk.unmount();
    let (mut n, mut resumed) = (1, 0);
    loop {
        assert!(n < CALLS_MAX, "the import ends");
        let loss = LOSSES[n as usize % LOSSES.len()];
        let (folder, disk) = begun();
        let server = world.server_on(&disk, folder);
        disk.harm(vec![Fault::new(None, When::Nth(n), Harm::Death)]);
        let answer = world.import(&server).await;
        let was_hit = disk.harmed() > 0;
        assert!(was_hit || answer.status < 300, "{}", answer.body);
        disk.die();
        all_ended(&server).await;
        let folder = tempfile::tempdir().unwrap();
        let disk = disk.crash(loss, &mut Random::new(n), folder.path());
        let server = world.server_on(&disk, folder);
        resume(&server.app).await.unwrap();
        all_ended(&server).await;
        let was_there = is_whole(&world, &server, &want, &format!("step {n}, {loss:?}")).await;
        assert!(was_there || answer.status >= 300, "step {n}, {loss:?}: acknowledged, and gone");
        resumed += u64::from(was_there && answer.status >= 300);
        disk.unmount();
        if !was_hit {
            break;
        }
        n += 1;
    }
    println!("crashes at up to {n} calls, {resumed} resumed");
    assert!(n > 10 && resumed > 0, "an import writes something, and what was begun goes on");
}

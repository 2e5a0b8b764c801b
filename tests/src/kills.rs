//! Kills a real server again and again while clients push, commit, fork, import and delete; after each start, what was
//! acknowledged must be there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cairn_conformance::front::{Authority, Deed, Front};
use cairn_conformance::git::Git;
use cairn_conformance::host::{API_TOKEN, Format, Host, Remote, StockHost};
use cairn_conformance::http;
use serde_json::{Value, json};

use crate::Server;
use crate::chain::{Chain, Step};
use crate::server::{Random, assert_clones, assert_sound};

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often the server is killed.
    pub kills: u64,
    /// Of the moments of the kills.
    pub seed: u64,
    /// Kills fall within this many milliseconds of the start.
    pub kill_ms_max: u64,
    /// `cairn fsck` runs after each so many kills, and at the end.
    pub fsck_every: u64,
}

/// What was done and found to be there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Kills.
    pub kills: u64,
    /// Pushes that were acknowledged.
    pub pushes: u64,
    /// Commits through REST.
    pub commits: u64,
    /// Forks.
    pub forks: u64,
    /// Deletions.
    pub deletions: u64,
    /// Imports that were begun.
    pub imports: u64,
    /// Requests that a kill cut.
    pub cut: u64,
    /// The longest that a start took, in milliseconds.
    pub start_ms_max: u64,
    /// All starts together, in milliseconds.
    pub start_ms_sum: u64,
}

/// Bytes of the blob of each push: one kind waits in memory, the other is staged on the disk.
const BLOB_BYTES: [usize; 3] = [2_000, 20_000, 1_300_000];
/// The last of them pushes in one of so many rounds.
const LARGE_EVERY: u64 = 16;
/// Imports that are begun at most: each is a repository of its own.
const IMPORTS_MAX: u64 = 60;
/// How long an import may take after the last start, in seconds.
const IMPORT_SECONDS_MAX: u64 = 120;

/// What is known of a repository that was forked or imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    There,
    Gone,
    Either,
}

/// The clients, and what they were told.
struct Clients {
    chains: Vec<Chain>,
    commits: u64,
    repos: BTreeMap<String, Known>,
    made: u64,
    imports: u64,
}

/// One request; `None` where the server died.
fn ask(origin: &str, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let url = format!("{origin}/client/v4/accounts/local/artifacts/namespaces/t/repos{path}");
    let token = format!("Bearer {API_TOKEN}");
    let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json")];
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = http::request(method, &url, &headers, &body).ok()?;
    // An answer that broke off is none.
    let value = serde_json::from_slice(&answer.body).ok()?;
    Some((answer.status, value))
}

fn push_until_it_dies(chain: &mut Chain, remote: &Remote, done: &AtomicU64) -> Step {
    loop {
        let step = chain.next_step();
        if !chain.push(remote, &step) {
            return step;
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

fn commit_until_it_dies(origin: &str, next: &mut u64) {
    loop {
        let path = format!("w/{}/{next}", *next % 7);
        let body = json!({ "message": path, "branch": "rest", "allow_empty": true, "changes": [{ "path": path, "content": path }] });
        match ask(origin, "POST", "/main/commits", &body) {
            Some((201, _)) => *next += 1,
            Some((status, body)) => panic!("a commit: {status} {body}"),
            None => return,
        }
    }
}

fn make_until_it_dies(origin: &str, clients: (&mut BTreeMap<String, Known>, &mut u64)) {
    let (repos, made) = clients;
    loop {
        *made += 1;
        let name = format!("fork-{made}");
        repos.insert(name.clone(), Known::Either);
        match ask(origin, "POST", "/main/fork", &json!({ "name": name })) {
            Some((201, _)) => drop(repos.insert(name, Known::There)),
            Some((status, body)) => panic!("a fork: {status} {body}"),
            None => return,
        }
        let old = repos.iter().find(|(name, known)| name.starts_with("fork") && **known == Known::There);
        let Some(old) = old.map(|(name, _)| name.clone()).filter(|_| *made % 3 == 0) else { continue };
        repos.insert(old.clone(), Known::Either);
        match ask(origin, "DELETE", &format!("/{old}"), &Value::Null) {
            Some((200..300, _)) => drop(repos.insert(old, Known::Gone)),
            Some((status, body)) => panic!("a deletion: {status} {body}"),
            None => return,
        }
    }
}

/// The server, its clients and the host that is imported from.
struct World {
    server: Server,
    clients: Clients,
    remote: Remote,
    front: Front,
    random: Random,
    tally: Tally,
    dir: tempfile::TempDir,
    _stock: StockHost,
}

impl World {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (stock, authority) = (StockHost::start().expect("stock git serves"), Authority::new());
        let source = stock.create("r", Format::Sha1);
        for (at, bytes) in BLOB_BYTES.into_iter().enumerate() {
            let mut chain = Chain::new(&format!("refs/heads/b{at}"), 90 + at as u64, bytes);
            let step = chain.next_step();
            assert!(chain.push(&source, &step), "stock git takes a push");
        }
        let ca = authority.write_to(dir.path());
        let front = Front::tls(&stock.origin(), &authority, |_| Deed::Pass);
        let server = Server::start_with(&[
            "--import-allow-private",
            "--import-ca-file",
            ca.to_str().expect("a folder of ours"),
        ]);
        let chains = (0..).zip(BLOB_BYTES);
        let chains = chains.map(|(at, bytes)| Chain::new(&format!("refs/heads/b{at}"), at, bytes)).collect();
        let remote = server.create("main");
        let repos = BTreeMap::new();
        let clients = Clients { chains, commits: 0, repos, made: 0, imports: 0 };
        // A first commit, so that the branch is there.
        let first = json!({ "message": "m", "branch": "rest", "expected_head": null,
            "changes": [{ "path": "w/first", "content": "" }] });
        let made = ask(server.origin(), "POST", "/main/commits", &first).expect("an answer");
        assert_eq!(made.0, 201, "{}", made.1);
        let random = Random::new(seed);
        Self { server, clients, remote, front, random, tally: Tally::default(), dir, _stock: stock }
    }

    /// Lets all clients work until the kill; returns the steps that were under way.
    fn round(&mut self, round: u64, kill_ms_max: u64) -> Vec<Option<Step>> {
        let pause = Duration::from_millis(self.random.below(kill_ms_max));
        let (server, remote, clients) = (&mut self.server, &self.remote, &mut self.clients);
        let origin = server.origin().to_owned();
        let pushed = AtomicU64::new(0);
        let (before, made_before) = (clients.commits, counts(&clients.repos));
        let steps: Vec<Option<Step>> = thread::scope(|scope| {
            let pushers: Vec<_> = (0..)
                .zip(&mut clients.chains)
                .map(|(at, chain)| {
                    let works = at + 1 < BLOB_BYTES.len() || round.is_multiple_of(LARGE_EVERY);
                    let pushed = &pushed;
                    works.then(|| scope.spawn(move || push_until_it_dies(chain, remote, pushed)))
                })
                .collect();
            let (commits, repos, made) = (&mut clients.commits, &mut clients.repos, &mut clients.made);
            let origin = origin.as_str();
            if round.is_multiple_of(4) && clients.imports < IMPORTS_MAX {
                clients.imports += 1;
                let name = format!("import-{}", clients.imports);
                let url = format!("{}/git/t/r.git", self.front.origin());
                let begun = ask(origin, "POST", &format!("/{name}/import"), &json!({ "url": url }));
                let known =
                    if begun.is_some_and(|(status, _)| status == 201) { Known::There } else { Known::Either };
                repos.insert(name, known);
            }
            scope.spawn(move || commit_until_it_dies(origin, commits));
            scope.spawn(move || make_until_it_dies(origin, (repos, made)));
            // The moment itself is what is tried here.
            thread::sleep(pause);
            server.kill();
            pushers.into_iter().map(|pusher| Some(pusher?.join().expect("it ends"))).collect()
        });
        let made = counts(&clients.repos);
        self.tally.kills += 1;
        self.tally.pushes += pushed.into_inner();
        self.tally.commits += clients.commits - before;
        self.tally.deletions += made.1 - made_before.1;
        self.tally.forks += made.0 + made.1 - made_before.0 - made_before.1;
        self.tally.cut += 2 + steps_under_way(&steps);
        steps
    }

    fn restart(&mut self) {
        let start = Instant::now();
        self.server.restart();
        let took = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.tally.start_ms_max = self.tally.start_ms_max.max(took);
        self.tally.start_ms_sum += took;
        self.remote = self.server.again(&self.remote);
    }

    /// Compares what is there with what was acknowledged.
    fn judge(&mut self, round: u64, steps: &[Option<Step>]) {
        let origin = self.server.origin().to_owned();
        let get = |path: &str| ask(&origin, "GET", path, &Value::Null).expect("the server answers");
        let (_, refs) = get("/main/refs");
        let tip = |name: &str| {
            let refs = refs["result"].as_array().expect("a list");
            let found = refs.iter().find(|row| row["name"] == name);
            found.and_then(|row| row["hash"].as_str()).map(str::to_owned)
        };
        for (chain, step) in self.clients.chains.iter_mut().zip(steps) {
            let now = tip(chain.name());
            let was = (!chain.tip().starts_with("0000000")).then(|| chain.tip().to_owned());
            let new = step.as_ref().map(|step| step.new.clone());
            let fits = now == was || new.is_some() && now == new;
            assert!(fits, "kill {round}: {} is at {now:?}, not {was:?} or {new:?}", chain.name());
            if let Some(now) = now {
                chain.stands_at(&now);
            }
        }
        if let Some(last) = self.clients.commits.checked_sub(1) {
            let url = format!(
                "{origin}/client/v4/accounts/local/artifacts/namespaces/t/repos/main/file?ref=rest&path=w/{}/{last}",
                last % 7
            );
            let token = format!("Bearer {API_TOKEN}");
            let file = http::request("GET", &url, &[("Authorization", &token)], b"").expect("an answer");
            assert_eq!(file.status, 200, "kill {round}: commit {last}: {}", file.text());
        }
        for (name, known) in &mut self.clients.repos {
            // Those that are known to be gone are asked for at the end.
            if *known == Known::Either {
                let (status, body) = get(&format!("/{name}"));
                *known = match status {
                    // An import that is still under way says so.
                    200 | 409 => Known::There,
                    404 => Known::Gone,
                    _ => panic!("kill {round}: {name}: {status} {body}"),
                };
            }
        }
    }

    /// At the end: each repository is what it must be, and stock git likes what it clones.
    fn finish(&mut self) {
        let origin = self.server.origin().to_owned();
        let get = |path: &str| ask(&origin, "GET", path, &Value::Null).expect("the server answers");
        let deadline = Instant::now() + Duration::from_secs(IMPORT_SECONDS_MAX);
        for (name, known) in &self.clients.repos {
            loop {
                let (status, body) = get(&format!("/{name}"));
                if status == 409 && Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(20));
                    continue;
                }
                let wanted = if *known == Known::There { 200 } else { 404 };
                assert_eq!(status, wanted, "{name}: {body}");
                break;
            }
        }
        let git: Git = self.server.git(self.dir.path(), &[&self.remote]);
        assert_clones(&git, self.dir.path(), &self.remote.url, "main");
        let listed = git.run(&self.dir.path().join("main"), &["ls-tree", "-r", "--name-only", "rest"]).text();
        let there: std::collections::HashSet<&str> = listed.lines().collect();
        for commit in 0..self.clients.commits {
            let path = format!("w/{}/{commit}", commit % 7);
            assert!(there.contains(path.as_str()), "commit {commit} was acknowledged and is gone");
        }
        self.server.terminate();
        assert!(self.server.wait().success(), "it ends in peace");
        assert_sound(self.server.data());
    }
}

/// Forks that are there, and that are gone.
fn counts(repos: &BTreeMap<String, Known>) -> (u64, u64) {
    let count = |wanted| {
        let forks = repos.iter().filter(|(name, known)| name.starts_with("fork") && **known == wanted);
        forks.count() as u64
    };
    (count(Known::There), count(Known::Gone))
}

fn steps_under_way(steps: &[Option<Step>]) -> u64 {
    steps.iter().filter(|step| step.is_some()).count() as u64
}

/// Runs it; panics at what must not be. `progress` hears of each hundredth kill.
pub fn run(plan: Plan, progress: &mut dyn FnMut(&Tally)) -> Tally {
    let mut world = World::new(plan.seed);
    for round in 0..plan.kills {
        let steps = world.round(round, plan.kill_ms_max);
        if (round + 1).is_multiple_of(plan.fsck_every) {
            assert_sound(world.server.data());
        }
        world.restart();
        world.judge(round, &steps);
        if (round + 1).is_multiple_of(100) {
            progress(&world.tally);
        }
    }
    world.finish();
    world.tally.imports = world.clients.imports;
    world.tally
}

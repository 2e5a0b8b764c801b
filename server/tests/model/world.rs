//! The model: what every repository shows at every entry, and the comparison of all of it with the server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use cairn_server::config::Config;
use serde_json::{Value, json};

use super::objects::{Id, Objects};
use super::support::{Answer, Server};
use super::wire::{self, Wish};

pub type Refs = BTreeMap<String, Id>;
pub const MAIN: &str = "refs/heads/main";

/// Numbers from a seed, as counts and as places in lists.
#[derive(Clone, Debug)]
pub struct Random(cairn_faults::Random);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(cairn_faults::Random::new(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0.number()
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.below(end as u64)).expect("below a usize")
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

#[derive(Clone, Debug)]
pub struct Repo {
    pub name: String,
    pub token: String,
    /// The refs behind each entry that the repository stands on, its bases' first, and when that entry was made.
    pub states: Vec<(i64, Refs)>,
    /// Which state is its own entry 0.
    pub own: usize,
}

impl Repo {
    pub fn refs(&self) -> &Refs {
        &self.states.last().expect("there is always entry 0").1
    }

    pub fn seq(&self) -> usize {
        self.states.len() - 1 - self.own
    }
}

pub struct World {
    server: Option<Server>,
    pub objects: Objects,
    pub repos: Vec<Repo>,
    pub made: u64,
    /// Whether what no ref names goes at once.
    pub drops: bool,
}

fn keeping(config: Config, drops: bool) -> Config {
    if drops { Config { keep_unreachable_ms: Some(0), ..config } } else { config }
}

pub type Step = Result<(), String>;

/// Compares what the server has with what the model has.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, server: &T, model: &T) -> Step {
    if server == model {
        return Ok(());
    }
    Err(format!("{what}: the server has {server:?}, the model {model:?}"))
}

impl World {
    pub fn new(drops: bool) -> Self {
        let server = Some(Server::with(|config| keeping(config, drops)));
        Self { server, objects: Objects::default(), repos: Vec::new(), made: 0, drops }
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("only a restart takes it")
    }

    pub fn now(&self) -> i64 {
        self.server().now.load(Ordering::SeqCst)
    }

    pub fn tick(&self) {
        self.server().now.fetch_add(1_000, Ordering::SeqCst);
    }

    /// Drops the server and opens its folder again.
    pub fn restart(&mut self) {
        let server = self.server.take().expect("only a restart takes it");
        self.server = Some(server.again(|config| config));
    }

    pub fn fresh_name(&mut self) -> String {
        self.made += 1;
        format!("r{}", self.made)
    }

    pub async fn ask(&self, repo: &str, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.server().ask(method, &format!("/namespaces/t/repos/{repo}{path}"), &body).await
    }

    /// Appends what the server acknowledged to the model's log.
    pub fn append(&mut self, at: usize, change: impl FnOnce(&mut Refs)) {
        let now = self.now();
        let mut refs = self.repos[at].refs().clone();
        change(&mut refs);
        self.repos[at].states.push((now, refs));
    }

    /// The refs, the newest entry, the usage, and one of the ways to fetch.
    pub async fn check(&self, at: usize, random: &mut Random) -> Step {
        let repo = &self.repos[at];
        let seq = repo.seq();
        self.check_refs(repo, seq).await?;
        self.check_refs(repo, random.below(seq + 1)).await?;
        self.check_log(repo, 1).await?;
        let usage = self.ask(&repo.name, "GET", "/usage", &Value::Null).await;
        same("entries of the usage", &usage.result()["own"]["entries"].as_u64(), &Some(seq as u64))?;
        self.check_fetch(repo, random).await?;
        self.check_hidden(repo, random).await
    }

    /// Everything that can be asked of a repository, at every entry.
    pub async fn check_all(&self, at: usize, random: &mut Random) -> Step {
        let repo = &self.repos[at];
        for seq in 0..=repo.seq() {
            self.check_refs(repo, seq).await?;
            let refs = &repo.states[repo.own + seq].1;
            let wish = Wish { at: Some(seq as u64), ..Wish::default() };
            self.fetched(repo, refs, &wish, random).await?;
        }
        self.check_log(repo, repo.seq().min(100)).await?;
        for _ in 0..4 {
            self.check_fetch(repo, random).await?;
            self.check_hidden(repo, random).await?;
        }
        Ok(())
    }

    /// The floor of a moment that is refused since something was dropped of it.
    pub fn refused(&self, answer: &Answer) -> Option<usize> {
        let floor = answer.body["errors"][0]["meta"]["floor"].as_u64().filter(|_| self.drops);
        floor.filter(|_| answer.status == 410).and_then(|floor| usize::try_from(floor).ok())
    }

    async fn check_refs(&self, repo: &Repo, seq: usize) -> Step {
        let answer = self
            .ask(&repo.name, "GET", &format!("/refs?prefix=refs/&limit=100&at={seq}"), &Value::Null)
            .await;
        if let Some(floor) = self.refused(&answer) {
            let is_right = seq < floor && floor <= repo.seq();
            return is_right.then_some(()).ok_or_else(|| format!("{} at {seq}: {}", repo.name, answer.body));
        }
        let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let Some(rows) = answer.result().as_array() else {
            return Err(format!("refs of {} at {seq}: {}", repo.name, answer.body));
        };
        let refs: Refs = rows.iter().map(|row| (text(row, "name"), text(row, "hash"))).collect();
        same(&format!("refs of {} at {seq}", repo.name), &refs, &repo.states[repo.own + seq].1)
    }

    /// The newest `count` entries tell what they changed.
    async fn check_log(&self, repo: &Repo, count: usize) -> Step {
        let path = format!("/activity?limit={}", count.max(1));
        let answer = self.ask(&repo.name, "GET", &path, &Value::Null).await;
        let entries = answer.result().as_array().cloned().unwrap_or_default();
        let first = repo.seq().saturating_sub(entries.len());
        same("entries of the activity", &entries.len(), &count.max(1).min(repo.seq()))?;
        for (entry, at) in entries.iter().zip((first..repo.seq()).rev()) {
            let (old, new) = (&repo.states[repo.own + at].1, &repo.states[repo.own + at + 1].1);
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let changes: Vec<Value> = names
                .into_iter()
                .filter(|name| old.get(*name) != new.get(*name))
                .map(|name| json!({ "name": name, "old": old.get(name), "new": new.get(name) }))
                .collect();
            same("seq of an entry", &entry["seq"], &json!(at + 1))?;
            same(&format!("entry {} of {}", at + 1, repo.name), &entry["ref_changes"], &json!(changes))?;
        }
        Ok(())
    }

    async fn check_fetch(&self, repo: &Repo, random: &mut Random) -> Step {
        let wish = match random.below(4) {
            0 => Wish::default(),
            1 => Wish { blobless: true, ..Wish::default() },
            2 => Wish { depth: true, ..Wish::default() },
            _ => {
                let refs = &repo.states[random.below(repo.states.len())].1;
                Wish { haves: refs.values().cloned().collect(), ..Wish::default() }
            }
        };
        self.fetched(repo, repo.refs(), &wish, random).await
    }

    async fn fetched(&self, repo: &Repo, refs: &Refs, wish: &Wish, random: &mut Random) -> Step {
        let mut wants: BTreeSet<Id> = refs.values().cloned().collect();
        if wants.len() > 1 && random.one_in(3) {
            wants.pop_last();
        }
        if wants.is_empty() {
            return Ok(());
        }
        let what = format!("fetch of {wants:?} from {} with {wish:?}", repo.name);
        let got = wire::fetch(self.server(), &self.objects, (&repo.name, &repo.token), &wants, wish).await;
        let got = match got {
            Err(why) if self.drops && wish.at.is_some() && why.contains("can no longer be read") => {
                return Ok(());
            }
            got => got.map_err(|why| format!("{what}: {why}"))?,
        };
        let all = if wish.depth { self.objects.shallow(&wants) } else { self.objects.closure(&wants) };
        let visible = self.objects.closure(refs.values());
        let had = self.objects.closure(wish.haves.iter().filter(|have| visible.contains(*have)));
        let maybe_had = self.objects.closure(&wish.haves);
        let want = |had: &BTreeSet<Id>| -> BTreeSet<Id> {
            all.difference(had).filter(|id| !wish.blobless || !self.objects.is_blob(id)).cloned().collect()
        };
        // Haves that the repository does not show may count or not; those that it shows must.
        // Who wants what it has may get it, with nothing below it: stock git never asks so.
        let (least, mut most) = (want(&maybe_had), want(&had));
        most.extend(wants.iter().cloned());
        if got.is_superset(&least) && got.is_subset(&most) {
            return Ok(());
        }
        let (more, less): (Vec<_>, Vec<_>) =
            (got.difference(&most).collect(), least.difference(&got).collect());
        Err(format!("{what}: too much {more:?}, missing {less:?}"))
    }

    /// A commit can be wanted and read where a ref leads to it, and nowhere else.
    async fn check_hidden(&self, repo: &Repo, random: &mut Random) -> Step {
        let commits: Vec<&Id> = self.objects.files.keys().collect();
        let Some(id) = random.pick(&commits) else { return Ok(()) };
        let shown = self.objects.closure(repo.refs().values()).contains(*id);
        let read = self.ask(&repo.name, "GET", &format!("/commit/{id}"), &Value::Null).await;
        same(&format!("reading {id} of {}", repo.name), &read.status, &if shown { 200 } else { 404 })?;
        let wants = BTreeSet::from([(*id).clone()]);
        let got =
            wire::fetch(self.server(), &self.objects, (&repo.name, &repo.token), &wants, &Wish::default())
                .await;
        match (shown, got) {
            (true, Ok(got)) => same(&format!("objects of {id}"), &got, &self.objects.closure([*id])),
            (false, Err(why)) if why.contains("not our ref") => Ok(()),
            (shown, got) => Err(format!("want of {id} from {}: shown {shown}, got {got:?}", repo.name)),
        }
    }
}

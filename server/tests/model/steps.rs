//! What happens to the repositories: random steps, each on the server and on the model.

use std::collections::{BTreeMap, BTreeSet};

use cairn_server::store::maintain;
use serde_json::{Value, json};

use super::objects::{Files, Id, Object};
use super::wire::{self, Move};
use super::world::{MAIN, Random, Refs, Repo, Step, World, same};

const BRANCHES: [&str; 4] = [MAIN, "refs/heads/a", "refs/heads/b", "refs/heads/c/d"];
const REPOS_MAX: usize = 8;
/// One blob in so many does not fit the memory of a push, and goes over the disk.
const LARGE_ONE_IN: usize = 60;
const LARGE_BYTES: usize = 1_300_000;

/// One step, of which its seed tells everything. Tells which repository it touched.
pub async fn step(world: &mut World, seed: u64) -> Result<(String, Step), String> {
    let mut random = Random::new(seed);
    world.tick();
    if world.repos.is_empty() || (world.repos.len() < REPOS_MAX && random.one_in(20)) {
        let name = world.fresh_name();
        let token = world.server().repo("t", &name).await;
        world.repos.push(Repo { name, token, states: vec![(world.now(), Refs::new())], own: 0 });
    }
    let at = random.below(world.repos.len());
    let (what, done) = match random.below(21) {
        0..7 => ("push", push(world, at, &mut random).await),
        7 | 8 => ("rewind", rewind(world, at, &mut random).await),
        9 => ("delete refs", delete_refs(world, at, &mut random).await),
        10..13 => ("commit", commit(world, at, &mut random).await),
        13 | 14 => ("merge", merge(world, at, &mut random).await),
        15 | 16 => ("fork", fork(world, at, &mut random).await),
        17 => ("race", race(world, at, &mut random).await),
        18 => ("steal", steal(world, at, &mut random).await),
        19 => ("maintain", maintain(world, at).await),
        _ if random.one_in(2) => {
            world.restart();
            ("restart", Ok(()))
        }
        _ => ("delete", delete(world, at).await),
    };
    let done = match (done, world.repos.len()) {
        (Ok(()), 0) => Ok(()),
        (Ok(()), count) => world.check(at.min(count - 1), &mut random).await,
        (failed, _) => failed,
    };
    Ok((format!("{what} of {at}"), done))
}

fn changed(world: &mut World, files: &mut Files, random: &mut Random, thin: &mut BTreeMap<Id, Id>) {
    let paths = ["f0", "f1", "f2", "f3", "d/x", "d/y"];
    for _ in 0..=random.below(3) {
        let path = paths[random.below(paths.len())].to_owned();
        let old = files.get(&path).cloned();
        let mut bytes = match old.as_ref().map(|id| world.objects.get(id)) {
            Some(Object::Blob(bytes)) if bytes.len() < 4_000 => bytes.clone(),
            _ => Vec::new(),
        };
        bytes.extend(format!("{:x};", random.next()).bytes());
        if random.one_in(LARGE_ONE_IN) {
            bytes.extend(
                (0..LARGE_BYTES / 8).flat_map(|_| random.next().to_le_bytes()).map(|byte| byte | 0x80),
            );
        }
        let id = world.objects.blob(bytes);
        if let Some(old) = old.filter(|_| random.one_in(2)) {
            thin.insert(id.clone(), old);
        }
        files.insert(path, id);
    }
}

/// Some commits on what a branch shows, or on nothing, and a pack of what the repository does not show.
fn history(world: &mut World, at: usize, from: Option<&Id>, random: &mut Random) -> (Id, Vec<u8>) {
    let visible = world.objects.closure(world.repos[at].refs().values());
    let from = from.map(|id| world.objects.peel(id).clone());
    let mut files = from.as_ref().map(|id| world.objects.files[id].clone()).unwrap_or_default();
    let (mut tip, mut thin) = (from, BTreeMap::new());
    for _ in 0..=random.below(3) {
        changed(world, &mut files, random, &mut thin);
        let parents: Vec<Id> = tip.iter().cloned().collect();
        tip = Some(world.objects.commit(&files, &parents, &format!("{:x}", random.next())));
    }
    let tip = tip.expect("at least one commit was made");
    let new: BTreeSet<Id> = world.objects.closure([&tip]).difference(&visible).cloned().collect();
    thin.retain(|_, base| visible.contains(base));
    let pack = world.objects.pack(&new, &thin);
    (tip, pack)
}

async fn pushed(world: &mut World, at: usize, moves: &[Move], pack: &[u8], atomic: bool) -> Step {
    let repo = &world.repos[at];
    let got = wire::push(&world.server().edge, "t", (&repo.name, &repo.token), moves, pack, atomic).await;
    let fits: Vec<bool> = moves.iter().map(|(name, old, _)| repo.refs().get(name) == old.as_ref()).collect();
    let all = fits.iter().all(|fits| *fits);
    let want: Vec<bool> = fits.iter().map(|fits| *fits && (all || !atomic)).collect();
    same(&format!("push of {moves:?} to {}, atomic {atomic}", repo.name), &got?, &want)?;
    if want.contains(&true) {
        world.append(at, |refs| {
            for ((name, _, new), _) in moves.iter().zip(want).filter(|(_, taken)| *taken) {
                match new {
                    Some(new) => refs.insert(name.clone(), new.clone()),
                    None => refs.remove(name),
                };
            }
        });
    }
    Ok(())
}

async fn push(world: &mut World, at: usize, random: &mut Random) -> Step {
    let refs = world.repos[at].refs().clone();
    let branch = if refs.is_empty() { MAIN } else { BRANCHES[random.below(BRANCHES.len())] };
    let tips: Vec<Id> = refs.values().cloned().collect();
    let from = refs.get(branch).cloned().filter(|_| !random.one_in(8));
    let from = from.or_else(|| random.pick(&tips).cloned()).filter(|_| !random.one_in(12));
    let (tip, mut pack) = history(world, at, from.as_ref(), random);
    let mut old = refs.get(branch).cloned();
    if random.one_in(8) {
        // What somebody believes who has not looked for a while.
        old = random.pick(&tips).cloned().filter(|_| random.one_in(2));
    }
    let mut moves = vec![(branch.to_owned(), old, Some(tip.clone()))];
    if random.one_in(3) {
        let name = format!("refs/tags/t{}", random.below(4));
        let mut target = tip.clone();
        if random.one_in(2) {
            target = world.objects.tag(&format!("{:x}", random.next()), &tip);
            let visible = world.objects.closure(refs.values());
            let new = world.objects.closure([&target]).difference(&visible).cloned().collect();
            pack = world.objects.pack(&new, &BTreeMap::new());
        }
        let old = refs.get(&name).cloned();
        moves.push((name, old, Some(target)));
    }
    moves.retain(|(_, old, new)| old != new);
    pushed(world, at, &moves, &pack, random.one_in(3)).await
}

/// A branch goes to a commit that some ref showed at some time.
async fn rewind(world: &mut World, at: usize, random: &mut Random) -> Step {
    let repo = &world.repos[at];
    let then: Vec<Id> = repo.states[random.below(repo.states.len())].1.values().cloned().collect();
    let reached = world.objects.closure(&then);
    let commits: Vec<Id> = reached.into_iter().filter(|id| world.objects.files.contains_key(id)).collect();
    let Some(target) = random.pick(&commits).cloned() else { return Ok(()) };
    let visible = world.objects.closure(repo.refs().values());
    let new: BTreeSet<Id> = world.objects.closure([&target]).difference(&visible).cloned().collect();
    let unknown = |id: &Id| matches!(world.objects.get(id), Object::Commit { body: None, .. });
    let branch = BRANCHES[random.below(BRANCHES.len())].to_owned();
    let old = repo.refs().get(&branch).cloned();
    if old.as_ref() == Some(&target) || new.iter().any(unknown) {
        return Ok(());
    }
    let pack = world.objects.pack(&new, &BTreeMap::new());
    pushed(world, at, &[(branch, old, Some(target))], &pack, false).await
}

async fn delete_refs(world: &mut World, at: usize, random: &mut Random) -> Step {
    let refs = world.repos[at].refs().clone();
    let others: Vec<&String> = refs.keys().filter(|name| *name != MAIN).collect();
    let Some(name) = random.pick(&others).map(|name| (*name).clone()) else { return Ok(()) };
    if random.one_in(2) {
        let old = refs.get(&name).cloned();
        return pushed(world, at, &[(name, old, None)], &[], false).await;
    }
    let answer = world.ask(&world.repos[at].name, "DELETE", &format!("/{name}"), &Value::Null).await;
    same(&format!("deleting {name}: {}", answer.body), &answer.status, &200)?;
    world.append(at, |refs| {
        refs.remove(&name);
    });
    Ok(())
}

async fn commit(world: &mut World, at: usize, random: &mut Random) -> Step {
    let refs = world.repos[at].refs().clone();
    let branches: Vec<&String> = refs.keys().filter(|name| name.starts_with("refs/heads/")).collect();
    let branch = match random.pick(&branches) {
        Some(branch) => (*branch).clone(),
        None if refs.is_empty() => MAIN.to_owned(),
        None => return Ok(()),
    };
    let head = refs.get(&branch).cloned();
    let mut files = head.as_ref().map(|id| world.objects.files[id].clone()).unwrap_or_default();
    let (path, content) = (format!("f{}", random.below(5)), format!("{:x}", random.next()));
    let stale = random.one_in(6);
    let expected = if stale { Some("1".repeat(40)) } else { head.clone() };
    let body = json!({ "branch": branch, "message": "over rest", "expected_head": expected,
        "changes": [{ "path": path, "content": content }] });
    let answer = world.ask(&world.repos[at].name, "POST", "/commits", &body).await;
    if stale {
        return same(&format!("stale commit: {}", answer.body), &answer.status, &409);
    }
    same(&format!("commit: {}", answer.body), &answer.status, &201)?;
    let blob = world.objects.blob(content.into_bytes());
    files.insert(path, blob);
    let parents: Vec<Id> = head.into_iter().collect();
    let id = answer.text("hash");
    let tree = world.objects.root(&files);
    same("tree of a commit", &answer.text("treeHash"), &tree)?;
    same("parents of a commit", &answer.result()["parents"], &json!(parents))?;
    world.objects.learn(&id, &files, &parents, None);
    world.append(at, |refs| {
        refs.insert(branch, id);
    });
    Ok(())
}

/// What a merge of whole files gives; `None` where both sides changed one.
fn merged(base: &Files, ours: &Files, theirs: &Files) -> Option<Files> {
    let mut files = Files::new();
    for path in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let (base, ours, theirs) = (base.get(path), ours.get(path), theirs.get(path));
        let side = match () {
            () if ours == theirs || theirs == base => ours,
            () if ours == base => theirs,
            () => return None,
        };
        files.extend(side.map(|id| (path.clone(), id.clone())));
    }
    Some(files)
}

async fn merge(world: &mut World, at: usize, random: &mut Random) -> Step {
    let refs = world.repos[at].refs().clone();
    let branches: Vec<&String> = refs.keys().filter(|name| name.starts_with("refs/heads/")).collect();
    let (Some(into), Some(from)) = (random.pick(&branches), random.pick(&branches)) else { return Ok(()) };
    let (ours, theirs) = (&refs[*into], &refs[*from]);
    let bases = world.objects.bases(ours, theirs);
    // Several bases are merged first, and without any there is nothing to predict either.
    let [base] = bases.as_slice() else { return Ok(()) };
    let files = &world.objects.files;
    let wanted = merged(&files[base], &files[ours], &files[theirs]);
    let body = json!({ "base": into, "head": from, "expected_base": ours });
    let answer = world.ask(&world.repos[at].name, "POST", "/merges", &body).await;
    let status = answer.result()["status"].as_str().unwrap_or_default().to_owned();
    let what = format!("merge of {theirs} into {ours} with {base}: {}", answer.body);
    if base == theirs {
        return same(&what, &status.as_str(), &"up_to_date");
    }
    let new = if base == ours {
        same(&what, &status.as_str(), &"fast_forward")?;
        theirs.clone()
    } else if let Some(files) = wanted {
        same(&what, &status.as_str(), &"merged")?;
        let made = &answer.result()["commit"];
        let id = made["hash"].as_str().unwrap_or_default().to_owned();
        let parents = [ours.clone(), theirs.clone()];
        same(&what, &made["treeHash"], &json!(world.objects.root(&files)))?;
        same(&what, &made["parents"], &json!(parents))?;
        world.objects.learn(&id, &files, &parents, None);
        id
    } else {
        return same(&what, &answer.status, &409);
    };
    let into = (*into).clone();
    world.append(at, |refs| {
        refs.insert(into, new);
    });
    Ok(())
}

async fn fork(world: &mut World, at: usize, random: &mut Random) -> Step {
    if world.repos.len() >= REPOS_MAX {
        return Ok(());
    }
    let name = world.fresh_name();
    let base = world.repos[at].clone();
    let only = random.one_in(4);
    let (mut end, mut commit, mut moment) = (base.states.len() - 1, None, Value::Null);
    match random.below(4) {
        0 => {
            let seq = random.below(base.seq() + 1);
            (end, moment) = (base.own + seq, json!(seq));
        }
        1 => {
            let then = base.states[random.below(base.states.len())].0 + 500;
            end = base.states.iter().rposition(|(made, _)| *made <= then).expect("that one at least");
            moment = json!(cairn_server::clock::rfc3339(then));
        }
        // What went and came again was first shown later.
        2 if !world.drops => {
            let reached = world.objects.closure(base.states.iter().flat_map(|(_, refs)| refs.values()));
            let commits: Vec<Id> =
                reached.into_iter().filter(|id| world.objects.files.contains_key(id)).collect();
            if let Some(id) = random.pick(&commits) {
                let shows = |(_, refs): &(i64, Refs)| world.objects.closure(refs.values()).contains(id);
                end = base.states.iter().position(shows).expect("some state reached it");
                (commit, moment) = (Some(id.clone()), json!(id));
            }
        }
        _ => {}
    }
    let body = json!({ "name": name, "default_branch_only": only, "at": moment });
    let answer = world.ask(&base.name, "POST", "/fork", &body).await;
    if world.refused(&answer).is_some() && moment != Value::Null {
        return Ok(());
    }
    same(&format!("fork of {} with {body}: {}", base.name, answer.body), &answer.status, &201)?;
    let mut states = base.states[..=end].to_vec();
    if only {
        states.iter_mut().for_each(|(_, refs)| refs.retain(|name, _| name == MAIN));
    }
    world.repos.push(Repo { name, token: answer.text("token"), states, own: end });
    let new = world.repos.len() - 1;
    if let Some(commit) = commit.filter(|id| world.repos[new].refs().get(MAIN) != Some(id)) {
        world.append(new, |refs| {
            refs.insert(MAIN.into(), commit);
        });
    }
    world.check(new, random).await
}

/// Several push at once: some to one branch from one old value, some to a branch of their own.
async fn race(world: &mut World, at: usize, random: &mut Random) -> Step {
    let main = world.repos[at].refs().get(MAIN).cloned();
    let mut running = Vec::new();
    for nth in 0..6 {
        let (tip, pack) = history(world, at, main.as_ref(), random);
        let own = format!("refs/heads/own/{:x}", random.next());
        let moved = match nth % 2 {
            0 => (MAIN.to_owned(), main.clone(), Some(tip)),
            _ => (own, None, Some(tip)),
        };
        let (repo, edge) = (&world.repos[at], world.server().edge.clone());
        let (name, token, sent) = (repo.name.clone(), repo.token.clone(), moved.clone());
        let push = async move { wire::push(&edge, "t", (&name, &token), &[sent], &pack, false).await };
        running.push((moved, tokio::spawn(push)));
    }
    let mut won = BTreeMap::new();
    for (moved, push) in running {
        if push.await.map_err(|why| why.to_string())?? == [true] {
            won.insert(moved.0 + moved.2.as_deref().unwrap_or_default(), moved.2);
        }
    }
    let mains = won.keys().filter(|key| key.starts_with(MAIN)).count();
    same("winners of one old value", &mains, &1)?;
    same("winners in all", &won.len(), &4)?;
    // The log tells in which order they came; each is there once, and nothing else is.
    let path = format!("/activity?limit={}", won.len());
    let answer = world.ask(&world.repos[at].name, "GET", &path, &Value::Null).await;
    for entry in answer.result().as_array().cloned().unwrap_or_default().iter().rev() {
        let change = &entry["ref_changes"][0];
        let text = |field: &str| change[field].as_str().unwrap_or_default().to_owned();
        let Some(new) = won.remove(&(text("name") + &text("new"))).flatten() else {
            return Err(format!("an entry that nobody won: {entry}"));
        };
        world.append(at, |refs| {
            refs.insert(text("name"), new);
        });
    }
    same("winners that the log does not have", &won.len(), &0)
}

/// Names what only other repositories have: a ref to it, and a commit on top of it.
async fn steal(world: &mut World, at: usize, random: &mut Random) -> Step {
    let repo = world.repos[at].clone();
    let ever = world.objects.closure(repo.states.iter().flat_map(|(_, refs)| refs.values()));
    let foreign: Vec<Id> = world.objects.files.keys().filter(|id| !ever.contains(*id)).cloned().collect();
    let Some(id) = random.pick(&foreign).cloned() else { return Ok(()) };
    let name = "refs/heads/stolen".to_owned();
    let files = world.objects.files[&id].clone();
    let top = world.objects.commit(&files, std::slice::from_ref(&id), "on top");
    let (target, pack) = match random.one_in(2) {
        true => (id, world.objects.pack(&BTreeSet::new(), &BTreeMap::new())),
        false => (top.clone(), world.objects.pack(&BTreeSet::from([top]), &BTreeMap::new())),
    };
    let moves = [(name, None, Some(target.clone()))];
    let got = wire::push(&world.server().edge, "t", (&repo.name, &repo.token), &moves, &pack, false).await;
    match got {
        Ok(taken) if taken == [true] => Err(format!("{} took {target}, which it does not have", repo.name)),
        _ => Ok(()),
    }
}

/// Packs are rolled and space is given back; nobody may see it.
async fn maintain(world: &mut World, at: usize) -> Step {
    let done = world.server().maintain("t", &world.repos[at].name).await;
    same(&format!("maintenance: {}", done.body), &done.status, &200)
}

async fn delete(world: &mut World, at: usize) -> Step {
    let repo = world.repos.remove(at);
    let answer = world.ask(&repo.name, "DELETE", "", &Value::Null).await;
    same("deleting a repository", &answer.status, &202)?;
    let gone = world.ask(&repo.name, "GET", "/refs", &Value::Null).await;
    same("reading a deleted repository", &gone.status, &404)?;
    let app = &world.server().app;
    let files = app.files.clone();
    let swept = maintain::sweep_files(&app.catalog, |id| {
        files.delete(id)?.then_some(()).ok_or_else(|| "in use".into())
    })
    .await;
    swept.map(|_| ()).map_err(|why| format!("sweep: {why}"))
}

//! Random histories of repositories and forks, on a server and on a model in memory; everything that can be seen of
//! the one is compared with the other. A history is a list of seeds, a step each, so that one that fails is cut down
//! by leaving steps out.

#[path = "model/objects.rs"]
mod objects;
#[path = "model/steps.rs"]
mod steps;
#[path = "support/server.rs"]
mod support;
#[path = "model/wire.rs"]
mod wire;
#[path = "model/world.rs"]
mod world;

use std::time::{Duration, Instant};

use world::{Random, World};

const STEPS: usize = 60;

/// How many steps went well, and what was wrong behind them.
async fn run(history: &[u64], drops: bool) -> Result<(), (usize, String)> {
    let mut world = World::new(drops);
    let mut trace = Vec::new();
    for (at, seed) in history.iter().enumerate() {
        let failed = |why: String, trace: &[String]| Err((at, format!("{}\n{why}", trace.join(", "))));
        match steps::step(&mut world, *seed).await {
            Ok((what, done)) => {
                trace.push(what);
                if let Err(why) = done {
                    return failed(why, &trace);
                }
            }
            Err(why) => return failed(why, &trace),
        }
    }
    let mut random = Random::new(history.len() as u64);
    for at in 0..world.repos.len() {
        if let Err(why) = world.check_all(at, &mut random).await {
            return Err((history.len(), format!("{}\nat the end: {why}", trace.join(", "))));
        }
    }
    Ok(())
}

fn history(seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    (0..STEPS).map(|_| random.next()).collect()
}

/// Leaves out every step without which the history still fails.
async fn shortest(mut history: Vec<u64>, drops: bool) -> (Vec<u64>, String) {
    let mut why = String::new();
    if let Err((last, first)) = run(&history, drops).await {
        history.truncate(last + 1);
        why = first;
    }
    for at in (0..history.len()).rev() {
        if at >= history.len() {
            continue;
        }
        let mut shorter = history.clone();
        shorter.remove(at);
        if let Err((last, still)) = run(&shorter, drops).await {
            shorter.truncate(last + 1);
            (history, why) = (shorter, still);
        }
    }
    (history, why)
}

async fn holds(seed: u64, drops: bool) {
    if run(&history(seed), drops).await.is_err() {
        let (steps, why) = shortest(history(seed), drops).await;
        panic!("seed {seed}, cut down to {steps:?}: {why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_show_what_the_model_shows() {
    for seed in 1..=3 {
        holds(seed, false).await;
    }
}

/// What no ref names goes whenever a repository is maintained; moments before are refused, and everything else is as ever.
#[tokio::test(flavor = "multi_thread")]
async fn random_histories_with_drops_show_what_the_model_shows() {
    for seed in 11..=14 {
        holds(seed, true).await;
    }
}

/// The judge must see a server that is wrong: here it is the model that forgets a ref, an entry or an object.
#[tokio::test(flavor = "multi_thread")]
async fn a_difference_of_any_kind_is_seen() {
    let mut world = World::new(false);
    for seed in history(1) {
        steps::step(&mut world, seed).await.expect("a step").1.expect("no difference");
    }
    let at =
        (0..world.repos.len()).find(|at| world.repos[*at].seq() > 1 && world.repos[*at].refs().len() > 1);
    let at = at.expect("some repository has a history");
    assert_eq!(world.check_all(at, &mut Random::new(1)).await, Ok(()));
    let whole = world.repos[at].clone();
    let last = whole.states.len() - 1;
    let name = whole.refs().keys().next_back().expect("it has refs").clone();
    let other = whole.refs().values().find(|id| **id != whole.refs()[&name]).cloned();
    world.repos[at].states[last].1.remove(&name);
    assert!(world.check_all(at, &mut Random::new(1)).await.is_err(), "a ref that the model does not have");
    if let Some(other) = other {
        world.repos[at].states[last].1.insert(name, other);
        assert!(world.check_all(at, &mut Random::new(1)).await.is_err(), "a ref that is elsewhere");
    }
    world.repos[at].states.clone_from(&whole.states);
    world.repos[at].states.remove(last - 1);
    assert!(world.check_all(at, &mut Random::new(1)).await.is_err(), "an entry that the model does not have");
}

/// As many histories as fit into `CAIRN_MODEL_SECONDS`, from the seed `CAIRN_MODEL_SEED` on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs for as long as it is told to"]
async fn many_random_histories_show_what_the_model_shows() {
    let number =
        |name: &str, usual: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (first, seconds) = (number("CAIRN_MODEL_SEED", 1_000), number("CAIRN_MODEL_SECONDS", 60));
    let (start, mut seed) = (Instant::now(), first);
    while start.elapsed() < Duration::from_secs(seconds) {
        holds(seed, seed % 2 == 1).await;
        seed += 1;
    }
    println!("{} histories of {STEPS} steps in {:?}", seed - first, start.elapsed());
}

//! What is likely to be asked for next, where misses follow each other through the tree: the next miss would be right behind
//! what came with the last one. Each miss of such a row brings more, so that a walk through a cold tree costs few requests.
//!
//! A tree is walked folder by folder, the files of a folder before its folders. So `ls -lR`, `grep -r`, `git diff` and all
//! others that go through a tree from its start to its end meet the folders in about this order.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::time::Instant;

use cairn_protocol::object::ObjectId;

use super::order::Candidate;
use super::scan::parent;
use crate::limits::{
    AHEAD_FOLDERS_MAX, AHEAD_GIT_PAUSE_MAX, AHEAD_ROWS_MAX, AHEAD_SLACK, BACKGROUND_BATCH,
    BACKGROUND_BATCH_BYTES, NEIGHBOUR_BYTES_MAX, NEIGHBOURS_MAX, UNKNOWN_BLOB_BYTES,
};

/// Takes a folder and its files; may break off.
pub type EachFolder<'a> = &'a mut dyn FnMut(&[u8], Vec<Candidate>) -> ControlFlow<()>;

/// The folders of a tree from one on, in order.
pub type Walk<'a> = &'a dyn Fn(&[u8], EachFolder<'_>) -> io::Result<()>;

/// By how much each miss of a row may bring more than the one before.
const GROWTH: usize = 4;

/// Misses that follow each other.
struct Row {
    /// Where what came with the last one ended.
    folder: Vec<u8>,
    misses: u32,
}

/// The misses of git, which goes through its objects in the order of their names or in that of the tree.
#[derive(Default)]
pub struct GitRow {
    misses: u32,
    ended: Option<Instant>,
}

impl GitRow {
    /// git asks for an object that is not here.
    pub fn missed(&mut self, now: Instant) {
        self.misses = if self.goes_on(now) { self.misses.saturating_add(1) } else { 0 };
    }

    /// It has what it asked for, or will not get it.
    pub fn answered(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// How many misses went before this one.
    pub fn misses(&self, now: Instant) -> u32 {
        if self.goes_on(now) { self.misses } else { 0 }
    }

    fn goes_on(&self, now: Instant) -> bool {
        self.ended.is_some_and(|ended| now < ended + AHEAD_GIT_PAUSE_MAX)
    }
}

/// What was missed lately.
#[derive(Default)]
pub struct Ahead {
    rows: VecDeque<Row>,
}

/// What is asked about a file.
pub struct Question<'a> {
    /// The tree.
    pub walk: Walk<'a>,
    /// Whether it is not here.
    pub is_missing: &'a dyn Fn(&ObjectId) -> bool,
    /// Bytes, where they are known.
    pub size: &'a dyn Fn(&ObjectId) -> Option<u64>,
}

/// How many files come with the `misses`th miss of a row; the neighbours come in any case.
fn count_of(misses: u32) -> usize {
    match misses.checked_sub(1) {
        None => 0,
        Some(power) => GROWTH.saturating_pow(power).saturating_mul(NEIGHBOURS_MAX).min(BACKGROUND_BATCH),
    }
}

impl Ahead {
    /// Reads at these paths missed, and so many of git before. Answers what should come along.
    pub fn missed(
        &mut self,
        paths: &[&[u8]],
        git_misses: u32,
        about: &Question<'_>,
    ) -> io::Result<Vec<ObjectId>> {
        let mut folders: Vec<&[u8]> = paths.iter().filter_map(|path| parent(path)).collect();
        folders.dedup();
        folders.truncate(AHEAD_ROWS_MAX);
        for folder in &folders {
            let mut place = None;
            for (at, row) in self.rows.iter().enumerate() {
                if row.folder == *folder || is_soon_after(row, folder, about)? {
                    place = Some(at);
                    break;
                }
            }
            if let Some(mut row) = place.and_then(|at| self.rows.remove(at)) {
                row.misses = row.misses.saturating_add(1);
                let (ids, end) = window(folder, count_of(row.misses), about)?;
                row.folder = end;
                self.rows.push_front(row);
                return Ok(ids);
            }
        }
        if let Some(folder) = folders.first() {
            self.rows.push_front(Row { folder: folder.to_vec(), misses: 0 });
            self.rows.truncate(AHEAD_ROWS_MAX);
        }
        match count_of(git_misses) {
            0 => Ok(Vec::new()),
            count => Ok(window(b"", count, about)?.0),
        }
    }
}

/// Whether a walk that was where a row ended comes to the folder soon. Until the row has a second miss, it has to come there
/// next: many reads here and there are not far from each other.
fn is_soon_after(row: &Row, folder: &[u8], about: &Question<'_>) -> io::Result<bool> {
    let (mut missing, mut looked, mut is_met) = (0, 0, false);
    let slack = if row.misses == 0 { 0 } else { AHEAD_SLACK };
    (about.walk)(&row.folder, &mut |at, files| {
        is_met = at == folder;
        if !is_met && at != row.folder {
            missing += files.iter().filter(|file| (about.is_missing)(&file.id)).count();
        }
        looked += 1;
        let is_far = missing > slack || looked > AHEAD_FOLDERS_MAX;
        if is_met || is_far { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(is_met)
}

/// The missing files from a folder on, and the folder where they end.
fn window(from: &[u8], count: usize, about: &Question<'_>) -> io::Result<(Vec<ObjectId>, Vec<u8>)> {
    let (mut ids, mut end) = (Vec::new(), from.to_vec());
    let (mut bytes, mut looked) = (0, 0);
    let bytes_max = (count as u64 * UNKNOWN_BLOB_BYTES).min(BACKGROUND_BATCH_BYTES);
    (about.walk)(from, &mut |at, files| {
        end.clear();
        end.extend_from_slice(at);
        for file in files.iter().filter(|file| (about.is_missing)(&file.id)) {
            let size = (about.size)(&file.id).unwrap_or(UNKNOWN_BLOB_BYTES);
            if ids.len() >= count || bytes >= bytes_max {
                return ControlFlow::Break(());
            }
            if size <= NEIGHBOUR_BYTES_MAX {
                bytes += size;
                ids.push(file.id);
            }
        }
        looked += 1;
        if looked > AHEAD_FOLDERS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok((ids, end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::cell::RefCell;
    use std::collections::HashSet;
    use std::time::Duration;

    use cairn_protocol::object::HashAlgo;

    use super::*;

    const FOLDERS: u32 = 100;
    const FILES: u32 = 50;

    fn id(folder: u32, file: u32) -> ObjectId {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&(folder * FILES + file + 1).to_be_bytes());
        ObjectId::from_bytes(HashAlgo::Sha1, &bytes).unwrap()
    }

    /// Folders `000` to `099` of 50 files each, and what of them came.
    #[derive(Default)]
    struct World {
        came: RefCell<HashSet<ObjectId>>,
        ahead: RefCell<Ahead>,
        git: RefCell<GitRow>,
    }

    impl World {
        fn miss(&self, folder: u32, file: u32, git: u32) -> usize {
            let path = format!("{folder:03}/{file}");
            let walk = |from: &[u8], each: EachFolder<'_>| {
                let first: u32 = std::str::from_utf8(from).unwrap().parse().unwrap_or(0);
                for folder in first..FOLDERS {
                    let name = format!("{folder:03}").into_bytes();
                    let of = |file| Candidate { path: name.clone(), id: id(folder, file), size: None };
                    if each(&name, (0..FILES).map(of).collect()).is_break() {
                        break;
                    }
                }
                Ok(())
            };
            let about = Question {
                walk: &walk,
                is_missing: &|id| !self.came.borrow().contains(id),
                size: &|_| Some(100),
            };
            let ids = self.ahead.borrow_mut().missed(&[path.as_bytes()], git, &about).unwrap();
            // The neighbours come in any case.
            let mut came = self.came.borrow_mut();
            came.extend((0..FILES).map(|file| id(folder, file)));
            came.extend(&ids);
            ids.len()
        }

        fn has(&self, folder: u32, file: u32) -> bool {
            self.came.borrow().contains(&id(folder, file))
        }
    }

    #[test]
    fn a_walk_through_a_tree_misses_few_times() {
        let world = World::default();
        let mut brought = Vec::new();
        for folder in 0..FOLDERS {
            for file in 0..FILES {
                if !world.has(folder, file) {
                    brought.push(world.miss(folder, file, 0));
                }
            }
        }
        assert_eq!(brought[..4], [0, NEIGHBOURS_MAX, NEIGHBOURS_MAX * GROWTH, BACKGROUND_BATCH]);
        assert!(brought.len() <= 6, "{brought:?}");
    }

    #[test]
    fn two_walks_at_once_are_two_rows() {
        let world = World::default();
        assert_eq!((world.miss(0, 0, 0), world.miss(50, 0, 0)), (0, 0));
        assert_eq!((world.miss(1, 0, 0), world.miss(51, 0, 0)), (NEIGHBOURS_MAX, NEIGHBOURS_MAX));
    }

    #[test]
    fn reads_here_and_there_bring_their_neighbours_only() {
        let world = World::default();
        for folder in [90, 10, 70, 30, 50, 80, 20, 60, 40] {
            assert_eq!(world.miss(folder, 3, 0), 0, "{folder}");
        }
    }

    #[test]
    fn git_that_asks_again_and_again_brings_more_wherever_it_asks_until_it_pauses() {
        let (world, mut now) = (World::default(), Instant::now());
        let git = |folder, now| {
            world.git.borrow_mut().missed(now);
            let misses = world.git.borrow().misses(now);
            let came = world.miss(folder, 3, misses);
            world.git.borrow_mut().answered(now);
            came
        };
        assert_eq!(git(90, now), 0);
        assert_eq!(git(40, now), NEIGHBOURS_MAX);
        now += AHEAD_GIT_PAUSE_MAX / 2;
        assert_eq!(git(70, now), NEIGHBOURS_MAX * GROWTH);
        now += AHEAD_GIT_PAUSE_MAX + Duration::from_millis(1);
        assert_eq!(git(60, now), 0);
    }
}

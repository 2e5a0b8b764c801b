//! The index's untracked cache (gitformat-index, "Untracked cache"): no folder has anything that is not tracked.
//!
//! As long as the fsmonitor vouches for it, git reads no folder of a new mount. Without it git compares the times of the
//! folders, which are left at 0 here: then it reads them all.

use cairn_protocol::object::{HashAlgo, ObjectId};

/// Times, device, inode, owner and size, as they stand in the index.
const STAT_BYTES: usize = 36;
/// What `git status` asks for unless it is told otherwise: other folders as a whole, and no empty ones.
const SHOW_OTHER_AND_HIDE_EMPTY: u32 = 6;

/// A folder with tracked files.
pub struct Folder {
    /// Its name; empty for the root.
    pub name: Vec<u8>,
    /// The places of those in it.
    pub kids: Vec<usize>,
    /// The place of its `.gitignore` among the files.
    pub ignore: Option<usize>,
}

/// The extension for the folders of a tree, the root first. `location` is where the work tree is; `ignore` what git takes
/// for the name of the `.gitignore` at a place.
pub fn encode(
    folders: &[Folder],
    algo: HashAlgo,
    location: &[u8],
    ignore: &dyn Fn(usize) -> Option<ObjectId>,
) -> Vec<u8> {
    let system = rustix::system::uname();
    let ident = [b"Location ", location, b", system ", system.sysname().to_bytes(), b"\0"].concat();
    let mut out = varint(ident.len() as u64);
    out.extend_from_slice(&ident);
    // Neither info/exclude nor core.excludesFile: where git finds one, it starts anew.
    out.resize(out.len() + 2 * STAT_BYTES, 0);
    out.extend_from_slice(&SHOW_OTHER_AND_HIDE_EMPTY.to_be_bytes());
    out.resize(out.len() + 2 * algo.bytes(), 0);
    out.extend_from_slice(b".gitignore\0");

    let order = depth_first(folders);
    out.extend_from_slice(&varint(order.len() as u64));
    for folder in &order {
        out.extend_from_slice(&varint(0));
        out.extend_from_slice(&varint(folder.kids.len() as u64));
        out.extend_from_slice(&folder.name);
        out.push(0);
    }
    let all = order.len();
    bitmap(&mut out, all, &|_| true);
    bitmap(&mut out, 0, &|_| false);
    bitmap(&mut out, all, &|place| order.get(place).is_some_and(|folder| folder.ignore.is_some()));
    out.resize(out.len() + all * STAT_BYTES, 0);
    for place in order.iter().filter_map(|folder| folder.ignore) {
        // One that git does not expect only makes it read the folder.
        let id = ignore(place).unwrap_or(ObjectId::null(algo));
        out.extend_from_slice(id.as_bytes());
    }
    out.push(0);
    out
}

/// Each folder in front of those in it, which are in the order of their names.
fn depth_first(folders: &[Folder]) -> Vec<&Folder> {
    let mut order = Vec::with_capacity(folders.len());
    let mut todo: Vec<&Folder> = folders.first().into_iter().collect();
    while let Some(folder) = todo.pop() {
        order.push(folder);
        let mut kids: Vec<&Folder> = folder.kids.iter().filter_map(|kid| folders.get(*kid)).collect();
        kids.sort_by(|a, b| b.name.cmp(&a.name));
        todo.extend(kids);
    }
    order
}

/// git's variable width: seven bits a byte, the highest first, each further byte counting from where the shorter ones end.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = vec![(value & 0x7f) as u8];
    while value >> 7 != 0 {
        value = (value >> 7) - 1;
        bytes.push(0x80 | (value & 0x7f) as u8);
    }
    bytes.reverse();
    bytes
}

/// An EWAH bitmap (gitformat-bitmap, appendix A): runs of equal words, each followed by words that are as they are.
pub fn bitmap(out: &mut Vec<u8>, bits: usize, is_set: &dyn Fn(usize) -> bool) {
    let word = |at: usize| {
        let set = (0..64).filter(|bit| at * 64 + bit < bits && is_set(at * 64 + bit));
        set.fold(0_u64, |word, bit| word | 1 << bit)
    };
    let count = bits.div_ceil(64);
    let mut words = Vec::new();
    let mut last = 0;
    let mut at = 0;
    while at < count || words.is_empty() {
        let run_bit = at < count && word(at) == u64::MAX;
        let run_word = if run_bit { u64::MAX } else { 0 };
        let run = (at..count).take_while(|at| word(*at) == run_word).count();
        at += run;
        let literal: Vec<u64> = (at..count).map(word).take_while(|w| *w != 0 && *w != u64::MAX).collect();
        at += literal.len();
        last = words.len();
        words.push(u64::from(run_bit) | (run as u64) << 1 | (literal.len() as u64) << 33);
        words.extend_from_slice(&literal);
    }
    out.extend_from_slice(&(bits as u32).to_be_bytes());
    out.extend_from_slice(&(words.len() as u32).to_be_bytes());
    words.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
    out.extend_from_slice(&(last as u32).to_be_bytes());
}

//! Trees: all rules and all links in one pass.

use super::names::{self, GITATTRIBUTES, GITIGNORE, GITMODULES, MAILMAP};
use super::{Finding, MsgId, TREE_NAME_BYTES_MAX};
use crate::object::parse::{RawEntry, TreeEntry, TreeIter};
use crate::object::{HashAlgo, Kind};

/// A file whose content has rules of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Special {
    /// `.gitmodules`: see [`super::check_gitmodules`].
    GitModules,
    /// `.gitattributes`: see [`super::check_gitattributes`].
    GitAttributes,
}

impl Special {
    /// Checks the content of such a file.
    pub fn check(self, data: &[u8], found: &mut dyn FnMut(Finding)) {
        match self {
            Self::GitModules => super::check_gitmodules(data, found),
            Self::GitAttributes => super::check_gitattributes(data, found),
        }
    }

    /// The finding where the object under such a name is no blob.
    pub fn not_a_blob(self) -> Finding {
        match self {
            Self::GitModules => Finding::new(MsgId::GitmodulesBlob, "non-blob found at .gitmodules"),
            Self::GitAttributes => Finding::new(MsgId::GitattributesBlob, "non-blob found at .gitattributes"),
        }
    }

    /// The finding where there is no object under the id.
    pub fn missing(self) -> Finding {
        match self {
            Self::GitModules => Finding::new(MsgId::GitmodulesMissing, "unable to read .gitmodules blob"),
            Self::GitAttributes => {
                Finding::new(MsgId::GitattributesMissing, "unable to read .gitattributes blob")
            }
        }
    }
}

/// What a pass over a tree tells. Methods that are not needed may be left out.
pub trait TreeVisitor {
    /// A rule is broken. Each rule is told once per tree.
    fn found(&mut self, _finding: Finding) {}
    /// The tree names an object, of the given kind.
    fn link(&mut self, _id: &[u8], _kind: Kind) {}
    /// The object under `id` must be a blob that passes [`Special::check`].
    fn special(&mut self, _special: Special, _id: &[u8]) {}
}

struct Closures<'a, F, L>(&'a mut F, &'a mut L);

impl<F: FnMut(Finding), L: FnMut(&[u8], Kind)> TreeVisitor for Closures<'_, F, L> {
    fn found(&mut self, finding: Finding) {
        self.0(finding);
    }
    #[inline]
    fn link(&mut self, id: &[u8], kind: Kind) {
        self.1(id, kind);
    }
}

/// Checks a tree and tells its links in one pass. Where the tree turns out broken, the links before that place have
/// been told.
#[inline]
pub fn check_tree_and_links<F, L>(algo: HashAlgo, data: &[u8], found: &mut F, link: &mut L)
where
    F: FnMut(Finding),
    L: FnMut(&[u8], Kind),
{
    visit_tree(algo, data, &mut Closures(found, link));
}

/// Finds the files of a tree whose content has rules. Their objects need not be blobs: that is one of the rules.
pub fn dot_files(algo: HashAlgo, tree: &[u8], each: &mut dyn FnMut(Special, &[u8])) {
    let mut entries = TreeIter::new(algo, tree);
    while let Some(Ok(raw)) = entries.next_raw() {
        if names::is_suspect(raw.entry.name) || raw.separator {
            specials(&raw, &mut |special, link| {
                if !link {
                    each(special, raw.entry.id);
                }
            });
        }
    }
}

/// Calls `each` with what an entry's name may be taken for, and whether the entry is a symbolic link.
fn specials(raw: &RawEntry<'_>, each: &mut dyn FnMut(Special, bool)) {
    let (name, is_link) = (raw.entry.name, raw.entry.is_symlink());
    if GITMODULES.is(name) || raw.separator && after_backslashes(name).any(|part| GITMODULES.is_ntfs(part)) {
        each(Special::GitModules, is_link);
    }
    if GITATTRIBUTES.is(name) {
        each(Special::GitAttributes, is_link);
    }
}

/// The rest of `name` behind each of its backslashes, which separate folders on Windows.
fn after_backslashes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.iter().enumerate().filter(|(_, byte)| **byte == b'\\').filter_map(|(at, _)| name.get(at + 1..))
}

/// Rules that a tree breaks, as a set of bits: each is told once, however often it is broken.
#[derive(Clone, Copy, Default)]
struct Broken(u32);

/// In the order in which they are told.
const RULES: [(MsgId, &str); 15] = [
    (MsgId::GitmodulesSymlink, ".gitmodules is a symbolic link"),
    (MsgId::GitattributesSymlink, ".gitattributes is a symlink"),
    (MsgId::GitignoreSymlink, ".gitignore is a symlink"),
    (MsgId::MailmapSymlink, ".mailmap is a symlink"),
    (MsgId::BadTree, "cannot be parsed as a tree"),
    (MsgId::NullSha1, "contains entries pointing to null sha1"),
    (MsgId::FullPathname, "contains full pathnames"),
    (MsgId::HasDot, "contains '.'"),
    (MsgId::HasDotdot, "contains '..'"),
    (MsgId::HasDotgit, "contains '.git'"),
    (MsgId::ZeroPaddedFilemode, "contains zero-padded file modes"),
    (MsgId::BadFilemode, "contains bad file modes"),
    (MsgId::DuplicateEntries, "contains duplicate file entries"),
    (MsgId::TreeNotSorted, "not properly sorted"),
    (MsgId::LargePathname, "contains excessively large pathname"),
];

const fn bit(id: MsgId) -> u32 {
    let mut at = 0;
    while at < RULES.len() {
        if RULES[at].0 as u32 == id as u32 {
            return 1 << at;
        }
        at += 1;
    }
    panic!("a rule of trees is missing in RULES")
}

impl Broken {
    #[inline]
    fn set_if(&mut self, broken: bool, bit: u32) {
        self.0 |= if broken { bit } else { 0 };
    }

    #[cold]
    fn tell(self, found: &mut impl FnMut(Finding)) {
        let told = RULES.iter().enumerate().filter(|(at, _)| self.0 & 1 << at != 0);
        told.for_each(|(_, (id, detail))| found(Finding::new(*id, detail)));
    }
}

/// Checks a tree and tells all that there is to know of it in one pass, without allocation unless files and folders
/// of similar names (`a`, `a.c`) stand in it.
#[inline]
pub fn visit_tree<V: TreeVisitor>(algo: HashAlgo, data: &[u8], visitor: &mut V) {
    let mut broken = Broken::default();
    let mut order = Order::default();
    let mut entries = TreeIter::new(algo, data);
    let mut next = entries.next_raw();
    while let Some(got) = next {
        let Ok(raw) = got else {
            broken.set_if(true, const { bit(MsgId::BadTree) });
            break;
        };
        let entry = raw.entry;
        broken.set_if(raw.zero_padded, const { bit(MsgId::ZeroPaddedFilemode) });
        broken.set_if(is_null(entry.id), const { bit(MsgId::NullSha1) });
        broken.set_if(entry.name.len() > TREE_NAME_BYTES_MAX, const { bit(MsgId::LargePathname) });
        if raw.separator || names::is_suspect(entry.name) {
            check_name(&raw, &mut broken, visitor);
        }
        if let Some(kind) = entry.link_kind() {
            visitor.link(entry.id, kind);
        }
        next = entries.next_raw();
        // git gives up on a broken next entry before it looks at these two.
        if !matches!(next, Some(Err(_))) {
            broken.set_if(!is_usual(entry.mode), const { bit(MsgId::BadFilemode) });
            order.check(&entry, &mut broken);
        }
    }
    if broken.0 != 0 {
        broken.tell(&mut |finding| visitor.found(finding));
    }
}

#[inline]
fn is_usual(mode: u32) -> bool {
    matches!(mode, 0o100_644 | 0o040_000 | 0o100_755 | 0o120_000 | 0o160_000)
}

#[inline]
fn is_null(id: &[u8]) -> bool {
    id.first() == Some(&0) && id.iter().all(|byte| *byte == 0)
}

/// The rules for names that [`names::is_suspect`] or a separator has pointed out.
#[cold]
fn check_name<V: TreeVisitor>(raw: &RawEntry<'_>, broken: &mut Broken, visitor: &mut V) {
    let entry = raw.entry;
    let name = entry.name;
    broken.set_if(name == b".", const { bit(MsgId::HasDot) });
    broken.set_if(name == b"..", const { bit(MsgId::HasDotdot) });
    if raw.separator {
        broken.set_if(name.contains(&b'/'), const { bit(MsgId::FullPathname) });
        broken.set_if(after_backslashes(name).any(names::is_ntfs_dotgit), const { bit(MsgId::HasDotgit) });
    }
    broken.set_if(names::is_dotgit(name), const { bit(MsgId::HasDotgit) });
    specials(raw, &mut |special, is_link| match (special, is_link) {
        (Special::GitModules, true) => broken.set_if(true, const { bit(MsgId::GitmodulesSymlink) }),
        (Special::GitAttributes, true) => broken.set_if(true, const { bit(MsgId::GitattributesSymlink) }),
        (special, false) => visitor.special(special, entry.id),
    });
    if entry.is_symlink() {
        broken.set_if(GITIGNORE.is(name), const { bit(MsgId::GitignoreSymlink) });
        broken.set_if(MAILMAP.is(name), const { bit(MsgId::MailmapSymlink) });
    }
}

/// Watches the order of entries: that of their paths, in which a folder's name ends with a slash.
///
/// Equal names need not be neighbours: `a`, `a.b`, `a/` is well sorted although the file `a` and the folder `a` clash.
/// So files are kept on a stack while a folder of the same name may still follow.
#[derive(Default)]
struct Order<'a> {
    before: Option<(&'a [u8], bool)>,
    files: Vec<&'a [u8]>,
}

impl<'a> Order<'a> {
    #[inline]
    fn check(&mut self, entry: &TreeEntry<'a>, broken: &mut Broken) {
        let this = (entry.name, entry.is_tree());
        let Some(before) = self.before.replace(this) else {
            return;
        };
        // Nearly all neighbours differ before either ends.
        let len = before.0.len().min(this.0.len());
        match before.0.get(..len).cmp(&this.0.get(..len)) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Greater => broken.set_if(true, const { bit(MsgId::TreeNotSorted) }),
            std::cmp::Ordering::Equal => self.check_prefix(before, this, broken),
        }
    }

    /// One name begins with the other.
    fn check_prefix(&mut self, before: (&'a [u8], bool), this: (&'a [u8], bool), broken: &mut Broken) {
        let len = before.0.len().min(this.0.len());
        if before.0.len() == this.0.len() {
            broken.set_if(true, const { bit(MsgId::DuplicateEntries) });
            return;
        }
        // The byte at which they differ; the end of a folder's name counts as a slash, that of a file's as 0.
        let at = |(name, is_tree): (&[u8], bool)| match name.get(len) {
            Some(byte) => *byte,
            None if is_tree => b'/',
            None => 0,
        };
        let (first, second) = (at(before), at(this));
        let sorts_before_slash = |byte: u8| 0 < byte && byte < b'/';
        if first == 0 && sorts_before_slash(second) {
            self.files.push(before.0);
        } else if second == b'/' && sorts_before_slash(first) && self.clashes(this.0) {
            broken.set_if(true, const { bit(MsgId::DuplicateEntries) });
            return;
        }
        broken.set_if(first >= second, const { bit(MsgId::TreeNotSorted) });
    }

    /// Whether the folder `name` clashes with a file on the stack; drops files that no folder can clash with any more.
    fn clashes(&mut self, name: &[u8]) -> bool {
        while let Some(file) = self.files.pop() {
            match name.strip_prefix(file) {
                None => {}
                Some([]) => return true,
                Some([next, ..]) if *next < b'/' => {
                    self.files.push(file);
                    break;
                }
                Some(_) => {}
            }
        }
        false
    }
}

//! Which conversion a path has: git's settings, and the attribute files of the mounted commit.
//!
//! They are read once, when a tree is mounted for the first time, and kept: what is shown must not change behind the back
//! of who reads it, and a remount asks nobody.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use gix_attributes::Search;
use gix_attributes::StateRef;
use gix_attributes::search::{MetadataCollection, Outcome};
use gix_glob::pattern::Case;
use serde::{Deserialize, Serialize};

use super::convert::{Conversion, Crlf};
use crate::config::write_whole;
use crate::limits::ATTRIBUTES_BYTES_MAX;

/// The attributes that matter here, in the order in which they are asked for.
const NAMES: [&str; 6] = ["text", "crlf", "eol", "ident", "working-tree-encoding", "filter"];

/// How `git config --get` ends where a key is not set.
const UNSET: i32 = 1;

/// What conversions follow from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// `core.autocrlf`: `true`, `input`, or anything else for no.
    pub autocrlf: String,
    /// `core.eol`.
    pub eol: String,
    /// The attribute files outside of the tree, the weakest first.
    pub global: Vec<Vec<u8>>,
    /// The attribute files of the tree: the folder, which ends with a slash unless it is the root, and the content.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Sources {
    /// What an earlier mount kept.
    pub fn load(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(raw) => Ok(Some(serde_json::from_slice(&raw)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps it for later mounts.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        write_whole(path, &serde_json::to_vec(self)?)
    }

    /// Asks git for the settings that hold in a git dir. Where there is no git, none do.
    pub fn ask(gitdir: &Path) -> Self {
        let git = |args: &[&str]| {
            let mut command = Command::new("git");
            command.arg("--git-dir").arg(gitdir).args(args).env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
            let out = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
            Some((out.status.code(), String::from_utf8_lossy(&out.stdout).trim().to_owned()))
        };
        let canonical = |key: &str| {
            let value = match git(&["config", "--type=bool", "--get", key]) {
                Some((Some(0 | UNSET), value)) => Some(value),
                _ => git(&["config", "--get", key]).map(|(_, value)| value),
            };
            value.unwrap_or_default().to_ascii_lowercase()
        };
        let outside = |name: &str| {
            let paths = git(&["var", name]).filter(|(code, _)| *code == Some(0)).unwrap_or_default().1;
            let files = paths.lines().filter_map(|path| std::fs::read(path).ok());
            files.filter(|content| content.len() <= ATTRIBUTES_BYTES_MAX).collect::<Vec<_>>()
        };
        // A mount waits for this: the questions are asked at the same time.
        std::thread::scope(|scope| {
            let autocrlf = scope.spawn(|| canonical("core.autocrlf"));
            let eol = scope.spawn(|| canonical("core.eol"));
            let system = scope.spawn(|| outside("GIT_ATTR_SYSTEM"));
            let mut global = outside("GIT_ATTR_GLOBAL");
            global.splice(0..0, system.join().unwrap_or_default());
            let (autocrlf, eol) = (autocrlf.join().unwrap_or_default(), eol.join().unwrap_or_default());
            Self { autocrlf, eol, global, files: BTreeMap::new() }
        })
    }

    fn is_text_crlf(&self) -> bool {
        match self.autocrlf.as_str() {
            "true" => true,
            "input" => false,
            _ => self.eol == "crlf",
        }
    }
}

/// The rules of the folder that is being walked, and of those above it.
pub struct Rules<'a> {
    sources: &'a Sources,
    search: Search,
    names: MetadataCollection,
    outcome: Outcome,
}

impl<'a> Rules<'a> {
    /// The rules outside of the tree.
    pub fn new(sources: &'a Sources) -> io::Result<Self> {
        let mut names = MetadataCollection::default();
        let none: [&Path; 0] = [];
        let mut search = Search::new_globals(none, &mut Vec::new(), &mut names)?;
        for content in &sources.global {
            search.add_patterns_buffer(content, "outside".into(), None, &mut names, true)?;
        }
        let mut rules = Self { sources, search, names, outcome: Outcome::default() };
        rules.outcome.initialize_with_selection(&rules.names, NAMES);
        Ok(rules)
    }

    /// Whether no path can have a conversion.
    pub fn are_empty(sources: &Sources) -> bool {
        sources.files.is_empty()
            && sources.global.is_empty()
            && !matches!(sources.autocrlf.as_str(), "true" | "input")
    }

    /// Goes into a folder, whose path is empty or ends with a slash. Answers whether [`Rules::leave`] is due.
    pub fn enter(&mut self, folder: &[u8]) -> io::Result<bool> {
        let found = std::str::from_utf8(folder).ok().and_then(|folder| self.sources.files.get(folder));
        let Some(content) = found else { return Ok(false) };
        let source = [folder, b".gitattributes"].concat();
        let source = Path::new(std::ffi::OsStr::from_bytes(&source)).to_owned();
        let root = Some(Path::new(""));
        self.search.add_patterns_buffer(content, source, root, &mut self.names, folder.is_empty())?;
        self.outcome.initialize_with_selection(&self.names, NAMES);
        Ok(true)
    }

    /// Leaves a folder that has rules of its own.
    pub fn leave(&mut self) {
        self.search.pop_pattern_list();
    }

    /// The conversion of a file, and the filter that it names.
    pub fn of(&mut self, path: &[u8]) -> (Conversion, Option<String>) {
        let states = self.states(path);
        let [text, crlf, eol, ident, encoding, filter] = &states[..] else { return Default::default() };
        let encoding = encoding.value().filter(|name| !is_utf8(name));
        let conversion = Conversion {
            crlf: self.crlf_of(text, crlf, eol),
            ident: *ident == State::Set,
            encoding: encoding.map(str::to_owned),
        };
        (conversion, filter.value().map(str::to_owned))
    }

    /// Whether git may store other bytes than those in the work tree.
    pub fn may_be_stored_otherwise(&mut self, path: &[u8]) -> bool {
        let states = self.states(path);
        let [text, crlf, eol, ident, encoding, _] = &states[..] else { return false };
        let is_text = match if text.is_line_action() { text } else { crlf } {
            State::Unset => false,
            action if action.is_line_action() => true,
            _ => {
                matches!(eol.value(), Some("lf" | "crlf"))
                    || matches!(self.sources.autocrlf.as_str(), "true" | "input")
            }
        };
        is_text || *ident == State::Set || encoding.value().is_some_and(|name| !is_utf8(name))
    }

    fn states(&mut self, path: &[u8]) -> Vec<State> {
        self.outcome.reset();
        self.search.pattern_matching_relative_path(
            path.into(),
            Case::Sensitive,
            Some(false),
            &mut self.outcome,
        );
        self.outcome.iter_selected().map(|found| State::from(found.assignment.state)).collect()
    }

    /// As git's `convert_attrs` decides.
    fn crlf_of(&self, text: &State, crlf: &State, eol: &State) -> Option<Crlf> {
        let native = if self.sources.is_text_crlf() { Some(Crlf::Always) } else { None };
        let action = if text.is_line_action() { text } else { crlf };
        match (action, eol.value()) {
            (State::Unset, _) => None,
            (State::Value(word), end) if word == "auto" => match end {
                Some("lf") => None,
                Some("crlf") => Some(Crlf::Auto),
                _ => native.map(|_| Crlf::Auto),
            },
            (_, Some("lf")) => None,
            (_, Some("crlf")) => Some(Crlf::Always),
            (State::Value(word), _) if word == "input" => None,
            (State::Set, _) => native,
            _ => (self.sources.autocrlf == "true").then_some(Crlf::Auto),
        }
    }
}

fn is_utf8(name: &str) -> bool {
    name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("utf8")
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Set,
    Unset,
    Value(String),
    Unspecified,
}

impl From<StateRef<'_>> for State {
    fn from(state: StateRef<'_>) -> Self {
        match state {
            StateRef::Set => Self::Set,
            StateRef::Unset => Self::Unset,
            StateRef::Value(value) => Self::Value(value.as_bstr().to_string()),
            StateRef::Unspecified => Self::Unspecified,
        }
    }
}

impl State {
    fn value(&self) -> Option<&str> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }

    /// Whether it says something about line ends: other values of `text` say nothing.
    fn is_line_action(&self) -> bool {
        match self {
            Self::Set | Self::Unset => true,
            Self::Value(value) => value == "auto" || value == "input",
            Self::Unspecified => false,
        }
    }
}

//! Which entries `.gitattributes` keeps out of archives: `export-ignore` (gitattributes, "Creating an archive").
//!
//! Read from the archived tree alone, as `git archive` does. Macros that set the attribute are not followed.

use gix_attributes::StateRef;
use gix_attributes::parse::Kind;
use gix_glob::Pattern;
use gix_glob::pattern::Case;
use gix_glob::wildmatch::Mode;

/// The name of the files.
pub const FILE_NAME: &[u8] = b".gitattributes";
const ATTRIBUTE: &str = "export-ignore";

/// The rules of the folders above the entry that is looked at.
#[derive(Default)]
pub struct ExportIgnore {
    folders: Vec<Rules>,
}

struct Rules {
    /// How deep the entries of the folder lie.
    depth: usize,
    /// Bytes of paths before the part that is relative to the folder.
    base_len: usize,
    rules: Vec<(Pattern, bool)>,
}

impl ExportIgnore {
    /// Takes in the file of a folder whose entries are at `depth`. Paths of what is asked start with the folder's own,
    /// which takes `base_len` bytes, slash included.
    pub fn enter(&mut self, depth: usize, base_len: usize, file: &[u8]) {
        let mut rules = Vec::new();
        for (kind, attributes, _) in gix_attributes::parse(file).filter_map(Result::ok) {
            let Kind::Pattern(pattern) = kind else { continue };
            let named = attributes.filter_map(Result::ok).filter(|named| named.name.as_str() == ATTRIBUTE);
            if let Some(last) = named.last() {
                rules.push((pattern, matches!(last.state, StateRef::Set)));
            }
        }
        if !rules.is_empty() {
            self.folders.push(Rules { depth, base_len, rules });
        }
    }

    /// Whether the entry at `depth` is left out. Entries are asked in the order of a walk.
    pub fn is_ignored(&mut self, depth: usize, path: &[u8], is_folder: bool) -> bool {
        while self.folders.pop_if(|folder| folder.depth > depth).is_some() {}
        let found = self.folders.iter().rev().find_map(|folder| {
            let path = path.get(folder.base_len..)?;
            let name_at = path.iter().rposition(|byte| *byte == b'/').map(|slash| slash + 1);
            let matches = |pattern: &Pattern| {
                let mode = Mode::NO_MATCH_SLASH_LITERAL;
                pattern.matches_repo_relative_path(
                    path.into(),
                    name_at,
                    Some(is_folder),
                    Case::Sensitive,
                    mode,
                )
            };
            folder.rules.iter().rev().find(|(pattern, _)| matches(pattern)).map(|(_, is_ignored)| *is_ignored)
        });
        found.unwrap_or(false)
    }
}

//! The rules that objects must obey to be let in: git's fsck, with git's message ids and severities.
//!
//! `git receive-pack` with `fsckObjects` checks *strictly*: what git's table calls a warning stops a push there, and
//! only infos pass. Findings carry the strict severity, so that nothing gets in here that stock git keeps out.

mod config;
mod headers;
mod modules;
mod names;
mod tree;
mod url;

use std::borrow::Cow;
use std::fmt;

use super::{HashAlgo, Kind};

pub use modules::{check_gitattributes, check_gitmodules};
pub use tree::{Special, TreeVisitor, check_tree_and_links, dot_files, visit_tree};

/// The longest line of a `.gitattributes` that git reads, in bytes: one less.
pub const GITATTRIBUTES_LINE_BYTES: usize = 2048;
/// The largest `.gitattributes` that git reads, in bytes.
pub const GITATTRIBUTES_BYTES_MAX: usize = 100 << 20;
/// The largest `.gitmodules` that we check, in bytes; larger ones are refused. git's bound is its memory.
pub const GITMODULES_BYTES_MAX: usize = 100 << 20;
/// The longest name in a tree that passes, in bytes.
pub const TREE_NAME_BYTES_MAX: usize = 4096;
/// How much of foreign text a finding quotes, in bytes.
const QUOTE_BYTES_MAX: usize = 200;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth a mention.
    Info,
    /// git's table tolerates it outside strict checks.
    Warn,
    /// The object is wrong.
    Error,
    /// The object is wrong and the rest of it could not be checked.
    Fatal,
}

impl Severity {
    /// Whether an object with such a finding must not get in.
    pub fn stops(self) -> bool {
        self >= Self::Error
    }
}

macro_rules! message_ids {
    ($($variant:ident $name:literal $severity:ident,)*) => {
        /// What can be wrong with an object, by git's names (`git help fsck`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MsgId {
            $(#[doc = concat!("git's `", $name, "`.")] $variant,)*
        }

        impl MsgId {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// git's name for it, in camel case.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The severity in git's table, before strictness.
            pub const fn default_severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }
        }
    };
}

message_ids! {
    NulInHeader "nulInHeader" Fatal,
    UnterminatedHeader "unterminatedHeader" Fatal,
    BadDate "badDate" Error,
    BadDateOverflow "badDateOverflow" Error,
    BadEmail "badEmail" Error,
    BadName "badName" Error,
    BadObjectSha1 "badObjectSha1" Error,
    BadParentSha1 "badParentSha1" Error,
    BadTimezone "badTimezone" Error,
    BadTree "badTree" Error,
    BadTreeSha1 "badTreeSha1" Error,
    BadType "badType" Error,
    DuplicateEntries "duplicateEntries" Error,
    GitattributesBlob "gitattributesBlob" Error,
    GitattributesLarge "gitattributesLarge" Error,
    GitattributesLineLength "gitattributesLineLength" Error,
    GitattributesMissing "gitattributesMissing" Error,
    GitmodulesBlob "gitmodulesBlob" Error,
    GitmodulesLarge "gitmodulesLarge" Error,
    GitmodulesMissing "gitmodulesMissing" Error,
    GitmodulesName "gitmodulesName" Error,
    GitmodulesPath "gitmodulesPath" Error,
    GitmodulesSymlink "gitmodulesSymlink" Error,
    GitmodulesUpdate "gitmodulesUpdate" Error,
    GitmodulesUrl "gitmodulesUrl" Error,
    MissingAuthor "missingAuthor" Error,
    MissingCommitter "missingCommitter" Error,
    MissingEmail "missingEmail" Error,
    MissingNameBeforeEmail "missingNameBeforeEmail" Error,
    MissingObject "missingObject" Error,
    MissingSpaceBeforeDate "missingSpaceBeforeDate" Error,
    MissingSpaceBeforeEmail "missingSpaceBeforeEmail" Error,
    MissingTag "missingTag" Error,
    MissingTagEntry "missingTagEntry" Error,
    MissingTree "missingTree" Error,
    MissingType "missingType" Error,
    MissingTypeEntry "missingTypeEntry" Error,
    MultipleAuthors "multipleAuthors" Error,
    TreeNotSorted "treeNotSorted" Error,
    UnknownType "unknownType" Error,
    ZeroPaddedDate "zeroPaddedDate" Error,
    EmptyName "emptyName" Warn,
    FullPathname "fullPathname" Warn,
    HasDot "hasDot" Warn,
    HasDotdot "hasDotdot" Warn,
    HasDotgit "hasDotgit" Warn,
    LargePathname "largePathname" Warn,
    NullSha1 "nullSha1" Warn,
    NulInCommit "nulInCommit" Warn,
    ZeroPaddedFilemode "zeroPaddedFilemode" Warn,
    BadFilemode "badFilemode" Info,
    BadTagName "badTagName" Info,
    GitattributesSymlink "gitattributesSymlink" Info,
    GitignoreSymlink "gitignoreSymlink" Info,
    GitmodulesParse "gitmodulesParse" Info,
    MailmapSymlink "mailmapSymlink" Info,
    MissingTaggerEntry "missingTaggerEntry" Info,
}

impl MsgId {
    /// The severity that counts: git's table, made strict as it is for a push.
    pub const fn severity(self) -> Severity {
        match self.default_severity() {
            Severity::Warn => Severity::Error,
            severity => severity,
        }
    }
}

/// One rule that an object breaks. Displays like git's report does: `hasDotgit: contains '.git'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub id: MsgId,
    /// How bad it is.
    pub severity: Severity,
    /// What was seen, for people. It may quote the object, made printable and short.
    pub detail: Cow<'static, str>,
}

impl Finding {
    /// A finding of the severity that its rule has.
    pub fn new(id: MsgId, detail: &'static str) -> Self {
        Self { id, severity: id.severity(), detail: Cow::Borrowed(detail) }
    }

    /// The same with a quotation from the object.
    fn quoting(id: MsgId, detail: &str, quote: &[u8]) -> Self {
        let quote = quote.get(..QUOTE_BYTES_MAX).unwrap_or(quote).escape_ascii();
        Self { id, severity: id.severity(), detail: Cow::Owned(format!("{detail}: {quote}")) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.id.name(), self.detail)
    }
}

/// Checks an object. Blobs pass: they have rules only under the names that [`dot_files`] looks for.
pub fn check(algo: HashAlgo, kind: Kind, data: &[u8], found: &mut dyn FnMut(Finding)) {
    match kind {
        Kind::Commit => headers::check_commit(algo, data, found),
        Kind::Tag => headers::check_tag(algo, data, found),
        Kind::Tree => check_tree_and_links(algo, data, &mut |finding| found(finding), &mut |_, _| {}),
        Kind::Blob => {}
    }
}

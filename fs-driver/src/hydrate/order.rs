//! The order in which the background brings files: what agents and build tools read first comes first.

use cairn_protocol::object::ObjectId;

use crate::limits::UNKNOWN_BLOB_BYTES;

/// A file of the mounted tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// From the root of the tree.
    pub path: Vec<u8>,
    /// Its content.
    pub id: ObjectId,
    /// Its size in bytes, where it is known.
    pub size: Option<u64>,
}

/// Files that say what a project is made of and how it is built.
const MANIFESTS: &[&str] = &[
    "build.gradle",
    "build.sbt",
    "cargo.lock",
    "cargo.toml",
    "cmakelists.txt",
    "composer.json",
    "composer.lock",
    "configure.ac",
    "deno.json",
    "dockerfile",
    "gemfile",
    "gemfile.lock",
    "go.mod",
    "go.sum",
    "go.work",
    "justfile",
    "makefile",
    "meson.build",
    "mix.exs",
    "package-lock.json",
    "package.json",
    "package.swift",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "pom.xml",
    "poetry.lock",
    "pyproject.toml",
    "requirements.txt",
    "setup.cfg",
    "setup.py",
    "tsconfig.json",
    "turbo.json",
    "uv.lock",
    "yarn.lock",
];
const CONFIGURATION: &[&str] = &["cfg", "conf", "ini", "json", "toml", "yaml", "yml"];
const SOURCES: &[&str] = &[
    "bash", "c", "cc", "clj", "cpp", "cs", "css", "dart", "el", "erl", "ex", "exs", "go", "graphql", "h",
    "hh", "hpp", "hs", "html", "java", "js", "jsx", "kt", "lua", "m", "ml", "mjs", "mts", "nix", "php", "pl",
    "pm", "proto", "py", "r", "rb", "rs", "scala", "scss", "sh", "sql", "svelte", "swift", "tcl", "ts",
    "tsx", "vue", "zig",
];
const BINARIES: &[&str] = &[
    "7z", "a", "bin", "bmp", "bz2", "dll", "dylib", "eot", "exe", "gif", "gz", "ico", "jar", "jpeg", "jpg",
    "mov", "mp3", "mp4", "o", "otf", "parquet", "pdf", "png", "psd", "so", "tar", "tgz", "ttf", "wasm",
    "wav", "webm", "webp", "woff", "woff2", "xz", "zip", "zst",
];
/// Text of more bytes is data.
const SOURCE_BYTES_MAX: u64 = 512 << 10;

/// What git itself reads from the tree before it answers anything.
fn is_git_file(name: &str) -> bool {
    matches!(name, ".gitignore" | ".gitattributes" | ".gitmodules" | ".mailmap")
}

/// The class of a file; lower comes earlier.
pub fn class(path: &[u8], size: Option<u64>) -> u8 {
    let text = String::from_utf8_lossy(path).to_ascii_lowercase();
    let (folder, name) = text.rsplit_once('/').map_or(("", text.as_str()), |(folder, name)| (folder, name));
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let is_root = folder.is_empty();
    let is_large = size.is_some_and(|size| size > SOURCE_BYTES_MAX);
    if is_git_file(name) {
        return 0;
    }
    if is_root && !is_large && (name.starts_with('.') || MANIFESTS.contains(&name)) {
        return 1;
    }
    if MANIFESTS.contains(&name) || name.starts_with("readme") || matches!(name, "agents.md" | "claude.md") {
        return 2;
    }
    if BINARIES.contains(&extension) || is_large {
        return 9;
    }
    if is_root || folder.starts_with('.') && CONFIGURATION.contains(&extension) {
        return 3;
    }
    let is_test = ["test", "fixture", "vendor", "third_party", "node_modules", "snapshot"];
    let is_test = is_test.iter().any(|word| folder.contains(word));
    match (SOURCES.contains(&extension), CONFIGURATION.contains(&extension), is_test) {
        (true, _, false) => 4,
        (_, true, false) => 5,
        (_, _, false) => 6,
        (true, ..) => 7,
        _ => 8,
    }
}

/// Puts files in order: those of `first` in its own order, then by class, then small ones before large ones.
pub fn order(files: &mut [Candidate], first: &dyn Fn(&ObjectId) -> Option<u32>) {
    files.sort_by_cached_key(|file| {
        let size = file.size.unwrap_or(UNKNOWN_BLOB_BYTES);
        // Folders stay together: within a class, sizes count in steps of powers of four.
        (
            first(&file.id).unwrap_or(u32::MAX),
            class(&file.path, file.size),
            size.max(1).ilog2() / 2,
            file.path.clone(),
        )
    });
}

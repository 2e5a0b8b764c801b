//! The order in which the background brings files: what agents and build tools read first comes first.

use std::collections::HashMap;

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
    "build.zig",
    "bun.lock",
    "cargo.lock",
    "cargo.toml",
    "cmakelists.txt",
    "composer.json",
    "composer.lock",
    "configure.ac",
    "deno.json",
    "deno.lock",
    "dockerfile",
    "flake.lock",
    "flake.nix",
    "gemfile",
    "gemfile.lock",
    "go.mod",
    "go.sum",
    "go.work",
    "justfile",
    "makefile",
    "meson.build",
    "mix.exs",
    "mix.lock",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "package.json",
    "package.swift",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "poetry.lock",
    "pom.xml",
    "pyproject.toml",
    "requirements.txt",
    "rust-toolchain.toml",
    "settings.gradle",
    "setup.cfg",
    "setup.py",
    "tsconfig.json",
    "turbo.json",
    "uv.lock",
    "yarn.lock",
];
const CONFIGURATION: &[&str] = &["cfg", "conf", "ini", "json", "properties", "toml", "yaml", "yml"];
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

/// What a file is to who works with the tree; what comes earlier here is brought earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// What git itself reads from the tree before it answers anything.
    Git,
    /// What the project is made of, and how it is built.
    Manifest,
    /// What people and agents read first.
    Readme,
    /// Settings, and all else that is right in the root.
    Configuration,
    /// Code.
    Source,
    /// Other text.
    Other,
    /// Code that tests.
    TestSource,
    /// What tests and bundled projects bring.
    TestOther,
    /// What nobody reads as text, and what is too large to be read.
    Binary,
}

impl Class {
    /// The class of a file.
    pub fn of(path: &[u8], size: Option<u64>) -> Self {
        let text = String::from_utf8_lossy(path).to_ascii_lowercase();
        let (folder, name) =
            text.rsplit_once('/').map_or(("", text.as_str()), |(folder, name)| (folder, name));
        let extension = extension(name);
        let is_root = folder.is_empty();
        let is_test = ["test", "fixture", "vendor", "third_party", "node_modules", "snapshot"]
            .iter()
            .any(|word| folder.contains(word));
        if matches!(name, ".gitignore" | ".gitattributes" | ".gitmodules" | ".mailmap") {
            return Self::Git;
        }
        // Lock files are large and read all the same.
        if MANIFESTS.contains(&name) {
            return Self::Manifest;
        }
        if BINARIES.contains(&extension) || size.is_some_and(|size| size > SOURCE_BYTES_MAX) {
            return Self::Binary;
        }
        if name.starts_with("readme") || matches!(name, "agents.md" | "claude.md") {
            return Self::Readme;
        }
        let is_configuration = CONFIGURATION.contains(&extension) || name.starts_with('.');
        if is_root || is_configuration && !is_test {
            return Self::Configuration;
        }
        match (SOURCES.contains(&extension), is_test) {
            (true, false) => Self::Source,
            (false, false) => Self::Other,
            (true, true) => Self::TestSource,
            (false, true) => Self::TestOther,
        }
    }
}

fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// The language of a file, as far as its name tells it.
fn language(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path).to_ascii_lowercase();
    extension(text.rsplit('/').next().unwrap_or(&text)).to_owned()
}

/// Puts files in order: those of `first` in its own order, then by class; manifests and the like from the root down, code
/// of the languages with the most files first, small files before large ones. `path` and `size` tell of a file.
pub fn order<'a, T: Copy>(
    files: &mut [T],
    path: &dyn Fn(T) -> &'a [u8],
    size: &dyn Fn(T) -> Option<u64>,
    first: &dyn Fn(&[u8]) -> Option<u32>,
) {
    let mut languages: HashMap<String, u32> = HashMap::new();
    for file in files.iter().filter(|file| Class::of(path(**file), size(**file)) == Class::Source) {
        *languages.entry(language(path(*file))).or_default() += 1;
    }
    let key = |file: T| {
        let (path, size) = (path(file), size(file));
        let class = Class::of(path, size);
        let depth = match class {
            Class::Git | Class::Manifest | Class::Readme | Class::Configuration => {
                path.iter().filter(|byte| **byte == b'/').count()
            }
            _ => 0,
        };
        let spoken = match class {
            Class::Source | Class::TestSource => languages.get(&language(path)).copied().unwrap_or(0),
            _ => 0,
        };
        let size = size.unwrap_or(UNKNOWN_BLOB_BYTES);
        // Folders stay together: sizes count in steps of powers of four.
        let step = (size.max(1).ilog2() / 2) as u8;
        (first(path).unwrap_or(u32::MAX), class, depth as u16, u32::MAX - spoken, step)
    };
    // Paths are compared where they are: a copy of each would take more than all else.
    let mut keyed: Vec<_> = files.iter().map(|file| (key(*file), *file)).collect();
    keyed.sort_by(|(a_key, a), (b_key, b)| a_key.cmp(b_key).then_with(|| path(*a).cmp(path(*b))));
    files.iter_mut().zip(keyed).for_each(|(file, (_, sorted))| *file = sorted);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use cairn_protocol::object::HashAlgo;

    #[test]
    fn a_file_belongs_to_the_class_that_its_name_place_and_size_tell() {
        let cases: [(&str, &str, Option<u64>, Class); 16] = [
            ("git reads it for each status", "a/b/.gitignore", None, Class::Git),
            ("what is built", "packages/x/package.json", None, Class::Manifest),
            ("locks are large, and read by each install", "pnpm-lock.yaml", Some(3 << 20), Class::Manifest),
            ("a test project has manifests too", "fixtures/app/go.mod", None, Class::Manifest),
            ("any case", "docs/ReadMe.MD", None, Class::Readme),
            ("for agents", "AGENTS.md", None, Class::Readme),
            ("settings of tools", ".github/workflows/ci.yml", None, Class::Configuration),
            ("the root is small, and looked at", "LICENSE", None, Class::Configuration),
            ("a picture in the root stays one", "logo.png", None, Class::Binary),
            ("code", "src/a/main.rs", Some(20_000), Class::Source),
            ("code that no one wrote", "src/generated.c", Some(600 << 10), Class::Binary),
            ("text", "docs/guide/start.md", None, Class::Other),
            ("code of tests", "src/tests/a.rs", None, Class::TestSource),
            ("data of tests", "test/fixtures/a.json", None, Class::TestOther),
            ("archives", "src/a.tar.gz", None, Class::Binary),
            ("no extension", "bin/run", None, Class::Other),
        ];
        for (why, path, size, class) in cases {
            assert_eq!(Class::of(path.as_bytes(), size), class, "{why}: {path}");
        }
    }

    #[test]
    fn the_main_language_and_small_files_come_first_and_what_was_read_before_all() {
        let id = ObjectId::from_bytes(HashAlgo::Sha1, &[1; 20]).unwrap();
        let file = |path: &str, size| Candidate { path: path.as_bytes().to_vec(), id, size: Some(size) };
        let files = [
            file("src/one.py", 10),
            file("src/large.rs", 100_000),
            file("src/small.rs", 100),
            file("src/read.bin", 10),
            file("deep/er/Cargo.toml", 10),
            file("Cargo.toml", 4_000),
        ];
        let mut places: Vec<usize> = (0..files.len()).collect();
        let first = |path: &[u8]| (path == b"src/read.bin").then_some(0);
        order(&mut places, &|at| &files[at].path, &|at| files[at].size, &first);
        let paths: Vec<_> = places.iter().map(|at| String::from_utf8_lossy(&files[*at].path)).collect();
        let want = [
            "src/read.bin",
            "Cargo.toml",
            "deep/er/Cargo.toml",
            "src/small.rs",
            "src/large.rs",
            "src/one.py",
        ];
        assert_eq!(paths, want);
    }
}

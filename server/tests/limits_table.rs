//! The page of limits is printed from the code.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;

use cairn_server::cli::limits::markdown;

#[test]
fn the_page_of_limits_is_printed_from_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/limits.md");
    let printed = markdown();
    if std::env::var_os("CAIRN_PRINT_DOCS").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        kept, printed,
        "CAIRN_PRINT_DOCS=1 cargo test -p cairn-server --test limits_table prints it anew"
    );
}

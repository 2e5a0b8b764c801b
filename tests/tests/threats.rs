//! The list of threats names tests that exist.

use std::path::Path;

#[test]
fn every_test_that_the_list_of_threats_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let read = |path: &str| std::fs::read_to_string(root.join(path));
    let page = read("docs/threats.md").expect("the list");
    let mut named = 0;
    for word in page.split('`').filter(|word| word.contains(".rs") && !word.contains(' ')) {
        let (path, name) = word.split_once("::").unwrap_or((word, ""));
        let text = read(path).unwrap_or_else(|why| panic!("{path}: {why}"));
        assert!(name.is_empty() || text.contains(&format!("fn {name}(")), "{path} has no {name}");
        named += usize::from(!name.is_empty());
    }
    assert!(named > 40, "the list names {named} tests");
}

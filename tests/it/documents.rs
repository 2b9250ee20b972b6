//! What the documentation says of the code is so.

use std::{collections::BTreeSet, fs, path::Path};

use crate::support::in_repository;

fn read(path: &str) -> String {
    fs::read_to_string(in_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Rust files below `folder`, by their paths in the repository.
fn rust_files(folder: &str) -> Vec<String> {
    let root = in_repository("");
    let mut found = Vec::new();
    let mut open = vec![in_repository(folder)];
    while let Some(path) = open.pop() {
        match fs::read_dir(&path) {
            Ok(entries) => open.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) if path.extension().is_some_and(|kind| kind == "rs") => {
                found.push(path.strip_prefix(&root).unwrap_or(&path).display().to_string());
            }
            Err(_) => {}
        }
    }
    found.sort();
    found
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether `code` does something unsafe, or lets something below it do so.
fn is_unsafe(code: &str) -> bool {
    let mut lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.any(|line| {
        ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "(unsafe_code"].iter().any(|word| line.contains(word))
    })
}

/// The one forbids it, the other is this file.
const SPEAKING_OF_IT: [&str; 2] = ["proto/src/lib.rs", "tests/it/documents.rs"];

#[test]
fn the_list_of_unsafe_files_is_true() {
    let page = read("docs/architecture.md");
    let (_, section) = page.split_once("## Where `unsafe` is").expect("there is a list");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let listed: BTreeSet<&str> = rows.flat_map(|row| quoted(row.split('|').nth(1).unwrap())).collect();
    let files = ["src", "python/src", "proto", "tests", "benches"].map(rust_files).concat();
    let used: Vec<_> = files
        .iter()
        .filter(|file| is_unsafe(&read(file)))
        .filter(|file| !SPEAKING_OF_IT.contains(&file.as_str()))
        .collect();
    let is_listed =
        |file: &str| listed.iter().any(|entry| file == *entry || entry.ends_with('/') && file.starts_with(entry));
    let missing: Vec<_> = used.iter().filter(|file| !is_listed(file)).collect();
    assert!(missing.is_empty(), "docs/architecture.md does not list {missing:?}");
    let is_used =
        |entry: &str| used.iter().any(|file| *file == entry || entry.ends_with('/') && file.starts_with(entry));
    let idle: Vec<_> = listed.iter().filter(|entry| !is_used(entry)).collect();
    assert!(idle.is_empty(), "docs/architecture.md lists {idle:?} for nothing");
    assert!(used.len() > 5, "the reader of files finds {used:?} only");
    assert!(read("proto/src/lib.rs").contains("#![forbid(unsafe_code)]"));
}

#[test]
fn every_test_that_the_security_page_names_is_there() {
    let tests: String = ["tests/it", "src", "proto/src", "proto/tests"]
        .map(rust_files)
        .concat()
        .iter()
        .map(|file| read(file))
        .collect();
    let page = read("docs/security.md");
    let is_test =
        |name: &&str| name.matches('_').count() > 2 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let named: Vec<_> = quoted(&page).map(|name| name.rsplit("::").next().unwrap()).filter(is_test).collect();
    let missing: Vec<_> = named.iter().filter(|name| !tests.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "docs/security.md names {missing:?}");
    assert!(named.len() > 30, "{named:?}");
}

#[test]
fn every_page_is_where_the_others_say() {
    let pages = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/architecture.md",
        "docs/security.md",
        "docs/operating.md",
    ];
    for page in pages.map(|page| (page, read(page))) {
        let paths = quoted(&page.1).filter(|path| path.starts_with("docs/") && path.ends_with(".md"));
        let lost: Vec<_> = paths.filter(|path| !Path::new(&in_repository(path)).exists()).collect();
        assert!(lost.is_empty(), "{} speaks of {lost:?}", page.0);
    }
}

//! `docs/conformance.md` names tests that exist, and says of each what the other servers did.

use std::{collections::BTreeSet, fs};

use crate::support::in_repository;

/// The cells of every row that names a test, that name first.
fn rows() -> Vec<Vec<String>> {
    let table = fs::read_to_string(in_repository("docs/conformance.md")).unwrap();
    let lines = table.lines().filter(|line| line.starts_with("| ") && line.contains("::"));
    lines.map(cells).collect()
}

fn cells(line: &str) -> Vec<String> {
    let cells: Vec<_> = line.trim_matches('|').split(" | ").map(|cell| String::from(cell.trim())).collect();
    let at = cells.iter().position(|cell| cell.starts_with('`') && cell.contains("::"));
    let at = at.unwrap_or_else(|| panic!("no test in {line}"));
    let name = String::from(cells[at].trim_matches('`'));
    std::iter::once(name).chain(cells[at + 1..].iter().cloned()).collect()
}

/// Every test of this suite as `module::name`.
fn tests() -> BTreeSet<String> {
    let files = fs::read_dir(in_repository("tests/it")).unwrap().map(|entry| entry.unwrap().path());
    let sources = files.filter(|path| path.extension().is_some_and(|kind| kind == "rs"));
    sources
        .flat_map(|path| {
            let module = path.file_stem().unwrap().to_string_lossy().into_owned();
            let source = fs::read_to_string(&path).unwrap();
            names(&source).into_iter().map(move |name| format!("{module}::{name}"))
        })
        .collect()
}

/// The functions that follow a `#[test]`.
fn names(source: &str) -> Vec<String> {
    let after = source.split("\n#[test]\n").skip(1);
    let name =
        |text: &str| text.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map(|(name, _)| name.into());
    after.filter_map(name).collect()
}

#[test]
fn every_test_that_the_conformance_table_names_exists() {
    let tests = tests();
    assert!(tests.contains("conformance::every_test_that_the_conformance_table_names_exists"));
    let named: Vec<_> = rows().into_iter().map(|row| row[0].clone()).collect();
    assert!(named.len() > 90, "{} rows", named.len());
    let unknown: Vec<_> = named.iter().filter(|name| !tests.contains(*name)).collect();
    assert!(unknown.is_empty(), "docs/conformance.md names what does not exist: {unknown:?}");
    let distinct: BTreeSet<_> = named.iter().collect();
    assert_eq!(distinct.len(), named.len(), "docs/conformance.md names a test twice");
}

#[test]
fn every_test_of_a_clause_is_in_the_conformance_table() {
    let named: BTreeSet<_> = rows().into_iter().map(|row| row[0].clone()).collect();
    let modules = ["environ", "wsgi_input", "start_response", "iteration", "file_wrapper", "wsgi_errors", "mounts"];
    let is_clause = |test: &&String| {
        let (module, name) = test.split_once("::").unwrap();
        modules.contains(&module) && (name.starts_with("pep3333_") || name.starts_with("rfc"))
    };
    let tests = tests();
    let left_out: Vec<_> = tests.iter().filter(is_clause).filter(|test| !named.contains(*test)).collect();
    assert!(left_out.is_empty(), "docs/conformance.md leaves out {left_out:?}");
}

#[test]
fn the_conformance_table_says_yes_or_no_of_every_other_server() {
    for row in rows() {
        let said = &row[1..];
        let is_verdict = |cell: &String| cell == "yes" || cell == "no";
        assert!(said.is_empty() || (said.len() == 2 && said.iter().all(is_verdict)), "{row:?}: run `make conformance`");
    }
}

//! The module map of `docs/architecture.md`, kept true: who may name whom.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Every module of `src/`, lowest first, and what it may name of the modules below it and of the fenced crates.
const MAP: [(&str, &[&str]); 13] = [
    ("room", &[]),
    ("request", &["room", "rusgi_proto"]),
    ("response", &["request"]),
    ("channel", &[]),
    ("config", &[]),
    ("observe", &["config"]),
    (
        "net",
        &["room", "request", "response", "config", "observe", "rusgi_proto", "tokio", "tokio_stream", "tokio_util"],
    ),
    ("python", &["room", "request", "response", "config", "observe", "rusgi_proto", "pyo3"]),
    ("worker", &["request", "response", "channel", "config", "observe", "net", "python", "tokio"]),
    ("forkserver", &["channel", "config", "observe", "net", "python", "worker"]),
    ("supervisor", &["channel", "config", "observe", "net"]),
    ("cli", &["channel", "config", "observe", "net", "python", "forkserver", "supervisor", "clap", "rusgi_proto"]),
    ("main", &["rusgi"]),
];

/// Crates that only some modules may name; every other dependency is open to all.
const FENCED: [&str; 6] = ["rusgi_proto", "tokio", "tokio_stream", "tokio_util", "pyo3", "clap"];

#[test]
fn no_module_names_what_the_map_denies_it() {
    let mut broken = Vec::new();
    for (module, allowed) in MAP {
        let named = names(module);
        assert!(!sources(module).is_empty(), "{module} is in the map and not in src/");
        let watched = MAP.iter().map(|(name, _)| *name).chain(FENCED);
        broken.extend(
            watched
                .filter(|name| *name != module && named.contains(*name) && !allowed.contains(name))
                .map(|name| format!("{module} names {name}")),
        );
    }
    assert!(broken.is_empty(), "the module map is broken:\n{}", broken.join("\n"));
}

#[test]
fn the_map_has_no_circle() {
    for (place, (module, allowed)) in MAP.iter().enumerate() {
        for other in MAP.iter().skip(place).map(|(name, _)| name) {
            assert!(!allowed.contains(other), "{module} may name {other}, which does not lie below it");
        }
    }
}

#[test]
fn every_module_is_in_the_map() {
    let entries = fs::read_dir(root()).unwrap().flatten();
    let modules = entries.map(|entry| entry.path().file_stem().unwrap().to_string_lossy().into_owned());
    for module in modules.filter(|name| name != "lib") {
        assert!(MAP.iter().any(|(name, _)| *name == module), "src/{module} is missing from the map");
    }
}

#[test]
fn the_reader_of_names_sees_every_form_of_path() {
    let code = "use crate::{net::{peer, x::Y}, config, request::Z};\nfn f() { crate::python::start(); tokio::spawn(()); std::net::x(); }\n// crate::cli\n";
    let mut named = BTreeSet::new();
    read_names(code, &mut named);
    let expected = ["config", "net", "python", "request"].map(String::from);
    assert_eq!(
        named.iter().filter(|name| MAP.iter().any(|(module, _)| module == name)).cloned().collect::<Vec<_>>(),
        expected
    );
    assert!(named.contains("tokio"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The files of a module: `src/module.rs`, or everything below `src/module/`.
fn sources(module: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(format!("{module}.rs")), root().join(module)];
    while let Some(path) = open.pop() {
        if let Ok(entries) = fs::read_dir(&path) {
            open.extend(entries.flatten().map(|entry| entry.path()));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

fn names(module: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for path in sources(module) {
        read_names(&fs::read_to_string(path).unwrap(), &mut named);
    }
    named
}

/// Adds the first segment of every path in `code`: a crate's name, or what stands behind `crate::`.
fn read_names(code: &str, named: &mut BTreeSet<String>) {
    let code: String = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .fold(String::new(), |all, line| all + line + "\n");
    for (at, _) in code.match_indices("::") {
        let before = &code[..at];
        let head = before.rsplit(|c: char| !is_name(c)).next().unwrap_or_default();
        let is_path_start = !before[..before.len() - head.len()].ends_with("::");
        if head == "crate" {
            named.extend(heads(&code[at + 2..]));
        } else if is_path_start {
            named.insert(head.to_owned());
        }
    }
}

/// The first segments of `name…` or of `{name…, name…}`.
fn heads(code: &str) -> Vec<String> {
    let name = |text: &str| text.trim_start().chars().take_while(|c| is_name(*c)).collect::<String>();
    let Some(list) = code.strip_prefix('{') else {
        return vec![name(code)];
    };
    let mut depth = 0;
    let mut found = vec![name(list)];
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.push(name(&list[at + 1..])),
            _ => {}
        }
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

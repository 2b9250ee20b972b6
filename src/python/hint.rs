//! What an operator may have meant, when an application is not found where it was named.

use std::path::{Path, PathBuf};

use pyo3::{exceptions::PyModuleNotFoundError, prelude::*, types::PyDict};

/// Names in the module that may have been meant.
pub(super) fn attribute_hint(module: &Bound<'_, PyAny>) -> Option<String> {
    let names = module.getattr("__dict__").ok()?.cast_into::<PyDict>().ok()?;
    let usual =
        ["application", "app", "wsgi", "wsgi_app", "api", "server", "create_app", "make_app", "get_wsgi_application"];
    let found: Vec<_> = usual.into_iter().filter(|name| names.contains(*name).unwrap_or(false)).collect();
    if found.is_empty() {
        return Some(String::from("name the callable after a colon: module:callable"));
    }
    let found = found.join(" or ");
    Some(format!("the module has {found}: write it after the colon, with () if it is a factory"))
}

/// Why an import may have failed: wrong directory, wrong environment, or an environment of another Python.
pub(super) fn import_hint(py: Python<'_>, module: &str, error: &PyErr) -> Option<String> {
    if !error.is_instance_of::<PyModuleNotFoundError>(py) {
        return None;
    }
    let missing: String = error.value(py).getattr("name").ok()?.extract().ok()?;
    let missing = missing.split('.').next().unwrap_or_default();
    let top = module.split('.').next().unwrap_or_default();
    if missing == top {
        return Some(directory_hint(top));
    }
    let sys = py.import("sys").ok()?;
    let prefix: String = sys.getattr("prefix").and_then(|prefix| prefix.extract()).unwrap_or_default();
    let is_standard = sys.getattr("stdlib_module_names").and_then(|names| names.contains(missing)).unwrap_or(false);
    Some(if is_standard {
        format!(
            "{missing} belongs to Python itself: {prefix} was made by another build of Python than the one rusgi runs; \
             install rusgi into it (pip install rusgi) and start it from there"
        )
    } else {
        format!(
            "{missing} is not installed for the Python in {prefix}: install it there, or name the right environment \
             with --virtualenv"
        )
    })
}

fn directory_hint(module: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    match find_near(&here, module) {
        Some(place) => format!("{module} lies in {}: add --chdir {}", place.display(), place.display()),
        None => format!(
            "there is no {module}.py and no package {module} in {}: give its directory with --chdir or --pythonpath",
            here.display()
        ),
    }
}

/// A directory near `here` that holds the module: below it, or one of those above.
fn find_near(here: &Path, module: &str) -> Option<PathBuf> {
    let file = format!("{module}.py");
    let holds =
        |directory: &PathBuf| directory.join(&file).is_file() || directory.join(module).join("__init__.py").is_file();
    let below = std::fs::read_dir(here).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let above = here.ancestors().skip(1).map(Path::to_path_buf);
    below.chain(above).find(holds)
}
